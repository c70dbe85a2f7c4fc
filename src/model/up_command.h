// What a hint says to type. Pure.
#pragma once

#include <string>
#include <string_view>

namespace muster {

// What brings the cluster of this key up: "muster up FILE", and for a rehearsal with --rehearse.
inline std::string UpCommand(std::string_view key) {
  return key.ends_with("@rehearsal") ? "muster up FILE --rehearse" : "muster up FILE";
}

}  // namespace muster
