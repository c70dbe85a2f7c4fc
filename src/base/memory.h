// Keeping a long-lived process small.
#pragma once

namespace muster {

// Gives free heap pages back to the kernel, and lets go of pages of program code: most of what starting up
// needed is never run again, and what is needed comes back from the page cache with a minor fault. Takes
// about a millisecond; servers call it now and then while they are idle. Any thread.
void ReleaseIdleMemory();

}  // namespace muster
