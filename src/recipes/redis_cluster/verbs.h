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

// As the table in docs/plan-redis.md says. Codes "bad-args", "unknown-verb", "failover-denied", "not-empty",
// "setting-refused", "slots-elsewhere", "move-failed", "redis-refused" and those of the connection. `node`
// lives until the task has ended.
net::Task<Result<Values>> PerformVerb(Node& node, Operator::Context context, std::string verb, Values args);

// Sets what differs from what the node has. Each value of CONFIG GET's names; what Redis can't set while it
// runs is passed over, since what needs a restart gets one. Code "setting-refused", naming the setting.
net::Task<Status> SetAll(Node& node, Values settings);

}  // namespace muster::redis_cluster
