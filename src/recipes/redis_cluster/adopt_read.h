// Asks a Redis Cluster that was formed by hand what `muster adopt` wants to know. Internal to
// recipes/redis_cluster. On the loop's thread, which it blocks to look at processes of this machine.
#pragma once

#include "recipes/recipe.h"

namespace muster::redis_cluster {

// Codes: "not-a-cluster" for a Redis that is none, "member-unreachable" where one of its members takes no
// connection, and those of net/resp_client.h.
net::Task<Result<Adoption>> AdoptCluster(net::Loop& loop, AdoptRequest request);

}  // namespace muster::redis_cluster
