// One epoll loop, of which a node has one a core: its connections, their bytes in and out, HTTP requests and
// WebSocket messages as they become whole. What they mean is its handlers' business. All of a loop is for its
// own thread, but for Wake.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"
#include "base/time.h"
#include "push/loop/addresses.h"
#include "push/loop/counters.h"
#include "push/loop/frame.h"
#include "push/loop/http.h"
#include "push/loop/slab.h"
#include "push/loop/timer_wheel.h"
#include "push/loop/tls.h"
#include "push/loop/websocket.h"

namespace muster::push {

enum TimerOf : uint8_t { kTimerOfConnection, kTimerOfSession, kTimerOfOther };

// What a connection has only while something of its input isn't whole.
struct Input {
  std::string bytes;        // not yet read as a request or a frame
  std::string message;      // fragments so far, or of a chunked body what is in `chunks_taken`
  size_t checked = 0;       // bytes of the fragments that are known to be UTF-8
  size_t chunks_taken = 0;  // bytes of its chunks that are whole
  bool fragmented = false;
  bool binary = false;
  bool body_told = false;  // the handler knows of the request whose body is still coming
};

// A TCP connection. Made, closed and freed by its loop; pointers to it hold until its handler's OnClosed has
// returned.
struct Connection : TimerNode {
  enum class Mode : uint8_t {
    kHttp,
    kWebSocket,
    kLingering,  // all was said; waiting for the peer to close, so that it reads our last words
    kClosed,
  };
  // In bits, and here, to fill the gap that the timer leaves.
  Mode mode : 3 = Mode::kHttp;
  uint8_t handler : 3 = 0;
  bool dirty : 1 = false;       // in the list of those to flush
  bool blocked : 1 = false;     // waiting to be writable
  bool paused : 1 = false;      // not read from
  bool waiting : 1 = false;     // a request is with its handler
  bool keep_alive : 1 = false;  // the request at hand lets the connection live on
  bool close_after_flush : 1 = false;
  bool close_sent : 1 = false;  // a WebSocket close frame is out
  bool doomed : 1 = false;      // to be closed at the end of the turn
  bool told : 1 = false;        // the handler knows that it is gone
  bool reads_on : 1 = false;    // in the list of those to read from without being told to
  bool slow : 1 = false;        // doomed, or ended, as too much waited for it
  int fd = -1;
  uint32_t number = 0;
  Outbox out;
  std::unique_ptr<Input> input;
  std::unique_ptr<TlsConnection> tls;
  AddressTable::Entry* address = nullptr;
  void* owner = nullptr;  // the handler's
};

// A connection on its way to another loop, with all it has sent that isn't answered.
struct MovedConnection {
  int fd = -1;
  uint8_t handler = 0;
  std::string bytes;
  std::string unsent;  // answers to what was sent before
  std::unique_ptr<TlsConnection> tls;
  AddressTable::Entry* address = nullptr;
};

// What connections are to somebody. Called on the loop's thread.
class ConnectionHandler {
 public:
  virtual ~ConnectionHandler() = default;
  // A whole request. Answer it with Respond or Upgrade, now or later; or give the connection away with
  // Release.
  virtual void OnRequest(Connection& connection, const http::Request& request) = 0;
  // The head of a request whose body is on its way. The connection may be given away with Release.
  virtual void OnBodyBegins(Connection&, const http::Request&) {}
  // A whole message of a WebSocket; text is UTF-8.
  virtual void OnMessage(Connection&, bool /*binary*/, std::string_view /*message*/) {}
  // It is gone, or about to be: nothing more can be sent. Called once.
  virtual void OnClosed(Connection& connection) = 0;
};

// Something that whoever runs the node may want to know of.
struct Notice {
  enum class Kind : uint8_t {
    kConnectionRefused,  // for a limit
    kClientClosed,       // for a limit
    kSlowDropped,        // a packet, for a client that is too slow
    kSlowClosed,
    kBadProtocol,
  };
  Kind kind;
  std::string_view what;                   // which limit, or what was wrong
  const Connection* connection = nullptr;  // nullptr: the one whose input is at hand, if any
  size_t bytes = 0;                        // that wait for a slow client
  const Address* from = nullptr;           // of who has no connection yet
};

enum class SlowPolicy { kDrop, kClose };

struct LoopLimits {
  size_t payload_max = 1'000'000;  // of a message or a request's body, in bytes
  size_t connections_max = 0;      // of the node; 0: as many as there are files
  int per_address_max = 0;         // of the node
  size_t out_max = 1u << 20;       // bytes waiting for one consumer
  SlowPolicy slow = SlowPolicy::kClose;
  Duration request_timeout = 10s;  // for a request to come whole
  Duration idle_timeout = 75s;     // between requests
};

class Loop {
 public:
  // `clock`: a test's own time.
  Loop(const LoopLimits& limits, AddressTable* addresses, TlsContext* tls, Time (*clock)() = Now);
  ~Loop();

  // The handler of listeners of this number; called before Listen.
  void SetHandler(uint8_t number, ConnectionHandler* handler) { handlers_[number] = handler; }
  // Takes over a socket that listens. `secure`: with TLS. `limited`: the limits of node and address hold.
  void Listen(Fd socket, uint8_t handler, bool secure, bool limited = true);
  void StopListening(uint8_t handler);

  // Called in every turn, after input was handled and before output is sent.
  void SetTurn(std::function<void()> turn) { turn_ = std::move(turn); }
  // Called for timers that aren't connections'.
  void SetTimer(std::function<void(TimerNode&)> timer) { timer_ = std::move(timer); }

  // Called for each notice, on the loop's thread; what a notice points to holds until it returns.
  void SetNotice(std::function<void(const Notice&)> notice) { notice_ = std::move(notice); }
  void Notify(const Notice& notice) {
    if (notice_) notice_(notice);
  }
  // Where the other end of a connection is, or, for nullptr, of the one whose input is at hand; "" where
  // there is none.
  std::string PeerOf(const Connection* connection = nullptr) const;

  void Run();  // until Stop
  void Stop() { stopping_ = true; }
  void Wake();  // any thread

  Time now() const { return now_; }  // of this turn
  TimerWheel& timers() { return timers_; }
  LoopCounters& counters() { return counters_; }
  const LoopCounters& counters() const { return counters_; }
  const LoopLimits& limits() const { return limits_; }

  // Puts a frame behind what waits, and right behind it those that belong to it: all of them or none. False
  // where the consumer is too slow and they were dropped. Never closes anything before the end of the turn,
  // so that it may be called while going through a list of receivers.
  bool Send(Connection& connection, FrameRef frame, std::span<const FrameRef> attachments = {});
  // Answers the request at hand; each line of `headers` ends in \r\n. `head_only`: to HEAD, which is told of
  // the body and doesn't get it.
  void Respond(Connection& connection, int status, std::string_view headers, std::string_view body,
               bool head_only = false);
  // Answers it with 101 and goes on as a WebSocket.
  void Upgrade(Connection& connection, std::string_view accept_key, std::string_view headers);
  // Begins the closing handshake of a WebSocket.
  void CloseWebSocket(Connection& connection, uint16_t code, std::string_view reason = {});
  // Moves all that waits in `box` behind what waits for the connection.
  void Append(Connection& connection, Outbox& box);
  // Closes it at the end of the turn; nothing more is sent.
  void Doom(Connection& connection);
  // Closes at once, without a word; OnClosed is called.
  void Close(Connection& connection);
  void CloseAfterFlush(Connection& connection);

  // Gives away the connection whose request is at hand, with it and all that follows. OnClosed is not called.
  MovedConnection Release(Connection& connection);
  // A place for a session that the connection asks for, to be given back by LeavePlace; or the limit that is
  // reached, which was counted and told of. Neither where the connection is under no limit.
  struct Place {
    AddressTable::Entry* entry = nullptr;
    int refused = 0;  // what to answer: 503 or 429
  };
  Place TakePlace(const Connection& connection);
  void LeavePlace(AddressTable::Entry* entry);
  void Adopt(MovedConnection moved);

  template <class Visit>
  void ForEachConnection(const Visit& visit) {
    for (uint32_t number = 0; number < connections_.count(); ++number) {
      Connection* connection = connections_.Find(number);
      if (connection != nullptr && connection->mode != Connection::Mode::kClosed) visit(*connection);
    }
  }

 private:
  struct Listener {
    Fd socket;
    uint8_t handler;
    bool secure, limited;
  };

  void Turn();
  void AcceptFrom(Listener& listener);
  Connection& Add(int fd, uint8_t handler, std::unique_ptr<TlsConnection> tls, AddressTable::Entry* address);
  void Read(Connection& connection, bool ended = false);
  void ReadOn(Connection& connection);  // in the next turn
  void Take(Connection& connection, char* data, size_t size);
  void TakeAll(Connection& connection, char* data, size_t size);
  // Both return how many bytes they took.
  size_t TakeRequests(Connection& connection, char* data, size_t size);
  size_t TakeFrames(Connection& connection, char* data, size_t size);
  void TakeFrame(Connection& connection, const websocket::Header& header, std::string_view payload);
  void TakeControl(Connection& connection, const websocket::Header& header, std::string_view payload);
  void Fail(Connection& connection, uint16_t code);
  void Refuse(Connection& connection, int status);
  void Flush(Connection& connection);
  void FlushAll();
  // Sends a connection its answers to what was just read from it, where these are all there is to be sent
  // beyond the first `others` in the list: what the kernel keeps of its socket is still in the caches then.
  void FlushOwn(Connection& connection, size_t others);
  void Drained(Connection& connection);
  void MarkDirty(Connection& connection);
  void Watch(Connection& connection);
  void Expire(Connection& connection);
  void Remove(Connection& connection, bool close_fd);
  void GoOn(Connection& connection);
  void Tell(Connection& connection);
  void EndDoomed();
  void EndSlow(Connection& connection);
  ssize_t Transmit(Connection& connection, const char* data, size_t size);

  LoopLimits limits_;
  AddressTable* addresses_;
  TlsContext* tls_;
  Time (*clock_)();
  Fd epoll_, wake_, spare_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  ConnectionHandler* handlers_[4] = {};
  std::function<void()> turn_;
  std::function<void(const Notice&)> notice_;
  const Connection* reading_ = nullptr;  // whose input is at hand
  std::function<void(TimerNode&)> timer_;
  TimerWheel timers_;
  Time now_;
  Slab<Connection> connections_;
  std::vector<Connection*> dirty_, flushing_, doomed_, ended_, dead_;
  std::vector<Connection*> again_, reading_again_;  // with requests left to read
  std::vector<Connection*> read_on_, reading_on_;   // with more to read than a turn may
  std::unique_ptr<char[]> in_buffer_, out_buffer_;
  std::string chunked_body_;
  std::string_view at_hand_;  // what came from the request at hand on
  LoopCounters counters_;
  int files_most_ = 0;  // descriptors from this number on are no client's
  bool stopping_ = false;
};

// A socket that listens; other loops, and other programs of the same user, may listen there, too, and the
// kernel spreads the connections. Code "port-taken", "bad-address" or "os-error".
Result<Fd> ListenOn(const std::string& host, int port);
// Whether nobody listens there yet; the same codes.
Status FindFree(const std::string& host, int port);
int PortOf(const Fd& socket);

}  // namespace muster::push
