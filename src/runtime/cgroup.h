// The cgroups of one instance: muster/CLUSTER/INSTANCE.XXXXXXXX in each hierarchy that is of use. XXXXXXXX
// stands for the instance's lock file, so that two installations on one machine with equal names don't share
// (and kill).
//
// Where the machine has the v2 hierarchy alone, one group does all. Else (v1, hybrid) memory and cpu are
// limited in their own v1 hierarchies, and the controllerless v2 hierarchy at ROOT/unified, if there, tracks
// and kills.
//
// Blocking, short: file operations in /sys/fs/cgroup, on the agent's loop thread. Nothing here is an error:
// what a machine doesn't allow is left out.
#pragma once

#include <string>
#include <vector>

#include "base/files.h"
#include "base/result.h"
#include "model/instance.h"
#include "runtime/process.h"

namespace muster::runtime {

// What the kernel has counted of a group's memory.
struct MemoryCounts {
  int64_t killed = 0;      // processes, for want of memory
  int64_t limit = 0;       // 0: none
  bool met_limit = false;  // has it ever
  bool operator==(const MemoryCounts&) const = default;
};
// How a process ended that was killed for want of memory between the two counts: "killed at its memory limit
// of 40m", or "killed for want of memory on the machine"; "" where none was.
std::string KilledForMemory(const MemoryCounts& before, const MemoryCounts& after);

// Owns no group: they stand until Remove, whoever destroys this object.
class InstanceCgroup {
 public:
  // Touches nothing yet.
  static InstanceCgroup Of(const Launch& launch);

  // Makes the groups and sets the limits, as far as this machine allows; what it doesn't allow is left out.
  void Prepare(const Limits& limits);
  // Descriptors of the `cgroup.procs` files: a process that writes "0" to one joins. Only what Prepare made.
  std::vector<Fd> OpenForJoining() const;

  // The paths of those files, whether the groups are there or not.
  std::vector<std::string> JoinFiles() const;

  std::vector<int> Pids() const;
  void Kill() const;
  int64_t memory_bytes() const;  // -1: unknown
  MemoryCounts memory_counts() const;
  void Remove() const;

 private:
  struct Group {
    std::string path;       // of the instance's group
    std::string hierarchy;  // its root
    bool v2 = false;
    bool memory = false;  // may limit it
    bool cpu = false;
    bool tracks = false;  // always made; else only where it is needed for a limit
  };
  bool Make(Group& group, const Limits& limits);
  std::vector<Group> groups_;
};

}  // namespace muster::runtime
