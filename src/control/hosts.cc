// The part of the Controller that decides which hosts have agents, and knows who stands where on them.
#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "api/json.h"
#include "base/text.h"
#include "control/controller.h"
#include "control/places.h"

namespace muster::control {

Agents::Wanted Controller::WantedFor(const Host& host) const {
  // The last of 127.77.BLOCK.NUMBER.
  const int number = row_.rehearsal ? std::atoi(host.address.c_str() + host.address.rfind('.') + 1) : 0;
  return {.cluster = row_.key,
          .host = host.name,
          .address = host.address,
          .epoch = row_.epoch,
          .rehearsal = row_.rehearsal,
          .block = row_.block,
          .host_number = number};
}

std::set<std::string> Controller::HostsInUse(const plan::Desired& desired) const {
  std::set<std::string> hosts;
  for (const auto& [name, place] : desired.placement) hosts.insert(place.host);
  for (const Instance& one : desired.returning) hosts.insert(one.host);
  return hosts;
}

void Controller::WantHosts(const std::set<std::string>& hosts) {
  for (const Host& host : cluster_.hosts) {
    if (!hosts.contains(host.name)) continue;
    const Agents::Wanted wanted = WantedFor(host);
    hosts_[host.name] = wanted;
    deps_.agents->Want(wanted);
  }
  KeepHosts();
}

void Controller::KeepHosts() {
  Kept kept = std::move(kept_);
  kept.hosts.clear();
  for (const auto& [name, host] : hosts_) {
    kept.hosts[name] = {.address = host.address, .number = host.host_number};
    if (host.rehearsal) kept.numbers[name] = host.host_number;
  }
  Keep(std::move(kept));
}

// Lets those agents go whose hosts have nothing of this cluster any more.
void Controller::ReleaseIdleHosts() {
  if (going_down()) return;  // what stands on the silent ones is not known
  std::set<std::string> needed = HostsInUse(desired_);
  for (const auto& [name, observed] : observed_) {
    if (observed.state != InstanceState::kAbsent) needed.insert(observed.host);
  }
  needed.insert(kept_.cut.begin(), kept_.cut.end());
  const size_t before = hosts_.size();
  std::erase_if(hosts_, [&](const auto& host) {
    if (needed.contains(host.first)) return false;
    deps_.agents->Release(row_.key, host.first);
    return true;
  });
  if (hosts_.size() == before || row_.revision == 0) return;
  KeepHosts();
  (void)deps_.store->PutCluster(row_);
}

// Of all that stands, and what may: nobody else is given its name or its seat.
Result<Placement> Controller::Places() const {
  Placement recorded;
  const auto json = nlohmann::json::parse(row_.placement, nullptr, false);
  if (json.is_object()) {
    MUSTER_TRY(recorded, api::PlacementFrom(json));
  }
  return WithUnknown(std::move(recorded), observed_);
}

// Who went down before others had what only it may have comes up once more.
Status Controller::BringBack(const Cluster& cluster, const Placement& so_far,
                             const plan::SecretDigests& digests, plan::Desired& desired) const {
  const auto names = Returning(so_far, desired.placement, Giving(cluster), down(), observed_);
  if (names.empty()) return Done();
  MUSTER_DO(plan::LayOutReturning(cluster, so_far, names, digests, desired));
  if (!down() || desired.left_behind.empty()) return Done();
  return Error::Refused("data-left-behind",
                        "{} went down with data that nobody else may have, and the file has no host for that",
                        Join(desired.left_behind, ", "))
      .Hint(
          "bring it up with the hosts that it had, and take them out once all is settled: up goes on without "
          "one that is silent; muster down --delete-data gives all of it up");
}

// Whether rules count with it: it may have what nobody else has, and is still to come, or its host to tell.
bool Controller::IsAwaited(const Instance& returning) const {
  const auto seen = observed_.find(returning.name);
  if (seen != observed_.end() && seen->second.state != InstanceState::kAbsent) return false;
  return !heard_.contains(returning.host) || run_.machine;
}

// Who came up once more for what it has: others take it now.
void Controller::LetLeave() {
  const bool any =
      std::any_of(desired_.returning.begin(), desired_.returning.end(), [&](const Instance& one) {
        const auto seen = observed_.find(one.name);
        return seen != observed_.end() && seen->second.state != InstanceState::kAbsent;
      });
  if (!any) return;
  if (!idle() || down() || going_down() || !IsBroughtUp()) return;
  ConvergeBecause("who came up once more leaves");
}

// All that is wanted stands.
void Controller::ForgetFormer() {
  const auto places = Places();
  if (!places.ok()) return;
  row_.placement = api::ToJson(OnceBroughtUp(*places, observed_, heard_)).dump();
}

}  // namespace muster::control
