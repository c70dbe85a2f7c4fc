// The commands that break something on purpose: host cut, host heal, drill.
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "cli/answer.h"
#include "cli/commands.h"
#include "cli/hints.h"
#include "cli/session.h"

namespace muster::cli {
namespace {

constexpr const char* kBreak = "Breaking on purpose";

struct HostArgs : ClusterArgs {
  std::string host;
};

Result<int> SetCut(Context& context, const HostArgs& args, bool cut) {
  MUSTER_TRY(const auto api, Connect(context, Need::kStore));
  MUSTER_TRY(const std::string key, ClusterFor(*api, args));
  const std::string target = ClusterTarget(key, "/hosts/" + net::UrlEncode(args.host) + "/cut");
  MUSTER_TRY(const Json answer, api->Ask("POST", target, {{"cut", cut}}));
  if (args.json) {
    PrintJson(context, answer);
    return 0;
  }
  const bool changed = Flag(answer, "changed");
  if (cut) {
    context.console.OutLine(
        fmt::format("{}: {} {} cut off; {} {} brings it back", key, args.host, changed ? "is" : "was already",
                    NameCluster("muster host heal", context.console.cluster_option), args.host));
  } else {
    context.console.OutLine(
        fmt::format("{}: {} {}", key, args.host, changed ? "is healed" : "wasn't cut off"));
  }
  return 0;
}

Result<int> Cut(Context& context, const HostArgs& args) { return SetCut(context, args, true); }
Result<int> Heal(Context& context, const HostArgs& args) { return SetCut(context, args, false); }

Declare<HostArgs>& WithHost(Declare<HostArgs>& declare) {
  return WithCluster(
             declare.Positional("host", &HostArgs::host, "The host").Required().Offers(Completes::kHost))
      .Group(kBreak);
}

}  // namespace

void AddDrillCommands(std::vector<Command>& commands) {
  Declare<HostArgs> cut("host cut", "Cut a rehearsed host off from all others, the machine and the server");
  WithHost(cut)
      .More(
          "What runs there runs on, and nobody reaches it. It stays so until host heal, or down; status "
          "tells. Only "
          "in a rehearsal, and only as root, where each of its hosts has a network of its own.")
      .Example("muster host cut node2");
  commands.push_back(cut.Run(Cut));

  Declare<HostArgs> heal("host heal", "Bring back a rehearsed host that was cut off");
  WithHost(heal).Example("muster host heal node2");
  commands.push_back(heal.Run(Heal));
}

}  // namespace muster::cli
