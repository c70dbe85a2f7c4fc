// Addresses of this machine.
#pragma once

#include <string>

namespace muster::net {

// Whether `address` (an IP address or a name) is one of this machine's own: something could be bound to it. A
// name that can't be looked up is not. Blocks while it is looked up.
bool IsLocalAddress(const std::string& address);

}  // namespace muster::net
