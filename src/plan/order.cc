#include "plan/order.h"

#include <algorithm>
#include <functional>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "base/text.h"

namespace muster::plan {
namespace {

// More edges than this between two services are replaced by a gate: one step that needs all, and that all
// need.
constexpr size_t kEdgesMost = 20000;

std::unordered_set<std::string> IdsOf(const std::vector<Step>& steps) {
  std::unordered_set<std::string> ids;
  for (const Step& step : steps) ids.insert(step.id);
  return ids;
}

// Service -> those it must come after.
std::map<std::string, std::set<std::string>> Dependencies(const Cluster& cluster, const Desired& desired) {
  std::map<std::string, std::set<std::string>> after;
  for (const Service& service : cluster.services)
    after[service.name].insert(service.uses.begin(), service.uses.end());
  std::unordered_map<std::string, std::string> service_of;
  for (const Instance& instance : desired.instances) service_of[instance.name] = instance.service;
  for (const Instance& instance : desired.instances) {
    for (const std::string& member : instance.fronts) {
      const auto found = service_of.find(member);
      if (found != service_of.end() && found->second != instance.service)
        after[instance.service].insert(found->second);
    }
  }
  return after;
}

// Ids of steps that nothing else in the service needs, without those of members that only leave.
std::vector<std::string> Lasts(const std::vector<Step>& steps, bool with_leaving) {
  std::unordered_set<std::string> needed;
  std::unordered_set<std::string> leaving;
  for (const Step& step : steps) {
    needed.insert(step.needs.begin(), step.needs.end());
    if (step.verb == "remove") leaving.insert(step.instance);
  }
  std::vector<std::string> lasts;
  for (const Step& step : steps) {
    if (needed.contains(step.id)) continue;
    if (with_leaving || !leaving.contains(step.instance)) lasts.push_back(step.id);
  }
  return lasts;
}

void Gate(std::vector<Step>& steps, const std::vector<std::string>& lasts, bool leaving_too) {
  if (lasts.empty()) return;
  std::unordered_set<std::string> own;
  std::unordered_set<std::string> leaving;
  for (const Step& step : steps) {
    own.insert(step.id);
    if (step.verb == "remove") leaving.insert(step.instance);
  }
  std::vector<Step*> firsts;
  for (Step& step : steps) {
    const bool first = std::none_of(step.needs.begin(), step.needs.end(),
                                    [&](const std::string& need) { return own.contains(need); });
    if (first && (leaving_too || !leaving.contains(step.instance))) firsts.push_back(&step);
  }
  const bool gate = firsts.size() > 1 && firsts.size() * lasts.size() > kEdgesMost;
  for (Step* first : firsts) {
    if (gate && first != firsts[0]) {
      first->needs.push_back(firsts[0]->id);
    } else {
      first->needs.insert(first->needs.end(), lasts.begin(), lasts.end());
    }
  }
}

// Whether a balancer has the member out by an earlier run.
bool IsOut(const Situation& situation, const std::string& balancer, const std::string& member) {
  const auto observed = situation.observed.find(balancer);
  if (observed == situation.observed.end()) return false;
  const auto facts = observed->second.facts.find("run");
  if (facts == observed->second.facts.end()) return false;
  const std::vector<std::string> out = Split(facts->second, ',');
  return std::find(out.begin(), out.end(), member) != out.end();
}

struct Balancer {
  const Instance* instance;
  bool serves;        // takes drain orders now
  std::string knows;  // the step after which it has its new list of members; "" where that doesn't change
};

}  // namespace

void TakeOutOfBalancers(const Desired& desired, const Situation& situation, Steps& steps,
                        std::vector<std::string>& outages) {
  std::unordered_map<std::string, std::vector<Balancer>> in_front_of;
  std::vector<Balancer> all;
  std::unordered_map<std::string, std::unordered_set<std::string>> ids;  // of steps, by service
  for (const Instance& instance : desired.instances) {
    if (instance.fronts.empty()) continue;
    Balancer balancer{.instance = &instance, .serves = false, .knows = ""};
    const auto observed = situation.observed.find(instance.name);
    auto [own, is_new] = ids.try_emplace(instance.service);
    if (is_new) own->second = IdsOf(steps.by_service[instance.service]);
    const bool restarts = own->second.contains(instance.name + ".stop");
    balancer.serves = observed != situation.observed.end() &&
                      observed->second.state == InstanceState::kReady &&
                      !situation.unreachable.contains(instance.host) && !restarts;
    for (const char* verb : {".reload", ".start"}) {
      if (balancer.knows.empty() && own->second.contains(instance.name + verb))
        balancer.knows = instance.name + verb;
    }
    for (const std::string& member : instance.fronts) in_front_of[member].push_back(balancer);
    all.push_back(balancer);
  }
  if (all.empty()) return;
  for (auto& [service, list] : steps.by_service) {
    std::vector<Step> wrapped;
    std::unordered_map<std::string, std::vector<std::string>> instead;  // start step -> restore steps
    std::set<std::string> leaving;
    const std::unordered_set<std::string> own = IdsOf(list);
    for (const Step& step : list) {
      if (step.verb == "remove") leaving.insert(step.instance);
    }
    for (Step& step : list) {
      const auto balancers = in_front_of.find(step.instance);
      const bool replaced = !leaving.contains(step.instance) && own.contains(step.instance + ".start") &&
                            own.contains(step.instance + ".stop");
      if (step.verb == "stop" && leaving.contains(step.instance)) {
        // No desired balancer knows it any more; those that did go first.
        for (const Balancer& balancer : all) {
          if (!balancer.knows.empty() && balancer.instance->service != service)
            step.needs.push_back(balancer.knows);
        }
        wrapped.push_back(std::move(step));
        continue;
      }
      const bool held = step.verb == "stop" && !replaced;
      const bool returns = step.verb == "start" && !replaced;  // after it was held, or a run that had failed
      if (balancers == in_front_of.end() || (!replaced && !held && !returns)) {
        wrapped.push_back(std::move(step));
        continue;
      }
      const auto order = [&](const Balancer& balancer, const char* verb) {
        Step one;
        one.id = balancer.instance->name + "." + verb + "." + step.instance;
        one.instance = balancer.instance->name;
        one.service = balancer.instance->service;
        one.host = balancer.instance->host;
        one.verb = verb;
        one.args = {{"member", step.instance}, {"by", "run"}};
        one.reason = step.reason;
        one.impact = Impact::kLive;
        one.deadline = 60s;
        return one;
      };
      if (step.verb == "stop") {
        std::vector<std::string> drained;
        for (const Balancer& balancer : balancers->second) {
          if (!balancer.serves) continue;
          Step drain = order(balancer, "drain");
          drain.after = "drained";
          drain.put_back = "restore";
          drain.needs = step.needs;
          drained.push_back(drain.id);
          wrapped.push_back(std::move(drain));
        }
        if (!drained.empty()) step.needs = drained;
        wrapped.push_back(std::move(step));
        continue;
      }
      const bool last = step.verb == "start";
      std::vector<Step> restores;
      if (last) {
        for (const Balancer& balancer : balancers->second) {
          if (!balancer.serves || (returns && !IsOut(situation, balancer.instance->name, step.instance)))
            continue;
          Step restore = order(balancer, "restore");
          restore.after = "restored";
          restore.args["ready"] = "yes";  // seen by this run, perhaps before the mender has heard of it
          restore.needs = {step.id};
          instead[step.id].push_back(restore.id);
          restores.push_back(std::move(restore));
        }
      }
      wrapped.push_back(std::move(step));
      for (Step& restore : restores) wrapped.push_back(std::move(restore));
    }
    for (Step& step : wrapped) {
      if (step.verb == "restore") continue;
      std::vector<std::string> needs;
      for (const std::string& need : step.needs) {
        const auto found = instead.find(need);
        if (found == instead.end()) {
          needs.push_back(need);
        } else {
          needs.insert(needs.end(), found->second.begin(), found->second.end());
        }
      }
      step.needs = std::move(needs);
    }
    list = std::move(wrapped);
  }
  // What an earlier run took out and could not put back (its agent was away) is put back by this one.
  for (const Balancer& balancer : all) {
    if (!balancer.serves) continue;
    const auto observed = situation.observed.find(balancer.instance->name);
    const auto facts = observed->second.facts.find("run");
    if (facts == observed->second.facts.end()) continue;
    std::vector<Step>& own = steps.by_service[balancer.instance->service];
    for (const std::string& member : Split(facts->second, ',')) {
      if (member.empty() || situation.held.contains(member)) continue;
      bool touched = false;
      for (const auto& [service, list] : steps.by_service) {
        for (const Step& step : list) {
          const auto named = step.args.find("member");
          touched |= named != step.args.end() && named->second == member;
        }
      }
      if (touched) continue;
      Step restore;
      restore.id = balancer.instance->name + ".restore." + member;
      restore.instance = balancer.instance->name;
      restore.service = balancer.instance->service;
      restore.host = balancer.instance->host;
      restore.verb = "restore";
      restore.args = {{"member", member}, {"by", "run"}};
      restore.reason = "an earlier run left it out";
      restore.impact = Impact::kLive;
      restore.after = "restored";
      restore.deadline = 60s;
      own.push_back(std::move(restore));
    }
  }
  // Members that come back on other ports are found again only once their balancer has its new file.
  std::set<std::string> told;
  for (const Instance& instance : desired.instances) {
    const auto observed = situation.observed.find(instance.name);
    const bool moved = observed != situation.observed.end() &&
                       observed->second.state == InstanceState::kReady &&
                       observed->second.parts.contains("ports") && instance.parts.contains("ports") &&
                       observed->second.parts.at("ports") != instance.parts.at("ports");
    if (moved && in_front_of.contains(instance.name) && told.insert(instance.service).second) {
      outages.push_back(instance.service +
                        " changes its ports: some requests fail until its balancer has been reloaded");
    }
  }
}

void OrderServices(const Cluster& cluster, const Desired& desired, bool remove_all, Steps& steps) {
  const auto after = Dependencies(cluster, desired);
  // Gates look at needs within a service only, so those are found before any edge between services is added.
  std::map<std::string, std::vector<std::string>> lasts;
  for (const auto& [service, list] : steps.by_service) lasts[service] = Lasts(list, remove_all);
  for (const auto& [service, before] : after) {
    for (const std::string& other : before) {
      const std::string& first = remove_all ? service : other;
      const std::string& second = remove_all ? other : service;
      if (!steps.by_service.contains(first) || !steps.by_service.contains(second)) continue;
      Gate(steps.by_service[second], lasts[first], remove_all);
    }
  }
}

std::vector<Step> InOrder(const Cluster& cluster, Steps steps) {
  std::vector<Step> all;
  std::set<std::string> listed;
  for (const Service& service : cluster.services) {
    listed.insert(service.name);
    for (Step& step : steps.by_service[service.name]) all.push_back(std::move(step));
  }
  for (auto& [service, list] : steps.by_service) {
    if (listed.contains(service)) continue;
    for (Step& step : list) all.push_back(std::move(step));
  }
  // Stable: among steps that could go, the one that stands first goes first.
  std::unordered_map<std::string, size_t> index;
  for (size_t i = 0; i < all.size(); ++i) index[all[i].id] = i;
  std::vector<std::vector<size_t>> followers(all.size());
  std::vector<size_t> waiting(all.size());
  for (size_t i = 0; i < all.size(); ++i) {
    std::vector<std::string>& needs = all[i].needs;
    std::erase_if(needs, [&](const std::string& need) { return !index.contains(need); });
    for (const std::string& need : needs) followers[index[need]].push_back(i);
    waiting[i] = needs.size();
  }
  std::set<size_t> ready;
  for (size_t i = 0; i < all.size(); ++i) {
    if (waiting[i] == 0) ready.insert(i);
  }
  std::vector<Step> ordered;
  ordered.reserve(all.size());
  while (!ready.empty()) {
    const size_t next = *ready.begin();
    ready.erase(ready.begin());
    for (const size_t follower : followers[next]) {
      if (--waiting[follower] == 0) ready.insert(follower);
    }
    ordered.push_back(std::move(all[next]));
  }
  return ordered;
}

}  // namespace muster::plan
