// What is done to one member of a Redis Cluster, on its agent.
#pragma once

#include <memory>

#include "recipes/recipe.h"

namespace muster::redis_cluster {

// Facts, measures and verbs: docs/redis-orders.md. Loop thread only. Codes beside those of net/resp_client.h:
// "port-taken" where another Redis answers on the member's port, "redis-loading", "not-running",
// "failover-denied", "not-empty", "setting-refused", "slots-elsewhere", "move-failed", "bad-args",
// "unknown-verb", "take-over-differs". No error has a password in it.
std::unique_ptr<Operator> MakeRedisClusterOperator();

}  // namespace muster::redis_cluster
