// What one node of a Redis Cluster knows of all: CLUSTER NODES and CLUSTER INFO, read into structs. Pure.
// Nodes may see things differently until word has gone round; SameView tells.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "recipes/redis/slots.h"

namespace muster::redis {

struct ClusterNode {
  std::string id;       // 40 hexadecimal digits
  std::string address;  // "" where none is known
  int port = 0;         // 0 where none is known
  int bus_port = 0;
  std::string hostname;  // "" where none is announced
  bool myself = false;   // the one that was asked
  bool master = false, replica = false;
  bool failed = false;     // FAIL: most masters agree
  bool suspected = false;  // PFAIL: the one that was asked doesn't reach it
  bool handshake = false;  // hasn't answered yet: its id is made up
  bool no_address = false;
  bool no_failover = false;
  std::string master_id;      // "" for masters, and where it isn't known
  int64_t ping_sent = 0;      // milliseconds since 1970; 0: none is under way
  int64_t pong_received = 0;  // the same
  uint64_t config_epoch = 0;  // a replica's is its master's
  bool connected = false;     // of the bus link from the one that was asked; to itself always
  SlotSet slots;
  // Slots on their way, and the id of the other node. Told of `myself` only.
  std::map<int, std::string> migrating;  // goes there
  std::map<int, std::string> importing;  // comes from there

  bool operator==(const ClusterNode&) const = default;
};

struct ClusterView {
  std::vector<ClusterNode> nodes;

  const ClusterNode* myself() const;                                // nullptr: none says so
  const ClusterNode* Find(std::string_view id) const;               // nullptr: unknown
  const ClusterNode* At(std::string_view address, int port) const;  // by address or announced name
  const ClusterNode* OwnerOf(int slot) const;                       // nullptr: nobody
  std::vector<const ClusterNode*> ReplicasOf(std::string_view master_id) const;
  SlotSet Covered() const;  // slots that a master has which hasn't failed
};

// The answer to CLUSTER NODES; also a nodes.conf, whose line of variables is passed over. Code "bad-answer".
Result<ClusterView> ParseClusterNodes(std::string_view text);

// What nodes that agree say alike: who there is, in which role, with which slots, of which epoch, failed or
// not. Equal texts on all nodes are what `settled` means.
std::string SharedView(const ClusterView& view);
bool SameView(const ClusterView& one, const ClusterView& other);

struct ClusterInfo {
  bool ok = false;  // cluster_state
  int slots_assigned = 0, slots_ok = 0, slots_suspected = 0, slots_failed = 0;
  int known_nodes = 0;
  int size = 0;  // masters that have slots
  uint64_t current_epoch = 0, my_epoch = 0;

  bool operator==(const ClusterInfo&) const = default;
};

// The answer to CLUSTER INFO. Code "bad-answer".
Result<ClusterInfo> ParseClusterInfo(std::string_view text);

}  // namespace muster::redis
