// Clusters for the tests of nginx, written as JSON: recipes don't know YAML.
#pragma once

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "model/cluster.h"
#include "recipes/nginx/layout.h"
#include "recipes/nginx/nginx.h"

namespace muster::nginx {

inline Value ToValue(const nlohmann::ordered_json& json) {
  Value value;
  value.mark = {1, 1};
  if (json.is_object()) {
    value.type = Value::Type::kMap;
    for (const auto& [key, item] : json.items()) value.entries.push_back({key, {1, 1}, ToValue(item)});
  } else if (json.is_array()) {
    value.type = Value::Type::kList;
    for (const auto& item : json) value.items.push_back(ToValue(item));
  } else {
    value.type = Value::Type::kString;
    value.text = json.is_string() ? json.get<std::string>() : json.dump();
  }
  return value;
}

inline Service MakeService(std::string name, std::string kind, std::string_view settings) {
  Service service;
  service.name = std::move(name);
  service.kind = std::move(kind);
  service.mark = {3, 3};
  service.settings = ToValue(nlohmann::ordered_json::parse(settings));
  return service;
}

// nginx called edge, with these settings, on h1; app with three instances on two hosts; feed, which only
// listens to UDP.
inline Cluster MakeCluster(std::string_view edge) {
  Cluster cluster;
  cluster.name = "shop";
  cluster.hosts = {{"h1", "10.0.0.1", {}}, {"h2", "10.0.0.2", {}}};
  cluster.services = {
      MakeService("app", "app", R"({"instances": 3, "ports": {"http": 8101, "admin": 9101}})"),
      MakeService("feed", "app", R"({"ports": {"in": "5353/udp"}})"), MakeService("edge", "nginx", edge)};
  cluster.services[2].hosts = {"h1"};
  return cluster;
}

inline Placement MakePlacement() {
  Placement placement;
  for (const int n : {1, 2, 3}) {
    Place place{.service = "app", .host = n == 2 ? "h2" : "h1", .ordinal = n};
    place.ports = {{"http", {.first = 8100 + n}}, {"admin", {.first = 9100 + n}}};
    placement["app-" + std::to_string(n)] = place;
  }
  return placement;
}

// edge-1 as it should be, or a failed test.
inline Instance LayOutEdge(const Cluster& cluster, Placement placement = MakePlacement()) {
  const NginxLayout layout;
  const auto places = layout.PlaceMembers(cluster.services[2], cluster, placement);
  EXPECT_TRUE(places.ok());
  placement.insert(places->begin(), places->end());
  const auto instances = layout.LayOut(cluster.services[2], cluster, placement);
  EXPECT_TRUE(instances.ok()) << (instances.ok() ? "" : instances.error().Text());
  if (!instances.ok() || instances->size() != 1) return {};
  return instances->front();
}

inline std::string FileOf(const Instance& instance, std::string_view path) {
  for (const InstanceFile& file : instance.files) {
    if (file.path == path) return file.content;
  }
  return "";
}

}  // namespace muster::nginx
