// What /proc says about processes. Zombies count as dead: an orphan may stay one for seconds. Any thread.
// Blocking, short: what looks at all processes takes milliseconds on a machine with hundreds. A process may
// end meanwhile.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace muster::runtime {

struct ProcStat {
  int pid = 0;
  char state = '?';
  int parent = 0;
  int session = 0;
  uint64_t start =
      0;  // clock ticks since boot: with the pid it names a process for as long as the machine is up

  bool alive() const { return state != 'Z' && state != 'X' && state != 'x'; }
};

// The fields of a /proc/PID/stat line; nullopt where it is none.
std::optional<ProcStat> ParseStat(const std::string& line);
std::optional<ProcStat> ReadStat(int pid);
std::vector<ProcStat> AllProcesses();

// Whether some process has the file locked with flock(2).
bool IsLocked(const std::string& lock_path);
// The living processes that have the file open, the oldest first; as far as the caller may see.
std::vector<ProcStat> HoldersOf(const std::string& lock_path);

}  // namespace muster::runtime
