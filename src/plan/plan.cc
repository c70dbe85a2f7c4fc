#include "plan/plan.h"

#include <algorithm>
#include <unordered_map>

#include "base/digest.h"
#include "base/text.h"
#include "plan/explain.h"
#include "plan/hash.h"
#include "plan/order.h"
#include "plan/ports.h"
#include "plan/returning.h"
#include "plan/secrets.h"
#include "recipes/common/placement.h"
#include "recipes/recipe.h"

namespace muster::plan {
namespace {

struct Group {
  const Service* service = nullptr;
  std::vector<Instance> desired;
  std::vector<Instance> guests;
  std::map<std::string, Observed> observed;
};

// Members by service, of services that the file has and of those that it has no more.
std::map<std::string, Group> GroupByService(const Cluster& cluster, const Desired& desired,
                                            const Situation& situation) {
  std::map<std::string, Group> groups;
  for (const Service& service : cluster.services) groups[service.name].service = &service;
  for (const Instance& instance : desired.instances) groups[instance.service].desired.push_back(instance);
  for (const Instance& guest : desired.guests) groups[guest.service].guests.push_back(guest);
  for (const auto& [name, observed] : situation.observed)
    groups[observed.service].observed.emplace(name, observed);
  return groups;
}

Status CheckReach(const Service& service, const Cluster& cluster, const Situation& situation) {
  const auto hosts = common::HostsOf(service, cluster);
  std::vector<std::string> missing;
  for (const Host* host : hosts) {
    if (situation.unreachable.contains(host->name)) missing.push_back(host->name);
  }
  if (missing.empty()) return Done();
  const auto total = static_cast<int>(hosts.size());
  int needed = std::max(1, total - 1);  // all but one
  switch (service.require.kind) {
    case Require::Kind::kDefault:
      if (service.settings.Bool("quorum", false)) needed = total / 2 + 1;
      break;
    case Require::Kind::kAll:
      needed = total;
      break;
    case Require::Kind::kQuorum:
      needed = total / 2 + 1;
      break;
    case Require::Kind::kNumber:
      needed = std::min(service.require.number, total);
      break;
  }
  const int here = total - static_cast<int>(missing.size());
  if (here >= needed) return Done();
  const char* back = missing.size() == 1 ? "bring the host back" : "bring the hosts back";
  Error refused = Error::Refused(
      "require-not-met", "{} needs {} of its {} hosts, and only {} answer: {} {} silent", service.name,
      needed, total, here, Join(missing, ", "), missing.size() == 1 ? "is" : "are");
  // Without any host no `require` helps.
  if (here == 0) return std::move(refused).Hint("{}, or give {} others: `hosts`", back, service.name);
  return std::move(refused).Hint("{}, or set `require: {}` on {}", back, here, service.name);
}

// Everything away: those that depend on others first.
void RemoveAll(std::map<std::string, Group>& groups, const Situation& situation, Steps& steps) {
  for (auto& [name, group] : groups) {
    std::unordered_map<std::string, Duration> stop_within;
    for (const Instance& desired : group.desired) stop_within[desired.name] = desired.stop_timeout + 10s;
    for (const auto& [instance, observed] : group.observed) {
      if (situation.unreachable.contains(observed.host)) continue;
      Step stop{.id = instance + ".stop",
                .instance = instance,
                .service = name,
                .host = observed.host,
                .verb = "stop"};
      stop.reason = "the cluster goes down";
      stop.impact = Impact::kRestart;
      stop.after = "stopped";
      const auto within = stop_within.find(instance);
      stop.deadline = within == stop_within.end() ? Duration(90s) : within->second;
      Step remove{.id = instance + ".remove",
                  .instance = instance,
                  .service = name,
                  .host = observed.host,
                  .verb = "remove"};
      remove.reason = stop.reason;
      remove.args["delete_data"] = situation.delete_data ? "yes" : "no";
      remove.impact = situation.delete_data ? Impact::kRebuild : Impact::kRestart;
      remove.after = "removed";
      remove.needs = {stop.id};
      remove.deadline = 120s;
      steps.by_service[name].push_back(std::move(stop));
      steps.by_service[name].push_back(std::move(remove));
    }
  }
}

void ChangeAll(const Cluster& cluster, std::map<std::string, Group>& groups, const Situation& situation,
               Plan& plan, Steps& steps) {
  const std::vector<std::string> unreachable(situation.unreachable.begin(), situation.unreachable.end());
  for (auto& [name, group] : groups) {
    static const Service kGone;
    Service gone = kGone;
    gone.name = name;
    const Service* service = group.service ? group.service : &gone;
    // A service that the file has no more only goes away: any recipe's change does that alike.
    const Recipe* recipe = FindRecipe(group.service ? group.service->kind : "app");
    if (!recipe) continue;
    Change::Input input{.service = service,
                        .cluster = &cluster,
                        .desired = &group.desired,
                        .observed = &group.observed,
                        .guests = std::move(group.guests),
                        .held = situation.held,
                        .unreachable = unreachable,
                        .restart = {},
                        .refresh = situation.refresh,
                        .same_file = situation.same_file,
                        .unfinished = situation.unfinished,
                        .act = situation.act};
    for (const Instance& instance : group.desired) {
      if (situation.restart.contains(instance.name) || situation.restart.contains(instance.service)) {
        input.restart.push_back(instance.name);
      }
    }
    Change::Output output = recipe->change->StepsFor(input);
    steps.by_service[name] = std::move(output.steps);
    plan.notes.insert(plan.notes.end(), output.notes.begin(), output.notes.end());
    plan.outages.insert(plan.outages.end(), output.outages.begin(), output.outages.end());
    plan.renderer_only += output.renderer_only;
  }
}

// Two members on one address may not share a port. The check of the file sees a fresh placement only; members
// that stand keep their slots, so a port that is free there may be taken here.
Status CheckPlacedPorts(const Cluster& cluster, const Placement& placement) {
  struct Taken {
    int first, last;
    const std::string* instance;
  };
  std::unordered_map<std::string, const Host*> hosts;
  for (const Host& host : cluster.hosts) hosts[host.name] = &host;
  std::map<std::pair<std::string, bool>, std::vector<Taken>> by_address;
  for (const auto& [name, place] : placement) {
    const auto host = hosts.find(place.host);
    if (host == hosts.end()) continue;
    for (const auto& [port, range] : place.ports) {
      by_address[{host->second->address, range.udp}].push_back(
          {range.first, range.first + range.count - 1, &name});
    }
  }
  for (auto& [address, taken] : by_address) {
    std::sort(taken.begin(), taken.end(), [](const Taken& a, const Taken& b) { return a.first < b.first; });
    for (size_t i = 1; i < taken.size(); ++i) {
      if (taken[i].first > taken[i - 1].last) continue;
      return Error::Conflict("port-twice", "port {} at {} is wanted by {} and {}", taken[i].first,
                             address.first, *taken[i - 1].instance, *taken[i].instance)
          .Hint("give one of the services another port: what stands keeps the ports it has");
    }
  }
  return Done();
}

UsedPorts PortsInUse(const Cluster& cluster, const Placement& so_far, const Placement& placement) {
  std::unordered_map<std::string, const Host*> hosts;
  for (const Host& host : cluster.hosts) hosts[host.name] = &host;
  UsedPorts used;
  for (const Placement* places : {&so_far, &placement}) {
    for (const auto& [name, place] : *places) {
      const auto host = hosts.find(place.host);
      if (host == hosts.end()) continue;
      for (const auto& [port, range] : place.ports) {
        for (int i = 0; i < range.count; ++i) used.emplace(host->second->address, range.udp, range.first + i);
      }
    }
  }
  return used;
}

// Guests stand beside all that is there now and all that will be.
Status LayOutGuests(const Cluster& cluster, const Placement& so_far, const SecretDigests& secrets,
                    Desired& desired, std::set<std::string>& unset) {
  std::optional<UsedPorts> used;
  for (const Service& service : cluster.services) {
    if (service.update.max_surge.amount <= 0) continue;
    if (!used) used = PortsInUse(cluster, so_far, desired.placement);
    const Layout& layout = *FindRecipe(service.kind)->layout;
    const int members = static_cast<int>(common::MembersOf(desired.placement, service.name).size());
    const Placement guests = layout.PlaceGuests(service, cluster, desired.placement, *used,
                                                2 * service.update.max_surge.RoundUp(members));
    if (guests.empty()) continue;
    used->merge(PortsInUse(cluster, {}, guests));
    Placement whole = desired.placement;
    whole.insert(guests.begin(), guests.end());
    MUSTER_TRY(std::vector<Instance> laid_out, layout.LayOut(service, cluster, whole));
    for (Instance& guest : laid_out) {
      if (!guests.contains(guest.name)) continue;
      guest.renderer = kRendererVersion;
      SetHashes(guest, secrets, unset);
      desired.guests.push_back(std::move(guest));
    }
  }
  return Done();
}

std::string PlanId(const Plan& plan, const Desired& desired, const Situation& situation) {
  Digest digest;
  digest.Add(plan.cluster).Add(plan.revision);
  for (const Instance& instance : desired.instances) digest.Add(instance.name).Add(instance.hash);
  for (const auto& [instance, drift] : plan.drift) digest.Add(instance).Add(drift.path).Add(drift.what);
  for (const Step& step : plan.steps) {
    digest.Add(step.id).Add(step.reason).Add(ImpactName(step.impact));
    for (const auto& [key, value] : step.args) digest.Add(key).Add(value);
    for (const std::string& need : step.needs) digest.Add(need);
  }
  for (const auto& [name, observed] : situation.observed) {
    digest.Add(name).Add(observed.hash).Add(observed.running_hash).Add(StateName(observed.state));
  }
  return digest.Hex().substr(0, 12);
}

// Whoever renames a service would look for it in vain.
void NoteDataLeft(const Situation& situation, Plan& plan) {
  std::vector<std::string> leaving;
  for (const Step& step : plan.steps) {
    const auto observed = situation.observed.find(step.instance);
    if (step.verb != "remove" || observed == situation.observed.end()) continue;
    if (common::IsGuestName(step.service, step.instance)) continue;
    if (observed->second.facts.contains(kDataFact)) leaving.push_back(step.instance);
  }
  if (leaving.empty()) return;
  constexpr size_t kNamed = 8;
  const size_t more = leaving.size() - std::min(leaving.size(), kNamed);
  leaving.resize(leaving.size() - more);
  plan.notes.push_back(fmt::format("the data of {}{} stays; only members of the same names find it again",
                                   Join(leaving, ", "), more ? fmt::format(" and {} more", more) : ""));
}

// What muster didn't make it doesn't delete.
void NoteDataElsewhere(const Situation& situation, Plan& plan) {
  std::vector<std::string> stays;
  for (const Step& step : plan.steps) {
    const auto observed = situation.observed.find(step.instance);
    if (step.verb != "remove" || observed == situation.observed.end()) continue;
    const auto data = observed->second.facts.find(kDataElsewhere);
    if (data != observed->second.facts.end())
      stays.push_back(fmt::format("{} ({})", step.instance, data->second));
  }
  if (stays.empty()) return;
  plan.notes.push_back(
      fmt::format("data that was there before muster stays where it is: {}", Join(stays, ", ")));
}

}  // namespace

Result<Desired> LayOutCluster(const Cluster& cluster, const Placement& so_far, const SecretDigests& secrets) {
  Desired desired;
  std::unordered_map<std::string, Placement> by_service;
  for (const auto& [name, place] : so_far) by_service[place.service].emplace(name, place);
  for (const Service& service : cluster.services) {
    const Recipe* recipe = FindRecipe(service.kind);
    if (!recipe) return Error::Invalid("unknown-kind", "there is no kind {}", service.kind);
    MUSTER_TRY(Placement places, recipe->layout->PlaceMembers(service, cluster, by_service[service.name]));
    desired.placement.merge(places);
  }
  MUSTER_DO(CheckPlacedPorts(cluster, desired.placement));
  std::set<std::string> unset;
  for (const Service& service : cluster.services) {
    MUSTER_TRY(std::vector<Instance> members,
               FindRecipe(service.kind)->layout->LayOut(service, cluster, desired.placement));
    for (Instance& member : members) {
      member.renderer = kRendererVersion;
      SetHashes(member, secrets, unset);
      desired.instances.push_back(std::move(member));
    }
  }
  MUSTER_DO(LayOutGuests(cluster, so_far, secrets, desired, unset));
  if (!unset.empty()) return SecretsMissing(cluster, unset);
  return desired;
}

Result<Plan> MakePlan(const Cluster& cluster, const Desired& desired, const Situation& situation) {
  Plan plan;
  plan.cluster = cluster.key();
  plan.revision = situation.revision;
  plan.unreachable.assign(situation.unreachable.begin(), situation.unreachable.end());
  std::map<std::string, Group> groups = GroupByService(cluster, desired, situation);
  Steps steps;
  if (situation.remove_all) {
    RemoveAll(groups, situation, steps);
  } else {
    for (const Service& service : cluster.services) MUSTER_DO(CheckReach(service, cluster, situation));
    ChangeAll(cluster, groups, situation, plan, steps);
    StartReturning(cluster, desired, situation, steps.by_service, plan);
    for (const auto& [name, observed] : situation.observed) {
      if (observed.drift.empty()) continue;
      const auto wanted = std::find_if(desired.instances.begin(), desired.instances.end(),
                                       [&name = name](const Instance& one) { return one.name == name; });
      const Instance* instance = wanted == desired.instances.end() ? nullptr : &*wanted;
      for (Drift& drift : ShownDrift(instance, observed.drift))
        plan.drift.emplace_back(name, std::move(drift));
    }
    TakeOutOfBalancers(cluster, desired, situation, steps);
  }
  OrderServices(cluster, desired, steps);
  if (!situation.remove_all) MUSTER_DO(HandPortsOver(desired, situation, steps, plan.outages));
  for (const std::string& host : plan.unreachable) {
    plan.notes.push_back(host + (situation.remove_all
                                     ? " does not answer: what stands there is not taken down yet"
                                     : " does not answer: it is left out, and converges when it is back"));
  }
  size_t count = 0;
  for (const auto& [service, list] : steps.by_service) count += list.size();
  plan.steps = InOrder(cluster, std::move(steps));
  if (plan.steps.size() != count) {
    return Error::Refused("plan-circle", "{} steps wait for each other in a circle",
                          count - plan.steps.size())
        .Hint("a service may not use the load balancer in front of it: remove that from `uses:`");
  }
  if (!situation.remove_all) NoteDataLeft(situation, plan);
  NoteDataElsewhere(situation, plan);
  plan.id = PlanId(plan, desired, situation);
  return plan;
}

}  // namespace muster::plan
