// The recipe for any program: kind `app`.
#pragma once

#include "recipes/recipe.h"

namespace muster {

Recipe MakeAppRecipe();

}  // namespace muster
