#include "runtime/proc.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "base/files.h"
#include "base/text.h"

namespace muster::runtime {
namespace {

struct CloseFolder {
  void operator()(DIR* folder) const { closedir(folder); }
};
using Folder = std::unique_ptr<DIR, CloseFolder>;

// `act` for each entry of the folder that is a number.
template <class Act>
void ForEachNumber(const std::string& path, Act act) {
  const Folder folder(opendir(path.c_str()));
  if (!folder) return;
  while (const dirent* entry = readdir(folder.get())) {
    if (std::isdigit(static_cast<unsigned char>(entry->d_name[0]))) act(std::atoi(entry->d_name));
  }
}

bool HasOpen(int pid, const struct stat& file) {
  bool found = false;
  const std::string fds = "/proc/" + std::to_string(pid) + "/fd";
  ForEachNumber(fds, [&](int fd) {
    struct stat opened {};
    if (found || stat((fds + "/" + std::to_string(fd)).c_str(), &opened) != 0) return;
    found = opened.st_dev == file.st_dev && opened.st_ino == file.st_ino;
  });
  return found;
}

}  // namespace

std::optional<ProcStat> ParseStat(const std::string& line) {
  // The name in parentheses may hold anything, spaces and parentheses included: the last one ends it.
  const size_t name_end = line.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  ProcStat stat;
  stat.pid = std::atoi(line.c_str());
  unsigned long long start = 0;
  const int found =
      std::sscanf(line.c_str() + name_end + 1,
                  " %c %d %*d %d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
                  &stat.state, &stat.parent, &stat.session, &start);
  if (found != 4 || stat.pid <= 0) return std::nullopt;
  stat.start = start;
  return stat;
}

std::optional<ProcStat> ReadStat(int pid) {
  if (pid <= 0) return std::nullopt;
  const Result<std::string> line = ReadFile("/proc/" + std::to_string(pid) + "/stat", 65536);
  if (!line.ok()) return std::nullopt;
  return ParseStat(*line);
}

std::vector<ProcStat> AllProcesses() {
  std::vector<ProcStat> processes;
  ForEachNumber("/proc", [&](int pid) {
    if (const std::optional<ProcStat> stat = ReadStat(pid)) processes.push_back(*stat);
  });
  return processes;
}

bool IsLocked(const std::string& lock_path) {
  const Fd fd(open(lock_path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.valid()) return false;
  // Shared, so that two who only look don't see each other.
  return flock(fd.get(), LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

std::vector<ProcStat> HoldersOf(const std::string& lock_path) {
  std::vector<ProcStat> holders;
  struct stat lock {};
  if (stat(lock_path.c_str(), &lock) != 0) return holders;
  for (const ProcStat& process : AllProcesses()) {
    if (process.alive() && process.pid != getpid() && HasOpen(process.pid, lock)) holders.push_back(process);
  }
  std::sort(holders.begin(), holders.end(), [](const ProcStat& a, const ProcStat& b) {
    return std::pair(a.start, a.pid) < std::pair(b.start, b.pid);
  });
  return holders;
}

}  // namespace muster::runtime
