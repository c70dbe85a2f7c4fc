#include "base/subprocess.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "base/children.h"
#include "base/files.h"
#include "base/pipe.h"
#include "base/search_path.h"
#include "base/text.h"

namespace muster {
namespace {

struct Package {
  std::string_view program, package;
};
constexpr Package kPackages[] = {
    {"nginx", "nginx-light"},
    {"redis-server", "redis-server"},
    {"redis-cli", "redis-tools"},
    {"mariadbd", "mariadb-server"},
    {"mysqld", "mariadb-server"},
    {"rabbitmq-server", "rabbitmq-server"},
    {"java", "default-jre-headless"},
    {"python3", "python3"},
    {"node", "nodejs"},
    {"haproxy", "haproxy"},
    {"etcd", "etcd-server"},
    {"curl", "curl"},
    {"ip", "iproute2"},
    {"openssl", "openssl"},
    {"socat", "socat"},
    {"php", "php-cli"},
    {"ruby", "ruby"},
    {"perl", "perl"},
};

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

std::vector<std::string> Environment(const std::map<std::string, std::string>& added, bool only) {
  std::vector<std::string> environment;
  for (char** entry = environ; *entry && !only; ++entry) {
    const std::string_view text(*entry);
    if (!added.contains(std::string(text.substr(0, text.find('='))))) environment.emplace_back(text);
  }
  for (const auto& [name, value] : added) environment.push_back(name + "=" + value);
  return environment;
}

// Between fork and exec: nothing that allocates or locks.
[[noreturn]] void BecomeChild(char* const* argv, char* const* envp, const char* path, const char* folder,
                              char* const* joins, int in, int out, int err) {
  setpgid(0, 0);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  signal(SIGPIPE, SIG_DFL);
  for (; *joins; ++joins) {
    const int group = open(*joins, O_WRONLY | O_CLOEXEC);
    if (group >= 0 && write(group, "0", 1) < 0) continue;  // on its way out
  }
  dup2(in, 0);
  dup2(out, 1);
  dup2(err, 2);
  if (*folder != '\0' && chdir(folder) != 0) _exit(127);
  execve(path, argv, envp);
  _exit(127);
}

void AppendBounded(std::string& text, std::string_view bytes, size_t most) {
  text += bytes;
  if (text.size() > most) text.erase(0, text.size() - most);
}

struct Running {
  pid_t pid;
  Fd in, out, err;
};

// Feeds the input and takes the output until both streams are closed; false when `end` came first.
bool Pump(Running& running, const Exec& exec, Output& output, Time end) {
  std::string_view input = exec.input;
  if (input.empty()) running.in.Reset();
  char buffer[16384];
  while (running.out.valid() || running.err.valid()) {
    const int64_t left = (end - Now()).count();
    if (left <= 0) return false;
    pollfd fds[3] = {
        {running.out.get(), POLLIN, 0}, {running.err.get(), POLLIN, 0}, {running.in.get(), POLLOUT, 0}};
    if (poll(fds, 3, static_cast<int>(std::min<int64_t>(left, 60'000))) < 0 && errno != EINTR) return false;
    const auto take = [&](Fd& fd, const pollfd& polled, std::string& text) {
      if (!fd.valid() || polled.revents == 0) return;
      const ssize_t got = read(fd.get(), buffer, sizeof buffer);
      if (got > 0)
        AppendBounded(text, {buffer, static_cast<size_t>(got)}, exec.output_max_bytes);
      else if (got == 0 || errno != EINTR)
        fd.Reset();
    };
    take(running.out, fds[0], output.out);
    take(running.err, fds[1], output.err);
    if (running.in.valid() && fds[2].revents != 0) {
      const ssize_t written = write(running.in.get(), input.data(), input.size());
      if (written > 0) input.remove_prefix(static_cast<size_t>(written));
      if (input.empty() || (written < 0 && errno != EINTR && errno != EAGAIN)) running.in.Reset();
    }
  }
  return true;
}

// Waits for the process itself; false when `end` came first.
bool AwaitExit(pid_t pid, Time end, int* status) {
  const Fd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  while (true) {
    const int64_t left = std::max<int64_t>(0, (end - Now()).count());
    pollfd polled{pidfd.get(), POLLIN, 0};
    const int ready = poll(&polled, 1, static_cast<int>(std::min<int64_t>(left, 60'000)));
    if (ready > 0) return AwaitChild(pid, status) == pid;
    if (ready == 0 && left == 0) return false;
  }
}

}  // namespace

std::vector<std::string> SmallEnvironment() {
  constexpr std::string_view kKept[] = {"PATH", "HOME", "LANG", "LC_ALL", "TZ", "USER", "LOGNAME", "TMPDIR"};
  constexpr std::string_view kKeptStarts[] = {"MUSTER_", "ASAN_", "LSAN_", "UBSAN_",
                                              "TSAN_",   "LLVM_", "GCOV_"};
  std::vector<std::string> environment;
  for (char** entry = environ; *entry; ++entry) {
    const std::string_view text(*entry);
    const std::string_view name = text.substr(0, text.find('='));
    const bool kept = std::find(std::begin(kKept), std::end(kKept), name) != std::end(kKept) ||
                      std::any_of(std::begin(kKeptStarts), std::end(kKeptStarts),
                                  [name](std::string_view start) { return name.starts_with(start); });
    if (kept) environment.emplace_back(text);
  }
  return environment;
}

std::string PackageOf(std::string_view program) {
  const std::string_view name = program.substr(program.rfind('/') + 1);
  for (const Package& entry : kPackages) {
    if (entry.program == name) return std::string(entry.package);
  }
  return "";
}

std::string FindProgram(std::string_view program) {
  if (program.find('/') != std::string_view::npos) {
    return access(std::string(program).c_str(), X_OK) == 0 ? std::string(program) : "";
  }
  const char* path = std::getenv("PATH");
  return FindInPath(std::string(path ? path : "/usr/local/bin:/usr/bin:/bin") + ":/usr/sbin:/sbin", program);
}

Result<Output> RunCommand(const Exec& exec, Duration timeout) {
  if (exec.argv.empty()) return Error::Invalid("no-command", "there is no command to run");
  const auto own_path = exec.env.find("PATH");
  std::string path;
  if (exec.only_env && own_path != exec.env.end() && exec.argv[0].find('/') == std::string::npos) {
    path = FindInPath(own_path->second, exec.argv[0]);
  }
  if (path.empty()) path = FindProgram(exec.argv[0]);
  if (path.empty()) {
    const std::string package = PackageOf(exec.argv[0]);
    Error missing = Error::NotFound("program-missing", "{} is not installed", exec.argv[0]);
    if (package.empty()) return missing;
    return std::move(missing).Hint("apt-get install {}", package);
  }
  MUSTER_TRY(Pipe in, MakePipe());
  MUSTER_TRY(Pipe out, MakePipe());
  MUSTER_TRY(Pipe err, MakePipe());
  std::vector<std::string> argv = exec.argv;
  std::vector<std::string> environment = Environment(exec.env, exec.only_env);
  const std::vector<char*> argv_pointers = Pointers(argv);
  std::vector<std::string> joins = exec.joins;
  const std::vector<char*> environment_pointers = Pointers(environment);
  const std::vector<char*> join_pointers = Pointers(joins);
  const Time end = Now() + timeout;

  const pid_t pid = ForkAwaited();
  if (pid < 0) return Error::Os("fork", errno);
  if (pid == 0) {
    BecomeChild(argv_pointers.data(), environment_pointers.data(), path.c_str(), exec.working_folder.c_str(),
                join_pointers.data(), in.read_end.get(), out.write_end.get(), err.write_end.get());
  }
  in.read_end.Reset();
  out.write_end.Reset();
  err.write_end.Reset();
  fcntl(in.write_end.get(), F_SETFL, O_NONBLOCK);
  Running running{pid, std::move(in.write_end), std::move(out.read_end), std::move(err.read_end)};
  signal(SIGPIPE, SIG_IGN);

  Output output;
  int status = 0;
  const bool ended = Pump(running, exec, output, end) && AwaitExit(pid, end, &status);
  if (!ended) {
    kill(-pid, SIGKILL);
    kill(pid, SIGKILL);
    AwaitChild(pid, &status);
    return Error::Timeout("timeout", "{} did not end within {}", exec.argv[0], FormatDuration(timeout))
        .Evidence(LastLines(output.err.empty() ? output.out : output.err, 10));
  }
  output.status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return output;
}

}  // namespace muster
