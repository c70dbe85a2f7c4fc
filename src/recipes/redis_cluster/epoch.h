// The configuration epoch of a node, by which it is told whose word on slots is the later one. Loop thread
// only.
#pragma once

#include "net/task.h"
#include "recipes/redis_cluster/node.h"
#include "recipes/redis_cluster/verbs.h"

namespace muster::redis_cluster {

// `number`: what a fresh node is given. `least`: where its own is lower, the node gets a new one, above all
// that it has heard of; without a vote, as nobody claims what is another's by it. Codes: bad-args, epoch-low,
// and what Redis says.
net::Task<Result<Values>> SetEpoch(Node& node, Values args);

}  // namespace muster::redis_cluster
