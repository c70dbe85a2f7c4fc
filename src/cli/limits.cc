#include "cli/limits.h"

#include <unistd.h>

#include <algorithm>

#include "base/files.h"
#include "base/text.h"

namespace muster::cli {
namespace {

bool Exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }
bool Writable(const std::string& path) { return access(path.c_str(), W_OK) == 0; }

bool HasWord(const std::string& path, std::string_view word) {
  const auto text = ReadFile(path);
  if (!text.ok()) return false;
  const std::vector<std::string> words = Split(std::string(Trim(*text)), ' ');
  return std::find(words.begin(), words.end(), word) != words.end();
}

void Explain(LimitSupport& support, const char* why, const char* fix) {
  support.why = why;
  support.fix = fix;
}

constexpr const char* kNoController = "the kernel was started without the controller for it";
constexpr const char* kStartWith = "boot with cgroup_enable=memory";

// In the root that a container sees of its cgroups, which isn't the machine's and has processes, the kernel
// lets nobody switch a controller on (EBUSY).
bool TakenByProcesses(const std::string& root) {
  if (!Exists(root + "/cgroup.type")) return false;  // the machine's own root
  const auto processes = ReadFile(root + "/cgroup.procs");
  return processes.ok() && !Trim(*processes).empty();
}

LimitSupport Second(const std::string& root) {
  LimitSupport support;
  if (!Writable(root) || !Writable(root + "/cgroup.subtree_control")) {
    support.memory = support.cpus = false;
    Explain(support, "no cgroup can be written here", "run muster as root");
    return support;
  }
  const bool taken = TakenByProcesses(root);
  const auto usable = [&](const char* controller) {
    return HasWord(root + "/cgroup.subtree_control", controller) ||
           (!taken && HasWord(root + "/cgroup.controllers", controller));
  };
  support.memory = usable("memory");
  support.cpus = usable("cpu");
  if (support.memory && support.cpus) return support;
  if (taken) {
    Explain(support, "processes of this container are in the root of its cgroups",
            "start the container with systemd as its init, or limit the container itself");
  } else {
    Explain(support, kNoController, kStartWith);
  }
  return support;
}

LimitSupport First(const std::string& root) {
  LimitSupport support{.version = 1};
  const bool memory = Exists(root + "/memory/memory.limit_in_bytes");
  const bool cpus = Exists(root + "/cpu/cpu.cfs_quota_us");
  if (!memory && !cpus) support.version = 0;
  support.memory = memory && Writable(root + "/memory");
  support.cpus = cpus && Writable(root + "/cpu");
  if (support.memory && support.cpus) return support;
  if (support.version == 0) {
    Explain(support, "no cgroups are mounted here", "mount them at /sys/fs/cgroup, as systemd does");
  } else if ((memory && !support.memory) || (cpus && !support.cpus)) {
    Explain(support, "no cgroup can be written here", "run muster as root");
  } else {
    Explain(support, kNoController, kStartWith);
  }
  return support;
}

}  // namespace

LimitSupport LookAtLimits(const std::string& root) {
  return Exists(root + "/cgroup.controllers") ? Second(root) : First(root);
}

}  // namespace muster::cli
