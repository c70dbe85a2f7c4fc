// How a member's Redis is reached and asked. Loop thread only.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "model/instance.h"
#include "net/resp_client.h"
#include "recipes/redis/cluster_view.h"

namespace muster::redis {

// Where a member's Redis listens, and the password that its files give it ("": none). Pure.
struct Access {
  std::string host;
  int port = 0;
  std::string password;
};
Access AccessOf(const Instance& instance);

// One connection for one piece of work, which ends at `end`. What it tells has no password in it.
class Node {
 public:
  Node(net::Loop& loop, std::shared_ptr<net::RespClient> client, std::vector<std::string> secrets, Time end)
      : loop_(loop), client_(std::move(client)), secrets_(std::move(secrets)), end_(end) {}

  // Errors of Redis' are answers. Codes of net::RespClient.
  net::Task<Result<net::resp::Value>> Ask(net::resp::Command command);
  net::Task<Result<std::vector<net::resp::Value>>> AskAll(std::vector<net::resp::Command> commands);
  // Errors of Redis' are errors: "redis-refused", "redis-denied". `what` says what was asked.
  net::Task<Status> Do(net::resp::Command command, std::string what);
  // The same for several; the first error is told, the others have been done all the same.
  net::Task<Status> DoAll(std::vector<net::resp::Command> commands, std::string what);
  net::Task<Result<ClusterView>> View();

  Error Refused(const net::resp::Value& value, std::string_view what) const;

  net::Loop& loop() { return loop_; }
  net::RespClient& client() { return *client_; }
  const std::vector<std::string>& secrets() const { return secrets_; }
  Time end() const { return end_; }
  Duration left() const { return std::max(end_ - Now(), Duration(1)); }

 private:
  net::Loop& loop_;
  std::shared_ptr<net::RespClient> client_;
  std::vector<std::string> secrets_;
  Time end_;
};

// Sets what differs from what the server has. Each value as CONFIG GET tells it; what Redis can't set while
// it runs is passed over, since what needs a restart gets one. Code "setting-refused", naming the setting.
net::Task<Status> SetAll(Node& node, std::map<std::string, std::string> settings);

// Whether `pid` is `ancestor`, or a process below it.
bool IsBelow(int pid, int ancestor);

}  // namespace muster::redis
