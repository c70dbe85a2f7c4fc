// The hashes by which a change is noticed: shortened SHA-256 in hex. Internal to plan. Pure.
#pragma once

#include "plan/plan.h"

namespace muster::plan {

// Sets `hash` and `parts`. Secrets count by their keyed digest. Code "secret-missing".
Status SetHashes(Instance& instance, const SecretDigests& secrets);

}  // namespace muster::plan
