#include "recipes/nginx/sources.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstdlib>

namespace muster::nginx {
namespace {

// An address as its 4 or 16 bytes; empty where it is none.
std::string BytesOf(const std::string& address) {
  char bytes[16];
  if (inet_pton(AF_INET, address.c_str(), bytes) == 1) return {bytes, 4};
  if (inet_pton(AF_INET6, address.c_str(), bytes) == 1) return {bytes, 16};
  return "";
}

struct Network {
  std::string bytes;
  int bits = 0;

  explicit Network(const std::string& text) : bytes(BytesOf(text.substr(0, text.find('/')))) {
    const size_t slash = text.find('/');
    const int all = static_cast<int>(bytes.size()) * 8;
    bits = slash == std::string::npos ? all : std::clamp(std::atoi(text.c_str() + slash + 1), 0, all);
  }
  bool Holds(const std::string& address) const {
    if (bytes.empty() || address.size() != bytes.size()) return false;
    for (int bit = 0; bit < bits; ++bit) {
      const auto at = static_cast<size_t>(bit / 8);
      if (((bytes[at] ^ address[at]) >> (7 - bit % 8)) & 1) return false;
    }
    return true;
  }
};

}  // namespace

bool Allows(const std::vector<std::string>& allow_from, std::string_view address) {
  const std::string bytes = BytesOf(std::string(address));
  return std::any_of(allow_from.begin(), allow_from.end(),
                     [&](const std::string& from) { return Network(from).Holds(bytes); });
}

Sources SourcesFor(const std::vector<std::string>& allow_from, const std::vector<std::string>& own,
                   std::string_view address) {
  Sources sources;
  const std::string server = BytesOf(std::string(address));
  for (const std::string& one : own) {
    if (BytesOf(one).size() != server.size()) continue;
    (Allows(allow_from, one) ? sources.allowed : sources.refused).push_back(one);
  }
  // All of 127.0.0.0/8 is this host's, whatever stands on its interface.
  for (const std::string& from : allow_from) {
    const std::string plain = from.substr(0, from.find('/'));
    if (server.size() == 4 && server[0] == 127 && plain == from && plain.starts_with("127.") &&
        std::find(own.begin(), own.end(), plain) == own.end()) {
      sources.allowed.push_back(plain);
    }
  }
  const auto is_its_own = [&](const std::string& one) { return one == address; };
  for (auto* some : {&sources.allowed, &sources.refused}) {
    std::stable_partition(some->begin(), some->end(), is_its_own);
  }
  return sources;
}

std::vector<std::string> OwnAddresses() {
  std::vector<std::string> own;
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) != 0) return own;
  for (const ifaddrs* one = all; one; one = one->ifa_next) {
    if (!one->ifa_addr || !(one->ifa_flags & IFF_UP)) continue;
    char text[INET6_ADDRSTRLEN];
    const void* bytes = nullptr;
    if (one->ifa_addr->sa_family == AF_INET) {
      bytes = &reinterpret_cast<const sockaddr_in*>(one->ifa_addr)->sin_addr;
    } else if (one->ifa_addr->sa_family == AF_INET6) {
      const auto* six = reinterpret_cast<const sockaddr_in6*>(one->ifa_addr);
      if (IN6_IS_ADDR_LINKLOCAL(&six->sin6_addr)) continue;  // needs an interface beside it
      bytes = &six->sin6_addr;
    }
    if (bytes && inet_ntop(one->ifa_addr->sa_family, bytes, text, sizeof text)) own.emplace_back(text);
  }
  freeifaddrs(all);
  return own;
}

}  // namespace muster::nginx
