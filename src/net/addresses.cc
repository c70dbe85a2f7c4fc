#include "net/addresses.h"

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

namespace muster::net {

bool IsLocalAddress(const std::string& address) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(address.c_str(), nullptr, &hints, &found) != 0) return false;
  bool local = false;
  for (const addrinfo* one = found; one && !local; one = one->ai_next) {
    const int fd = ::socket(one->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) continue;
    local = ::bind(fd, one->ai_addr, one->ai_addrlen) == 0;
    ::close(fd);
  }
  ::freeaddrinfo(found);
  return local;
}

std::string WebUrl(bool tls, const std::string& address, int port) {
  std::string url = tls ? "https://" : "http://";
  url += address.find(':') == std::string::npos ? address : "[" + address + "]";
  if (port != (tls ? 443 : 80)) url += ":" + std::to_string(port);
  return url + "/";
}

}  // namespace muster::net
