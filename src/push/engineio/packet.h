// Engine.IO packets and the payloads of long-polling, protocols 4 and 3. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "push/loop/frame.h"

namespace muster::push::engineio {

constexpr char kSeparator = '\x1e';

// One packet of a payload. A text begins with its digit; a binary one is a message's bytes.
struct Packet {
  bool binary = false;
  std::string_view text;
  std::string bytes;  // of a binary one
};

// Takes a body apart; false where any packet is wrong. What `packets` point to lies in `body`.
bool ParsePayload(std::string_view body, std::vector<Packet>& packets);
// Protocol 3: "LENGTH:PACKET…", lengths in UTF-16 units.
bool ParsePayload3(std::string_view body, std::vector<Packet>& packets);
// Protocol 3, application/octet-stream.
bool ParseBinaryPayload3(std::string_view body, std::vector<Packet>& packets);

// Appends one packet to a payload that is being built.
void AppendPacket(std::string& payload, bool binary, std::string_view packet);
void AppendPacket3(std::string& payload, bool binary, std::string_view packet);

// How many UTF-16 units a text of UTF-8 has.
size_t Utf16Length(std::string_view text);

// A session's id: 20 characters that tell where it lives and can't be guessed.
struct SessionId {
  uint8_t shard = 0;
  uint32_t slot = 0;
  uint8_t secret[10] = {};
};
std::string FormatSessionId(const SessionId& id);
bool ParseSessionId(std::string_view text, SessionId& id);

// The same letters for any bytes whose number is a multiple of three.
std::string EncodeUrlSafe(std::string_view bytes);
constexpr size_t kIdBytes = 15;
bool DecodeId(std::string_view text, uint8_t (&bytes)[kIdBytes]);  // false: it is no id

}  // namespace muster::push::engineio
