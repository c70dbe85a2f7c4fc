// Whether a password, as its secret has it, is what Redis will read in secret.conf. Pure.
#pragma once

#include "base/result.h"
#include "model/instance.h"

namespace muster::redis {

// `instance` has its secrets, not their marks. They are put between quotes as they are, so that a double
// quote, a backslash or the end of a line would make another password of it, or another line. Code
// "secret-unusable", which doesn't show the password.
Status CheckSecrets(const Instance& instance);

}  // namespace muster::redis
