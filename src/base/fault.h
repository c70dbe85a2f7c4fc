// Fault points: places where a test kills the program, to see that nothing is lost. Compiled in only with
// -DMUSTER_FAULT_POINTS=1; elsewhere MUSTER_FAULT costs nothing.
//
// MUSTER_FAULT=agent.started:2 in the environment kills the process with SIGKILL the second time it gets
// there; MUSTER_FAULT_ONCE=FILE makes it happen only while FILE doesn't exist, and creates it.
// MUSTER_FAULT_LIST=FILE appends the name of each point that is passed, so that a test can learn them all.
// Any thread may pass a point; passes are counted over the whole process.
#pragma once

#include <string_view>

#ifdef MUSTER_FAULT_POINTS
namespace muster {
void FaultPoint(std::string_view name);
}
#define MUSTER_FAULT(name) ::muster::FaultPoint(name)
#else
#define MUSTER_FAULT(name) static_cast<void>(0)
#endif
