#include "base/fault.h"

#ifdef MUSTER_FAULT_POINTS

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <mutex>
#include <string>

namespace muster {

void FaultPoint(std::string_view name) {
  static std::mutex mutex;
  static std::map<std::string, int, std::less<>> passed;
  const std::lock_guard lock(mutex);
  const std::string own(name);
  if (const char* list = std::getenv("MUSTER_FAULT_LIST")) {
    const int fd = open(list, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    const std::string line = own + "\n";
    if (fd >= 0 && write(fd, line.data(), line.size()) < 0) std::abort();
    if (fd >= 0) close(fd);
  }
  const char* wanted = std::getenv("MUSTER_FAULT");
  if (!wanted) return;
  std::string point(wanted);
  int times = 1;
  if (const size_t colon = point.find(':'); colon != std::string::npos) {
    times = std::atoi(point.c_str() + colon + 1);
    point.resize(colon);
  }
  if (point != own || ++passed[own] != times) return;
  if (const char* once = std::getenv("MUSTER_FAULT_ONCE")) {
    const int fd = open(once, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) return;
    close(fd);
  }
  kill(getpid(), SIGKILL);
}

}  // namespace muster

#endif
