// Who runs in an instance's place though muster hasn't started it. Blocking, short: it reads /proc on the
// agent's loop thread.
#pragma once

#include "agent/users.h"
#include "base/result.h"
#include "model/instance.h"

namespace muster::agent {

// The pid of whom an instance with kDataElsewhere may take over: who listens on its TCP ports and works in
// that folder. 0 where nobody listens. Codes: "data-missing" where the folder isn't there; "port-taken" where
// somebody else listens; "user-root" where it runs as root, "take-over-denied" where it belongs to another
// user than `user`, whom the instance runs as.
Result<int> FindToTakeOver(const Instance& instance, const User& user);

}  // namespace muster::agent
