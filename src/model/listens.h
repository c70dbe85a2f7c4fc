// Where an instance listens, as its agent tells it: the fact kListensFact of an Observed. Pure.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "model/instance.h"

namespace muster {

inline constexpr const char* kListensFact = "listens";

struct Listens {
  std::string address;  // "": not known, or nowhere
  std::vector<PortRange> ports;
  bool operator==(const Listens&) const = default;
};

// "10.0.0.1 8101 9000-9009 5353/udp"; "" without ports.
std::string FormatListens(const std::string& address, const std::map<std::string, PortRange>& ports);
// What can't be read is left out.
Listens ParseListens(std::string_view text);
// As installed; of agents of earlier releases nothing is known.
Listens ListensOf(const Observed& observed);

}  // namespace muster
