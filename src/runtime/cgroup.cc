#include "runtime/cgroup.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>

#include "base/digest.h"
#include "base/text.h"

namespace muster::runtime {
namespace {

constexpr std::string_view kTop = "muster";
constexpr int kPeriodUs = 100'000;

bool Exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

bool Put(const std::string& path, std::string_view text) {
  const Fd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  return fd.valid() && write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

std::string Get(const std::string& path) {
  Result<std::string> text = ReadFile(path, 1 << 20);
  return text.ok() ? std::move(text).value() : "";
}

bool HasWord(const std::string& text, std::string_view word) {
  const std::vector<std::string> words = Split(std::string(Trim(text)), ' ');
  return std::find(words.begin(), words.end(), word) != words.end();
}

// Names come from the user's file: none may climb out of its folder.
std::string SafeName(std::string name) {
  std::replace(name.begin(), name.end(), '/', '_');
  if (name.empty() || name[0] == '.') name.insert(name.begin(), '_');
  return name;
}

struct Hierarchy {
  std::string root;
  bool v2 = false;
  bool memory = false;
  bool cpu = false;
  bool tracks = false;
};

std::vector<Hierarchy> HierarchiesBelow(const std::string& root) {
  if (root.empty()) return {};
  if (Exists(root + "/cgroup.controllers")) {
    const std::string controllers = Get(root + "/cgroup.controllers");
    return {{root, true, HasWord(controllers, "memory"), HasWord(controllers, "cpu"), true}};
  }
  std::vector<Hierarchy> found;
  if (Exists(root + "/unified/cgroup.controllers"))
    found.push_back({root + "/unified", true, false, false, true});
  // Memory groups cost nothing and count for all of an instance's processes, so they are always made.
  if (Exists(root + "/memory/memory.limit_in_bytes"))
    found.push_back({root + "/memory", false, true, false, true});
  if (Exists(root + "/cpu/cpu.cfs_quota_us")) found.push_back({root + "/cpu", false, false, true, false});
  return found;
}

bool MakeGroup(const std::string& path) { return mkdir(path.c_str(), 0755) == 0 || errno == EEXIST; }

// The parent has gone (ENOENT), or is about to (ENODEV): another installation with a cluster of the same name
// has just taken its last instance away.
bool Vanished() { return errno == ENOENT || errno == ENODEV; }

// A group of its own makes an instance compete as one with everything outside. All of muster's groups
// together should not count as little as a single process, hence the weight.
void Weigh(const std::string& path, bool v2) {
  Put(path + (v2 ? "/cpu.weight" : "/cpu.shares"), v2 ? "1000" : "10240");
}

bool LimitMemory(const std::string& path, bool v2, int64_t bytes) {
  const std::string value = bytes > 0 ? std::to_string(bytes) : v2 ? "max" : "-1";
  if (v2) {
    if (Exists(path + "/memory.swap.max")) Put(path + "/memory.swap.max", bytes > 0 ? "0" : "max");
    return Put(path + "/memory.max", value);
  }
  // The sum with swap may never be below the limit without: lift it first.
  const std::string with_swap = path + "/memory.memsw.limit_in_bytes";
  if (Exists(with_swap)) Put(with_swap, "-1");
  if (!Put(path + "/memory.limit_in_bytes", value)) return false;
  if (Exists(with_swap)) Put(with_swap, value);
  return true;
}

bool LimitCpu(const std::string& path, bool v2, double cpus) {
  const long quota = cpus > 0 ? std::max(1000L, std::lround(cpus * kPeriodUs)) : -1;
  if (v2) {
    return Put(path + "/cpu.max",
               (quota < 0 ? "max" : std::to_string(quota)) + " " + std::to_string(kPeriodUs));
  }
  return Put(path + "/cpu.cfs_period_us", std::to_string(kPeriodUs)) &&
         Put(path + "/cpu.cfs_quota_us", std::to_string(quota));
}

// What is killed leaves its group a moment later.
bool RemoveGroup(const std::string& path) {
  for (int attempt = 0; attempt < 50; ++attempt) {
    if (rmdir(path.c_str()) == 0 || errno == ENOENT) return true;
    if (errno != EBUSY || !Trim(Get(path + "/cgroup.procs")).empty()) return false;
    poll(nullptr, 0, 2);
  }
  return false;
}

std::vector<int> PidsOf(const std::string& path) {
  std::vector<int> pids;
  for (const std::string& line : Split(Get(path + "/cgroup.procs"), '\n')) {
    if (const int pid = std::atoi(line.c_str()); pid > 0) pids.push_back(pid);
  }
  return pids;
}

int64_t NumberAfter(const std::string& text, std::string_view name) {
  const size_t at = text.find("\n" + std::string(name) + " ");
  return at == std::string::npos ? 0 : std::atoll(text.c_str() + at + name.size() + 2);
}

int64_t NumberIn(const std::string& path) { return std::atoll(Get(path).c_str()); }

// Switches a v2 controller on all the way down to the group's parent.
bool Enable(const std::string& root, const std::vector<std::string>& parents, std::string_view controller) {
  std::string path = root;
  for (size_t depth = 0;; ++depth) {
    if (!HasWord(Get(path + "/cgroup.subtree_control"), controller) &&
        !Put(path + "/cgroup.subtree_control", "+" + std::string(controller))) {
      return false;
    }
    if (depth == parents.size()) return true;
    path += "/" + parents[depth];
  }
}

}  // namespace

InstanceCgroup InstanceCgroup::Of(const Launch& launch) {
  InstanceCgroup cgroup;
  const std::string below = "/" + std::string(kTop) + "/" + SafeName(launch.cluster) + "/" +
                            SafeName(launch.instance) + "." + Sha256Hex(launch.lock_path).substr(0, 8);
  for (const Hierarchy& hierarchy : HierarchiesBelow(launch.cgroup_root)) {
    cgroup.groups_.push_back({hierarchy.root + below, hierarchy.root, hierarchy.v2, hierarchy.memory,
                              hierarchy.cpu, hierarchy.tracks});
  }
  return cgroup;
}

bool InstanceCgroup::Make(Group& group, const Limits& limits) {
  const std::string cluster = group.path.substr(0, group.path.rfind('/'));
  const std::string top = cluster.substr(0, cluster.rfind('/'));
  // Somebody who cleans up may take an empty parent away in between.
  bool made = false;
  for (int attempt = 0; attempt < 5 && !made; ++attempt) {
    made = MakeGroup(top) && MakeGroup(cluster) && MakeGroup(group.path);
    if (!made && !Vanished()) return false;
  }
  if (!made) return false;
  if (group.cpu && !group.v2) {
    Weigh(top, false);
    Weigh(cluster, false);
  }
  if (!group.v2) return true;
  const std::vector<std::string> parents{std::string(kTop), cluster.substr(top.size() + 1)};
  if (group.memory) group.memory = Enable(group.hierarchy, parents, "memory");
  if (group.cpu && limits.cpus > 0) {
    group.cpu = Enable(group.hierarchy, parents, "cpu");
    if (group.cpu) Weigh(top, true);
  }
  return true;
}

void InstanceCgroup::Prepare(const Limits& limits) {
  std::vector<Group> made;
  for (Group group : groups_) {
    const bool wanted = group.tracks || (group.cpu && limits.cpus > 0);
    if (!wanted || !Make(group, limits)) continue;
    if (group.memory) group.memory = LimitMemory(group.path, group.v2, limits.memory_bytes);
    if (group.cpu && (limits.cpus > 0 || Exists(group.path + "/cpu.max"))) {
      group.cpu = LimitCpu(group.path, group.v2, limits.cpus);
    }
    made.push_back(std::move(group));
  }
  groups_ = std::move(made);
}

std::vector<Fd> InstanceCgroup::OpenForJoining() const {
  std::vector<Fd> fds;
  for (const Group& group : groups_) {
    Fd fd(open((group.path + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
    if (fd.valid()) fds.push_back(std::move(fd));
  }
  return fds;
}

std::vector<std::string> InstanceCgroup::JoinFiles() const {
  std::vector<std::string> files;
  for (const Group& group : groups_) files.push_back(group.path + "/cgroup.procs");
  return files;
}

std::vector<int> InstanceCgroup::Pids() const {
  std::vector<int> all;
  for (const Group& group : groups_) {
    const std::vector<int> pids = PidsOf(group.path);
    all.insert(all.end(), pids.begin(), pids.end());
  }
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

void InstanceCgroup::Kill() const {
  for (const Group& group : groups_) {
    if (group.v2 && Exists(group.path + "/cgroup.kill")) Put(group.path + "/cgroup.kill", "1");
  }
  // Without cgroup.kill (v1, old kernels) a process may fork while the list is read: again until none is
  // left, but not for ever, as the killed take a moment to go.
  for (int round = 0; round < 20; ++round) {
    const std::vector<int> pids = Pids();
    if (pids.empty()) return;
    for (const int pid : pids) kill(pid, SIGKILL);
    poll(nullptr, 0, 1);
  }
}

int64_t InstanceCgroup::memory_bytes() const {
  for (const Group& group : groups_) {
    if (!group.memory) continue;
    const std::string stat = "\n" + Get(group.path + "/memory.stat");
    if (stat.size() < 2) continue;
    // What the processes hold, without the page cache of files they read.
    if (group.v2)
      return NumberAfter(stat, "anon") + NumberAfter(stat, "shmem") + NumberAfter(stat, "kernel_stack");
    return NumberAfter(stat, "total_rss") + NumberAfter(stat, "total_mapped_file");
  }
  return -1;
}

MemoryCounts InstanceCgroup::memory_counts() const {
  for (const Group& group : groups_) {
    if (!group.memory) continue;
    MemoryCounts counts;
    const std::string events = "\n" + Get(group.path + (group.v2 ? "/memory.events" : "/memory.oom_control"));
    counts.killed = NumberAfter(events, "oom_kill");
    constexpr int64_t kNone = int64_t{1} << 60;  // how v1 writes it
    counts.limit = NumberIn(group.path + (group.v2 ? "/memory.max" : "/memory.limit_in_bytes"));  // "max": 0
    if (counts.limit >= kNone) counts.limit = 0;
    // Newer kernels count no memory.failcnt any more; pages are taken in batches.
    constexpr int64_t kBatch = 256 << 10;
    counts.met_limit = group.v2
                           ? NumberAfter(events, "oom") > 0
                           : NumberIn(group.path + "/memory.max_usage_in_bytes") + kBatch >= counts.limit;
    return counts;
  }
  return {};
}

std::string KilledForMemory(const MemoryCounts& before, const MemoryCounts& after) {
  if (after.killed <= before.killed) return "";
  if (after.limit <= 0 || !after.met_limit) return "killed for want of memory on the machine";
  // As it is written in a cluster's file: 40m.
  constexpr std::string_view kUnits = "kmgt";
  int64_t size = after.limit;
  std::string unit;
  for (size_t i = 0; i < kUnits.size() && size % 1024 == 0; ++i) {
    size /= 1024;
    unit = kUnits[i];
  }
  return fmt::format("killed at its memory limit of {}{}", size, unit);
}

void InstanceCgroup::Remove() const {
  for (const Group& group : groups_) {
    const std::string cluster = group.path.substr(0, group.path.rfind('/'));
    RemoveGroup(group.path);
    rmdir(cluster.c_str());  // The parents only where they are empty.
    rmdir(cluster.substr(0, cluster.rfind('/')).c_str());
  }
}

CgroupSupport ProbeCgroups(const std::string& cgroup_root) {
  CgroupSupport support;
  const std::vector<Hierarchy> hierarchies = HierarchiesBelow(cgroup_root);
  if (hierarchies.empty()) {
    support.means = "no cgroups are mounted at " + cgroup_root;
    return support;
  }
  const bool v2_alone = hierarchies[0].root == cgroup_root;
  int failure = 0;
  for (const Hierarchy& hierarchy : hierarchies) {
    if (!hierarchy.memory && !hierarchy.cpu) continue;
    const std::string top = hierarchy.root + "/" + std::string(kTop);
    const std::string cluster = top + "/.probe-" + RandomHex(4);
    const std::string path = cluster + "/probe";
    bool made = false;
    for (int attempt = 0; attempt < 5 && !made; ++attempt) {
      made = MakeGroup(top) && MakeGroup(cluster) && MakeGroup(path);
      if (!made && !Vanished()) break;
    }
    if (!made) failure = errno;
    const std::vector<std::string> parents{std::string(kTop), cluster.substr(top.size() + 1)};
    if (made && hierarchy.memory && (!hierarchy.v2 || Enable(hierarchy.root, parents, "memory"))) {
      support.memory = LimitMemory(path, hierarchy.v2, 64 << 20);
    }
    // On v2 switching the cpu controller on is felt by everything on the machine: only looked at, not done.
    if (made && hierarchy.cpu) {
      support.cpu = hierarchy.v2 ? access((hierarchy.root + "/cgroup.subtree_control").c_str(), W_OK) == 0
                                 : LimitCpu(path, false, 0.5);
    }
    RemoveGroup(path);
    rmdir(cluster.c_str());
    rmdir(top.c_str());
  }
  if (support.memory || support.cpu) {
    support.means = v2_alone ? "v2" : "v1";
  } else if (failure == EACCES || failure == EPERM) {
    support.means = "no permission for " + cgroup_root;
  } else if (failure == EROFS) {
    support.means = cgroup_root + " is read-only";
  } else {
    support.means = "neither the memory nor the cpu controller can be used at " + cgroup_root;
  }
  return support;
}

void RemoveCgroups(const std::string& cluster, const std::string& instance, const std::string& cgroup_root) {
  for (const Hierarchy& hierarchy : HierarchiesBelow(cgroup_root)) {
    const std::string top = hierarchy.root + "/" + std::string(kTop);
    const std::string folder = top + "/" + SafeName(cluster);
    std::error_code error;
    std::vector<std::string> paths;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
      if (!entry.is_directory(error)) continue;
      const std::string name = entry.path().filename();
      const size_t dot = name.rfind('.');
      if (instance.empty() || name.substr(0, dot) == SafeName(instance)) paths.push_back(entry.path());
    }
    for (const std::string& path : paths) RemoveGroup(path);
    rmdir(folder.c_str());
    rmdir(top.c_str());
  }
}

}  // namespace muster::runtime
