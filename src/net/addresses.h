// Addresses of this machine. Any thread.
#pragma once

#include <string>

namespace muster::net {

// Whether `address` (an IP address or a name) is one of this machine's own: something could be bound to it. A
// name that can't be looked up is not. A name blocks for as long as the resolver takes, which may be seconds;
// an IP address doesn't.
bool IsLocalAddress(const std::string& address);

}  // namespace muster::net
