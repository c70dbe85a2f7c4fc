#include "base/children.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <mutex>
#include <set>
#include <vector>

#include "base/files.h"
#include "base/text.h"

namespace muster {
namespace {

struct Registry {
  std::mutex mutex;
  std::set<pid_t> awaited;
};

// Never destroyed: a thread of the pool may still wait while the process ends.
Registry& TheRegistry() {
  static auto* const registry = new Registry;
  return *registry;
}

// Of all threads of this process.
std::vector<pid_t> Children() {
  std::vector<pid_t> children;
  std::error_code error;
  for (const fs::directory_entry& thread : fs::directory_iterator("/proc/self/task", error)) {
    const Result<std::string> text = ReadFile(thread.path() / "children");
    if (!text.ok()) continue;
    for (const std::string& word : Split(*text, ' ')) {
      if (const pid_t pid = std::atoi(word.c_str()); pid > 0) children.push_back(pid);
    }
  }
  return children;
}

}  // namespace

pid_t ForkAwaited() {
  Registry& registry = TheRegistry();
  const std::lock_guard lock(registry.mutex);
  const pid_t pid = ::fork();
  if (pid > 0) registry.awaited.insert(pid);
  return pid;
}

pid_t AwaitChild(pid_t pid, int* status) {
  siginfo_t ended{};
  while (::waitid(P_PID, static_cast<id_t>(pid), &ended, WEXITED | WNOWAIT) != 0 && errno == EINTR) {
  }
  // It is taken away and forgotten at once: as soon as it is away its pid may be another child's.
  Registry& registry = TheRegistry();
  const std::lock_guard lock(registry.mutex);
  registry.awaited.erase(pid);
  pid_t reaped;
  do {
    reaped = ::waitpid(pid, status, WNOHANG);
  } while (reaped < 0 && errno == EINTR);
  return reaped;
}

void GiveUpChild(pid_t pid) {
  Registry& registry = TheRegistry();
  const std::lock_guard lock(registry.mutex);
  registry.awaited.erase(pid);
}

void ReapOthers() {
  Registry& registry = TheRegistry();
  const std::lock_guard lock(registry.mutex);
  while (true) {
    siginfo_t ended{};
    if (::waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) != 0 || ended.si_pid == 0) return;
    if (registry.awaited.contains(ended.si_pid)) break;
    ::waitpid(ended.si_pid, nullptr, WNOHANG);
  }
  // Who awaits that one may do so for long, and it would be told of again and again: the others by name.
  for (const pid_t pid : Children()) {
    if (!registry.awaited.contains(pid)) ::waitpid(pid, nullptr, WNOHANG);
  }
}

}  // namespace muster
