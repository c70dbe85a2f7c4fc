// The recipe for `kind: nginx`: a load balancer and web server in front of other services.
#pragma once

#include "recipes/recipe.h"

namespace muster {

Recipe MakeNginxRecipe();

}  // namespace muster
