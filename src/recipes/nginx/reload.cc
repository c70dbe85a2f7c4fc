#include "recipes/nginx/reload.h"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "base/files.h"
#include "base/text.h"
#include "base/within.h"

namespace muster::nginx {
namespace {

constexpr Duration kLookAgain = 2ms;  // /proc tells nobody when it changes
constexpr Duration kTestWithin = 10s;
constexpr Duration kDespiteItsWord = 1s;  // what the log tells is believed where nothing else happens

std::string Slurp(const std::string& path) {
  // Not by a stream's buffer: that throws where a process ends while it is looked at.
  const auto text = ReadFile(path);
  return text.ok() ? *text : "";
}

// What nginx logs from now on. Its user may put anything in the log's place.
class LogTail {
 public:
  explicit LogTail(const std::string& folder) {
    auto log = OpenWithin(folder, "logs/current.log");
    if (!log.ok()) return;
    log_ = std::move(*log);
    // The rest of a line that is half written isn't the beginning of one.
    const off_t end = lseek(log_.get(), 0, SEEK_END);
    if (char last = '\n'; end > 0 && pread(log_.get(), &last, 1, end - 1) == 1 && last != '\n') said_ = last;
  }
  const std::string& Said() {
    char bytes[4096];
    ssize_t got = 0;
    while (said_.size() < kLogMost && log_.valid() && (got = read(log_.get(), bytes, sizeof bytes)) > 0) {
      said_.append(bytes, static_cast<size_t>(got));
    }
    return said_;
  }

 private:
  static constexpr size_t kLogMost = 1 << 20;
  Fd log_;
  std::string said_;
};

// Kernels without CONFIG_PROC_CHILDREN have no list of children: there all processes are looked at.
std::vector<int> ChildrenOf(int pid) {
  std::vector<int> children;
  const std::string path = fmt::format("/proc/{}/task/{}/children", pid, pid);
  if (access(path.c_str(), R_OK) == 0) {
    for (const std::string& word : Split(Slurp(path), ' ')) {
      if (!word.empty()) children.push_back(std::atoi(word.c_str()));
    }
    return children;
  }
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    const int child = std::atoi(entry.path().filename().c_str());
    if (child <= 0) continue;
    const std::string stat = Slurp(entry.path() / "stat");
    const size_t name_end = stat.rfind(')');
    if (name_end == std::string::npos || stat.size() < name_end + 5) continue;
    if (std::atoi(stat.c_str() + name_end + 4) == pid) children.push_back(child);
  }
  return children;
}

bool IsGone(int pid) {
  const std::string stat = Slurp(fmt::format("/proc/{}/stat", pid));
  const size_t name_end = stat.rfind(')');
  return name_end == std::string::npos || stat.substr(name_end).starts_with(") Z");
}

// Puts `argv` under the user that nginx runs as, with what it may do there.
std::vector<std::string> AsItsUser(const Running& running, std::vector<std::string> argv) {
  // It ends with the agent that asks: it makes folders, also where another agent has just removed them.
  std::vector<std::string> whole = {"setpriv", "--pdeathsig=KILL"};
  if (geteuid() == 0 && running.uid != 0) {
    whole.push_back(fmt::format("--reuid={}", running.uid));
    whole.push_back(fmt::format("--regid={}", running.gid));
    whole.push_back("--clear-groups");
    if (running.low_ports) {
      whole.push_back("--inh-caps=+net_bind_service");
      whole.push_back("--ambient-caps=+net_bind_service");
    }
  }
  whole.insert(whole.end(), argv.begin(), argv.end());
  return whole;
}

}  // namespace

std::vector<std::string> EmergenciesIn(std::string_view log, int pid) {
  // "2024/01/31 12:00:00 [emerg] 4711#4711: ": `9` stands for any digit.
  constexpr std::string_view kTime = "9999/99/99 99:99:99 ";
  const std::string level = fmt::format("[emerg] {}#{}: ", pid, pid);
  const auto is_one = [&](std::string_view line) {
    if (line.size() < kTime.size()) return false;
    for (size_t i = 0; i < kTime.size(); ++i) {
      const bool digit = line[i] >= '0' && line[i] <= '9';
      if (kTime[i] == '9' ? !digit : line[i] != kTime[i]) return false;
    }
    return line.substr(kTime.size()).starts_with(level);
  };
  std::vector<std::string> lines;
  // The last line may be half written: what it says isn't known before it ends.
  for (size_t at = 0, end; (end = log.find('\n', at)) != std::string_view::npos; at = end + 1) {
    const std::string_view line = log.substr(at, end - at);
    if (is_one(line)) lines.emplace_back(line);
  }
  return lines;
}

Workers WorkersOf(int pid) {
  Workers workers;
  for (const int child : ChildrenOf(pid)) {
    // A child that has just been forked still bears the master's title: it serves nothing yet.
    const std::string title = Slurp(fmt::format("/proc/{}/cmdline", child));
    if (!title.starts_with("nginx: worker process")) continue;
    const bool leaving = title.find("shutting down") != std::string::npos;
    (leaving ? workers.leaving : workers.serving).insert(child);
  }
  return workers;
}

net::Task<Status> TestConfig(Running running) {
  const std::string program = FindProgram(running.program);
  if (program.empty()) {
    co_return Error::NotFound("program-missing", "{} is not installed", running.program)
        .Hint("apt-get install nginx");
  }
  Exec exec;
  exec.argv = AsItsUser(running, {program, "-t", "-q", "-p", running.folder, "-c",
                                  running.folder + "/conf/nginx.conf", "-e", "stderr"});
  exec.working_folder = running.folder;
  auto output = co_await running.loop->Run(exec, kTestWithin);
  if (!output.ok()) co_return std::move(output).error().While("nginx -t");
  if (output->status == 0) co_return Done();
  // Here nobody but nginx says anything: it tells of its configuration without time and pid, too.
  std::vector<std::string> lines;
  for (const std::string& line : Split(output->err, '\n')) {
    if (line.find("[emerg]") != std::string::npos) lines.push_back(line);
  }
  if (lines.empty()) lines = LastLines(output->err, 10);
  co_return Error::Invalid("nginx-config", "nginx doesn't accept its configuration")
      .Hint("see what it says below; `raw` directives, certificates and files stand in the cluster file")
      .Evidence(std::move(lines));
}

net::Task<Result<Workers>> ReloadMaster(Running running, Duration within) {
  // Pid 0 would be everybody in the agent's own process group.
  if (running.pid <= 0) co_return Error::Unavailable("nginx-reload", "nginx doesn't run");
  const Workers before = WorkersOf(running.pid);
  LogTail log(running.folder);
  if (kill(running.pid, SIGHUP) != 0) co_return Error::Os(fmt::format("signal pid {}", running.pid), errno);
  Time end = Now() + within;
  bool has_told = false;
  while (true) {
    const Workers now = WorkersOf(running.pid);
    bool new_serve = false, old_serve = false;
    for (const int worker : now.serving) {
      (before.serving.contains(worker) ? old_serve : new_serve) = true;
    }
    if (new_serve && !old_serve) co_return before;
    std::vector<std::string> lines = EmergenciesIn(log.Said(), running.pid);
    if (!lines.empty() && !std::exchange(has_told, true)) end = std::min(end, Now() + kDespiteItsWord);
    if (Now() >= end || IsGone(running.pid)) {
      if (!lines.empty()) {
        co_return Error::Invalid("nginx-config", "nginx kept its old configuration")
            .Hint("see what it says below; nothing is interrupted")
            .Evidence(std::move(lines));
      }
      co_return Error::Timeout("nginx-reload", "nginx (pid {}) didn't take up its new configuration",
                               running.pid)
          .Hint("look at its log")
          .Evidence(LastLines(log.Said(), 10));
    }
    co_await running.loop->Sleep(kLookAgain);
  }
}

net::Task<void> WaitUntilGone(net::Loop* loop, std::map<int, Time> pids) {
  while (true) {
    std::erase_if(pids, [](const auto& one) { return Now() >= one.second || IsGone(one.first); });
    if (pids.empty()) co_return;
    co_await loop->Sleep(kLookAgain);
  }
}

}  // namespace muster::nginx
