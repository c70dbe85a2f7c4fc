// A connection to one Redis server. Loop thread only; Boost.Asio stays in resp_client.cc. The loop outlives
// it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "net/loop.h"
#include "net/resp.h"

namespace muster::net {

struct RespOptions {
  std::string password;        // "": none is sent
  std::string user;            // "": Redis' own default user
  std::string source_address;  // bind this side to it first, if set
  resp::Limits limits;
};

// Answers come in the order of the commands, also where several tasks send at a time. It never connects anew:
// once it has closed every call says so, and whoever wants another makes one. Whoever holds it may let go of
// it at any time: what is under way ends with "redis-closed".
//
// What Redis refuses is an answer (resp::RefusedError makes an Error of it); these are the codes of the
// connection itself: "redis-closed" when it has ended or been closed, "redis-timeout", "bad-resp". No error
// has the password in it, nor what was sent.
class RespClient {
 public:
  // Connects and, where there is a password, says it. `timeout` is for both. Codes "redis-unreachable",
  // "redis-denied" for a password that isn't taken, and those above.
  static Task<Result<std::unique_ptr<RespClient>>> Connect(Loop& loop, std::string host, int port,
                                                           RespOptions options, Duration timeout);
  ~RespClient();
  RespClient(const RespClient&) = delete;

  // Sends all commands at once and comes back with as many answers. A call that times out closes the
  // connection, since nobody could tell any more which answer belongs to what; the server may still do what
  // was sent. A task that is ended while it waits here leaves the connection as it is. Codes above.
  Task<Result<std::vector<resp::Value>>> Pipeline(std::vector<resp::Command> commands, Duration timeout);
  // The same for one command.
  Task<Result<resp::Value>> Command(resp::Command command, Duration timeout);

  void Close();
  // Also true as soon as the server has closed it, asked for something or not.
  bool closed() const;

 private:
  class Connection;
  explicit RespClient(std::shared_ptr<Connection> connection);
  std::shared_ptr<Connection> connection_;
};

}  // namespace muster::net
