// A text of a stranger as a packet of Socket.IO, the JSON in it, and an offset to come back with.
#include <cstdlib>
#include <string>

#include "push/loop/websocket.h"
#include "push/socketio/json.h"
#include "push/socketio/packet.h"
#include "push/socketio/recovery.h"

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
  if (const auto offset = socketio::ParseOffset(text, 8)) {
    if (offset->size() > 8 || socketio::OffsetText(*offset) != text) std::abort();
    socketio::Recovery recovery({.shard = 1, .shards = 8});
    for (uint64_t number = 1; number <= 8; ++number) {
      recovery.Keep({.number = number}, 0, "*:0", MakeFrame(FrameKind::kText, R"(42["a","1@1"])"), {});
      recovery.Reach({.number = number});
    }
    recovery.Save(
        {.id = "fifteen bytes !", .rooms = {"*:0"}, .until = muster::Time(std::chrono::seconds(1))});
    const socketio::Wanted wanted{.id = "fifteen bytes !", .offset = *offset};
    const socketio::Found found = socketio::Together({recovery.Find(wanted, {})});
    if (recovery.MayReturn(wanted, found) && recovery.Missed(wanted, found).size() > 8) std::abort();
  }
  return 0;
}
