// Keeps a Redis Cluster formed, whole and spread. Pure, as its interface says (recipes/recipe.h).
#pragma once

#include <memory>

#include "recipes/recipe.h"

namespace muster::redis_cluster {

std::unique_ptr<Mender> MakeRedisClusterMender();

}  // namespace muster::redis_cluster
