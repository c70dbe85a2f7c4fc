// A body of a stranger as each payload of Engine.IO; what is put together again is the same.
#include <cstdlib>

#include "push/engineio/packet.h"

using namespace muster::push::engineio;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  std::vector<Packet> packets, again;
  if (ParsePayload(body, packets)) {
    std::string payload;
    for (const Packet& packet : packets)
      AppendPacket(payload, packet.binary, packet.binary ? packet.bytes : packet.text);
    if (!ParsePayload(payload, again) || again.size() != packets.size()) std::abort();
  }
  if (ParsePayload3(body, packets)) {
    std::string payload;
    for (const Packet& packet : packets)
      AppendPacket3(payload, packet.binary, packet.binary ? packet.bytes : packet.text);
    if (!ParsePayload3(payload, again) || again.size() != packets.size()) std::abort();
  }
  (void)ParseBinaryPayload3(body, packets);
  SessionId id;
  if (ParseSessionId(body, id) && FormatSessionId(id) != body) std::abort();
  return 0;
}
