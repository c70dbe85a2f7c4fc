// Socket.IO packets, protocol 5 (and 4, which Socket.IO 2 speaks). Pure. What a packet points to lies in the
// text it was read from.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace muster::push::socketio {

enum class PacketType : uint8_t {
  kConnect,
  kDisconnect,
  kEvent,
  kAck,
  kConnectError,
  kBinaryEvent,
  kBinaryAck,
};

constexpr int kAttachmentsMost = 10;  // as the reference

struct Packet {
  PacketType type = PacketType::kConnect;
  int attachments = 0;
  std::string_view name_space = "/";
  int64_t id = -1;        // of an ack; -1: none
  std::string_view data;  // JSON, or empty
};

// Whether events may not be called so, as clients would take them for what the protocol itself tells.
bool IsReserved(std::string_view name);

// False for what breaks the protocol. Of an event or an ack, `elements` gets the array's; an event's first is
// a string that isn't reserved, or a number.
bool ParsePacket(std::string_view text, Packet& packet, std::vector<std::string_view>& elements);

// The beginning of a packet, up to its data, with Engine.IO's digit before it.
void AppendHead(std::string& out, PacketType type, int attachments, std::string_view name_space, int64_t id);

}  // namespace muster::push::socketio
