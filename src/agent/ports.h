// Who has a port.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "model/instance.h"

namespace muster::agent {

// An error "port-taken" naming port and pid, where a TCP port of `instance` is listened on by a process that
// is none of `own`. Looks at the network of the calling process. Done() where all are free.
Status CheckPortsFree(const Instance& instance, const std::vector<int>& own);

}  // namespace muster::agent
