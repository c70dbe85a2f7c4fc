// One core's part of a spear node: a loop, the sessions that live on it, and what its clients and the push
// API ask for. All of it is for the loop's thread, but for Post and the counters.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "push/loop/mailbox.h"
#include "push/socketio/hub.h"
#include "push/spear/publication.h"

namespace muster::push {

class Node;
class Shard;

// What shards know together.
struct Answer {
  int64_t count = 0;
  int64_t acknowledged = 0;
  int64_t left_out = 0;  // of those acknowledged, whose texts are too many bytes
  std::vector<std::string> texts;
};
using SocketIds = std::unordered_set<std::string>;  // their 15 bytes
using Reply = std::function<void(Answer)>;          // called once, on the shard that was asked

struct ApiCall;
using BytesLeft = std::shared_ptr<std::atomic<int64_t>>;  // that answers to one call may have still

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
  std::atomic<int64_t> mailbox_bytes{0};    // of messages that wait for it
  Counter refused_busy;                     // messages, as too many waited for another shard
  Counter answers_left_out;                 // acks that were counted only

  // Any thread: has the shard do it in its next turn. What one thread posts is done in order.
  void Post(std::function<void(Shard&)> call, size_t bytes = 0);
  void Post(std::shared_ptr<Parcel> parcel);
  void Post(MovedConnection moved);

  // To all shards, this one first.
  void Publish(const Publication& publication, const socketio::Socket* except = nullptr);
  // To this one's sockets; how many got it. Without `origin` nobody gets it later. With `ack`, it asks for an
  // answer that goes to that id, of those whose ids `asked` then holds.
  int64_t Deliver(const Publication& publication, const socketio::Origin& origin,
                  const Member* except = nullptr, int64_t ack = -1, SocketIds* asked = nullptr);
  // Asks all shards and merges what they answer; `done` is called on this one.
  // `bytes`: of what is handed to each.
  void AskAll(std::function<void(Shard&, Reply)> ask, std::function<void(Answer)> done, size_t bytes = 0);
  // Delivers and waits for the clients' acks; replies with what came in time.
  void DeliverWithAck(const Publication& publication, Duration timeout, BytesLeft bytes_left, Reply reply);
  // Puts out the sockets meant; how many. `kick` numbers it among the publications of the shard whose work it
  // is.
  int64_t Kick(const Target& target, const std::string& group, const socketio::Origin& kick);

  void Drain(Duration over, const std::string& elsewhere);

  std::string Refusal(uint16_t name_space, std::string_view auth) override;
  void OnConnect(socketio::Socket& socket, std::string_view auth, bool recovered) override;
  void OnEvent(socketio::Socket& socket, const socketio::Event& event) override;
  void OnAck(socketio::Socket& socket, int64_t id, std::string_view arguments,
             const std::vector<std::string>& attachments) override;
  void OnDisconnect(socketio::Socket& socket, engineio::CloseReason reason) override;
  bool OnOtherRequest(Connection& connection, const http::Request& request) override;
  void OnOtherMessage(Connection& connection, bool binary, std::string_view message) override;
  void HandOver(uint8_t shard, MovedConnection moved) override;
  void AskForSaved(socketio::Returning returning) override;

  // The admin listener's.
  void OnRequest(Connection& connection, const http::Request& request) override;
  void OnClosed(Connection& connection) override;

 private:
  struct Letter {
    std::shared_ptr<Parcel> parcel;
    std::function<void(Shard&)> call;
    MovedConnection moved;
    size_t bytes = 0;
  };
  struct PendingAck;
  class EchoSessions;

  const std::vector<Member*>* MeantBy(const Target& target);
  void Turn();
  void OnNotice(const Notice& notice);
  void OnTimer(TimerNode& node);
  void Wake();

  // What clients ask for; each answers the event by an ack, or by another event where none was asked for.
  void OnAuth(socketio::Socket& socket, const socketio::Event& event);
  void OnSubscribe(socketio::Socket& socket, const socketio::Event& event, bool join);
  // Whether it may write to the group, and be told who is in it.
  bool MayUseGroup(const socketio::Socket& socket, std::string_view group);
  void OnMsg(socketio::Socket& socket, const socketio::Event& event);
  void OnOnline(socketio::Socket& socket, const socketio::Event& event);
  void OnRoom(socketio::Socket& socket, const socketio::Event& event, bool join);
  void OnEmit(socketio::Socket& socket, const socketio::Event& event);
  void OnReferenceEvent(socketio::Socket& socket, const socketio::Event& event);
  // Answers that nothing more can be taken just now, and counts it.
  void Busy(socketio::Socket& socket, const socketio::Event& event, std::string_view name);
  void Result(socketio::Socket& socket, const socketio::Event& event, std::string_view name, int code,
              std::string_view message, std::string_view data = "null");
  std::string WhyNotThem(std::string_view object, std::string& id, std::string& name,
                         std::string& device) const;
  // Logs that somebody wasn't let in as `id`; never what was shown for it.
  void TellRefused(const std::string& id, std::string_view why) const;
  void BindTo(socketio::Socket& socket, const std::string& id, const std::string& name,
              const std::string& device);
  void TellPresence(const socketio::Socket& socket, std::string_view group, std::string_view what);
  void EndAck(PendingAck& pending);

  // The push API's.
  bool Allowed(Connection& connection, const http::Request& request);
  void AnswerAdmin(Connection& connection, int status, std::string_view json);
  // Answers with an error, and logs it.
  void RefuseAdmin(Connection& connection, int status, std::string_view code, std::string_view message);
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
  Parcels parcels_;
  // What messages are put together in; their memory stays, so that the next one needs none.
  std::vector<std::string_view> elements_;
  std::string text_, data_, key_, object_text_, id_text_;
  Publication outgoing_;
  TimerNode drain_timer_;
  std::vector<engineio::SessionId> to_drain_;
  Time drain_began_;
  Duration drain_over_{0};
  size_t drain_size_ = 0;
};

}  // namespace muster::push
