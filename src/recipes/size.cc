#include "recipes/size.h"

#include <algorithm>

namespace muster {

std::string SizeKeyOf(const Recipe& recipe) {
  const Shape shape = recipe.layout->SettingsShape();
  for (const char* key : {"masters", "instances", "replicas"}) {
    const bool has = std::any_of(shape.fields.begin(), shape.fields.end(),
                                 [key](const Shape::Field& field) { return field.name == key; });
    if (has) return key;
  }
  return "";
}

}  // namespace muster
