// One core's part of a spear node: a loop, the sessions that live on it, and what its clients and the push
// API ask for. All of it is for the loop's thread, but for Post and the counters.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "push/loop/mailbox.h"
#include "push/socketio/hub.h"

namespace muster::push {

class Node;
class Shard;

// Whom something is for.
struct Target {
  enum class Kind : uint8_t { kUser, kGroup, kRoom, kEverybody, kSocket };
  Kind kind = Kind::kUser;
  std::string id;
  std::string device;       // kUser only; empty: all of them
  uint16_t name_space = 0;  // kRoom and kEverybody
};

// An event on its way to all shards, each of which encodes it once.
struct Publication {
  Target target;
  std::string event;
  std::string arguments;                 // JSON values with commas between
  std::vector<std::string> attachments;  // binary
  bool droppable = false;
};

// What shards know together.
struct Answer {
  int64_t count = 0;
  int64_t acknowledged = 0;
  std::vector<std::string> texts;
};
using Reply = std::function<void(Answer)>;  // called once, on the shard that was asked

struct ApiCall;

class Shard : public socketio::Application, public ConnectionHandler {
 public:
  static constexpr uint8_t kClients = 0, kAdmin = 1, kEcho = 2;  // handlers of the loop

  Shard(Node& node, uint8_t number);
  ~Shard() override;

  Loop& loop() { return loop_; }
  socketio::Hub& hub() { return hub_; }
  const socketio::Hub& hub() const { return hub_; }
  const Loop& loop() const { return loop_; }
  uint8_t number() const { return number_; }
  std::atomic<int64_t> users{0}, rooms{0};  // as of its last turn

  // Any thread: has the shard do it in its next turn. What one thread posts is done in order.
  void Post(std::function<void(Shard&)> call);
  void Post(std::shared_ptr<const Publication> publication);
  void Post(MovedConnection moved);

  // To all shards, this one first.
  void Publish(Publication publication, const Member* except = nullptr);
  // To this one's sockets; how many got it. With `ack`, it asks for an answer that goes to that id.
  int64_t Deliver(const Publication& publication, const Member* except, int64_t ack = -1);
  // Asks all shards and merges what they answer; `done` is called on this one.
  void AskAll(std::function<void(Shard&, Reply)> ask, std::function<void(Answer)> done);
  // Delivers and waits for the clients' acks; replies with what came in time.
  void DeliverWithAck(const Publication& publication, Duration timeout, Reply reply);
  // Puts out the sockets meant; how many.
  int64_t Kick(const Target& target, std::string_view group);

  void Drain(Duration over, const std::string& elsewhere);
  bool drained() const { return drained_; }

  std::string Refusal(uint16_t name_space, std::string_view auth) override;
  void OnConnect(socketio::Socket& socket, std::string_view auth, bool recovered) override;
  void OnEvent(socketio::Socket& socket, const socketio::Event& event) override;
  void OnAck(socketio::Socket& socket, int64_t id, std::string_view arguments) override;
  void OnDisconnect(socketio::Socket& socket, engineio::CloseReason reason) override;
  bool OnOtherRequest(Connection& connection, const http::Request& request) override;
  void OnOtherMessage(Connection& connection, bool binary, std::string_view message) override;
  void HandOver(uint8_t shard, MovedConnection moved) override;
  void AskForSaved(const std::string& pid, const std::string& offset, engineio::SessionId session,
                   uint16_t name_space, const std::string& auth) override;

  // The admin listener's.
  void OnRequest(Connection& connection, const http::Request& request) override;
  void OnClosed(Connection& connection) override;

 private:
  struct Letter {
    std::shared_ptr<const Publication> publication;
    std::function<void(Shard&)> call;
    MovedConnection moved;
  };
  struct PendingAck;
  class EchoSessions;

  void Turn();
  void OnTimer(TimerNode& node);
  void Wake();

  // What clients ask for; each answers the event by an ack, or by another event where none was asked for.
  void OnAuth(socketio::Socket& socket, const socketio::Event& event);
  void OnSubscribe(socketio::Socket& socket, const socketio::Event& event, bool join);
  void OnMsg(socketio::Socket& socket, const socketio::Event& event);
  void OnOnline(socketio::Socket& socket, const socketio::Event& event);
  void OnRoom(socketio::Socket& socket, const socketio::Event& event, bool join);
  void OnEmit(socketio::Socket& socket, const socketio::Event& event);
  void OnReferenceEvent(socketio::Socket& socket, const socketio::Event& event);
  void Result(socketio::Socket& socket, const socketio::Event& event, std::string_view name, int code,
              std::string_view message, std::string_view data = "null");
  std::string WhyNotThem(std::string_view object, std::string& id, std::string& name,
                         std::string& device) const;
  void BindTo(socketio::Socket& socket, const std::string& id, const std::string& name,
              const std::string& device);
  void TellPresence(const socketio::Socket& socket, std::string_view group, std::string_view what);
  void EndAck(PendingAck& pending);

  // The push API's.
  bool Allowed(Connection& connection, const http::Request& request);
  void AnswerAdmin(Connection& connection, int status, std::string_view json);
  void OnPush(Connection& connection, const http::Request& request);
  void PushOne(const std::shared_ptr<ApiCall>& call, size_t index, std::string_view order);
  void OnKick(Connection& connection, const http::Request& request);
  void OnOnlineRequest(Connection& connection, const http::Request& request);
  void OnState(Connection& connection);
  std::shared_ptr<ApiCall> Hold(Connection& connection);

  Node& node_;
  uint8_t number_;
  Loop loop_;
  socketio::Hub hub_;
  Mailbox<Letter> mailbox_;
  std::unique_ptr<EchoSessions> echo_;
  std::unordered_map<int64_t, std::unique_ptr<PendingAck>> acks_;
  std::vector<FrameRef> by_namespace_;
  std::vector<Member*> found_;
  std::vector<std::string_view> elements_;
  std::string text_;
  TimerNode drain_timer_;
  std::vector<engineio::SessionId> to_drain_;
  Time drain_began_;
  Duration drain_over_{0};
  size_t drain_size_ = 0;
  std::atomic<bool> drained_{false};
};

}  // namespace muster::push
