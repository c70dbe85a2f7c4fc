// Children of instances that have lost their parents come to the agent, which is their subreaper: they end as
// zombies that nobody else would take away.
#pragma once

namespace muster::agent {

// One per process. Loop thread only.
class OrphanReaper {
 public:
  OrphanReaper();  // makes the process a subreaper
  // Takes away all that has ended, but nothing that the agent started itself and waits for. About each
  // second.
  void Reap();
};

}  // namespace muster::agent
