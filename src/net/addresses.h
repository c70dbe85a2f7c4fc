// Addresses of this machine. Any thread.
#pragma once

#include <string>

namespace muster::net {

// Whether `address` (an IP address or a name) is one of this machine's own: something could be bound to it. A
// name that can't be looked up is not. A name blocks for as long as the resolver takes, which may be seconds;
// an IP address doesn't.
bool IsLocalAddress(const std::string& address);

// "http://10.0.0.1/": the port is left out where it is the scheme's own. Pure.
std::string WebUrl(bool tls, const std::string& address, int port);

}  // namespace muster::net
