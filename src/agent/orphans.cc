#include "agent/orphans.h"

#include <sys/prctl.h>

#include "base/children.h"

namespace muster::agent {

OrphanReaper::OrphanReaper() { ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); }

void OrphanReaper::Reap() { ReapOthers(); }

}  // namespace muster::agent
