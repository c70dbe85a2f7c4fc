#include "recipes/redis_primary/change.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "recipes/redis/data_check.h"
#include "recipes/redis_primary/layout.h"

namespace muster::redis_primary {
namespace {

constexpr Duration kStepDownWithin = 60s;
constexpr Duration kLeaveWithin = 60s;
constexpr Duration kSettleLeast = 120s;  // a replica may have to take over all that its primary has

bool IsPrimary(const Change::Input& input, const std::string& name) {
  const auto seen = input.observed->find(name);
  if (seen == input.observed->end()) return false;
  const auto role = seen->second.facts.find("role");
  return role != seen->second.facts.end() && role->second == "primary";
}

// Puts awaited steps between those that agents are sent.
class Weaver {
 public:
  Weaver(const Change::Input& input, Change::Output output) : input_(input), output_(std::move(output)) {
    for (const Instance& instance : *input.desired) {
      desired_.insert(instance.name);
      if (!input.held.contains(instance.name)) ++staying_;
    }
    for (const Step& step : output_.steps) verbs_[step.instance].insert(step.verb);
  }

  Change::Output Weave() {
    std::vector<Step> given = std::exchange(output_.steps, {});
    for (Step& step : given) {
      const std::string name = step.instance;
      if (step.verb == "stop" && HandsOver(name)) {
        Step before = Awaited(step, desired_.contains(name) ? "step-down" : "leave",
                              desired_.contains(name) ? kStepDownWithin : kLeaveWithin);
        before.needs = step.needs;
        step.needs = {before.id};
        output_.steps.push_back(std::move(before));
      }
      const bool starts = step.verb == "start";
      output_.steps.push_back(step);
      if (!starts || input_.desired->size() <= 1) continue;
      Step after = Awaited(step, "settle", std::max(kSettleLeast, input_.service->update.deadline));
      after.needs = {step.id};
      settles_[step.id] = after.id;
      output_.steps.push_back(std::move(after));
    }
    // Whoever waited for one to be ready waits for it to be linked, too.
    for (Step& step : output_.steps) {
      if (step.verb == "settle") continue;
      for (std::string& need : step.needs) {
        if (const auto settle = settles_.find(need); settle != settles_.end()) need = settle->second;
      }
    }
    SayOutages();
    const std::string note = redis::NoCopiesNote(*input_.service, ReplicasOf(*input_.service), output_.steps);
    if (!note.empty()) output_.notes.push_back(note);
    return std::move(output_);
  }

 private:
  bool Serves(const std::string& name) const {
    const auto seen = input_.observed->find(name);
    return seen != input_.observed->end() && seen->second.state == InstanceState::kReady;
  }

  // Somebody else stays to take over from it.
  bool HandsOver(const std::string& name) const {
    if (!Serves(name)) return false;
    const bool stays = desired_.contains(name) && !input_.held.contains(name);
    return staying_ - (stays ? 1 : 0) > 0 && input_.desired->size() + (stays ? 0 : 1) > 1;
  }

  static Step Awaited(const Step& beside, std::string_view verb, Duration within) {
    Step step;
    step.id = beside.instance + "." + std::string(verb);
    step.instance = beside.instance;
    step.service = beside.service;
    step.host = beside.host;
    step.verb = verb;
    step.reason = beside.reason;
    step.awaited = true;
    step.deadline = within;
    return step;
  }

  void SayOutages() {
    output_.outages.clear();
    const std::string& name = input_.service->name;
    bool restarts = false;
    for (const auto& [instance, verbs] : verbs_) {
      restarts = restarts || (desired_.contains(instance) && verbs.contains("stop") && Serves(instance) &&
                              !input_.held.contains(instance));
    }
    if (!restarts) return;
    if (input_.desired->size() == 1) {
      output_.outages.push_back(name + " is out while its only instance restarts");
    } else {
      output_.notes.push_back(fmt::format(
          "{}: no write is lost; the primary hands over before it restarts, and writes are refused for some "
          "milliseconds then",
          name));
    }
  }

  const Change::Input& input_;
  Change::Output output_;
  std::set<std::string> desired_;
  int staying_ = 0;
  std::map<std::string, std::set<std::string>> verbs_;
  std::map<std::string, std::string> settles_;  // by the id of the start before it
};

}  // namespace

Change::Output RedisPrimaryChange::StepsFor(const Input& input) const {
  // The primary last, and one at a time, whatever `update.max_unavailable` says.
  std::vector<Instance> members = *input.desired;
  std::stable_partition(members.begin(), members.end(),
                        [&](const Instance& one) { return !IsPrimary(input, one.name); });
  Service service = *input.service;
  service.update.max_unavailable = {.amount = 0, .percent = false};
  service.update.max_surge = {.amount = 0, .percent = false};
  Input one_by_one = input;
  one_by_one.desired = &members;
  one_by_one.service = &service;
  return Weaver(input, equal_.StepsFor(one_by_one)).Weave();
}

}  // namespace muster::redis_primary
