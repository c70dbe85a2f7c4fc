// The command line of muster: the one door that main/ opens. What layers above cli provide comes in as hooks.
// A command has one thread, which a loop takes over while something is awaited.
#pragma once

#include <functional>
#include <string>

#include "base/result.h"

namespace muster {

struct ServerArgs {
  std::string home;  // MUSTER_HOME, absolute
};

struct AgentArgs {
  std::string home;
  std::string cluster;  // key, "mall@rehearsal"
  std::string host;
  std::string address;  // what its instances are reached at
  std::string socket;   // the server's agents.sock
  bool rehearsal = false;
  int block = 0;        // of a rehearsal: 127.77.BLOCK.0/24
  int host_number = 0;  // of a rehearsal: the last byte of the address
};

// Both run until they are told to end, on the thread that calls them. Errors are those of RunServer and
// RunAgent.
struct CliHooks {
  std::function<Status(const ServerArgs&)> run_server;
  std::function<Status(const AgentArgs&)> run_agent;
};

// Runs one command and returns its exit code: 0 done or nothing to do, 1 error or failed check, 2 `plan` has
// changes, 3 refused until a person decides, 130 ended by Ctrl-C.
int RunCli(int argc, char** argv, CliHooks hooks);

}  // namespace muster
