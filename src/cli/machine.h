// What `check` finds on this machine: programs that aren't installed, ports that somebody else has.
#pragma once

#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "model/cluster.h"
#include "model/finding.h"
#include "model/instance.h"

namespace muster::cli {

// Somebody who listens on a port of this machine.
struct Listener {
  int port = 0;
  std::string address;  // "0.0.0.0", "127.0.0.1"; IPv6 ones as "::" or "::1" or "[…]"
  bool udp = false;
  int pid = 0;  // 0: of another user
  std::string program;
  bool ours = false;  // an instance of a cluster of this MUSTER_HOME
};
// `instances` are the pids of instances that the server knows; others are told by where they work.
std::vector<Listener> ListenersHere(const std::filesystem::path& home, const std::set<int>& instances = {});
// The addresses of this machine's interfaces.
std::vector<std::string> AddressesHere();

// What `CheckMachine` is told of this machine.
struct Machine {
  std::vector<Listener> listeners;
  std::vector<std::string> addresses;
  bool limits = true;                                   // cgroups can be written
  bool namespaces = true;                               // rehearsed hosts get a network of their own
  std::function<std::string(const std::string&)> find;  // the path of a program, or ""
};
Machine LookAtMachine(const std::filesystem::path& home, const std::set<int>& instances);

// What keeps `instances` from running here as they should: programs that are missing, ports that are taken,
// limits that can't be set. Hosts elsewhere are left out. Findings point at the service.
std::vector<Finding> CheckMachine(const Cluster& cluster, const std::vector<Instance>& instances,
                                  const Machine& machine);

// Can limits be set? Under cgroup version 2 or 1.
bool CgroupsWritable();

}  // namespace muster::cli
