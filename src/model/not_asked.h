// The fact of an instance that ran when its agent came, and of which that agent has had no answer yet: what
// else is told of it, its state too, is from before. Of kinds that their operator asks. Pure; any thread.
#pragma once

namespace muster {

inline constexpr const char* kNotAskedFact = "not-asked";  // "yes"

}  // namespace muster
