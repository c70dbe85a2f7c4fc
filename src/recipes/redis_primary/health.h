// How a Redis with one primary is, for people. Pure.
#pragma once

#include "recipes/recipe.h"

namespace muster::redis_primary {

ServiceHealth HealthOf(const std::vector<Instance>& desired, const std::map<std::string, Observed>& observed);
std::map<std::string, std::string> RolesOf(const std::vector<Instance>& desired,
                                           const std::map<std::string, Observed>& observed);

}  // namespace muster::redis_primary
