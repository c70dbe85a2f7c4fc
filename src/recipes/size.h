// Which key of a kind says how large a service is: the one that `muster scale` changes. Pure.
#pragma once

#include <string>

#include "recipes/recipe.h"

namespace muster {

// "masters" of those that have masters, each with its replicas; else "instances"; else "replicas". "": those
// of this kind have no number of anything.
std::string SizeKeyOf(const Recipe& recipe);

}  // namespace muster
