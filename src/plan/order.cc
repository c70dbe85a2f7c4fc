#include "plan/order.h"

#include <algorithm>
#include <functional>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "base/text.h"
#include "recipes/common/placement.h"
#include "recipes/recipe.h"

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

// Instances that are gone when all is done, but for guests, which were not there before either.
std::unordered_set<std::string> Leaving(const std::vector<Step>& steps) {
  std::unordered_set<std::string> leaving;
  for (const Step& step : steps) {
    if (step.verb == "remove") leaving.insert(step.instance);
  }
  for (const Step& step : steps) {
    if (step.verb == "install") leaving.erase(step.instance);
  }
  return leaving;
}

// Of a member that leaves, or for one.
bool IsOf(const std::unordered_set<std::string>& leaving, const Step& step) {
  const auto member = step.args.find("member");
  return leaving.contains(member == step.args.end() ? step.instance : member->second);
}

// Ids of steps that nothing else in the service needs, without those of members that only leave.
std::vector<std::string> Lasts(const std::vector<Step>& steps, bool with_leaving) {
  std::unordered_set<std::string> needed;
  for (const Step& step : steps) needed.insert(step.needs.begin(), step.needs.end());
  const std::unordered_set<std::string> leaving = Leaving(steps);
  std::vector<std::string> lasts;
  for (const Step& step : steps) {
    if (needed.contains(step.id)) continue;
    if (with_leaving || !IsOf(leaving, step)) lasts.push_back(step.id);
  }
  return lasts;
}

void Gate(std::vector<Step>& steps, const std::vector<std::string>& lasts, bool leaving_too) {
  if (lasts.empty()) return;
  const std::unordered_set<std::string> own = IdsOf(steps);
  const std::unordered_set<std::string> leaving = Leaving(steps);
  std::vector<Step*> firsts;
  for (Step& step : steps) {
    const bool first = std::none_of(step.needs.begin(), step.needs.end(),
                                    [&](const std::string& need) { return own.contains(need); });
    if (first && (leaving_too || !IsOf(leaving, step))) firsts.push_back(&step);
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

// Whom a balancer has out by an earlier run ("run"), or has admitted in one ("guests").
std::vector<std::string> Told(const Situation& situation, const std::string& balancer, const char* fact) {
  const auto observed = situation.observed.find(balancer);
  if (observed == situation.observed.end()) return {};
  const auto facts = observed->second.facts.find(fact);
  if (facts == observed->second.facts.end()) return {};
  std::vector<std::string> names = Split(facts->second, ',');
  std::erase(names, "");
  return names;
}

bool IsTold(const Situation& situation, const std::string& balancer, const char* fact,
            const std::string& member) {
  const std::vector<std::string> names = Told(situation, balancer, fact);
  return std::find(names.begin(), names.end(), member) != names.end();
}

struct Balancer {
  const Instance* instance;
  bool serves;        // takes drain orders now
  bool restarts;      // after the members that it has in this plan
  std::string knows;  // the step after which it has its new list of members; "" where that doesn't change
};

// An order to a balancer about one member.
Step OrderTo(const Balancer& balancer, const char* verb, const std::string& member,
             const std::string& reason) {
  Step step;
  step.id = balancer.instance->name + "." + verb + "." + member;
  step.instance = balancer.instance->name;
  step.service = balancer.instance->service;
  step.host = balancer.instance->host;
  step.verb = verb;
  step.args = {{"member", member}, {"by", "run"}};
  step.reason = reason;
  step.impact = Impact::kLive;
  step.deadline = 60s;
  return step;
}

// For requests that are under way when a member of `service` gets no new ones.
void GiveTime(Step& step, const Service* service) {
  if (!service || service->update.drain == UpdatePolicy{}.drain) return;
  step.args["within_ms"] = std::to_string(service->update.drain.count());
  step.deadline += service->update.drain;
}

// No desired balancer knows a member that leaves any more: those that did go before its `stop`, and what they
// have under way to it is answered.
void Release(const std::vector<Balancer>& balancers, const Service* service, Step& stop,
             std::vector<Step>& wrapped) {
  const std::vector<std::string> needs = stop.needs;
  for (const Balancer& balancer : balancers) {
    if (balancer.knows.empty() || balancer.instance->service == stop.service) continue;
    stop.needs.push_back(balancer.knows);
    if (!balancer.serves || balancer.restarts) continue;
    Step dismiss = OrderTo(balancer, "dismiss", stop.instance, stop.reason);
    dismiss.after = "dismissed";
    GiveTime(dismiss, service);
    dismiss.needs = needs;
    dismiss.needs.push_back(balancer.knows);
    stop.needs.back() = dismiss.id;
    wrapped.push_back(std::move(dismiss));
  }
}

// A member that comes back on other ports is found there before its balancer has its new list of members.
void AddNewSeat(const Cluster& cluster, const Instance& member, const Situation& situation,
                const Balancer& balancer, Step& restore) {
  const auto observed = situation.observed.find(member.name);
  const Service* service = cluster.FindService(balancer.instance->service);
  if (observed == situation.observed.end() || !service) return;
  const auto same = [&](const char* part) {
    const auto was = observed->second.parts.find(part), is = member.parts.find(part);
    return was != observed->second.parts.end() && is != member.parts.end() && was->second == is->second;
  };
  if (same("ports") && same("address")) return;
  restore.args.merge(FindRecipe(service->kind)->layout->AdmissionOf(*service, cluster, member));
}

// Puts guests before the balancers once they are ready, and takes them away before they stop.
class Guests {
 public:
  Guests(const Cluster& cluster, const Desired& desired, const Situation& situation,
         const std::vector<Balancer>& balancers)
      : cluster_(cluster), situation_(situation), balancers_(balancers) {
    for (const Instance& guest : desired.guests) guests_[guest.name] = &guest;
  }

  // Adds `step` of a guest to `wrapped`, with what goes before or after it; who waits for it now waits for
  // `instead`.
  void Wrap(Step step, std::vector<Step>& wrapped,
            std::unordered_map<std::string, std::vector<std::string>>& instead) {
    if (step.verb == "stop") Dismiss(step, wrapped);
    std::vector<Step> admissions;
    if (step.verb == "start") admissions = Admissions(step);
    for (const Step& admit : admissions) instead[step.id].push_back(admit.id);
    wrapped.push_back(std::move(step));
    for (Step& admit : admissions) wrapped.push_back(std::move(admit));
  }

 private:
  std::vector<Step> Admissions(const Step& start) {
    std::vector<Step> admissions;
    const auto guest = guests_.find(start.instance);
    if (guest == guests_.end()) return admissions;
    for (const Balancer& balancer : balancers_) {
      const Service* service = cluster_.FindService(balancer.instance->service);
      if (!balancer.serves || !service) continue;
      const auto args = FindRecipe(service->kind)->layout->AdmissionOf(*service, cluster_, *guest->second);
      if (args.empty()) continue;
      Step admit = OrderTo(balancer, "admit", start.instance, start.reason);
      admit.args.insert(args.begin(), args.end());
      admit.after = "admitted";
      admit.put_back = "dismiss";
      admit.needs = {start.id};
      admitted_to_[start.instance].insert(admit.instance);
      admissions.push_back(std::move(admit));
    }
    return admissions;
  }

  void Dismiss(Step& stop, std::vector<Step>& wrapped) {
    std::vector<std::string> dismissed;
    for (const Balancer& balancer : balancers_) {
      const std::string& name = balancer.instance->name;
      const bool left = balancer.serves && IsTold(situation_, name, "guests", stop.instance);
      if (!left && !admitted_to_[stop.instance].contains(name)) continue;
      Step dismiss = OrderTo(balancer, "dismiss", stop.instance, stop.reason);
      dismiss.after = "dismissed";
      GiveTime(dismiss, cluster_.FindService(stop.service));
      dismiss.needs = stop.needs;
      dismissed.push_back(dismiss.id);
      wrapped.push_back(std::move(dismiss));
    }
    if (!dismissed.empty()) stop.needs = dismissed;
  }

  const Cluster& cluster_;
  const Situation& situation_;
  const std::vector<Balancer>& balancers_;
  std::unordered_map<std::string, const Instance*> guests_;
  std::unordered_map<std::string, std::set<std::string>> admitted_to_;  // guest -> balancers
};

// What earlier runs told the balancers and could not take back, as their agents were away.
void TakeBack(const std::vector<Balancer>& balancers, const Situation& situation, Steps& steps) {
  std::set<std::string> touched;  // members that balancers are told about by the steps that are there
  for (const auto& [service, list] : steps.by_service) {
    for (const Step& step : list) {
      const auto member = step.args.find("member");
      if (member != step.args.end()) touched.insert(member->second);
    }
  }
  for (const Balancer& balancer : balancers) {
    if (!balancer.serves || balancer.restarts) continue;
    std::vector<Step>& own = steps.by_service[balancer.instance->service];
    for (const auto& [fact, verb, after, reason] :
         {std::tuple("run", "restore", "restored", "an earlier run left it out"),
          std::tuple("guests", "dismiss", "dismissed", "an earlier run left it in")}) {
      for (const std::string& member : Told(situation, balancer.instance->name, fact)) {
        if (situation.held.contains(member) || touched.contains(member)) continue;
        Step step = OrderTo(balancer, verb, member, reason);
        step.after = after;
        own.push_back(std::move(step));
      }
    }
  }
}

// Nothing is started: who uses a service goes before it.
bool OnlyTakesAway(const Steps& steps) {
  const auto takes_away = [](const Step& step) {
    return step.verb == "stop" || step.verb == "remove" || step.verb == "drain";
  };
  return std::all_of(steps.by_service.begin(), steps.by_service.end(), [&](const auto& service) {
    return std::all_of(service.second.begin(), service.second.end(), takes_away);
  });
}

}  // namespace

void TakeOutOfBalancers(const Cluster& cluster, const Desired& desired, const Situation& situation,
                        Steps& steps) {
  std::unordered_map<std::string, std::vector<Balancer>> in_front_of;
  std::vector<Balancer> all;
  std::unordered_map<std::string, const Instance*> desired_of;
  for (const Instance& instance : desired.instances) desired_of[instance.name] = &instance;
  std::unordered_map<std::string, std::unordered_set<std::string>> ids;  // of steps, by service
  for (const Instance& instance : desired.instances) {
    if (instance.fronts.empty()) continue;
    Balancer balancer{.instance = &instance, .serves = false, .restarts = false, .knows = ""};
    const auto observed = situation.observed.find(instance.name);
    const bool ready =
        observed != situation.observed.end() && observed->second.state == InstanceState::kReady;
    auto [own, is_new] = ids.try_emplace(instance.service);
    if (is_new) own->second = IdsOf(steps.by_service[instance.service]);
    // One that restarts where it stands does so after its members, and serves until then.
    const bool stops = own->second.contains(instance.name + ".stop");
    balancer.restarts = stops && own->second.contains(instance.name + ".start") && ready &&
                        observed->second.host == instance.host;
    balancer.serves =
        ready && !situation.unreachable.contains(instance.host) && (!stops || balancer.restarts);
    for (const char* verb : {".reload", ".start"}) {
      if (balancer.knows.empty() && own->second.contains(instance.name + verb))
        balancer.knows = instance.name + verb;
    }
    for (const std::string& member : instance.fronts) in_front_of[member].push_back(balancer);
    all.push_back(balancer);
  }
  if (all.empty()) return;
  Guests guests(cluster, desired, situation, all);
  for (auto& [service, list] : steps.by_service) {
    const Service* of = cluster.FindService(service);
    std::vector<Step> wrapped;
    std::unordered_map<std::string, std::vector<std::string>> instead;  // start step -> restore steps
    const std::unordered_set<std::string> leaving = Leaving(list);
    const std::unordered_set<std::string> own = IdsOf(list);
    for (Step& step : list) {
      if (common::IsGuestName(service, step.instance)) {
        guests.Wrap(std::move(step), wrapped, instead);
        continue;
      }
      const auto balancers = in_front_of.find(step.instance);
      const auto member = desired_of.find(step.instance);
      const bool replaced = !leaving.contains(step.instance) && own.contains(step.instance + ".start") &&
                            own.contains(step.instance + ".stop");
      if (step.verb == "stop" && leaving.contains(step.instance)) {
        Release(all, of, step, wrapped);
        wrapped.push_back(std::move(step));
        continue;
      }
      const bool held = step.verb == "stop" && !replaced;
      const bool returns = step.verb == "start" && !replaced;  // after it was held, or a run that had failed
      if (balancers == in_front_of.end() || (!replaced && !held && !returns)) {
        wrapped.push_back(std::move(step));
        continue;
      }
      if (step.verb == "stop") {
        std::vector<std::string> drained;
        for (const Balancer& balancer : balancers->second) {
          if (!balancer.serves) continue;
          Step drain = OrderTo(balancer, "drain", step.instance, step.reason);
          drain.after = "drained";
          drain.put_back = "restore";
          GiveTime(drain, of);
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
          if (!balancer.serves ||
              (returns && !IsTold(situation, balancer.instance->name, "run", step.instance)))
            continue;
          Step restore = OrderTo(balancer, "restore", step.instance, step.reason);
          restore.after = "restored";
          restore.args["ready"] = "yes";  // seen by this run, perhaps before the mender has heard of it
          if (member != desired_of.end()) AddNewSeat(cluster, *member->second, situation, balancer, restore);
          restore.needs = {step.id};
          instead[step.id].push_back(restore.id);
          restores.push_back(std::move(restore));
        }
      }
      wrapped.push_back(std::move(step));
      for (Step& restore : restores) wrapped.push_back(std::move(restore));
    }
    for (Step& step : wrapped) {
      if (step.verb == "restore" || step.verb == "admit") continue;
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
  TakeBack(all, situation, steps);
}

void OrderServices(const Cluster& cluster, const Desired& desired, Steps& steps) {
  const bool backwards = OnlyTakesAway(steps);
  const auto after = Dependencies(cluster, desired);
  // Gates look at needs within a service only, so those are found before any edge between services is added.
  std::map<std::string, std::vector<std::string>> lasts;
  for (const auto& [service, list] : steps.by_service) lasts[service] = Lasts(list, backwards);
  for (const auto& [service, before] : after) {
    for (const std::string& other : before) {
      const std::string& first = backwards ? service : other;
      const std::string& second = backwards ? other : service;
      if (!steps.by_service.contains(first) || !steps.by_service.contains(second)) continue;
      Gate(steps.by_service[second], lasts[first], backwards);
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
