#include "agent/orphans.h"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace muster::agent {

OrphanReaper::OrphanReaper() { ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); }

void OrphanReaper::Reap() {
  while (true) {
    siginfo_t ended{};
    if (::waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) != 0 || ended.si_pid == 0) return;
    const pid_t pid = ended.si_pid;
    // All that the agent starts leads a process group, and is waited for at once. What does so too and still
    // lies there at the next look is nobody's.
    if (::getpgid(pid) == pid && pid != seen_) {
      seen_ = pid;
      return;
    }
    ::waitpid(pid, nullptr, WNOHANG);
  }
}

}  // namespace muster::agent
