// The one list of recipes.
#include "recipes/app/app.h"
#include "recipes/nginx/nginx.h"
#include "recipes/recipe.h"
#include "recipes/redis_cluster/redis_cluster.h"
#include "recipes/redis_primary/redis_primary.h"

namespace muster {

const std::map<std::string, Recipe, std::less<>>& AllRecipes() {
  static const std::map<std::string, Recipe, std::less<>> recipes = [] {
    std::map<std::string, Recipe, std::less<>> all;
    for (Recipe (*make)() :
         {&MakeAppRecipe, &MakeNginxRecipe, &MakeRedisClusterRecipe, &MakeRedisPrimaryRecipe}) {
      Recipe recipe = make();
      std::string kind(recipe.layout->kind());
      all.emplace(std::move(kind), std::move(recipe));
    }
    return all;
  }();
  return recipes;
}

const Recipe* FindRecipe(std::string_view kind) {
  const auto found = AllRecipes().find(kind);
  return found == AllRecipes().end() ? nullptr : &found->second;
}

}  // namespace muster
