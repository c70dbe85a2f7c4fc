// Fault points: places where a test kills the program, to see that nothing is lost. Compiled in only with
// -DMUSTER_FAULT_POINTS=1; elsewhere MUSTER_FAULT costs nothing.
//
// MUSTER_FAULT=agent.started:2 in the environment kills the process with SIGKILL the second time it gets
// there.
//
// MUSTER_FAULT_FOLDER=FOLDER is for tests of several processes: they all count together, and the test says
// what it wants while they run. The folder is one that an instance's user may write to (mode 1777), too.
//   FOLDER/wanted   the test's: "NAME N kill" or "NAME N stop", for whoever is the Nth to get there. One that
//                   was told to stop does so by SIGSTOP, so that the test can kill whom it wants at that
//                   moment.
//   FOLDER/NAME.N   written by whoever is the Nth to get there while NAME is wanted: its process id.
//   FOLDER/passed   if the test made it: a line "NAME PID" for each point that is passed, by anybody.
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
