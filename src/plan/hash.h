// The hashes by which a change is noticed: shortened SHA-256 in hex. Internal to plan. Pure.
#pragma once

#include "plan/plan.h"

namespace muster::plan {

// Sets `hash` and `parts`. Secrets count by their keyed digest; the names of those that `secrets` lacks go
// into `unset`, and the hashes are of no use then.
void SetHashes(Instance& instance, const SecretDigests& secrets, std::set<std::string>& unset);

}  // namespace muster::plan
