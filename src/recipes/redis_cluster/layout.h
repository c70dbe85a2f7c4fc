// What a Redis Cluster puts on its hosts, and how its part of the cluster file is read. Internal to
// recipes/redis_cluster. Pure. Who is master and who replica isn't laid out: it changes, and is the mender's.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "recipes/recipe.h"
#include "recipes/redis/conf.h"
#include "recipes/redis/member_layout.h"

namespace muster::redis_cluster {

using redis::kConfigFile;
using redis::kMainPort;
using redis::kSecretFile;
using redis::kSetting;
inline constexpr const char* kBusPort = "bus";  // beside kMainPort
inline constexpr int kBusOffset = 10000;        // as Redis has it

class RedisClusterLayout : public Layout {
 public:
  std::string_view kind() const override { return "redis-cluster"; }
  Shape SettingsShape() const override;
  std::vector<Finding> Check(const Service& service, const Cluster& cluster, WallTime now) const override;
  Result<Placement> PlaceMembers(const Service& service, const Cluster& cluster,
                                 const Placement& so_far) const override;
  // Code "host-missing" for a place on a host that isn't there; what the file can have wrong, Check has told.
  Result<std::vector<Instance>> LayOut(const Service& service, const Cluster& cluster,
                                       const Placement& placement) const override;
  // "endpoints": host:port of all members; also "endpoints.port" and "endpoints.bus".
  std::optional<std::string> Export(std::string_view word, const Service& service, const Cluster& cluster,
                                    const Placement& placement) const override;
  Impact ImpactOf(std::string_view part) const override;
};

// What the file wants of it, with what it leaves out filled in. The shape has been checked before.
int MastersOf(const Service& service);
int ReplicasOf(const Service& service);     // of each master
int MembersWanted(const Service& service);  // or as many as the file lists, where those are more
bool SpreadsSlots(const Service& service);  // `slots: even`
std::map<std::string, PortRange> PortsOf(const Service& service);

// Of redis.conf, by today's names: the file's `settings`, `node_timeout`, and muster's own where the file has
// none.
redis::ConfSettings SettingsOf(const Service& service);

// After so long a replica has certainly taken over from a master that is gone, if only by Redis' own vote.
Duration SuccessorWithin(const redis::ConfSettings& values);

// An entry of `members`: where one stands that was there before muster, or that has to stand there.
struct ListedMember {
  std::string host;  // "" where several could be meant
  int port = 0;
  std::string data;                          // the folder of its data; "": muster's own
  std::map<std::string, std::string> files;  // what its files are called there, by setting: "dbfilename"
  const Value* value = nullptr;              // the service's
};
std::vector<ListedMember> ListedMembers(const Service& service, const Cluster& cluster);

}  // namespace muster::redis_cluster
