// How a member's Redis is reached and asked: nothing of it is a cluster's own. Loop thread only.
#pragma once

#include "recipes/redis/node.h"

namespace muster::redis_cluster {

using redis::Access;
using redis::AccessOf;
using redis::IsBelow;
using redis::Node;
using redis::SetAll;

}  // namespace muster::redis_cluster
