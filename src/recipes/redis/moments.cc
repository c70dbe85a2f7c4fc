#include "recipes/redis/moments.h"

#include <algorithm>
#include <cstdint>

#include "recipes/redis/words.h"

namespace muster::redis {

std::optional<Time> Moments::Of(const std::string& member, const char* name, const std::string& text,
                                bool earliest, Time now) {
  const auto age = ParseNumber<int64_t>(text);
  if (!age) {
    known_.erase({member, name});
    return std::nullopt;
  }
  const auto [at, fresh] = known_.try_emplace({member, name});
  Known& known = at->second;
  if (known.text != text) {
    const Time meant = now - Duration(*age);
    known.moment = earliest && !fresh ? std::min(known.moment, meant) : meant;
    known.text = text;
  }
  return known.moment;
}

}  // namespace muster::redis
