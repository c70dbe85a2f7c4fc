// What `muster verify` tries on one member of a Redis with one primary. Loop thread only.
#pragma once

#include <vector>

#include "recipes/recipe.h"

namespace muster::redis_primary {

// Of the primary: that what is written is read back, by itself and, after WAIT, by each replica. Of a
// replica: that it is linked and refuses writes. Keys begin with "muster:verify:", live for a minute at most,
// and are deleted at the end.
net::Task<std::vector<Check>> VerifyMember(Operator::Context context);

}  // namespace muster::redis_primary
