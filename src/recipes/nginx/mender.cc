// Keeps members that aren't ready out of nginx's upstreams between and during runs. Pure.
#include <fmt/format.h>

#include <set>

#include "base/text.h"
#include "recipes/nginx/layout.h"

namespace muster::nginx {
namespace {

std::set<std::string> NamesIn(const Observed& nginx, std::string_view fact) {
  std::set<std::string> names;
  const auto found = nginx.facts.find(std::string(fact));
  if (found == nginx.facts.end()) return names;
  for (const std::string& name : Split(found->second, ',')) {
    if (!name.empty()) names.insert(name);
  }
  return names;
}

class NginxMender : public Mender {
 public:
  // Members under a step of a run are looked at like all others: the run keeps a set of its own, and a member
  // that is drained and stopped by it stays out until it is ready, whichever of the two lets go first. That
  // is also why an order doesn't wait while nginx itself is busy: runs keep it busy all the time.
  Mending On(const Input& input) override {
    Mending mending;
    for (const Instance& nginx : *input.desired) {
      const auto seen = input.observed->find(nginx.name);
      if (seen == input.observed->end() || seen->second.state != InstanceState::kReady) continue;
      const std::set<std::string> known = NamesIn(seen->second, "health");
      std::set<std::string> wanted;
      std::set<std::string> members = NamesIn(seen->second, "guests");
      members.insert(nginx.fronts.begin(), nginx.fronts.end());
      for (const std::string& member : members) {
        const auto found = input.observed->find(member);
        // Where nobody has told anything of it yet, as after a start of the server, it stays as it is. On the
        // port of one that isn't there may be a stranger.
        const bool out = found == input.observed->end()
                             ? known.contains(member) || input.missing.contains(member)
                             : found->second.state != InstanceState::kReady;
        if (out) wanted.insert(member);
      }
      // A reload that failed: the sets may be as wanted, but nginx doesn't have them.
      const bool stale = !NamesIn(seen->second, "stale").empty();
      if (stale || wanted != known) mending.orders.push_back(OrderFor(nginx.name, known, wanted));
    }
    return mending;
  }

 private:
  static Order OrderFor(const std::string& nginx, const std::set<std::string>& known,
                        const std::set<std::string>& wanted) {
    std::vector<std::string> gone, back;
    for (const std::string& name : wanted) {
      if (!known.contains(name)) gone.push_back(name);
    }
    for (const std::string& name : known) {
      if (!wanted.contains(name)) back.push_back(name);
    }
    std::vector<std::string> reasons;
    if (!gone.empty()) {
      reasons.push_back(fmt::format("{} {} not ready", Join(gone, ", "), gone.size() == 1 ? "is" : "are"));
    }
    if (!back.empty()) {
      reasons.push_back(fmt::format("{} {} ready again", Join(back, ", "), back.size() == 1 ? "is" : "are"));
    }
    if (reasons.empty()) reasons.emplace_back("it has not taken up its members yet");
    const std::vector<std::string> all(wanted.begin(), wanted.end());
    return {.instance = nginx,
            .verb = "backends",
            .args = {{"out", Join(all, ",")}},
            .reason = Join(reasons, "; ")};
  }
};

}  // namespace

std::unique_ptr<Mender> MakeMender() { return std::make_unique<NginxMender>(); }

}  // namespace muster::nginx
