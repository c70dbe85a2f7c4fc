// How a Redis with one primary is drilled. Internal to recipes/redis_primary. DrillPrimaries is pure; the
// client lives on the server's loop thread.
#pragma once

#include "recipes/drill.h"

namespace muster::redis_primary {

// The primary, where it is ready.
std::vector<std::string> DrillPrimaries(const std::vector<Instance>& desired,
                                        const std::map<std::string, Observed>& observed);

std::shared_ptr<DrillClient> MakeDrillClient(DrillClient::Setup setup);

}  // namespace muster::redis_primary
