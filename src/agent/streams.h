// What an agent sends for as long as somebody reads it: logs and the output of commands.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "agent/exec.h"
#include "agent/log_care.h"
#include "api/agent_messages.h"
#include "net/channel.h"
#include "net/loop.h"

namespace muster::agent {

// The streams that the server has asked for over the present channel. Each is no further ahead of its reader
// than its window, and none reads on while too much is queued for the channel: what isn't read stays in the
// log file or in the command's pipe. Loop thread only.
class Streams {
 public:
  // `folder` is the host's, `waker` the agent's only one.
  Streams(net::Loop& loop, std::string folder, std::shared_ptr<LogWaker> waker);
  ~Streams();

  void Connect(std::shared_ptr<net::Channel> channel);
  void Disconnect();  // ends all streams and their commands

  void Start(const api::Logs& logs);
  // `command` without argv, which is the message's.
  void Start(const api::ExecMessage& message, Execution::Command command);
  void Refuse(const std::string& id, Error error);  // a stream that doesn't come about
  void On(const api::More& more);
  void On(const api::Input& input);
  void Cancel(const std::string& id);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace muster::agent
