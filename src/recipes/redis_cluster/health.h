// How a Redis Cluster is, told from the facts of all its members. Internal to recipes/redis_cluster. Pure.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "recipes/recipe.h"

namespace muster::redis_cluster {

// Red where slots are out or refuse writes, yellow where a shard has too few replicas or a member isn't well.
// `unsettled` where the members don't all see the same, or slots are on their way.
ServiceHealth HealthOf(const std::vector<Instance>& desired, const std::map<std::string, Observed>& observed);

// "primary of 0-5460", "replica of cache-1, 0 B behind"; of ready members.
std::map<std::string, std::string> RolesOf(const std::vector<Instance>& desired,
                                           const std::map<std::string, Observed>& observed);

}  // namespace muster::redis_cluster
