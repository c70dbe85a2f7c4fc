// Writes to a Redis as its users do, while something in it is broken: two writers, one that takes the answer
// for it and one that WAITs for a replica. Of a Redis Cluster two for each master's slots, which follow
// redirects; of a Redis with one primary two for all keys, which ask by ROLE who that is. Loop thread only;
// the loop outlives it.
//
// Keys are "muster-drill:NAME:{TAG}:plain:NUMBER" (and "wait"; no tag without slots), their value is the
// number; they expire after a while, should nobody remove them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "net/loop.h"
#include "recipes/drill.h"
#include "recipes/redis/drill_routes.h"

namespace muster::redis {

struct DrillSetup {
  net::Loop* loop;
  std::vector<Endpoint> nodes;  // at least one of them has to answer
  std::string password;         // "": none is sent
  std::string name;
  Duration forget_after;
};
DrillSetup DrillSetupOf(DrillClient::Setup setup);

std::shared_ptr<DrillClient> MakeClusterDrillClient(DrillSetup setup);
std::shared_ptr<DrillClient> MakePrimaryDrillClient(DrillSetup setup);

}  // namespace muster::redis
