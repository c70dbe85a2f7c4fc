// Socket.IO on the sessions of one loop: namespaces, events, acks, binary attachments, and what is kept of
// sockets whose connection broke so that they can come back. For the loop's thread.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "push/engineio/engine.h"
#include "push/registry/registry.h"
#include "push/socketio/by_id.h"
#include "push/socketio/keys.h"
#include "push/socketio/packet.h"
#include "push/socketio/recovery.h"

namespace muster::push::socketio {

struct Client;

// A client in one namespace.
struct Socket : Member {
  uint32_t slot = 0;
  Client* client = nullptr;
  Socket* next = nullptr;  // the same client's in another namespace
  Socket* next_by_id = nullptr;
  std::unique_ptr<std::string> device;
  uint8_t name_space = 0;
  uint8_t id[15] = {};
};

// What there is of a client beside its Engine.IO session.
struct Client {
  engineio::Session* session = nullptr;
  Socket* first = nullptr;
  struct Wait;
  struct Assembly;
  Wait* wait = nullptr;                // for the first namespace, or for it to say who it is
  std::unique_ptr<Assembly> assembly;  // a packet whose attachments are on their way
  uint32_t slot = 0;
  uint32_t second = 0;  // for the limit of packets in a second
  uint32_t packets = 0;
};
struct Client::Assembly {
  std::string text;
  size_t wanted = 0;
  std::vector<std::string> attachments;
};
struct Client::Wait : TimerNode {
  Client* client = nullptr;
  uint32_t slot = 0;
  bool for_user = false;
};

struct Event {
  std::string_view name;                          // as it was sent, without quotes
  const std::vector<std::string_view>* elements;  // JSON; the first is the name
  const std::vector<std::string>* attachments;
  int64_t id;              // -1: no ack is wanted
  std::string_view array;  // all of it

  size_t size() const { return elements->size() - 1; }
  std::string_view argument(size_t index) const {
    return index + 1 < elements->size() ? (*elements)[index + 1] : std::string_view{};
  }
  // The arguments as they stood, without the brackets around: "1,\"a\"".
  std::string_view Arguments(size_t from = 0) const;
};

// A client that came back, while the shards are asked what they know of it.
struct Returning {
  engineio::SessionId session;
  std::string auth;
  std::string pid;  // what it was told, to come back with; its socket's id is made of it
  Wanted wanted;
  Found found;
  uint64_t asking = 0;
};

std::vector<FrameRef> FramesOf(const std::vector<std::string>& attachments, bool droppable = false);

// What the events mean. Called on the loop's thread.
class Application {
 public:
  virtual ~Application() = default;
  // May refuse it: the text is what the client is told.
  virtual std::string Refusal(uint16_t /*name_space*/, std::string_view /*auth*/) { return {}; }
  virtual void OnConnect(Socket& socket, std::string_view auth, bool recovered) = 0;
  virtual void OnEvent(Socket& socket, const Event& event) = 0;
  virtual void OnAck(Socket&, int64_t /*id*/, std::string_view /*arguments*/,
                     const std::vector<std::string>& /*attachments*/) {}
  // Its rooms and user are still known; they are left right after.
  virtual void OnDisconnect(Socket& socket, engineio::CloseReason reason) = 0;
  virtual bool OnOtherRequest(Connection&, const http::Request&) { return false; }
  virtual void OnOtherMessage(Connection&, bool /*binary*/, std::string_view) {}
  virtual void HandOver(uint8_t shard, MovedConnection moved) = 0;
  // Has all loops, this one too, TakeOut what is wanted; OnFound is called later on this one.
  virtual void AskForSaved(Returning /*returning*/) {}
};

struct HubOptions {
  std::vector<std::string> namespaces = {"/"};
  Duration connect_timeout = 45s;
  // Sockets that belong to no user by `user_timeout` are put out, and can't come back.
  bool users_only = false;
  Duration user_timeout = 10s;
  bool recovery = false;
  Duration recovery_keep = 120s;
  size_t recovery_bytes = 64u << 20;
  size_t recovery_sockets = 100'000;
  uint32_t packets_per_second = 0;  // of one client; 0: any number
  std::string secret;               // that ids of sockets are made with, of what they come back with
};

struct HubCounters {
  Counter sockets;  // now
  Counter events_in, events_out, acks_in, acks_out;
  Counter recovered, not_recovered, saved;  // `saved` now
  Counter taken_over;                       // whose old connection wasn't known to be gone
  Counter bad_packets, too_many_packets;
  Counter no_user;  // clients closed as they didn't say in time who they are
};

class Hub : public engineio::EngineHandler {
 public:
  Hub(Loop& loop, engineio::Options engine, HubOptions options, Application& application);

  engineio::Engine& engine() { return engine_; }
  Registry& registry() { return registry_; }
  const HubCounters& counters() const { return counters_; }
  const HubOptions& options() const { return options_; }

  // A packet with an event, for one namespace. `arguments`: JSON values with commas between. `key`: whom it
  // goes to, so that those who were away get it later; empty, without `origin`, or `droppable`: it isn't
  // kept.
  FrameRef MakeEvent(uint16_t name_space, std::string_view name, std::string_view arguments,
                     int64_t ack_id = -1, bool droppable = false, std::string_view key = {},
                     int attachments = 0, const Origin& origin = {});
  // With its attachments, or not at all.
  bool Send(Socket& socket, const FrameRef& packet, std::span<const FrameRef> attachments = {});
  void Emit(Socket& socket, std::string_view name, std::string_view arguments);
  // Answers an event that asked for it.
  void Acknowledge(Socket& socket, int64_t id, std::string_view arguments,
                   const std::vector<std::string>& attachments = {});
  // Says whose it is; it must be nobody's yet.
  void Bind(Socket& socket, std::string_view user_id, std::string_view user_name);
  // Takes it out of its namespace; with `close` its whole connection ends.
  void Disconnect(Socket& socket, bool close);
  std::string IdOf(const Socket& socket) const {
    return engineio::EncodeUrlSafe({reinterpret_cast<const char*>(socket.id), 15});
  }
  // nullptr: there is none on this loop.
  Socket* FindSocket(const uint8_t (&id)[engineio::kIdBytes]) { return by_id_.Find(id); }
  int64_t NextAckId() { return next_ack_++; }

  // The next publication of this shard.
  Origin NextOrigin(const Socket* except = nullptr);
  Recovery& recovery() { return recovery_; }
  // What is known here of a client that comes back, maybe elsewhere. Where its old connection is here and
  // isn't known to be gone, that one is ended.
  Found TakeOut(const Wanted& wanted);
  // What AskForSaved found out; the session may have ended meanwhile.
  void OnFound(Returning returning);

  void Turn();
  void OnTimer(TimerNode& node);
  template <class Visit>
  void ForEach(const Visit& visit) {
    for (uint32_t slot = 0; slot < sockets_.count(); ++slot) {
      if (Socket* socket = sockets_.Find(slot)) visit(*socket);
    }
  }

  void OnOpen(engineio::Session& session) override;
  void OnMessage(engineio::Session& session, bool binary, std::string_view message) override;
  void OnClosed(engineio::Session& session, engineio::CloseReason reason) override;
  bool OnOtherRequest(Connection& connection, const http::Request& request) override {
    return application_.OnOtherRequest(connection, request);
  }
  void OnOtherMessage(Connection& connection, bool binary, std::string_view message) override {
    application_.OnOtherMessage(connection, binary, message);
  }
  void HandOver(uint8_t shard, MovedConnection moved) override {
    application_.HandOver(shard, std::move(moved));
  }

 private:
  static Socket* Find(const Client& client, uint16_t name_space);
  void Dispatch(Client& client, const Packet& packet, const std::vector<std::string>& attachments);
  void Connect(Client& client, std::string_view name_space, std::string_view auth);
  void FinishConnect(Client& client, uint16_t name_space, std::string_view auth,
                     const Returning* returning = nullptr);
  void Remove(Socket& socket, engineio::CloseReason reason, bool keep);
  void Break(Client& client);
  void SetWait(Client& client, Duration time);
  void EndWait(Client& client);
  bool TooMany(Client& client);
  void Save(Socket& socket);
  void ComeBack(Client& client, uint16_t name_space, std::string_view auth, const std::string& pid,
                std::string_view offset_text);
  void Trim();
  void SayGoodbye(const Socket& socket);
  void EndOld(const Wanted& wanted);
  std::string IdFor(std::string_view pid) const;

  engineio::Engine engine_;
  HubOptions options_;
  Application& application_;
  Registry registry_;
  Slab<Client> clients_;
  Slab<Client::Wait> waits_;
  Slab<Socket> sockets_;
  ById<Socket> by_id_;
  std::vector<std::string_view> elements_;
  std::string text_;
  Recovery recovery_;
  uint64_t last_publication_ = 0;
  int64_t next_ack_ = 1;
  Time trimmed_;
  HubCounters counters_;
};

}  // namespace muster::push::socketio
