#include "cli/local_ports.h"

#include <algorithm>
#include <sstream>

#include "base/files.h"
#include "base/text.h"

namespace muster::cli {

bool LocalPorts::Gives(int port) const {
  if (port < first || port > last) return false;
  return std::none_of(reserved.begin(), reserved.end(), [port](const PortRange& range) {
    return port >= range.first && port < range.first + range.count;
  });
}

LocalPorts ParseLocalPorts(const std::string& range, const std::string& reserved) {
  LocalPorts ports;
  std::istringstream words(range);
  if (!(words >> ports.first >> ports.last)) return {};
  for (const std::string& entry : Split(reserved, ',')) {
    std::istringstream numbers(entry);
    int first = 0, last = 0;
    char dash = 0;
    if (!(numbers >> first)) continue;
    if (!(numbers >> dash >> last)) last = first;
    ports.reserved.push_back({.first = first, .count = last - first + 1});
  }
  return ports;
}

LocalPorts LocalPortsHere() {
  const auto range = ReadFile("/proc/sys/net/ipv4/ip_local_port_range");
  const auto reserved = ReadFile("/proc/sys/net/ipv4/ip_local_reserved_ports");
  return ParseLocalPorts(range.ok() ? *range : "", reserved.ok() ? *reserved : "");
}

}  // namespace muster::cli
