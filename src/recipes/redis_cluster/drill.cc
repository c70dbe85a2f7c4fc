#include "recipes/redis_cluster/drill.h"

#include "recipes/redis/drill_client.h"
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
  return redis::MakeClusterDrillClient(redis::DrillSetupOf(std::move(setup)));
}

}  // namespace muster::redis_cluster
