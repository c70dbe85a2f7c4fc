// What a Redis server says of itself: the answer to INFO, of some sections or of all, read into a struct.
// Pure.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace muster::redis {

using InfoFields = std::map<std::string, std::string, std::less<>>;
// "name:value" lines; headlines and lines of another form are passed over. Never fails.
InfoFields ParseInfoFields(std::string_view text);

// A replica as its master sees it.
struct ReplicaLink {
  std::string address;
  int port = 0;
  std::string state;   // "online" once it has all; before "wait_bgsave", "send_bulk"
  int64_t offset = 0;  // bytes of the replication stream that it has confirmed
  int64_t lag_s = -1;  // seconds since it last confirmed any; -1: not told

  bool operator==(const ReplicaLink&) const = default;
};

// Fields of sections that weren't asked for keep these values.
struct ServerInfo {
  // server
  std::string version;  // "7.0.15"
  std::string run_id;   // another one after each start
  std::string mode;     // "cluster", "standalone", "sentinel"
  int64_t pid = 0;
  int port = 0;
  int64_t uptime_s = 0;
  std::string config_file;
  // clients
  int64_t clients = 0;
  int64_t clients_max = 0;
  // memory, in bytes
  int64_t used_memory = 0;
  int64_t max_memory = 0;  // 0: no bound
  std::string eviction;    // maxmemory-policy
  // persistence
  bool loading = false;  // answers most commands with LOADING
  int64_t loading_eta_s = -1;
  bool saving = false;     // a BGSAVE is under way
  bool rewriting = false;  // the append-only file is being rewritten
  bool aof = false;
  bool last_save_ok = true;
  bool last_write_ok = true;    // to the append-only file; false refuses writes (MISCONF)
  bool last_rewrite_ok = true;  // of the append-only file
  int64_t changes_unsaved = 0;  // since the last save
  // replication
  bool master = false, replica = false;  // neither where the section wasn't asked for
  std::string replication_id;            // the history that `offset` counts in
  int64_t offset = -1;  // bytes of the stream: made (master), or taken over (replica); -1: not told
  std::vector<ReplicaLink> replicas;
  std::string failover_state;  // "no-failover" unless FAILOVER is under way
  // of a replica
  std::string master_host;
  int master_port = 0;
  bool link_up = false;
  int64_t link_down_s = -1;  // for how long; -1: up, or never was
  int64_t last_io_s = -1;    // since the master was last heard of; -1: link down
  bool syncing = false;      // is taking over the whole of its master's data
  bool read_only = false;
  int64_t priority = 100;  // 0: never promoted by others
  // cluster, keyspace
  bool cluster = false;
  int64_t keys = 0;  // of all databases

  bool operator==(const ServerInfo&) const = default;
};

// Code "bad-answer" for what is no such answer, and for a number that can't be read.
Result<ServerInfo> ParseInfo(std::string_view text);

}  // namespace muster::redis
