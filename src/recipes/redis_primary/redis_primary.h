// The recipe for `kind: redis`: one primary and its replicas, with failover by muster. Called once, for
// recipes/list.cc. Its layout, change, mender and health are pure; its operator lives on the agent's loop
// thread.
#pragma once

#include "recipes/recipe.h"

namespace muster {

Recipe MakeRedisPrimaryRecipe();

}  // namespace muster
