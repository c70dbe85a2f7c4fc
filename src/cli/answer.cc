#include "cli/answer.h"

#include <nlohmann/json.hpp>

namespace muster::cli {
namespace {

using Json = nlohmann::json;

const Json* Find(const Json& json, const char* name) {
  if (!json.is_object()) return nullptr;
  const auto found = json.find(name);
  return found == json.end() ? nullptr : &*found;
}

}  // namespace

std::string Text(const Json& json, const char* name) {
  const Json* found = Find(json, name);
  return found && found->is_string() ? found->get<std::string>() : "";
}

int64_t Number(const Json& json, const char* name, int64_t fallback) {
  const Json* found = Find(json, name);
  return found && found->is_number() ? found->get<int64_t>() : fallback;
}

bool Flag(const Json& json, const char* name) {
  const Json* found = Find(json, name);
  return found && found->is_boolean() && found->get<bool>();
}

const Json& List(const Json& json, const char* name) {
  static const Json kNone = Json::array();
  const Json* found = Find(json, name);
  return found && found->is_array() ? *found : kNone;
}

const Json& Object(const Json& json, const char* name) {
  static const Json kNone = Json::object();
  const Json* found = Find(json, name);
  return found && found->is_object() ? *found : kNone;
}

}  // namespace muster::cli
