// What is wrong with a Redis Cluster though its shape is right.
#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <tuple>

#include "recipes/common/placement.h"
#include "recipes/common/values.h"
#include "recipes/redis/data_check.h"
#include "recipes/redis/member_check.h"
#include "recipes/redis_cluster/layout.h"

namespace muster::redis_cluster {
namespace {

constexpr int kMastersLeast = 3;
constexpr size_t kHostsForVotes = 3;

class Checker : redis::MemberChecker {
 public:
  Checker(const Service& service, const Cluster& cluster) : MemberChecker(service, cluster) {}

  std::vector<Finding> Findings() {
    CheckNumbers();
    CheckPort();
    CheckSurge();
    CheckMembers();
    CheckSpread();
    CheckNodeTimeout();
    CheckProtectedMode();
    CheckMember(PortsOf(service_), SettingsOf(service_));
    common::CheckDuration(settings_.Find("node_timeout"), "everybody would be taken for dead at once",
                          "write how long a member may be silent, such as 5s", findings_);
    return std::move(findings_);
  }

 private:
  void CheckNumbers() {
    const int masters = MastersOf(service_);
    if (masters >= kMastersLeast) return;
    Report("too-few-masters", settings_.Find("masters"),
           fmt::format(
               "{} has {} master{}: without a majority of three nobody can be voted for, and Redis forms "
               "no cluster",
               service_.name, masters, masters == 1 ? "" : "s"),
           "write masters: 3");
  }

  void CheckPort() {
    const int bus = PortsOf(service_).at(kBusPort).first;
    if (bus <= 65535) return;
    Report("out-of-range", settings_.Find("port"),
           fmt::format("the cluster bus of {} would have the port {}", service_.name, bus),
           "write a port below 55536: the bus is on the port 10000 above it");
  }

  void CheckSurge() {
    if (service_.update.max_surge.amount <= 0) return;
    const Value* update = settings_.Find("update");
    Report(
        "surge-identity", update ? update->Find("max_surge") : nullptr,
        fmt::format("{} can't have more members for a while: each has an identity and data", service_.name),
        "remove max_surge: a replica stands in for each master that restarts");
  }

  void CheckMembers() {
    const auto hosts = common::HostsOf(service_, cluster_);
    std::set<std::pair<std::string, int>> ports;
    std::set<std::tuple<std::string, std::string, std::string>> folders;
    for (const ListedMember& member : ListedMembers(service_, cluster_)) {
      const bool known = std::any_of(hosts.begin(), hosts.end(),
                                     [&](const Host* host) { return host->name == member.host; });
      const Value* place = member.value->Find("host") ? member.value->Find("host") : member.value;
      if (!known) {
        Report("unknown-host", place,
               member.host.empty() ? "on which host?"
                                   : fmt::format("{} has no host {}", service_.name, member.host),
               hosts.empty() ? "define it under hosts" : fmt::format("write host: {}", hosts[0]->name));
      }
      if (member.port + kBusOffset > 65535) {
        Report("out-of-range", member.value->Find("port"),
               fmt::format("the cluster bus of this member would have the port {}", member.port + kBusOffset),
               "write a port below 55536: the bus is on the port 10000 above it");
      }
      if (!ports.emplace(member.host, member.port).second) {
        Report("member-twice", member.value,
               fmt::format("two members would have the port {} of {}", member.port, member.host),
               "keep one of them");
      }
      const auto nodes = member.files.find("cluster-config-file");
      const std::string file = nodes == member.files.end() ? "nodes.conf" : nodes->second;
      if (!member.data.empty() && !folders.emplace(member.host, member.data, file).second) {
        Report("member-twice", member.value,
               fmt::format("two members would have the data in {}", member.data), "keep one of them");
      }
    }
  }

  void CheckSpread() {
    const auto hosts = common::HostsOf(service_, cluster_);
    // Of a rehearsal all hosts fail at once; the file is asked about them without --rehearse.
    if (cluster_.hosts_left_out || cluster_.rehearsal) return;
    if (hosts.size() == 1 && ReplicasOf(service_) > 0) {
      Report("replica-beside-master", settings_.Find("hosts"),
             fmt::format("all of {} stands on {}: the replicas go down with their masters", service_.name,
                         hosts[0]->name),
             "give it two hosts or more", Severity::kWarning);
    } else if (hosts.size() > 1 && hosts.size() < kHostsForVotes) {
      Report(
          "quorum-on-one-host", settings_.Find("hosts"),
          fmt::format("{} has {} hosts, so the loss of one can take the majority of its masters: nobody is "
                      "voted for then, and only muster can bring the replicas in",
                      service_.name, hosts.size()),
          "spread it over at least three hosts", Severity::kWarning);
    }
  }

  void CheckNodeTimeout() {
    const Value* timeout = settings_.Find("node_timeout");
    const Value* written = settings_.Find("settings");
    if (timeout && written && written->Find("cluster-node-timeout")) {
      Report("bad-value", timeout, "both node_timeout and cluster-node-timeout are given",
             "keep one of them");
    }
  }
};

}  // namespace

std::vector<Finding> RedisClusterLayout::Check(const Service& service, const Cluster& cluster,
                                               WallTime /*now*/) const {
  std::vector<Finding> findings = Checker(service, cluster).Findings();
  const Value* restart = service.settings.Find("restart");
  const std::string then =
      restart && restart->Find("first")
          ? "its replica copies that where it starts again, after restart.first, before one has taken over"
          : fmt::format("a master is started again only once a replica has certainly taken over, after {}",
                        FormatDuration(SuccessorWithin(SettingsOf(service))));
  redis::CheckAppendOnly(service, SettingsOf(service), then, findings);
  return findings;
}

}  // namespace muster::redis_cluster
