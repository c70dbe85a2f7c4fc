// Who has a port. Blocking, short: it reads /proc on the agent's loop thread.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "model/instance.h"

namespace muster::agent {

// Code "port-taken", naming port and pid, where a TCP port of `instance` is listened on by a process that
// is none of `own`: on the instance's address or on all of them; with `any_address` also on one that is only
// in the way of who wants all (but not on those of other rehearsed hosts). Looks at the network of the
// calling process. Done() where all are free.
Status CheckPortsFree(const Instance& instance, const std::vector<int>& own, bool any_address = false);

// The error "port-taken" that says who has the port. `pid` 0: nobody knows.
Error PortTaken(const Instance& instance, int port, int pid);

// Whether the instance itself listens where it is asked how it is: an error "port-taken" naming who does
// instead, where that can be seen and is none of `own`. What only passes connections on, as for a container,
// is no stranger.
Status CheckListener(const Instance& instance, int port, const std::vector<int>& own);

// The same for all TCP ports of the instance.
Status CheckListeners(const Instance& instance, const std::vector<int>& own);

// Who listens on the TCP port of the instance, on its address or on all: 0 where nobody does. Code
// "port-taken" where it can't be seen who.
Result<int> ListenerOf(const Instance& instance, int port);

// Whether one of `own` has the UDP port open: "port-closed" where nobody has, "port-taken" naming who has it
// instead, as above.
Status CheckUdpOpen(const Instance& instance, int port, const std::vector<int>& own);

}  // namespace muster::agent
