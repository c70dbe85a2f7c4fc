// Members that come up once more though nobody wants them. Pure.
#pragma once

#include "plan/plan.h"

namespace muster::plan {

// Adds the steps that start them, beside all others: what is wanted may wait for what they have.
void StartReturning(const Cluster& cluster, const Desired& desired, const Situation& situation,
                    std::map<std::string, std::vector<Step>>& steps, Plan& plan);

}  // namespace muster::plan
