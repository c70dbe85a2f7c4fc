// The agent: one process for each host of a cluster. Starts, supervises and probes the host's instances, and
// does what the server orders. The thread that calls RunAgent becomes its loop's; one in a process.
#pragma once

#include <string>

#include "base/result.h"

namespace muster::agent {

struct AgentOptions {
  std::string home;     // MUSTER_HOME
  std::string cluster;  // key
  std::string host;
  std::string address;
  std::string socket;  // the server's agents.sock
  bool rehearsal = false;
  int block = 0;
  int host_number = 0;
};

// Runs until SIGTERM or until the server says that the host has nothing of the cluster any more. Instances
// run on when it ends by a signal. Codes: "agent-running" where the host has one already, those of
// hosts_network.h.
Status RunAgent(const AgentOptions& options);

}  // namespace muster::agent
