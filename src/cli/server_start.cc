#include "cli/server_start.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "base/files.h"
#include "base/subprocess.h"
#include "base/text.h"
#include "base/time.h"
#include "cli/home.h"

namespace muster::cli {
namespace {

constexpr Duration kLookAgain = 2ms;  // a look costs a connect that fails; the first command waits for it

// Forks twice, so that the server is nobody's child and outlives this program. Returns its pid.
Result<pid_t> SpawnDetached(const fs::path& program, const fs::path& home, int log) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return Error::Os("pipe", errno);
  const Fd read_end(ends[0]), write_end(ends[1]);
  // Everything the children need is made before the fork: between fork and exec nothing may allocate.
  const std::string path = program.string();
  const std::string home_setting = "MUSTER_HOME=" + home.string();
  std::vector<std::string> variables = SmallEnvironment();
  std::vector<char*> environment;
  for (std::string& variable : variables) {
    if (!variable.starts_with("MUSTER_HOME=")) environment.push_back(variable.data());
  }
  environment.push_back(const_cast<char*>(home_setting.c_str()));
  environment.push_back(nullptr);
  char* const arguments[] = {const_cast<char*>("muster"), const_cast<char*>("server"),
                             const_cast<char*>("run"), nullptr};
  const pid_t middle = fork();
  if (middle < 0) return Error::Os("fork", errno);
  if (middle == 0) {
    setsid();
    const pid_t server = fork();
    if (server != 0) {
      [[maybe_unused]] const ssize_t told = write(write_end.get(), &server, sizeof server);
      _exit(0);
    }
    const int nothing = open("/dev/null", O_RDONLY);
    dup2(nothing, STDIN_FILENO);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    close_range(3, ~0u, 0);
    if (chdir("/") != 0) _exit(126);
    umask(022);
    execve(path.c_str(), arguments, environment.data());
    _exit(127);
  }
  int status = 0;
  while (waitpid(middle, &status, 0) < 0 && errno == EINTR) {
  }
  pid_t server = -1;
  if (read(read_end.get(), &server, sizeof server) != sizeof server || server < 0) {
    return Error::Internal("server-failed", "the server could not be started");
  }
  return server;
}

bool Lives(pid_t pid) {
  const auto stat = ReadFile("/proc/" + std::to_string(pid) + "/stat");
  if (!stat.ok()) return false;
  const size_t name_end = stat->rfind(')');
  return name_end != std::string::npos && name_end + 2 < stat->size() && (*stat)[name_end + 2] != 'Z';
}

}  // namespace

bool SocketAnswers(const fs::path& socket_path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = socket_path.string();
  if (path.size() >= sizeof address.sun_path) return false;
  path.copy(address.sun_path, path.size());
  // Never waits: a listener whose queue is full (EAGAIN) is busy, and there.
  const Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return false;
  return connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 || errno == EAGAIN;
}

Status StartServer(const fs::path& program, const fs::path& home) {
  MUSTER_DO(MakeFolder(home, 0711));
  MUSTER_DO(MakeFolder(home / "server", 0700));
  const Fd log(open(ServerLog(home).c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!log.valid()) return Error::Os("open " + ServerLog(home).string(), errno);
  const off_t log_start = lseek(log.get(), 0, SEEK_END);
  MUSTER_TRY(const pid_t server, SpawnDetached(program, home, log.get()));
  Time give_up = Now() + 10s;
  bool dead = false;
  while (Now() < give_up) {
    if (SocketAnswers(ApiSocket(home))) return Done();
    if (!dead && !Lives(server)) {
      // Perhaps another command started one in the same moment, which will answer in a moment.
      dead = true;
      give_up = std::min(give_up, Now() + 1s);
    }
    std::this_thread::sleep_for(kLookAgain);
  }
  const auto text = ReadFile(ServerLog(home));
  const std::string fresh = text.ok() && text->size() > static_cast<size_t>(log_start)
                                ? text->substr(static_cast<size_t>(log_start))
                                : "";
  return Error::Unavailable("server-failed", "the server {} before it answered",
                            dead ? "ended" : "was given 10 s and was not ready")
      .Hint("its log is {}", ServerLog(home).string())
      .Evidence(LastLines(fresh, 10));
}

}  // namespace muster::cli
