// Engine.IO sessions of one loop: handshake, long-polling, WebSocket, the way from one to the other,
// heartbeats. A session lives on one loop for life; requests for it that land on another are handed over. For
// the loop's thread.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "push/engineio/packet.h"
#include "push/loop/loop.h"

namespace muster::push::engineio {

struct Options {
  std::string path = "/socket.io/";  // ends in '/'
  Duration ping_interval = 25s;
  Duration ping_timeout = 20s;
  Duration upgrade_timeout = 10s;
  bool polling = true, websocket = true, upgrades = true;
  bool protocol_3 = false;  // allowEIO3
  std::vector<std::string> origins = {
      "*"};                  // of pages that may connect beside those of the Host itself; at most 200
  bool credentials = false;  // only with origins that are named
  uint8_t shard = 0, shards = 1;
  uint8_t timer_kind = kTimerOfSession;
};

enum class CloseReason {
  kClient,          // it said so
  kTransportClose,  // the connection ended
  kTransportError,
  kPingTimeout,
  kParseError,
  kServer,
  kSlow,
};
std::string_view CloseReasonText(CloseReason reason);  // as Socket.IO names it

struct Session : TimerNode {
  enum class State : uint8_t { kOpen, kClosing, kClosed };
  // In bits, and here, to fill the gap that the timer leaves.
  State state : 2 = State::kOpen;
  bool websocket : 1 = false;  // the transport; else long-polling
  bool awaits_pong : 1 = false;
  bool dirty : 1 = false;  // has something for the pending GET
  uint8_t protocol : 3 = 4;
  uint8_t origin = 0;  // whose CORS headers the pending GET gets
  uint8_t secret[10] = {};
  uint32_t slot = 0;
  Connection* transport = nullptr;       // the WebSocket, or the pending GET
  Connection* probe = nullptr;           // a WebSocket that may take over
  Connection* posting = nullptr;         // a POST whose body is on its way
  AddressTable::Entry* place = nullptr;  // under the limits of node and address
  Outbox out;                            // of long-polling
  void* client = nullptr;                // the handler's
  bool open() const { return state == State::kOpen; }
};

class EngineHandler {
 public:
  virtual ~EngineHandler() = default;
  virtual void OnOpen(Session& session) = 0;
  virtual void OnMessage(Session& session, bool binary, std::string_view message) = 0;
  virtual void OnClosed(Session& session,
                        CloseReason reason) = 0;  // once; the session is freed after this turn
  // A request for another path; false: answer 404.
  virtual bool OnOtherRequest(Connection&, const http::Request&) { return false; }
  virtual void OnOtherMessage(Connection&, bool /*binary*/, std::string_view) {}
  virtual void HandOver(uint8_t shard, MovedConnection moved) = 0;
};

struct EngineCounters {
  Counter polling, websocket;  // sessions now
  Counter opened, upgraded;
  Counter refused;  // requests answered with an error
  Counter closed_by_client, closed_by_ping_timeout, closed_by_error, closed_by_server;
};

class Engine : public ConnectionHandler {
 public:
  Engine(Loop& loop, Options options, EngineHandler& handler);

  // Sends a packet, whole with its digit where it is text, and the binary ones that belong to it: all of them
  // or none. False: not taken, as the receiver is too slow or gone. Closes nothing before the end of the
  // turn.
  bool Send(Session& session, FrameRef packet, std::span<const FrameRef> attachments = {});
  // Ends a session in good order: what waits is still delivered.
  void Close(Session& session);
  void EndProbe(Session& session);
  void CloseNow(Session& session, CloseReason reason);
  // Whether a droppable packet would go out at once.
  static bool Writable(const Session& session);
  // Whether it is about to end as too much waits for it.
  bool IsTooSlow(const Session& session) const;

  // Once a turn, after input and before output: answers pending GETs.
  void Turn();
  void OnTimer(TimerNode& node);
  // Nobody new is taken: handshakes are answered with 503.
  void RefuseNew() { refusing_ = true; }

  const EngineCounters& counters() const { return counters_; }
  const Options& options() const { return options_; }
  Loop& loop() { return loop_; }
  size_t size() const { return sessions_.size(); }
  std::string IdOf(const Session& session) const;
  Session* Find(const SessionId& id);  // nullptr: it is gone
  template <class Visit>
  void ForEach(const Visit& visit) {
    for (uint32_t slot = 0; slot < sessions_.count(); ++slot) {
      Session* session = sessions_.Find(slot);
      if (session != nullptr && session->open()) visit(*session);
    }
  }

  void OnRequest(Connection& connection, const http::Request& request) override;
  void OnBodyBegins(Connection& connection, const http::Request& request) override;
  void OnMessage(Connection& connection, bool binary, std::string_view message) override;
  void OnClosed(Connection& connection) override;

 private:
  Session& Open(Connection& connection, bool websocket, int protocol);
  void OnPoll(Session& session, Connection& connection);
  void OnPost(Session& session, Connection& connection, const http::Request& request);
  void OnHandshake(Connection& connection, const http::Request& request, bool upgrade, bool websocket);
  bool BecomeWebSocket(Connection& connection, const http::Request& request);
  void BeginProbe(Session& session, Connection& connection);
  void OnProbe(Session& session, Connection& connection, bool binary, std::string_view packet);
  void OnPacket(Session& session, bool binary, std::string_view packet);
  void AnswerPoll(Session& session, std::string_view last = {});
  void RespondTo(Connection& connection, int status, std::string_view type, std::string_view body);
  void Fail(Connection& connection, int code, bool upgrade = false);
  void Preflight(Connection& connection, const http::Request& request);
  void SetCors(const http::Request& request);
  bool MayAsk(const http::Request& request);
  void SchedulePing(Session& session, Duration jitter = Duration(0));
  std::string OpenPacket(const Session& session) const;

  Loop& loop_;
  Options options_;
  EngineHandler& handler_;
  Slab<Session> sessions_;
  std::vector<Session*> dirty_, answering_, doomed_, dead_;
  std::vector<Packet> packets_;
  std::string payload_;
  std::vector<std::string> cors_headers_;  // for no origin, then for each of the options
  uint8_t cors_ = 0;                       // whose the answer at hand gets
  FrameRef ping_;
  EngineCounters counters_;
  bool refusing_ = false;
};

// Random bytes of the kernel's, from a buffer of the thread's.
void FillRandom(void* bytes, size_t size);

}  // namespace muster::push::engineio
