// What gives a rehearsed host its address, 127.77.BLOCK.NUMBER, on the one machine that all of them share.
//
// With root each host is a network namespace `muster-BLOCK-NUMBER`, joined by a veth pair to the bridge
// `muster-BLOCK` in the machine's own namespace, which is 127.77.BLOCK.254 there: wildcard binds, source
// addresses and cutting a host off are real, and hosts may use the same port. Else the addresses stand on lo,
// where all of 127/8 answers anyway, and there is nothing to do.
//
// Blocking, up to seconds (it runs ip): called before the agent's loop begins and after it has ended. Codes:
// "host-number" for what can be no host, "host-network-failed", "program-missing", "timeout", "os-error".
#pragma once

#include <string>

#include "base/result.h"

namespace muster::agent {

struct NetworkMeans {
  bool namespaces = false;  // a namespace per host; else plain addresses on lo
  std::string reason;       // where not: why, for people ("muster doesn't run as root")
};
// Tries it for real in a namespace of its own, once per process; leaves nothing. The environment
// MUSTER_REHEARSAL_NETWORK=loopback turns namespaces off.
Result<NetworkMeans> ProbeNetwork();

std::string HostAddress(int block, int host_number);    // "127.77.3.1"
std::string HostNamespace(int block, int host_number);  // "muster-3-1", also the name of the veth outside

// Makes the host's namespace and its bridge; what already stands is left or completed. Safe when several
// processes call it at once. Blocks and host numbers from 1; hosts up to 253. Does nothing without
// namespaces.
Status SetUpHost(int block, int host_number);

// Moves the calling process into the host's namespace: everything it starts later is inside. To be called
// before the process has a second thread. Does nothing without namespaces. Code "host-network-missing" before
// SetUpHost.
Status EnterHost(int block, int host_number);

// Cuts a host off, or heals it: the machine's end of its link goes down, so that nobody reaches what runs on
// it, neither other hosts nor the machine, and what runs there reaches nobody. Done already is fine, and so
// is a host that has no link (yet). Blocks and host numbers as for SetUpHost. Code "cut-impossible" where
// hosts have no namespaces of their own.
Status CutHost(int block, int host_number, bool cut);

// Removes the host's namespace, and the bridge with the last one of its block. Absent is fine. Processes that
// are still inside keep running without a network.
Status TearDownHost(int block, int host_number);

}  // namespace muster::agent
