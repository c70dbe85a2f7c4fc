// The commands that break something on purpose: host cut, host heal, drill.
#include <nlohmann/json.hpp>

#include "api/json.h"
#include "base/text.h"
#include "cli/answer.h"
#include "cli/commands.h"
#include "cli/hints.h"
#include "cli/session.h"
#include "cli/views.h"

namespace muster::cli {
namespace {

constexpr const char* kBreak = "Breaking on purpose";

bool IsBreak(const std::string& word) { return word == "kill" || word == "freeze" || word == "cut"; }

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

// --- drill

struct DrillArgs : ClusterArgs {
  std::string service, how, instance, confirm;
  Duration most{-1};  // not given
};

struct Drilled {
  Context* context;
  bool json;
  Json report = nullptr;
};

bool TakeEvent(const std::shared_ptr<Drilled>& drilled, const std::string& name, const Json& data) {
  const Console& console = drilled->context->console;
  if (name == "phase" && !drilled->json) console.OutLine(Text(data, "text"));
  if (name == "end") drilled->report = data;
  return name != "end";
}

// What has to be typed before something that is no rehearsal is broken. Code "confirm-name".
Result<std::string> Confirmed(Context& context, const std::string& key, const std::string& confirm) {
  if (key.ends_with("@rehearsal")) return key;
  const auto refused = [&](const std::string& why) {
    return Error::Refused("confirm-name", "{}; nothing was broken", why)
        .Hint("muster drill --confirm {}, or drill its rehearsal: muster up FILE --rehearse", key);
  };
  if (!confirm.empty()) {
    if (confirm == key) return key;
    return refused("--confirm says " + confirm + ", the cluster's name is " + key);
  }
  if (!context.console.in_is_terminal) return refused(key + " is no rehearsal, and a drill breaks something");
  MUSTER_TRY(const std::string typed,
             Ask(context.console, "This breaks something in " + key + ". Type its name to go on: ", false));
  if (typed == key) return key;
  return refused("that is not the cluster's name");
}

Result<int> Drill(Context& context, const DrillArgs& args) {
  DrillArgs wanted = args;
  const bool only_how = args.how.empty() && IsBreak(args.service);  // muster drill freeze
  if (only_how) wanted.how = std::exchange(wanted.service, "");
  if (wanted.how.empty()) wanted.how = "kill";
  if (!IsBreak(wanted.how)) {
    return Error::Invalid("bad-argument", "\"{}\" is no way to break something", wanted.how)
        .Hint("known are kill, freeze and cut");
  }
  if (wanted.most == 0ms) return Error::Invalid("bad-argument", "--for 0s leaves no time for anything");
  MUSTER_TRY(const auto api, Connect(context, Need::kStore));
  MUSTER_TRY(const std::string key, ClusterFor(*api, args));
  MUSTER_TRY(const std::string confirm, Confirmed(context, key, args.confirm));
  Json body{
      {"service", wanted.service}, {"how", wanted.how}, {"instance", wanted.instance}, {"confirm", confirm}};
  if (wanted.most > 0ms) body["most_ms"] = wanted.most.count();
  const auto drilled = std::make_shared<Drilled>(Drilled{&context, args.json});
  OnEvent on_event = [drilled](const std::string& name, const Json& data) {
    return TakeEvent(drilled, name, data);
  };
  MUSTER_DO(
      api->loop().RunTask(api->StreamTask("POST", ClusterTarget(key, "/drill"), DumpJson(body), on_event)));
  const Json& report = drilled->report;
  if (!report.is_object()) {
    return Error::Unavailable("server-gone", "the server went away during the drill")
        .Hint("muster status tells how {} is", key);
  }
  if (report.contains("error")) return api::ErrorFrom(report["error"]);
  if (args.json) {
    PrintJson(context, report);
  } else {
    View view;
    view.color = context.console.color;
    view.columns = context.console.out_columns();
    view.cluster_option = context.console.cluster_option;
    context.console.out("\n" + DrillText(report, view));
  }
  return Flag(report, "passed") ? 0 : 1;
}

Declare<HostArgs>& WithHost(Declare<HostArgs>& declare) {
  return WithCluster(
             declare.Positional("host", &HostArgs::host, "The host").Required().Offers(Completes::kHost))
      .Group(kBreak);
}

}  // namespace

void AddDrillCommands(std::vector<Command>& commands) {
  Declare<DrillArgs> drill("drill", "Break a primary while a client writes, and measure what that costs");
  WithCluster(drill
                  .Positional("service", &DrillArgs::service,
                              "The service; the first that can be drilled where left out")
                  .Offers(Completes::kService)
                  .Positional("how", &DrillArgs::how, "In which way; kill where left out")
                  .OneOf({"kill", "freeze", "cut"})
                  .Option("instance", 0, "NAME", &DrillArgs::instance, "Break this one")
                  .Offers(Completes::kInstance)
                  .Option("for", 0, "TIME", &DrillArgs::most,
                          "Wait no longer for all to be well again; 1m where left out")
                  .Option("confirm", 0, "NAME", &DrillArgs::confirm,
                          "The cluster's name, instead of typing it, where it is no rehearsal"))
      .Group(kBreak)
      .More(
          "kill ends it as kill -9 does, freeze stops it as kill -STOP does, cut takes its host off the "
          "network (of a "
          "rehearsal). Two writers write to each range of slots meanwhile, one of them with WAIT. Exit code "
          "1 where a "
          "write that a replica had confirmed is lost, or the service doesn't get well; 3 where the name of "
          "what is no "
          "rehearsal wasn't given.")
      .Example("muster drill")
      .Example("muster drill cache freeze")
      .Example("muster drill cache cut --for 2m");
  commands.push_back(drill.Run(Drill));

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
