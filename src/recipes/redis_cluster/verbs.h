// The verbs of a member: what is asked of one node only. Each may be sent again, whatever came of it before.
// Loop thread only.
#pragma once

#include <map>
#include <string>

#include "recipes/recipe.h"
#include "recipes/redis_cluster/node.h"

namespace muster::redis_cluster {

using Values = std::map<std::string, std::string>;

// For an order that carries no `within_ms`.
Duration WithinOf(const std::string& verb, const Values& args);

// As the table in docs/redis-orders.md says. Codes "bad-args", "unknown-verb", "failover-denied",
// "not-empty", "setting-refused", "order-stale", "slots-elsewhere", "move-failed", "epoch-low",
// "redis-refused" and those of the connection. `node` lives until the task has ended.
net::Task<Result<Values>> PerformVerb(Node& node, Operator::Context context, std::string verb, Values args);

// A `look` that is to tell how far a replica got: it waits a moment for the link to its master to end.
bool WaitsForLink(const std::string& verb, const Values& args);

// Whether the order is to go on: who gave it still waits for it, and none has come since. Code "order-stale".
net::Task<Status> StillWanted(Operator::Context context);

}  // namespace muster::redis_cluster
