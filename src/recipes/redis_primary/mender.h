// Who is primary, between runs and during them. See docs/decisions/0010. Pure.
#pragma once

#include <memory>

#include "recipes/recipe.h"

namespace muster::redis_primary {

// Terms are given out once: above all that is known, and from the cluster's epoch on, which no other server
// has had. Codes of what it refuses: "primary-is-well", "failover-refused", "no-replica".
std::unique_ptr<Mender> MakeRedisPrimaryMender();

}  // namespace muster::redis_primary
