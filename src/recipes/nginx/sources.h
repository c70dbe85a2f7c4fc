// Which addresses of this host a route's `allow_from` lets in: where `verify` asks from. Pure but for
// OwnAddresses, which asks the kernel.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace muster::nginx {

// Whether one of the addresses and networks holds `address`.
bool Allows(const std::vector<std::string>& allow_from, std::string_view address);

// What a client of a server at `address` may bind to here, those that are let in and those that aren't,
// `address` itself first.
struct Sources {
  std::vector<std::string> allowed, refused;
};
Sources SourcesFor(const std::vector<std::string>& allow_from, const std::vector<std::string>& own,
                   std::string_view address);

// This host's addresses; none where the kernel doesn't tell.
std::vector<std::string> OwnAddresses();

}  // namespace muster::nginx
