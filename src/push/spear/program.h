// The command line of muster-push. For a program's main thread.
#pragma once

namespace muster::push {

// Returns the exit code: 0, 1 for what failed, 2 for a wrong command line or configuration.
int RunProgram(int argc, char** argv);

}  // namespace muster::push
