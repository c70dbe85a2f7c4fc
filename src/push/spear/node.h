// A spear node: its shards and what they share. Made, started and ended by the program's main thread; what
// shards share may be used by any thread.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "push/loop/addresses.h"
#include "push/loop/tls.h"
#include "push/registry/message_ids.h"
#include "push/registry/presence.h"
#include "push/spear/settings.h"
#include "push/spear/shard.h"

namespace muster::push {

class Node {
 public:
  explicit Node(Settings settings);
  ~Node();

  // Listens and starts the shards' threads. Codes "port-taken", "bad-address", "os-error" and those of
  // TlsContext.
  Status Start();
  // Sends the clients away over the time that the settings name; Wait returns when that is done.
  void Drain(std::string_view by);  // for the log: what asked for it
  // A shard has sent all of its clients away. It goes on until the others have, too: its listener still gets
  // a share of the newcomers, and of the requests of their clients.
  void OnDrained();
  void Wait();  // until all shards have ended
  bool Ended() const { return ended_ == static_cast<int>(shards_.size()); }
  void StopNow();
  Status ReloadTls();

  const Settings& settings() const { return settings_; }
  size_t size() const { return shards_.size(); }
  Shard& shard(size_t number) { return *shards_[number]; }
  // Whether a message may be given to all shards: none has so much waiting that it can't keep up. What was
  // begun goes on, so that a shard may hold a little more than the limit.
  bool HasRoom() const;
  AddressTable& addresses() { return addresses_; }
  TlsContext& tls() { return tls_; }
  MessageIds& ids() { return ids_; }
  PresenceTable& presence() { return presence_; }
  const std::string& recovery_secret() const { return recovery_secret_; }
  bool draining() const { return draining_; }
  WallTime started() const { return started_; }
  // Where it listens, with the ports that were chosen.
  const std::vector<std::string>& addresses_of_clients() const { return client_addresses_; }
  const std::vector<std::string>& addresses_of_admin() const { return admin_addresses_; }

  std::string Metrics();

 private:
  Status ListenAll();

  Settings settings_;
  AddressTable addresses_;
  TlsContext tls_;
  MessageIds ids_;
  PresenceTable presence_;
  std::string recovery_secret_;
  WallTime started_;
  std::atomic<bool> draining_{false};
  Time drain_began_;                        // set before shards hear of it
  std::atomic<int> drained_{0}, ended_{0};  // shards
  std::vector<std::unique_ptr<Shard>> shards_;
  std::vector<std::thread> threads_;
  std::vector<std::string> client_addresses_, admin_addresses_;
};

// The limits and options that settings make. Pure.
LoopLimits LimitsOf(const Settings& settings);
engineio::Options EngineOptionsOf(const Settings& settings, uint8_t shard, size_t shards);
socketio::HubOptions HubOptionsOf(const Settings& settings, const std::string& recovery_secret);
size_t ShardsOf(const Settings& settings);

}  // namespace muster::push
