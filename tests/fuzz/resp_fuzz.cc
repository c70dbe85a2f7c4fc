// Any bytes as what comes from a Redis server, or from what stands in its place: whole, and cut in two
// places.
#include <cstdint>
#include <cstdlib>

#include "net/resp.h"

using namespace muster;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const net::resp::Limits limits{.bytes = 4096, .items = 256, .line = 256, .depth = 8};
  net::resp::Parser whole(limits);
  const auto at_once = whole.Feed(bytes);

  net::resp::Parser parts(limits);
  std::vector<net::resp::Value> values;
  bool good = true;
  const size_t first = size / 3, second = size - size / 4;
  for (const std::string_view part :
       {bytes.substr(0, first), bytes.substr(first, second - first), bytes.substr(second)}) {
    auto more = parts.Feed(part);
    good = good && more.ok();
    if (!good) break;
    for (auto& value : *more) values.push_back(std::move(value));
  }
  if (good != at_once.ok() || (good && values != *at_once)) std::abort();

  for (const auto& value : values) {
    if (net::resp::Describe(value).size() > 310) std::abort();
    if (value.is_error() && net::resp::RefusedError(value, "x").Text().empty()) std::abort();
    const auto texts = value.AsTexts();
    (void)value.AsPairs();
    // What is sent is read as it was meant.
    if (!texts || texts->empty()) continue;
    net::resp::Parser other;
    const auto sent = other.Feed(net::resp::Encode(*texts));
    if (!sent.ok() || sent->size() != 1 || sent->front().AsTexts() != texts) std::abort();
  }
  return 0;
}
