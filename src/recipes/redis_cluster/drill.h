// How a Redis Cluster is drilled. Internal to recipes/redis_cluster. DrillPrimaries is pure; the client lives
// on the server's loop thread.
#pragma once

#include "recipes/drill.h"

namespace muster::redis_cluster {

// Masters that are ready and have slots, those of the lowest slots first.
std::vector<std::string> DrillPrimaries(const std::vector<Instance>& desired,
                                        const std::map<std::string, Observed>& observed);

std::shared_ptr<DrillClient> MakeDrillClient(DrillClient::Setup setup);

}  // namespace muster::redis_cluster
