#include "push/socketio/packet.h"

#include <algorithm>
#include <charconv>

#include "push/socketio/json.h"

namespace muster::push::socketio {
namespace {

constexpr std::string_view kReserved[] = {"connect",       "connect_error", "disconnect",
                                          "disconnecting", "newListener",   "removeListener"};

bool IsEventName(std::string_view element) {
  if (element.empty()) return false;
  if (element[0] == '-' || (element[0] >= '0' && element[0] <= '9')) return true;
  if (element[0] != '"') return false;
  return !IsReserved(element.substr(1, element.size() - 2));
}

// Digits from the beginning of `text`, which they are taken from.
bool TakeNumber(std::string_view& text, int64_t& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return true;
}

}  // namespace

bool IsReserved(std::string_view name) {
  return std::find(std::begin(kReserved), std::end(kReserved), name) != std::end(kReserved);
}

bool ParsePacket(std::string_view text, Packet& packet, std::vector<std::string_view>& elements) {
  packet = Packet{};
  elements.clear();
  if (text.empty() || text[0] < '0' || text[0] > '6') return false;
  packet.type = static_cast<PacketType>(text[0] - '0');
  text.remove_prefix(1);
  if (packet.type >= PacketType::kBinaryEvent) {
    int64_t count = 0;
    if (text.empty() || text[0] == '-' || !TakeNumber(text, count)) return false;
    if (count > kAttachmentsMost || text.empty() || text[0] != '-') return false;
    packet.attachments = static_cast<int>(count);
    text.remove_prefix(1);
  }
  if (!text.empty() && text[0] == '/') {
    const size_t comma = text.find(',');
    packet.name_space = text.substr(0, comma);
    text = comma == std::string_view::npos ? std::string_view{} : text.substr(comma + 1);
  }
  if (!text.empty() && text[0] >= '0' && text[0] <= '9' && !TakeNumber(text, packet.id)) return false;
  packet.data = text;
  switch (packet.type) {
    case PacketType::kConnect:
      return text.empty() || (json::IsObject(text) && json::IsValid(text));
    case PacketType::kDisconnect:
      return text.empty();
    case PacketType::kConnectError:
      return json::IsValid(text);
    case PacketType::kEvent:
    case PacketType::kBinaryEvent:
      return json::ReadArray(text, elements) && !elements.empty() && IsEventName(elements[0]);
    case PacketType::kAck:
    case PacketType::kBinaryAck:
      return packet.id >= 0 && json::ReadArray(text, elements);
  }
  return false;
}

void AppendHead(std::string& out, PacketType type, int attachments, std::string_view name_space, int64_t id) {
  char number[24];
  const auto append = [&](int64_t value) {
    out.append(number,
               static_cast<size_t>(std::to_chars(number, number + sizeof number, value).ptr - number));
  };
  out += '4';
  out += static_cast<char>('0' + static_cast<int>(type));
  if (type >= PacketType::kBinaryEvent) {
    append(attachments);
    out += '-';
  }
  if (name_space != "/") {
    out += name_space;
    out += ',';
  }
  if (id >= 0) append(id);
}

}  // namespace muster::push::socketio
