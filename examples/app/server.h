// The connections of the program: requests in, answers and echoed messages out, and an orderly end.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "http.h"
#include "loop.h"
#include "options.h"
#include "pages.h"
#include "visits.h"
#include "websocket.h"

namespace example {

class Server {
 public:
  Server(Loop& loop, const Options& options, Pages& pages, Visits& visits)
      : loop_(loop), options_(options), pages_(pages), visits_(visits) {}

  bool Listen(std::string& error);
  // Goes on answering, each time with `Connection: close`, until nothing is open any more (or `stop_bound` is
  // over); only then it stops to listen, and the loop ends with status 0. Health is 503 at once, and each
  // WebSocket gets a close frame 1001.
  void BeginStop();

 private:
  struct Connection {
    int fd = -1;
    uint64_t serial = 0;  // tells it from a later one with the same fd
    RequestReader reader;
    std::string input;
    std::string output;
    uint64_t filler_at = 0, filler_end = 0;
    bool waiting = false;  // an answer is due later
    bool close_when_sent = false;
    int exit_when_sent = -1;
    std::optional<EchoSocket> socket;
    bool half_closed = false;  // all is sent; waits for the other side to close

    bool sending() const { return !output.empty() || filler_at < filler_end; }
    bool idle() const { return !waiting && !sending() && !socket && !reader.in_request() && !half_closed; }
  };

  size_t Accept();
  void OnEvents(Connection& connection, uint32_t events);
  bool Receive(Connection& connection);  // false: it is over
  void Work(Connection& connection);
  void Upgrade(Connection& connection);
  void Respond(Connection& connection, Reply reply);
  void Queue(Connection& connection, const Reply& reply);
  bool Flush(Connection& connection);  // false: it is over
  void Continue(int fd, uint64_t serial, const Reply& reply);
  void Rewatch(Connection& connection);
  void Drop(Connection& connection);
  void TryFinish();

  Loop& loop_;
  const Options& options_;
  Pages& pages_;
  Visits& visits_;
  int listener_ = -1;
  uint64_t serial_ = 0;
  std::unordered_map<int, std::unique_ptr<Connection>> connections_;
  std::optional<Loop::Clock::time_point> stop_began_;
};

}  // namespace example
