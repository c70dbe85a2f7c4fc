// What is wrong with a Redis of one primary though its shape is right.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "recipes/common/placement.h"
#include "recipes/common/values.h"
#include "recipes/redis/data_check.h"
#include "recipes/redis/member_check.h"
#include "recipes/redis_primary/layout.h"

namespace muster::redis_primary {
namespace {

constexpr Duration kLeaseLeast = 1s;

class Checker : redis::MemberChecker {
 public:
  Checker(const Service& service, const Cluster& cluster) : MemberChecker(service, cluster) {}

  std::vector<Finding> Findings() {
    CheckProtectedMode();
    CheckMember(PortsOf(service_), SettingsOf(service_));
    CheckPlaces();
    CheckLease();
    CheckRoles();
    return std::move(findings_);
  }

 private:
  // The hosts that get a member: the first of the service's.
  std::vector<std::string> MemberHosts() const {
    std::vector<std::string> names;
    for (const Host* host : common::HostsOf(service_, cluster_)) names.push_back(host->name);
    names.resize(std::min(names.size(), static_cast<size_t>(1 + ReplicasOf(service_))));
    return names;
  }

  void CheckPlaces() {
    const std::vector<std::string> hosts = MemberHosts();
    const auto has = [&](const std::string& host) {
      return std::find(hosts.begin(), hosts.end(), host) != hosts.end();
    };
    if (const std::string prefer = PreferOf(service_); !prefer.empty() && !has(prefer)) {
      Report("prefer-elsewhere", settings_.Find("prefer"),
             fmt::format("{} has no member on {}: its members stand on {}", service_.name, prefer,
                         Join(hosts, ", ")),
             fmt::format("write one of these, or name {} first in the service's hosts", prefer));
    }
    const std::string witness = WitnessOf(service_);
    if (!witness.empty() && !cluster_.FindHost(witness)) {
      Report("unknown-host", settings_.Find("witness"), fmt::format("there is no host {}", witness),
             "write the name of a host of this cluster");
    } else if (!witness.empty() && has(witness)) {
      Report("witness-has-member", settings_.Find("witness"),
             fmt::format("{} has a member of {}, so it counts already", witness, service_.name),
             "write a host without a member of it, or leave witness out");
    } else if (!witness.empty() && hosts.size() % 2 == 1) {
      Report(
          "witness-useless", settings_.Find("witness"),
          fmt::format("{} stands on {} host{}: with a witness a majority is one more, and no easier to reach",
                      service_.name, hosts.size(), hosts.size() == 1 ? "" : "s"),
          "leave witness out", Severity::kWarning);
    } else if (witness.empty() && hosts.size() == 2 && !cluster_.hosts_left_out) {
      Report(
          "no-majority", settings_.Find("replicas"),
          fmt::format("{} stands on two hosts: when the primary's host falls silent nobody can tell whether "
                      "it is gone or cut off, and muster leaves its replica as it is until a person says so",
                      service_.name),
          "name a third host as witness, or have two replicas on three hosts", Severity::kWarning);
    }
    if (hosts.size() == 1 && ReplicasOf(service_) > 0 && !cluster_.hosts_left_out) {
      Report("replica-beside-master", settings_.Find("hosts"),
             fmt::format("all of {} stands on {}: the replicas go down with their primary", service_.name,
                         hosts[0]),
             "give it two hosts or more", Severity::kWarning);
    }
  }

  void CheckLease() {
    const Value* lease = settings_.Find("lease");
    if (!lease || LeaseOf(service_) >= kLeaseLeast) return;
    Report("bad-value", lease, fmt::format("a lease of {} is lost whenever a machine is busy", lease->text),
           "write at least 1s; 3s is usual");
  }

  void CheckRoles() {
    const Value* written = settings_.Find("settings");
    if (!written) return;
    const redis::ConfSettings values = SettingsOf(service_);
    for (const char* name : {"replica-read-only", "replica-announced"}) {
      const auto found = values.find(name);
      if (found == values.end() || found->second != std::vector<std::string>{"no"}) continue;
      const Value* value = nullptr;
      for (const Value::Entry& entry : written->entries) {
        if (entry.key.ends_with(std::string_view(name).substr(std::string_view("replica").size())))
          value = &entry.value;
      }
      Report("redis-setting-owned", value,
             fmt::format("{}: no would keep muster from telling who takes writes and who follows", name),
             "leave it out");
    }
  }
};

}  // namespace

std::vector<Finding> RedisPrimaryLayout::Check(const Service& service, const Cluster& cluster,
                                               WallTime /*now*/) const {
  std::vector<Finding> findings = Checker(service, cluster).Findings();
  const std::string then =
      ReplicasOf(service) > 0
          ? "a linked replica is primary at once and fills it again; what was written while none was linked, "
            "nobody has any more"
          : "nobody else has what was written";
  redis::CheckAppendOnly(service, SettingsOf(service), then, findings);
  return findings;
}

}  // namespace muster::redis_primary
