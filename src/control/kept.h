// What the store keeps of a cluster beside its columns (ClusterRow::extra). Pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "store/store.h"

namespace muster::control {

// Read once, when a controller begins, and written whole. Text that can't be read counts as nothing kept.
struct Kept {
  struct Host {
    std::string address;
    int number = 0;  // of a rehearsed host, from 1; else 0
  };
  // `down` goes on once these hosts answer.
  struct GoingDown {
    bool delete_data = false;
    std::vector<std::string> silent;
  };

  std::map<std::string, Host> hosts;  // whose agents are wanted: one that a new revision leaves out has still
                                      // to be cleared
  std::map<std::string, int> numbers;  // of rehearsed hosts; they stay when the host is released
  int64_t good = 0;                    // the revision that `on_failure: rollback` goes back to; 0: none
  bool down = false;
  std::optional<GoingDown> going_down;
  std::set<std::string> cut;       // rehearsed hosts that were cut off on purpose
  std::set<std::string> left_out;  // hosts that the last run went on without
  std::string others = "{}";       // a JSON object: what a later release wrote there, which stays
};
Kept KeptOf(const store::ClusterRow& row);
std::string TextOf(const Kept& kept);

}  // namespace muster::control
