// Redis Clusters for tests: a cluster file's service, its members, and what they would tell of themselves.
// Pure.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "base/digest.h"
#include "model/testing_values.h"
#include "recipes/redis/slots.h"
#include "recipes/redis_cluster/layout.h"

namespace muster::redis_cluster::testing {

using Settings = std::vector<std::pair<std::string, Value>>;

inline Cluster Hosts(int number) {
  Cluster cluster;
  cluster.name = "mall";
  for (int i = 1; i <= number; ++i) {
    cluster.hosts.push_back({.name = fmt::format("h{}", i),
                             .address = fmt::format("10.0.0.{}", i),
                             .mark = {.line = 2, .column = 1}});
  }
  return cluster;
}

inline Service Cache(Settings settings = {}) {
  Service service;
  service.name = "cache";
  service.kind = "redis-cluster";
  service.mark = {.line = 5, .column = 3};
  const bool has_masters = std::any_of(settings.begin(), settings.end(),
                                       [](const auto& entry) { return entry.first == "masters"; });
  if (!has_masters) settings.emplace_back("masters", Scalar("3"));
  settings.emplace_back("port", Scalar("7001"));
  service.settings = Map(std::move(settings));
  return service;
}

// Parts and hashes as plan/ would set them, near enough.
inline void SetParts(Instance& instance) {
  const auto add = [&instance](const std::string& part, const std::string& text) {
    instance.parts[part] = Sha256Hex(text).substr(0, 16);
  };
  std::string ports;
  for (const auto& [name, range] : instance.ports) ports += fmt::format("{}={} ", name, range.first);
  add("ports", ports);
  std::string command;
  for (const std::string& word : instance.argv) command += word + " ";
  add("command", command + instance.artifact.sha256);
  add("probe", fmt::format("{} {}", instance.probe.every.count(), instance.probe.timeout.count()));
  for (const InstanceFile& file : instance.files) add("file:" + file.path, file.content);
  for (const auto& [key, value] : instance.extra) add("extra:" + key, value);
  std::string whole;
  for (const auto& [part, hash] : instance.parts) whole += part + hash;
  instance.hash = Sha256Hex(whole);
}

inline std::vector<Instance> LayOut(const Service& service, const Cluster& cluster,
                                    const Placement& so_far = {}) {
  const RedisClusterLayout layout;
  const auto placement = layout.PlaceMembers(service, cluster, so_far);
  EXPECT_TRUE(placement.ok());
  auto instances = layout.LayOut(service, cluster, *placement);
  EXPECT_TRUE(instances.ok());
  for (Instance& instance : *instances) SetParts(instance);
  return std::move(*instances);
}

inline std::string NodeId(const std::string& member) { return Sha256Hex(member).substr(0, 40); }

// Members as they are: what is asked for is changed before the facts are made of it.
class World {
 public:
  struct Node {
    Instance instance;
    InstanceState state = InstanceState::kReady;
    std::string follows;  // a member's name; "": master
    redis::SlotSet slots;
    uint64_t epoch = 1;
    bool link = true;
    std::map<std::string, std::string> more;  // facts that go before those made here
  };

  // The first `masters` are masters with even slots; the others follow them in turn.
  World(const std::vector<Instance>& instances, int masters) {
    const auto slots = redis::EvenSlots(masters);
    for (size_t i = 0; i < instances.size(); ++i) {
      Node& node = nodes[instances[i].name];
      node.instance = instances[i];
      if (i < static_cast<size_t>(masters)) {
        node.slots = slots[i];
        node.epoch = i + 1;
      } else {
        node.follows = instances[i % static_cast<size_t>(masters)].name;
      }
    }
  }

  std::string View() const {
    std::string view;
    for (const auto& [name, node] : nodes) {
      const Node& of = node.follows.empty() ? node : nodes.at(node.follows);
      view += fmt::format("{} {}:{} {} {} {} connected", NodeId(name), node.instance.address,
                          node.instance.ports.at(kMainPort).first, node.follows.empty() ? "master" : "slave",
                          node.follows.empty() ? "-" : NodeId(node.follows), of.epoch);
      for (const auto& [first, last] : node.slots.Ranges()) view += fmt::format(" {}-{}", first, last);
      view += "\n";
    }
    return view;
  }

  std::map<std::string, Observed> Observe() const {
    std::map<std::string, Observed> observed;
    for (const auto& [name, node] : nodes) {
      Observed& seen = observed[name];
      seen.name = name;
      seen.service = "cache";
      seen.host = node.instance.host;
      seen.state = node.state;
      seen.hash = seen.running_hash = node.instance.hash;
      seen.parts = node.instance.parts;
      seen.facts = node.more;
      if (node.state != InstanceState::kReady) continue;
      const std::map<std::string, std::string> made{{"role", node.follows.empty() ? "master" : "replica"},
                                                    {"node", NodeId(name)},
                                                    {"view", View()},
                                                    {"cluster", "ok"},
                                                    {"write", "ok"},
                                                    {"epoch", "7"}};
      seen.facts.insert(made.begin(), made.end());
      if (node.follows.empty()) continue;
      seen.facts.emplace("primary", NodeId(node.follows));
      seen.facts.emplace("link", node.link ? "up" : "down");
      seen.facts.emplace("behind", "0");
    }
    return observed;
  }

  std::map<std::string, Node> nodes;
};

}  // namespace muster::redis_cluster::testing
