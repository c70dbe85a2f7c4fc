// One primary and its replicas, with failover by muster: kind `redis`.
#pragma once

#include "recipes/recipe.h"

namespace muster {

Recipe MakeRedisPrimaryRecipe();

}  // namespace muster
