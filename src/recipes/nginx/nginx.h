// The recipe for `kind: nginx`: a load balancer and web server in front of other services. Called once, for
// recipes/list.cc. Its layout, change and mender are pure; its operator lives on the agent's loop thread.
#pragma once

#include "recipes/recipe.h"

namespace muster {

Recipe MakeNginxRecipe();

}  // namespace muster
