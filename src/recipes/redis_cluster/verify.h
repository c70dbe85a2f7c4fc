// What `muster verify` tries on one member of a Redis Cluster. Loop thread only.
#pragma once

#include <string>
#include <vector>

#include "net/loop.h"
#include "recipes/recipe.h"

namespace muster::redis_cluster {

struct VerifyInput {
  net::Loop* loop;
  std::string instance;
  std::string host;
  int port = 0;
  std::string password;  // of all members
};

// Whether it is well as it sees itself, and whether what is written through it into each master's slots is
// read back; of a replica, whether that arrives there. Keys begin with "muster:verify:", live for a minute at
// most, and are deleted at the end.
net::Task<std::vector<Check>> VerifyMember(VerifyInput input);

}  // namespace muster::redis_cluster
