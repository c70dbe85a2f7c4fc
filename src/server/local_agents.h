// Agents on this machine: started detached, so that they outlive the server. On the server's loop thread;
// what blocks is short.
#pragma once

#include <string>

#include "base/result.h"
#include "control/agents.h"
#include "net/loop.h"

namespace muster::server {

// $MUSTER_HOME/hosts/CLUSTER, below which each host of a cluster has its folder.
std::string HostsFolder(const std::string& home, const std::string& cluster);

// Starts `program agent run …` in a session of its own, with output to the host's agent.log. The caller
// learns whether it came up from its hello. Nobody owns the process: its parent is init, or whoever reaps
// orphans. Codes of MakeFolder, "os-error".
Status StartLocalAgent(const std::string& program, const std::string& home,
                       const control::Agents::Wanted& wanted);

// Kills the agent of this cluster and host that hangs, if `pid` still is it: what it supervises runs on, and
// the next agent takes it over.
void EndHungAgent(const control::Agents::Wanted& wanted, int pid);

// Removes the folders of all hosts of `cluster` once their agents have left (they hold agent.lock). The
// folder of one that hasn't left after `patience` is kept: code "host-unreachable".
net::Task<Status> RemoveHosts(net::Loop& loop, std::string home, std::string cluster, Duration patience = 5s);

// A block C of 127.77.C.0/24 for a new rehearsed cluster that nobody on this machine uses, among clusters of
// this home (`taken`) and others. The same home and cluster get the same block as long as it is free. Code
// "no-block-free".
Result<int> ChooseBlock(const std::string& home, const std::string& cluster, const std::vector<int>& taken);

}  // namespace muster::server
