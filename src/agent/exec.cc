#include "agent/exec.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "base/subprocess.h"

namespace muster::agent {

Result<std::shared_ptr<Execution>> Execution::Start(
    net::Loop& loop, const Command& command, std::function<void(std::string_view, std::string)> on_output,
    std::function<void(int)> on_end) {
  std::string program = command.argv[0];
  if (program.find('/') == std::string::npos) {
    program = FindProgram(program);
  } else if (program[0] != '/') {
    program = command.folder + "/" + program;  // where the command itself will be
  }
  if (program.empty() || ::access(program.c_str(), X_OK) != 0) {
    return Error::NotFound("program-missing", "there is no program {} on this host", command.argv[0]);
  }
  int out[2], err[2];
  if (::pipe2(out, O_CLOEXEC) != 0) return Error::Os("pipe", errno);
  Fd out_read(out[0]), out_write(out[1]);
  if (::pipe2(err, O_CLOEXEC) != 0) return Error::Os("pipe", errno);
  Fd err_read(err[0]), err_write(err[1]);

  std::vector<std::string> variables;
  for (const auto& [name, value] : command.env) variables.push_back(name + "=" + value);
  std::vector<char*> argv, env;
  for (const std::string& word : command.argv) argv.push_back(const_cast<char*>(word.c_str()));
  for (const std::string& variable : variables) env.push_back(const_cast<char*>(variable.c_str()));
  argv.push_back(nullptr);
  env.push_back(nullptr);

  const pid_t pid = ::fork();
  if (pid < 0) return Error::Os("fork", errno);
  if (pid == 0) {
    ::setsid();
    const int null = ::open("/dev/null", O_RDONLY);
    ::dup2(null, 0);
    ::dup2(out_write.get(), 1);
    ::dup2(err_write.get(), 2);
    ::close_range(3, ~0u, 0);
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::signal(SIGPIPE, SIG_DFL);
    if (command.user.uid != static_cast<uid_t>(-1)) {
      if (::setgroups(0, nullptr) != 0 || ::setgid(command.user.gid) != 0 ||
          ::setuid(command.user.uid) != 0) {
        ::_exit(126);
      }
    }
    if (::chdir(command.folder.c_str()) != 0) ::_exit(126);
    ::execve(program.c_str(), argv.data(), env.data());
    ::_exit(127);
  }
  auto execution = std::shared_ptr<Execution>(new Execution(loop));
  execution->pid_ = pid;
  execution->pidfd_ = Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  execution->outputs_[0] = std::move(out_read);
  execution->outputs_[1] = std::move(err_read);
  execution->on_output_ = std::move(on_output);
  execution->on_end_ = std::move(on_end);
  std::weak_ptr<Execution> weak = execution;
  for (const int which : {0, 1}) {
    ::fcntl(execution->outputs_[which].get(), F_SETFL, O_NONBLOCK);
    execution->watches_[which] = loop.WatchReadable(execution->outputs_[which].get(), [weak, which] {
      if (auto self = weak.lock()) self->Read(which);
    });
  }
  execution->watches_[2] = loop.WatchReadable(execution->pidfd_.get(), [weak] {
    auto self = weak.lock();
    if (!self || self->ended_) return;
    int status = 0;
    ::waitpid(self->pid_, &status, 0);
    self->ended_ = true;
    self->status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    self->loop_.Unwatch(self->watches_[2]);
    self->watches_[2] = 0;
    // A child in the background may hold the pipes for ever: what is there now is the output.
    for (const int which : {0, 1}) {
      if (self->watches_[which]) self->Read(which);
    }
    self->EndWhenAllIsRead();
  });
  return execution;
}

Execution::~Execution() {
  for (auto& watch : watches_) {
    if (watch) loop_.Unwatch(watch);
  }
  if (!ended_ && pid_ > 0) {
    ::kill(-pid_, SIGKILL);
    int status = 0;
    ::waitpid(pid_, &status, 0);
  }
}

void Execution::Kill() {
  if (!ended_ && pid_ > 0) ::kill(-pid_, SIGKILL);
}

void Execution::Read(int which) {
  char buffer[16 << 10];
  while (true) {
    const ssize_t got = ::read(outputs_[which].get(), buffer, sizeof buffer);
    if (got > 0) {
      on_output_(which == 0 ? "out" : "err", std::string(buffer, static_cast<size_t>(got)));
      continue;
    }
    if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
      loop_.Unwatch(watches_[which]);
      watches_[which] = 0;
    }
    return;
  }
}

void Execution::EndWhenAllIsRead() {
  auto end = std::exchange(on_end_, nullptr);
  if (end) end(status_);
}

}  // namespace muster::agent
