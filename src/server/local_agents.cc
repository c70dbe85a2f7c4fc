#include "server/local_agents.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <optional>
#include <set>
#include <sstream>

#include "base/digest.h"
#include "base/files.h"
#include "base/subprocess.h"
#include "base/text.h"

namespace muster::server {
namespace {

constexpr int kBlocks = 254;

// The third octets of all 127.77.C.H that something listens on or that a bridge of muster's stands for.
std::set<int> BlocksInUse() {
  std::set<int> blocks;
  for (const char* table : {"/proc/net/tcp", "/proc/net/udp"}) {
    const auto text = ReadFile(table);
    if (!text.ok()) continue;
    std::istringstream lines(*text);
    std::string line, slot, local;
    std::getline(lines, line);
    while (std::getline(lines, line)) {
      std::istringstream words(line);
      if (!(words >> slot >> local) || local.size() < 8) continue;
      const unsigned long address = std::strtoul(local.substr(0, 8).c_str(), nullptr, 16);  // little-endian
      if ((address & 0xff) == 127 && (address >> 8 & 0xff) == 77) blocks.insert(address >> 16 & 0xff);
    }
  }
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/sys/class/net", error)) {
    const std::string name = entry.path().filename();
    if (name.starts_with("muster-")) blocks.insert(std::atoi(name.c_str() + 7));
  }
  return blocks;
}

}  // namespace

std::string HostsFolder(const std::string& home, const std::string& cluster) {
  return home + "/hosts/" + cluster;
}

Status StartLocalAgent(const std::string& program, const std::string& home,
                       const control::Agents::Wanted& wanted) {
  const std::string folder = HostsFolder(home, wanted.cluster) + "/" + wanted.host;
  MUSTER_DO(MakeFolder(home + "/hosts", 0711));
  MUSTER_DO(MakeFolder(HostsFolder(home, wanted.cluster), 0711));
  MUSTER_DO(MakeFolder(folder, 0711));
  std::vector<std::string> argv{program,
                                "agent",
                                "run",
                                "--cluster",
                                wanted.cluster,
                                "--host",
                                wanted.host,
                                "--address",
                                wanted.address,
                                "--socket",
                                home + "/server/agents.sock"};
  if (wanted.rehearsal) {
    argv.insert(argv.end(), {"--rehearsal", "--block", std::to_string(wanted.block), "--host-number",
                             std::to_string(wanted.host_number)});
  }
  std::vector<char*> pointers;
  for (std::string& word : argv) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  const std::string log = folder + "/agent.log";
  std::vector<std::string> environment = SmallEnvironment();
  std::erase_if(environment,
                [](const std::string& variable) { return variable.starts_with("MUSTER_HOME="); });
  environment.push_back("MUSTER_HOME=" + home);
  std::vector<char*> variables;
  for (std::string& variable : environment) variables.push_back(variable.data());
  variables.push_back(nullptr);

  // Forked twice: the agent belongs to nobody, and the server has no child to reap.
  const pid_t child = ::fork();
  if (child < 0) return Error::Os("fork", errno);
  if (child == 0) {
    ::setsid();
    if (::fork() != 0) ::_exit(0);
    const int null = ::open("/dev/null", O_RDONLY);
    const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    ::dup2(null, 0);
    ::dup2(out, 1);
    ::dup2(out, 2);
    ::close_range(3, ~0u, 0);
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::execve(program.c_str(), pointers.data(), variables.data());
    ::_exit(127);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return Done();
}

void EndHungAgent(const control::Agents::Wanted& wanted, int pid) {
  const Fd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  const auto command = ReadFile(fmt::format("/proc/{}/cmdline", pid));
  if (pid <= 1 || !process.valid() || !command.ok()) return;
  const std::vector<std::string> argv = Split(*command, '\0');
  const auto has = [&](std::string_view option, const std::string& value) {
    const auto at = std::find(argv.begin(), argv.end(), option);
    return at != argv.end() && at + 1 != argv.end() && *(at + 1) == value;
  };
  if (!has("agent", "run") || !has("--cluster", wanted.cluster) || !has("--host", wanted.host)) return;
  spdlog::warn("the agent of {}/{} (pid {}) answers no more: it is killed, and started again", wanted.cluster,
               wanted.host, pid);
  ::syscall(SYS_pidfd_send_signal, process.get(), SIGKILL, nullptr, 0);
}

net::Task<Status> RemoveHosts(net::Loop& loop, std::string home, std::string cluster, Duration patience) {
  const std::string folder = HostsFolder(home, cluster);
  for (const Time end = Now() + patience; Now() < end;) {
    bool all_left = true;
    std::error_code error;
    for (const auto& host : fs::directory_iterator(folder, error)) {
      if (!fs::exists(host.path() / "agent.lock")) continue;
      all_left &= FileLock::TryTake(host.path() / "agent.lock").ok();
    }
    if (all_left) break;
    co_await loop.Sleep(50ms);
  }
  // An agent that hasn't left may have instances: what it stands on stays.
  std::error_code error;
  std::vector<fs::path> hosts;
  for (const auto& host : fs::directory_iterator(folder, error)) hosts.push_back(host.path());
  std::vector<std::string> kept;
  for (const fs::path& host : hosts) {
    std::optional<FileLock> lock;  // held meanwhile, so that no agent comes back into what goes
    if (fs::exists(host / "agent.lock")) {
      auto taken = FileLock::TryTake(host / "agent.lock");
      if (!taken.ok()) {
        kept.push_back(host.filename());
        spdlog::warn("{} is kept: its agent has not left", host.string());
        continue;
      }
      lock.emplace(std::move(*taken));
    }
    (void)RemoveTree(host);
  }
  if (!kept.empty()) {
    co_return Error::Unavailable("host-unreachable",
                                 "the agent of {} has not left: what stands there is kept", Join(kept, ", "))
        .Hint("muster down --delete-data again when it is back");
  }
  (void)RemoveTree(folder);
  co_return Done();
}

Result<int> ChooseBlock(const std::string& home, const std::string& cluster, const std::vector<int>& taken) {
  std::set<int> used = BlocksInUse();
  used.insert(taken.begin(), taken.end());
  const std::string digest = Sha256Hex(home + "\n" + cluster);
  const int first = static_cast<int>(std::strtoul(digest.substr(0, 6).c_str(), nullptr, 16) % kBlocks);
  for (int i = 0; i < kBlocks; ++i) {
    const int block = 1 + (first + i) % kBlocks;
    if (!used.contains(block)) return block;
  }
  return Error::Conflict("no-block-free", "all {} address blocks of 127.77.0.0/16 are in use", kBlocks)
      .Hint("take a rehearsed cluster down that nobody needs: muster status --all lists them");
}

}  // namespace muster::server
