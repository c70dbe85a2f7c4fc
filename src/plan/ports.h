// Ports that change hands in a plan: who frees one goes before who takes it. Internal to plan. Pure; of what
// is passed as a reference nothing is kept.
#pragma once

#include <string>
#include <vector>

#include "plan/order.h"

namespace muster::plan {

// Whoever has a port that another is to get stops (or reloads, where that frees it) before the other starts.
// Where the order that there is already says otherwise, the one that has it stops early and is out until its
// turn; what that costs is added to `outages`. Comes last, when all other needs are known.
// Code "port-held": whoever has the port is no part of these steps and stays.
Status HandPortsOver(const Desired& desired, const Situation& situation, Steps& steps,
                     std::vector<std::string>& outages);

}  // namespace muster::plan
