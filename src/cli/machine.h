// What `check` and `up` find on this machine: programs that aren't installed, ports that somebody else has,
// hosts that are elsewhere. CheckMachine is pure but for what Machine's functions do; what looks blocks, on
// the command's one thread: names may take the resolver seconds. What is wrong are findings, never errors.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "cli/limits.h"
#include "cli/local_ports.h"
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
  std::string cluster;   // the key of the cluster of this MUSTER_HOME that it belongs to; "" none
  std::string instance;  // its name there, where it is known
  std::string folder;    // that it works in
};

// Instances that the server knows, by pid.
struct Owner {
  std::string cluster, instance;
};
using Owners = std::map<int, Owner>;

// Who isn't among `owners` is told by where it works.
std::vector<Listener> ListenersHere(const std::filesystem::path& home, const Owners& owners = {});
// The addresses of this machine's interfaces.
std::vector<std::string> AddressesHere();

// What `CheckMachine` is told of this machine.
struct Machine {
  std::vector<Listener> listeners;
  std::vector<std::string> addresses;
  LimitSupport limits;
  int first_free_port = 0;  // whoever wants one below it has to be root
  LocalPorts local_ports;
  bool namespaces = true;                               // rehearsed hosts can get a network of their own
  bool apart = false;                                   // and will, unless the server was told otherwise
  std::function<std::string(const std::string&)> find;  // the path of a program, or ""
  // Whether somebody may run it: a file that is there and executable for all.
  std::function<bool(const std::string&path)> is_file, is_executable;
  std::function<bool(const std::string& user)> has_user = nullptr;  // null: users don't matter here
  std::function<bool(const std::string& user)> is_root = nullptr;   // has uid 0, whatever its name
};
// Who listens takes a look at every process: left out without `ports`.
Machine LookAtMachine(const std::filesystem::path& home, const Owners& owners, bool ports);

// What keeps `instances` from running here as they should: programs that are missing or not executable, ports
// that are taken, users that aren't there, limits that can't be set. Hosts elsewhere are left out. `standing`
// are the instances whose ports are their own already. Findings point at the service.
std::vector<Finding> CheckMachine(const Cluster& cluster, const std::vector<Instance>& instances,
                                  const Machine& machine, const std::set<std::string>& standing = {});

// "host-elsewhere" for each host of the file that isn't this machine. Names are looked up.
std::vector<Finding> CheckHosts(const Cluster& cluster);

}  // namespace muster::cli
