// The recipe for any program: kind `app`. Called once, for recipes/list.cc, which keeps what it gives for as
// long as the process lives; its pure parts may be used by any thread.
#pragma once

#include "recipes/recipe.h"

namespace muster {

Recipe MakeAppRecipe();

}  // namespace muster
