// The children that somebody in this process waits for, told apart from those that only came to it because it
// is their subreaper. Any thread. A lock is held while a child is forked or taken away: none can be missed.
#pragma once

#include <sys/types.h>

namespace muster {

// fork(), and in the parent the child is known as awaited before it can be taken for nobody's.
pid_t ForkAwaited();
// Waits for the end of a child of ForkAwaited and takes it away; as waitpid(pid, status, 0) returns. -1 too
// (ECHILD) where it is no child of this process.
pid_t AwaitChild(pid_t pid, int* status);
// Nobody waits for it any more: it is taken away with the others, whenever it ends.
void GiveUpChild(pid_t pid);
// Takes away all children that have ended and that nobody waits for. Doesn't block.
void ReapOthers();

}  // namespace muster
