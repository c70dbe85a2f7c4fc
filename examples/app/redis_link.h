// A connection to one Redis server: commands out, answers of one line in.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "loop.h"

namespace example {

class RedisLink {
 public:
  // `line` is the answer as it came: ":12", "+OK", "-MOVED 866 10.0.0.1:7001"; or "-LOST " and why, where
  // there was none: nobody knows then whether the command was done.
  using Got = std::function<void(std::string_view line)>;

  // `node` is HOST:PORT. Connects when there is something to send, and anew after each end.
  RedisLink(Loop& loop, std::string node, std::string password)
      : loop_(loop), node_(std::move(node)), password_(std::move(password)) {}
  RedisLink(const RedisLink&) = delete;

  // `got` is called once, never from within Send, and within half a second. Commands are answered in their
  // order; one without an answer in time ends the connection, and with it all that wait.
  void Send(const std::vector<std::string>& command, Got got);

 private:
  struct Sent {
    uint64_t serial = 0;
    Got got;
  };

  void Connect();
  void Queue(const std::vector<std::string>& command, Got got);
  void OnEvents(uint32_t events);
  void Flush();
  void Read();
  void End(std::string line);  // `line` is what those that wait get

  Loop& loop_;
  const std::string node_;
  const std::string password_;
  int fd_ = -1;
  bool connected_ = false;
  uint64_t ends_ = 0;
  uint64_t serial_ = 0;
  std::string output_;
  std::string input_;
  std::deque<Sent> waiting_;
};

}  // namespace example
