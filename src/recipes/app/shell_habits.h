// What people write in a command out of habit, though no shell reads it. Internal to recipes/app; pure.
#pragma once

#include <vector>

#include "model/cluster.h"
#include "model/finding.h"

namespace muster::app {

// "no-shell" for words of a shell where a program should stand (an error: it could never start), and for what
// would be passed on as it stands: redirections, pipes, $VARIABLES (a warning: a program may want just that).
void CheckShellHabits(const Value& command, std::vector<Finding>& findings);

}  // namespace muster::app
