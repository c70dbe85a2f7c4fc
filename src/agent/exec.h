// `muster exec`: a command in an instance's environment.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/users.h"
#include "base/files.h"
#include "base/result.h"
#include "net/loop.h"

namespace muster::agent {

// A command whose output is handed on as it comes. Loop thread only. Destroying it kills the command.
class Execution : public std::enable_shared_from_this<Execution> {
 public:
  struct Command {
    std::vector<std::string> argv;
    std::map<std::string, std::string> env;
    std::string folder;
    User user;
  };
  // `on_output` with "out" or "err"; `on_end` once, with the exit status (128 + signal). Codes:
  // "program-missing", "os-error".
  static Result<std::shared_ptr<Execution>> Start(
      net::Loop& loop, const Command& command, std::function<void(std::string_view, std::string)> on_output,
      std::function<void(int)> on_end);
  ~Execution();
  void Kill();  // it and its process group

 private:
  explicit Execution(net::Loop& loop) : loop_(loop) {}
  void Read(int which);
  void EndWhenAllIsRead();

  net::Loop& loop_;
  int pid_ = 0;
  Fd outputs_[2];
  Fd pidfd_;
  net::Loop::WatchId watches_[3] = {0, 0, 0};
  bool ended_ = false;
  int status_ = 0;
  std::function<void(std::string_view, std::string)> on_output_;
  std::function<void(int)> on_end_;
};

}  // namespace muster::agent
