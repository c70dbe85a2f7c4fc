#include "push/spear/node.h"

#include <fmt/format.h>
#include <pthread.h>

#include <algorithm>

#include "base/digest.h"
#include "base/text.h"
#include "push/spear/log.h"

namespace muster::push {

size_t ShardsOf(const Settings& settings) {
  if (settings.shards > 0) return static_cast<size_t>(settings.shards);
  return std::clamp<size_t>(std::thread::hardware_concurrency(), 1, 64);
}

LoopLimits LimitsOf(const Settings& settings) {
  LoopLimits limits;
  limits.payload_max = static_cast<size_t>(settings.payload_max);
  limits.connections_max = static_cast<size_t>(settings.connections_max);
  limits.per_address_max = static_cast<int>(settings.per_address_max);
  limits.out_max = static_cast<size_t>(settings.slow_bytes);
  limits.slow = settings.slow_policy == "drop" ? SlowPolicy::kDrop : SlowPolicy::kClose;
  limits.request_timeout = settings.request_timeout;
  limits.idle_timeout = settings.idle_timeout;
  return limits;
}

engineio::Options EngineOptionsOf(const Settings& settings, uint8_t shard, size_t shards) {
  engineio::Options options;
  options.path = settings.path;
  options.ping_interval = settings.ping_interval;
  options.ping_timeout = settings.ping_timeout;
  options.upgrade_timeout = settings.upgrade_timeout;
  const auto& transports = settings.transports;
  options.polling = std::find(transports.begin(), transports.end(), "polling") != transports.end();
  options.websocket = std::find(transports.begin(), transports.end(), "websocket") != transports.end();
  options.upgrades = settings.upgrades;
  options.protocol_3 = settings.protocol_3;
  options.origins = settings.origins;
  options.credentials = settings.credentials;
  options.shard = shard;
  options.shards = static_cast<uint8_t>(shards);
  return options;
}

socketio::HubOptions HubOptionsOf(const Settings& settings, const std::string& recovery_secret) {
  socketio::HubOptions options;
  options.namespaces = settings.namespaces;
  options.connect_timeout = settings.connect_timeout;
  options.users_only = settings.auth_required;
  options.user_timeout = settings.auth_timeout;
  options.recovery = settings.recovery;
  options.recovery_keep = settings.recovery_keep;
  options.recovery_bytes = static_cast<size_t>(settings.recovery_bytes);
  options.packets_per_second = static_cast<uint32_t>(settings.packets_per_second);
  options.secret = recovery_secret;
  return options;
}

Node::Node(Settings settings)
    : settings_(std::move(settings)),
      ids_(static_cast<uint16_t>(settings_.node_id)),
      recovery_secret_(RandomHex(16)),
      started_(WallNow()) {}

Node::~Node() {
  StopNow();
  Wait();
}

Status Node::ListenAll() {
  for (const bool admin : {false, true}) {
    for (const std::string& text : admin ? settings_.admin_listen : settings_.listen) {
      MUSTER_TRY(HostPort place, ParseHostPort(text));
      for (auto& shard : shards_) {
        if (admin && shard->number() != 0) continue;
        // Another program that shared the port would get some of the clients: none may be there.
        if (shard->number() == 0) MUSTER_DO(FindFree(place.host, place.port));
        MUSTER_TRY(Fd socket, ListenOn(place.host, place.port));
        place.port = PortOf(socket);  // one that the kernel chose is the same for all
        const bool secure = !admin && !settings_.tls_certificate.empty();
        // Who asks for the health of a node that is full must hear of it.
        shard->loop().Listen(std::move(socket), admin ? Shard::kAdmin : Shard::kClients, secure, !admin);
      }
      (admin ? admin_addresses_ : client_addresses_).push_back(muster::HostPort(place.host, place.port));
    }
  }
  return Done();
}

Status Node::Start() {
  if (!settings_.tls_certificate.empty()) MUSTER_DO(tls_.Load(settings_.tls_certificate, settings_.tls_key));
  const size_t count = ShardsOf(settings_);
  for (size_t number = 0; number < count; ++number) {
    shards_.push_back(std::make_unique<Shard>(*this, static_cast<uint8_t>(number)));
  }
  MUSTER_DO(ListenAll());
  for (auto& shard : shards_) {
    threads_.emplace_back([this, &shard] {
      pthread_setname_np(pthread_self(), fmt::format("spear-{}", shard->number()).c_str());
      shard->loop().Run();
      ++ended_;
    });
  }
  for (const std::string& address : client_addresses_) {
    Log(LogLevel::kInfo, "listening",
        {{"for", "clients"}, {"address", address}, {"shards", std::to_string(count)}});
  }
  for (const std::string& address : admin_addresses_) {
    Log(LogLevel::kInfo, "listening", {{"for", "admin"}, {"address", address}});
  }
  return Done();
}

bool Node::HasRoom() const {
  if (shards_.size() == 1) return true;
  return std::all_of(shards_.begin(), shards_.end(), [this](const auto& shard) {
    return shard->mailbox_bytes.load(std::memory_order_relaxed) < settings_.mailbox_bytes;
  });
}

void Node::Drain(std::string_view by) {
  if (draining_.exchange(true)) return;
  drain_began_ = Now();
  Log(LogLevel::kInfo, "draining", {{"over", FormatDuration(settings_.drain_over)}, {"by", std::string(by)}});
  for (auto& shard : shards_) {
    shard->Post([this](Shard& each) { each.Drain(settings_.drain_over, settings_.drain_elsewhere); });
  }
}

void Node::OnDrained() {
  if (++drained_ != static_cast<int>(shards_.size())) return;
  Log(LogLevel::kInfo, "drained", {{"took", FormatDuration(Now() - drain_began_)}});
  StopNow();
}

void Node::StopNow() {
  for (auto& shard : shards_) {
    shard->Post([](Shard& each) { each.loop().Stop(); });
  }
}

void Node::Wait() {
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

Status Node::ReloadTls() {
  if (settings_.tls_certificate.empty()) return Done();
  return tls_.Load(settings_.tls_certificate, settings_.tls_key);
}

}  // namespace muster::push
