// Any bytes as what comes over the channel between server and agent: frames, then the JSON within.
#include <cstdint>
#include <cstdlib>

#include "api/agent_messages.h"
#include "net/channel.h"

using namespace muster;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  net::FrameParser parser;
  const auto frames = parser.Feed(bytes);
  const auto message = api::DecodeAgentMessage(bytes);
  if (message.ok()) {
    // What was understood can be said again, and means the same.
    const std::string once = api::Encode(*message);
    const auto again = api::DecodeAgentMessage(once);
    if (!again.ok() || api::Encode(*again) != once) std::abort();
  }
  return 0;
}
