// An instance as a plain process: spawned, adopted, stopped, limited. Linux only. On the agent's loop thread;
// calls that block are short.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/result.h"
#include "base/time.h"
#include "model/instance.h"

namespace muster::runtime {

// What is needed to start a process. All paths absolute, all secrets resolved.
struct Launch {
  std::string cluster;
  std::string instance;
  std::vector<std::string> argv;
  std::map<std::string, std::string> env;  // the whole environment
  std::string working_folder;
  std::string log_path;     // opened O_APPEND; both output streams go there
  std::string lock_path;    // flock held by the process for life: proves that one lives
  std::string record_path;  // the child writes "pid starttime hash" here before it execs
  std::string hash;
  uid_t uid = static_cast<uid_t>(-1);  // -1: as the caller
  gid_t gid = static_cast<gid_t>(-1);
  bool bind_low_ports = false;                 // CAP_NET_BIND_SERVICE as ambient capability
  Limits limits;                               // in force as far as ProbeCgroups says
  std::string cgroup_root = "/sys/fs/cgroup";  // "": no cgroups
};

// A running process that the agent started or adopted. Whoever holds this owns its pidfd, not the process:
// destroying it doesn't stop that.
class Process {
 public:
  // Codes: "program-missing" (names the package), "not-executable", "already-running", "os-error".
  static Result<std::unique_ptr<Process>> Start(const Launch& launch);
  // The process of the record, if it (same pid, same start time) still lives. Where it is dead, but something
  // of it lives, that one as a leftover(). nullptr if nothing does. Waits up to 100 ms for a child that was
  // just forked. Codes: "already-running" where the lock is held by what can't be seen, "os-error".
  static Result<std::unique_ptr<Process>> Adopt(const Launch& launch);
  // Takes over what somebody else has started, as if Start had: it is on record, with `launch.hash`, and has
  // no lock, log or limits of this. What belongs to its session is its own only where it leads that. Codes:
  // "not-running", and those of WriteFile.
  static Result<std::unique_ptr<Process>> TakeOver(const Launch& launch, int pid);
  virtual ~Process() = default;

  virtual int pid() const = 0;
  virtual int pidfd() const = 0;         // readable when it has ended
  virtual std::string hash() const = 0;  // what it was started from
  // The main process is dead, and this is one of those that it left: it can't stand for the instance, and is
  // good for nothing but KillAll.
  virtual bool leftover() const = 0;
  virtual bool frozen() const = 0;  // the main process, as by SIGSTOP: it hears no signal but SIGKILL
  virtual void Signal(int signal_number) = 0;  // to the main process
  // To the main process and all else that belongs to it: a shell that ends by the signal doesn't hand it on.
  virtual void AskToStop(int signal_number) = 0;
  // Whether anything of it lives besides the main process.
  virtual bool AnyLeft() const = 0;
  virtual void KillAll() = 0;  // SIGKILL to everything in its cgroup or session; before Reap
  // Once it has ended (waits for that): "exit 1", "signal 9", "killed at its memory limit of 40m", or
  // "unknown" for an adopted one. Reaps it.
  virtual std::string Reap() = 0;
  virtual int64_t memory_bytes() const = 0;
  virtual bool in_group() const = 0;  // a cgroup of its own
  // Where what is run for it, a probe's command, enters its cgroup; may name groups that aren't there.
  virtual std::vector<std::string> JoinFiles() const = 0;
  // Finds the pids of all that belongs to it. To be called on any thread, also when this object is no more.
  virtual std::function<std::vector<int>()> PidFinder() const = 0;
};

// Kills what was started for an instance, by a probe or by hand, and got away from its process and its cgroup
// (there may be none): all that have these words, "NAME=VALUE", in the environment they were started with.
void KillMarked(const std::vector<std::string>& words);

// Whether this machine lets muster limit memory and CPU, and by which means ("v1", "v2", or why not).
struct CgroupSupport {
  bool memory = false;
  bool cpu = false;
  std::string means;
};
CgroupSupport ProbeCgroups(const std::string& cgroup_root = "/sys/fs/cgroup");
// Removes the cgroups of one instance, or all of a cluster where `instance` is empty. Those in which
// something still lives stay.
void RemoveCgroups(const std::string& cluster, const std::string& instance,
                   const std::string& cgroup_root = "/sys/fs/cgroup");

}  // namespace muster::runtime
