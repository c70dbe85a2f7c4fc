// What the operator would tell of a server of the model. Pure, for tests.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "base/text.h"
#include "recipes/redis_cluster/testing_bus.h"

namespace muster::redis_cluster {

inline uint64_t EpochIn(TestingBus::Server& server, const std::string& id) {
  const TestingBus::Known& known = server.known[id];
  const auto primary = server.known.find(known.primary);
  return known.master || primary == server.known.end() ? known.epoch : primary->second.epoch;
}

inline std::map<std::string, std::string> FactsOf(TestingBus::Server& server) {
  TestingBus::Known& self = server.self();
  std::map<std::string, std::string> facts{{"role", self.master ? "master" : "replica"},
                                           {"node", server.id},
                                           {"cluster", server.ok ? "ok" : "fail"},
                                           {"epoch", std::to_string(server.current_epoch)},
                                           {"offset", std::to_string(server.offset)},
                                           {"history", server.history},
                                           {"write", server.write}};
  if (!self.master) {
    facts["primary"] = self.primary;
    facts["link"] = server.linked ? "up" : "down";
  }
  if (server.keys.empty()) facts["empty"] = "yes";
  if (!server.former.empty()) facts["was"] = Join(server.former, " ");
  const bool formed = std::any_of(server.known.begin(), server.known.end(),
                                  [](const auto& known) { return !known.second.slots.empty(); });
  server.had_keys = server.had_keys || !server.keys.empty() || server.ok;
  if (server.keys.empty() && server.had_keys && !formed) facts["lost"] = "yes";
  redis::SlotSet drained;
  for (const auto& [slot, to] : server.migrating) {
    if (!server.keys.contains(slot)) drained.Add(slot);
  }
  if (!drained.empty()) facts["drained"] = drained.Text();
  std::vector<std::string> lines;
  for (const auto& [id, known] : server.known) {
    std::string flags = known.handshake ? "handshake" : known.master ? "master" : "slave";
    if (known.suspected) flags += ",fail?";
    if (known.failed) flags += ",fail";
    if (known.seat.empty()) flags += ",noaddr";
    std::string line =
        fmt::format("{} {}@{} {} {} {} {}", id, known.seat.empty() ? ":0" : known.seat,
                    known.seat.empty() ? "0" : "1" + known.seat.substr(known.seat.rfind(':') + 1), flags,
                    known.primary.empty() ? "-" : known.primary, EpochIn(server, id),
                    known.suspected || known.failed || known.seat.empty() ? "disconnected" : "connected");
    for (const auto& [first, last] : known.slots.Ranges())
      line += first == last ? fmt::format(" {}", first) : fmt::format(" {}-{}", first, last);
    if (id == server.id) {
      for (const auto& [slot, to] : server.migrating) line += fmt::format(" [{}->-{}]", slot, to);
      for (const auto& [slot, from] : server.importing) line += fmt::format(" [{}-<-{}]", slot, from);
    }
    lines.push_back(line);
  }
  facts["view"] = Join(lines, "\n");
  return facts;
}

}  // namespace muster::redis_cluster
