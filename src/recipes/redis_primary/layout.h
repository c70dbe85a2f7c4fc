// What a Redis primary and its replicas put on their hosts, and how their part of the cluster file is read.
// Internal to recipes/redis_primary. Pure. Who is primary isn't laid out: it changes, and is the mender's.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "recipes/recipe.h"
#include "recipes/redis/conf.h"
#include "recipes/redis/member_layout.h"

namespace muster::redis_primary {

using redis::kMainPort;

// A member starts as a replica of this address, to which no TCP connection can be made: the kernel refuses
// broadcast addresses. So it takes no write, and nobody can copy from it, until it is told who it is. See
// docs/decisions/0010.
inline constexpr const char* kFenceHost = "255.255.255.255";
inline constexpr int kFencePort = 1;

class RedisPrimaryLayout : public Layout {
 public:
  std::string_view kind() const override { return "redis"; }
  Shape SettingsShape() const override;
  std::vector<Finding> Check(const Service& service, const Cluster& cluster, WallTime now) const override;
  Result<Placement> PlaceMembers(const Service& service, const Cluster& cluster,
                                 const Placement& so_far) const override;
  // Code "host-missing" for a place on a host that the cluster doesn't have.
  Result<std::vector<Instance>> LayOut(const Service& service, const Cluster& cluster,
                                       const Placement& placement) const override;
  // "endpoints": host:port of all members, "endpoints.port" the same.
  std::optional<std::string> Export(std::string_view word, const Service& service, const Cluster& cluster,
                                    const Placement& placement) const override;
  Impact ImpactOf(std::string_view part) const override;
};

// What the file wants, with what it leaves out filled in. The shape has been checked before.
int ReplicasOf(const Service& service);
Duration LeaseOf(const Service& service);
std::map<std::string, PortRange> PortsOf(const Service& service);
redis::ConfSettings SettingsOf(const Service& service);
std::string PreferOf(const Service& service);   // a host, "" none
std::string WitnessOf(const Service& service);  // a host, "" none

// Those that count for a majority: of members, and the witness.
std::set<std::string> CountedHosts(const Service& service, const std::vector<Instance>& members);

// What the agent of a member has to know to keep its lease; in Instance::extra, so that it comes along.
struct LeaseTerms {
  Duration lease = 3s;
  int hosts = 1;  // that count for a majority: those with a member, and the witness
  struct Peer {
    std::string host, address;
    int port = 0;
  };
  std::vector<Peer> peers;  // the other members
};
LeaseTerms LeaseTermsOf(const Instance& instance);
// As a fact of the member, "3000 3 h2,h3": the lease in ms, how many hosts count, the peers' hosts.
std::string FormatLeaseTerms(const LeaseTerms& terms);
LeaseTerms ParseLeaseTerms(
    const std::string& fact);  // peers without addresses; hosts 0 where it says nothing

}  // namespace muster::redis_primary
