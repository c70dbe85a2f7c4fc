// The recipe for `kind: redis-cluster`: masters that share 16384 slots, each with its replicas. Called once,
// for recipes/list.cc. Its layout, change, mender and health are pure; its operator lives on the agent's loop
// thread.
#pragma once

#include "recipes/recipe.h"

namespace muster {

Recipe MakeRedisClusterRecipe();

}  // namespace muster
