#include "plan/scope.h"

#include <algorithm>
#include <unordered_map>

#include "base/text.h"
#include "recipes/common/placement.h"

namespace muster::plan {
namespace {

constexpr size_t kNamedMost = 4;

bool Installed(const Observed* observed) { return observed && !observed->hash.empty(); }

// Leaves only those names in a list of a balancer's facts that the act is about.
void KeepNames(Observed& balancer, const char* fact, const std::set<std::string>& instances) {
  const auto found = balancer.facts.find(fact);
  if (found == balancer.facts.end()) return;
  std::vector<std::string> names = Split(found->second, ',');
  std::erase_if(names, [&](const std::string& name) { return !instances.contains(name); });
  found->second = Join(names, ",");
}

}  // namespace

Narrowed Narrow(const Scope& scope, Narrowed narrowed) {
  Desired& desired = narrowed.desired;
  Situation& situation = narrowed.situation;
  std::vector<Instance> kept;
  std::set<std::string> wanted;
  for (Instance& instance : desired.instances) {
    wanted.insert(instance.name);
    const auto found = situation.observed.find(instance.name);
    Observed* observed = found == situation.observed.end() ? nullptr : &found->second;
    const bool in_scope = scope.instances.contains(instance.name);
    const bool held = situation.held.contains(instance.name);
    if (!in_scope) situation.held.erase(instance.name);
    if (in_scope && scope.install) {
      kept.push_back(std::move(instance));
      continue;
    }
    const bool here = !situation.unreachable.contains(instance.host);
    if (here && !held && (!Installed(observed) || observed->hash != instance.hash)) {
      narrowed.left.push_back(instance.name);
    }
    if (!Installed(observed)) continue;
    instance.hash = observed->hash;
    instance.parts = observed->parts;
    instance.renderer = observed->renderer;
    observed->drift.clear();
    observed->running_hash = observed->hash;
    if (!in_scope) observed->state = InstanceState::kReady;
    kept.push_back(std::move(instance));
  }
  desired.instances = std::move(kept);
  std::erase_if(situation.observed, [&](const auto& item) {
    const auto& [name, observed] = item;
    if (wanted.contains(name) || scope.instances.contains(name)) return false;
    return !scope.install || !common::IsGuestName(observed.service, name);  // guests left behind go with any
  });
  for (auto& [name, observed] : situation.observed) {
    for (const char* fact : {"run", "guests"}) KeepNames(observed, fact, scope.instances);
  }
  if (!scope.install) {
    // Guests would be what the revision says.
    desired.guests.clear();
    for (Service& service : narrowed.cluster.services) service.update.max_surge = {0, false};
  }
  return narrowed;
}

std::set<std::string> TouchedByScaling(const std::string& service, const Desired& before,
                                       const Desired& after,
                                       const std::map<std::string, Observed>& observed) {
  std::set<std::string> touched, members;
  std::unordered_map<std::string, std::string> hashes;
  for (const Instance& instance : before.instances) hashes[instance.name] = instance.hash;
  for (const Instance& instance : after.instances) {
    if (instance.service == service) members.insert(instance.name);
    const auto was = hashes.find(instance.name);
    if (was == hashes.end() || was->second != instance.hash) touched.insert(instance.name);
    if (was != hashes.end()) hashes.erase(was);
  }
  for (const auto& [name, hash] : hashes) touched.insert(name);
  // A release that stopped half-way may have left members out, or not taken them away.
  for (const std::string& name : members) {
    const auto found = observed.find(name);
    if (found == observed.end() || !Installed(&found->second)) touched.insert(name);
  }
  for (const auto& [name, one] : observed) {
    if (one.service == service && !members.contains(name)) touched.insert(name);
  }
  for (const Instance& instance : after.instances) {
    const auto fronts = [&](const std::string& member) { return members.contains(member); };
    if (std::any_of(instance.fronts.begin(), instance.fronts.end(), fronts)) touched.insert(instance.name);
  }
  return touched;
}

std::string GoesOnNote(const std::string& service, const Plan& plan, bool back) {
  std::vector<std::string> names;
  for (const Step& step : plan.steps) {
    if (step.service == service && step.verb == "install") names.push_back(step.instance);
  }
  if (names.empty()) return "";
  const std::string who = names.size() > kNamedMost
                              ? fmt::format("{} instances get", names.size())
                              : Join(names, ", ") + (names.size() == 1 ? " gets" : " get");
  return who + " what the last release says, though that did not get to its end" +
         (back ? "; muster rollback goes back" : "");
}

std::string LeftNote(const std::vector<std::string>& left) {
  const std::string who = left.size() > kNamedMost
                              ? fmt::format("{} instances stay", left.size())
                              : Join(left, ", ") + (left.size() == 1 ? " stays" : " stay");
  return who +
         " as installed: the last release did not get to its end; muster up FILE goes on with it, muster "
         "rollback goes back";
}

}  // namespace muster::plan
