// Runs that a stop of the server left, and that something newer takes the place of. Pure.
#pragma once

#include <vector>

#include "store/store.h"

namespace muster::control {

// Those of `runs` that nobody can resume any more once `next` has begun, as they are to be kept: cancelled,
// with what came in their place. A release that was left half-way outlives a stop or a restart of what is
// there; anything outlives neither the next release nor a down.
std::vector<store::RunRow> SupersededBy(const store::RunRow& next, std::vector<store::RunRow> runs);

}  // namespace muster::control
