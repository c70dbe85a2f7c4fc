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

// A command whose output is handed on as it comes. Loop thread only. Owned by the stream that wants it;
// destroying it kills the command.
class Execution : public std::enable_shared_from_this<Execution> {
 public:
  struct Command {
    std::vector<std::string> argv;
    std::map<std::string, std::string> env;  // PATH is where the program is looked for
    std::string folder;
    User user;
    std::vector<std::string> joins;  // cgroup.procs files: it enters those groups that are there
    bool input = false;              // what Write brings is its standard input; else that is empty
  };
  struct Handlers {
    // With "out" or "err", about 64 KiB at most. Characters come whole.
    std::function<void(std::string_view stream, std::string data)> on_output;
    // Once, after all output, with the exit status (128 + signal).
    std::function<void(int status)> on_end;
    // So many bytes of what was written have been read; with `closed` the command reads no more.
    std::function<void(size_t bytes, bool closed)> on_taken = nullptr;
  };
  // Codes: "program-missing", "not-executable", "os-error".
  static Result<std::shared_ptr<Execution>> Start(net::Loop& loop, const Command& command, Handlers handlers);
  ~Execution();

  // Back-pressure: between the two no output is read, so that the command waits once its pipe is full.
  void Pause();
  void Resume();

  // Standard input: what the command hasn't read yet is held here, so the caller counts on_taken.
  void Write(std::string bytes);
  void EndInput();  // after what was written

  void Kill();  // it and its process group

 private:
  struct Output {
    Fd fd;
    net::Loop::WatchId watch = 0;
    std::string cut;    // the start of a character whose end is still to come
    int64_t left = -1;  // to read after the command has ended; -1: it lives
    bool open = true;
  };
  explicit Execution(net::Loop& loop) : loop_(loop) {}
  void Watch();
  void Read(int which);
  void Deliver(int which, bool last);
  void OnExit();
  void EndIfAllIsRead();
  void Flush();
  void CloseInput(bool by_command);

  net::Loop& loop_;
  Handlers handlers_;
  int pid_ = 0;
  Output outputs_[2];
  Fd pidfd_;
  net::Loop::WatchId exit_watch_ = 0;
  bool paused_ = false;
  bool ended_ = false;
  int status_ = 0;

  Fd input_;
  net::Loop::WatchId input_watch_ = 0;
  std::string unread_;  // by the command
  bool input_ends_ = false;
};

}  // namespace muster::agent
