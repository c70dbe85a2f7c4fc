#include "recipes/redis_cluster/drill.h"

#include "recipes/redis/drill_client.h"
#include "recipes/redis_cluster/node.h"
#include "recipes/redis_cluster/picture.h"

namespace muster::redis_cluster {

std::vector<std::string> DrillPrimaries(const std::vector<Instance>& desired,
                                        const std::map<std::string, Observed>& observed) {
  if (desired.empty()) return {};
  const Picture picture = PictureOf(desired.front().service, desired, observed);
  std::vector<std::string> primaries;
  for (const Shard& shard : picture.shards) {
    if (shard.alive && !shard.slots.empty()) primaries.push_back(shard.master);
  }
  return primaries;
}

std::shared_ptr<DrillClient> MakeDrillClient(DrillClient::Setup setup) {
  redis::DrillSetup redis{.loop = setup.loop,
                          .nodes = {},
                          .password = "",
                          .name = std::move(setup.name),
                          .forget_after = setup.forget_after};
  for (const Instance& member : setup.members) {
    Access access = AccessOf(member);
    redis.nodes.push_back({std::move(access.host), access.port});
    redis.password = std::move(access.password);
  }
  return redis::MakeClusterDrillClient(std::move(redis));
}

}  // namespace muster::redis_cluster
