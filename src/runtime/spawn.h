// Between fork and exec: everything is prepared before the fork, and the child calls only what is safe in the
// child of a process with threads. Called on the agent's loop thread, which waits for the child's exec:
// milliseconds, and five seconds at most.
#pragma once

#include <sys/types.h>

#include "base/files.h"
#include "base/result.h"
#include "runtime/cgroup.h"
#include "runtime/process.h"

namespace muster::runtime {

// The process is its caller's to reap.
struct Spawned {
  pid_t pid = -1;
  Fd pidfd;
};

// The group vanished between its making and the child's joining: worth another try.
inline constexpr const char* kCgroupGone = "cgroup-gone";

// Forks and waits until the child has executed the program at `program`, or has said why it could not.
// Codes as for Process::Start, and kCgroupGone.
Result<Spawned> Spawn(const Launch& launch, const std::string& program, const InstanceCgroup& cgroup);

}  // namespace muster::runtime
