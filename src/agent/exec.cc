#include "agent/exec.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>

#include "base/bytes.h"
#include "base/children.h"
#include "base/pipe.h"
#include "base/search_path.h"
#include "base/subprocess.h"

namespace muster::agent {
namespace {

constexpr size_t kPieceBytes = 64 << 10;  // what a pipe holds

bool IsFile(const std::string& path) {
  struct stat file {};
  return ::stat(path.c_str(), &file) == 0 && S_ISREG(file.st_mode);
}

// Where the program of `command` is.
Result<std::string> Locate(const Execution::Command& command) {
  const std::string& name = command.argv[0];
  const Error missing = Error::NotFound("program-missing", "there is no program {} on this host", name);
  if (name.find('/') != std::string::npos) {
    // Relative to where the command itself will be.
    const std::string path = name[0] == '/' ? name : command.folder + "/" + name;
    if (::access(path.c_str(), F_OK) != 0) return missing;
    if (!IsFile(path) || ::access(path.c_str(), X_OK) != 0) {
      return Error::Invalid("not-executable", "{} is no program", name)
          .Hint("it has no permission to be executed, or is a folder");
    }
    return path;
  }
  if (name.empty()) return missing;
  const auto path = command.env.find("PATH");
  if (path != command.env.end()) {
    if (std::string found = FindInPath(path->second, name); !found.empty()) return found;
  }
  const std::string found = FindProgram(name);
  if (!found.empty()) return found;
  return Error(missing).Hint("what a shell brings with itself runs as: sh -c '{} …'", name);
}

// In the child, where hardly anything may be called.
[[noreturn]] void Execute(const char* program, char* const* argv, char* const* env) {
  ::execve(program, argv, env);
  const int error = errno;
  const char* why = error == ENOENT    ? "its interpreter is missing"
                    : error == EACCES  ? "its user may not execute it"
                    : error == ENOEXEC ? "it is neither a program nor a script with #!"
                                       : "the system refuses";
  for (const char* part : {"muster: can't run ", program, ": ", why, "\n"}) {
    if (::write(2, part, std::strlen(part)) < 0) break;
  }
  ::_exit(error == ENOENT ? 127 : 126);
}

}  // namespace

Result<std::shared_ptr<Execution>> Execution::Start(net::Loop& loop, const Command& command,
                                                    Handlers handlers) {
  MUSTER_TRY(const std::string program, Locate(command));
  MUSTER_TRY(Pipe in, MakePipe());
  MUSTER_TRY(Pipe out, MakePipe());
  MUSTER_TRY(Pipe err, MakePipe());

  std::vector<std::string> variables;
  for (const auto& [name, value] : command.env) variables.push_back(name + "=" + value);
  std::vector<char*> argv, env, joins;
  for (const std::string& word : command.argv) argv.push_back(const_cast<char*>(word.c_str()));
  for (const std::string& variable : variables) env.push_back(const_cast<char*>(variable.c_str()));
  for (const std::string& join : command.joins) joins.push_back(const_cast<char*>(join.c_str()));
  argv.push_back(nullptr);
  env.push_back(nullptr);

  const pid_t pid = ForkAwaited();
  if (pid < 0) return Error::Os("fork", errno);
  if (pid == 0) {
    ::setsid();
    ::dup2(command.input ? in.read_end.get() : ::open("/dev/null", O_RDONLY), 0);
    ::dup2(out.write_end.get(), 1);
    ::dup2(err.write_end.get(), 2);
    ::close_range(3, ~0u, 0);
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::signal(SIGPIPE, SIG_DFL);
    for (const char* join : joins) {
      const int group = ::open(join, O_WRONLY | O_CLOEXEC);
      if (group >= 0 && ::write(group, "0", 1) < 0) continue;  // on its way out
    }
    if (command.user.uid != static_cast<uid_t>(-1)) {
      if (::setgroups(0, nullptr) != 0 || ::setgid(command.user.gid) != 0 ||
          ::setuid(command.user.uid) != 0) {
        ::_exit(126);
      }
    }
    if (::chdir(command.folder.c_str()) != 0) ::_exit(126);
    Execute(program.c_str(), argv.data(), env.data());
  }
  auto execution = std::shared_ptr<Execution>(new Execution(loop));
  execution->handlers_ = std::move(handlers);
  execution->pid_ = pid;
  execution->pidfd_ = Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  execution->outputs_[0].fd = std::move(out.read_end);
  execution->outputs_[1].fd = std::move(err.read_end);
  if (command.input) execution->input_ = std::move(in.write_end);
  for (const Fd* fd : {&execution->outputs_[0].fd, &execution->outputs_[1].fd, &execution->input_}) {
    if (fd->valid()) ::fcntl(fd->get(), F_SETFL, O_NONBLOCK);
  }
  execution->Watch();
  execution->exit_watch_ =
      loop.WatchReadable(execution->pidfd_.get(), [weak = std::weak_ptr<Execution>(execution)] {
        if (const auto self = weak.lock()) self->OnExit();
      });
  return execution;
}

Execution::~Execution() {
  for (const auto watch : {outputs_[0].watch, outputs_[1].watch, exit_watch_, input_watch_}) {
    if (watch) loop_.Unwatch(watch);
  }
  if (!ended_ && pid_ > 0) {
    ::kill(-pid_, SIGKILL);
    int status = 0;
    AwaitChild(pid_, &status);
  }
}

void Execution::Kill() {
  if (!ended_ && pid_ > 0) ::kill(-pid_, SIGKILL);
}

// --- Its output.

void Execution::Pause() {
  paused_ = true;
  for (Output& output : outputs_) {
    if (output.watch) loop_.Unwatch(std::exchange(output.watch, 0));
  }
}

void Execution::Resume() {
  if (!std::exchange(paused_, false)) return;
  Watch();
  if (!ended_) return;
  loop_.Post([weak = weak_from_this()] {
    const auto self = weak.lock();
    if (self) self->EndIfAllIsRead();
  });
}

void Execution::Watch() {
  if (ended_) return;  // the rest is read without waiting
  for (const int which : {0, 1}) {
    Output& output = outputs_[which];
    if (!output.open || output.watch) continue;
    output.watch = loop_.WatchReadable(output.fd.get(), [weak = weak_from_this(), which] {
      if (const auto self = weak.lock()) self->Read(which);
    });
  }
}

// One piece: whoever gets it may pause.
void Execution::Read(int which) {
  Output& output = outputs_[which];
  char buffer[kPieceBytes];
  const size_t most =
      output.left < 0 ? sizeof buffer : std::min<size_t>(sizeof buffer, static_cast<size_t>(output.left));
  ssize_t got = 0;
  if (most > 0) {
    do {
      got = ::read(output.fd.get(), buffer, most);
    } while (got < 0 && errno == EINTR);
  }
  if (got < 0 && errno == EAGAIN && output.left < 0) return;
  const bool over = got <= 0;
  if (over) {
    output.open = false;
    if (output.watch) loop_.Unwatch(std::exchange(output.watch, 0));
  } else {
    output.cut.append(buffer, static_cast<size_t>(got));
    if (output.left >= 0) output.left -= got;
  }
  const size_t whole = over ? output.cut.size() : WholeUtf8(output.cut);
  if (whole == 0) return;
  std::string data = output.cut.substr(0, whole);
  output.cut.erase(0, whole);
  handlers_.on_output(which == 0 ? "out" : "err", std::move(data));
}

void Execution::OnExit() {
  if (ended_) return;
  int status = 0;
  AwaitChild(pid_, &status);
  ended_ = true;
  status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  loop_.Unwatch(std::exchange(exit_watch_, 0));
  // A child in the background may hold the pipes for ever, and go on writing: what is there now is the
  // output.
  for (Output& output : outputs_) {
    int there = 0;
    ::ioctl(output.fd.get(), FIONREAD, &there);
    output.left = there;
    if (output.watch) loop_.Unwatch(std::exchange(output.watch, 0));
  }
  CloseInput(true);
  EndIfAllIsRead();
}

void Execution::EndIfAllIsRead() {
  const auto self = shared_from_this();  // a handler may drop us
  for (const int which : {0, 1}) {
    while (outputs_[which].open && !paused_) Read(which);
  }
  if (outputs_[0].open || outputs_[1].open) return;  // paused
  const auto end = std::exchange(handlers_.on_end, nullptr);
  if (end) end(status_);
}

// --- Its input.

void Execution::Write(std::string bytes) {
  if (!input_.valid()) {
    if (handlers_.on_taken) handlers_.on_taken(bytes.size(), true);
    return;
  }
  unread_ += bytes;
  Flush();
}

void Execution::EndInput() {
  input_ends_ = true;
  Flush();
}

void Execution::Flush() {
  size_t taken = 0;
  while (input_.valid() && taken < unread_.size()) {
    const ssize_t put = ::write(input_.get(), unread_.data() + taken, unread_.size() - taken);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0 && errno == EAGAIN) break;
    if (put < 0) return CloseInput(true);  // the command has closed it: all that is held is told at once
    taken += static_cast<size_t>(put);
  }
  unread_.erase(0, taken);
  if (taken > 0 && handlers_.on_taken) handlers_.on_taken(taken, false);
  if (!input_.valid()) return;
  if (unread_.empty()) {
    if (input_watch_) loop_.Unwatch(std::exchange(input_watch_, 0));
    if (input_ends_) CloseInput(false);
  } else if (!input_watch_) {
    input_watch_ = loop_.WatchWritable(input_.get(), [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->Flush();
    });
  }
}

void Execution::CloseInput(bool by_command) {
  if (!input_.valid()) return;
  if (input_watch_) loop_.Unwatch(std::exchange(input_watch_, 0));
  input_.Reset();
  const size_t lost = std::exchange(unread_, "").size();
  if (by_command && handlers_.on_taken) handlers_.on_taken(lost, true);
}

}  // namespace muster::agent
