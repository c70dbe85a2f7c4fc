// `muster exec`: a command beside an instance, with its input, output and exit code.
#pragma once

#include <string>
#include <vector>

#include "cli/session.h"

namespace muster::cli {

struct ExecArgs : ClusterArgs {
  std::string instance;
  std::vector<std::string> command;
  bool no_input = false;
};

// Blocks, on the loop of its own client, until the command has ended, and gives its exit code. Codes:
// "argument-missing", "server-gone" in the middle, those of Connect and ClusterFor, and the server's.
Result<int> RunExec(Context& context, const ExecArgs& args);

}  // namespace muster::cli
