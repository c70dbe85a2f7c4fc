#include "control/kept.h"

#include <nlohmann/json.hpp>

namespace muster::control {
namespace {

using Json = nlohmann::json;

Json Object(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_object() ? *found : Json::object();
}

template <typename T>
T Member(const Json& json, const char* key, T otherwise) {
  const auto found = json.find(key);
  if (found == json.end()) return otherwise;
  if constexpr (std::is_same_v<T, std::string>) return found->is_string() ? found->get<T>() : otherwise;
  if constexpr (std::is_same_v<T, bool>) return found->is_boolean() ? found->get<T>() : otherwise;
  if constexpr (std::is_integral_v<T>) return found->is_number_integer() ? found->get<T>() : otherwise;
}

std::set<std::string> Names(const Json& json, const char* key) {
  std::set<std::string> names;
  for (const Json& name : json.value(key, Json::array())) {
    if (name.is_string()) names.insert(name.get<std::string>());
  }
  return names;
}

}  // namespace

Kept KeptOf(const store::ClusterRow& row) {
  Kept kept;
  Json json = Json::parse(row.extra, nullptr, false);
  if (!json.is_object()) return kept;
  const Json hosts = Object(json, "hosts"), numbers = Object(json, "numbers");
  for (const auto& [name, host] : hosts.items()) {
    if (!host.is_object()) continue;
    const Kept::Host one{.address = Member<std::string>(host, "address", ""),
                         .number = Member<int>(host, "number", 0)};
    kept.hosts[name] = one;
    // Earlier releases remembered numbers of the hosts in use only.
    if (one.number > 0) kept.numbers[name] = one.number;
  }
  for (const auto& [name, number] : numbers.items()) {
    if (number.is_number_integer()) kept.numbers[name] = number.get<int>();
  }
  kept.good = Member<int64_t>(json, "good", 0);
  kept.down = Member<bool>(json, "down", false);
  if (json.contains("going_down")) {
    const Json going = Object(json, "going_down");
    kept.going_down = Kept::GoingDown{.delete_data = Member<bool>(going, "delete_data", false), .silent = {}};
    for (const Json& host : going.value("silent", Json::array())) {
      if (host.is_string()) kept.going_down->silent.push_back(host.get<std::string>());
    }
  }
  kept.cut = Names(json, "cut");
  kept.left_out = Names(json, "left_out");
  for (const char* known : {"hosts", "numbers", "good", "down", "going_down", "cut", "left_out"})
    json.erase(known);
  kept.others = json.dump();
  return kept;
}

std::string TextOf(const Kept& kept) {
  Json json = Json::parse(kept.others, nullptr, false);
  if (!json.is_object()) json = Json::object();
  json["hosts"] = Json::object();
  for (const auto& [name, host] : kept.hosts) {
    json["hosts"][name] = {{"address", host.address}, {"number", host.number}};
  }
  json["numbers"] = kept.numbers;
  if (kept.good > 0) json["good"] = kept.good;
  if (!kept.cut.empty()) json["cut"] = kept.cut;
  if (!kept.left_out.empty()) json["left_out"] = kept.left_out;
  if (kept.down) json["down"] = true;
  if (kept.going_down) {
    json["going_down"] = {{"delete_data", kept.going_down->delete_data}, {"silent", kept.going_down->silent}};
  }
  return json.dump();
}

}  // namespace muster::control
