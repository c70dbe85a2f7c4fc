// Children of instances that have lost their parents come to the agent, which is their subreaper: they end as
// zombies that nobody else would take away.
#pragma once

#include <sys/types.h>

namespace muster::agent {

// One per process. Loop thread only.
class OrphanReaper {
 public:
  OrphanReaper();  // makes the process a subreaper
  // Takes away what has ended, but nothing that the agent started itself and waits for. About each second.
  void Reap();

 private:
  pid_t seen_ = 0;
};

}  // namespace muster::agent
