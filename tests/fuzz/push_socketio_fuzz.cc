// A text of a stranger as a packet of Socket.IO, and the JSON in it.
#include <cstdlib>
#include <string>

#include "push/loop/websocket.h"
#include "push/socketio/json.h"
#include "push/socketio/packet.h"

using namespace muster::push;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  socketio::Packet packet;
  std::vector<std::string_view> elements, again;
  if (socketio::ParsePacket(text, packet, elements)) {
    std::string out;
    socketio::AppendHead(out, packet.type, packet.attachments, packet.name_space, packet.id);
    out += packet.data;
    socketio::Packet back;
    // A comma behind the namespace, and nothing else, may be new; a name without one ends the text.
    if (!socketio::ParsePacket(std::string_view(out).substr(1), back, again)) std::abort();
    if (back.type != packet.type || back.id != packet.id || again.size() != elements.size()) std::abort();
    for (const std::string_view element : elements) {
      if (!json::IsValid(element)) std::abort();
      (void)json::ReadString(element);
      (void)json::ReadId(element);
      (void)json::Member(element, "id");
    }
  }
  if (json::IsValid(text) && json::ReadString(text) && websocket::IsText(text)) {
    const std::string quoted = json::Quoted(*json::ReadString(text));
    if (json::ReadString(quoted) != json::ReadString(text)) std::abort();
  }
  return 0;
}
