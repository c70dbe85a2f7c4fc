#include "push/engineio/packet.h"

#include <array>
#include <charconv>
#include <cstring>

#include "base/bytes.h"
#include "push/loop/websocket.h"

namespace muster::push::engineio {
namespace {

constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr size_t kPacketsMost = 10000;  // of one body

constexpr std::array<int8_t, 256> MakeValues() {
  std::array<int8_t, 256> values{};
  values.fill(-1);
  for (size_t i = 0; i < kLetters.size(); ++i)
    values[static_cast<uint8_t>(kLetters[i])] = static_cast<int8_t>(i);
  return values;
}
constexpr std::array<int8_t, 256> kValues = MakeValues();

bool IsTextPacket(std::string_view packet) { return !packet.empty() && packet[0] >= '0' && packet[0] <= '6'; }

bool AddBase64(std::string_view text, std::vector<Packet>& packets) {
  auto bytes = DecodeBase64(text);
  if (!bytes) return false;
  packets.push_back({.binary = true, .text = {}, .bytes = std::move(*bytes)});
  return true;
}

// Where `units` UTF-16 units end, in bytes; npos: there are fewer.
size_t AfterUnits(std::string_view text, size_t units) {
  size_t at = 0;
  while (units > 0 && at < text.size()) {
    const size_t length = CharacterLength(text.substr(at, 4));
    if (length == 0) return std::string_view::npos;
    const size_t taken = length == 4 ? 2 : 1;
    if (taken > units) return std::string_view::npos;
    units -= taken;
    at += length;
  }
  return units == 0 ? at : std::string_view::npos;
}

}  // namespace

bool ParsePayload(std::string_view body, std::vector<Packet>& packets) {
  packets.clear();
  if (!websocket::IsText(body)) return false;
  while (true) {
    const size_t end = body.find(kSeparator);
    const std::string_view packet = body.substr(0, end);
    if (packet.empty() || packets.size() >= kPacketsMost) return false;
    if (packet[0] == 'b') {
      if (!AddBase64(packet.substr(1), packets)) return false;
    } else if (IsTextPacket(packet)) {
      packets.push_back({.binary = false, .text = packet, .bytes = {}});
    } else {
      return false;
    }
    if (end == std::string_view::npos) return true;
    body.remove_prefix(end + 1);
  }
}

bool ParsePayload3(std::string_view body, std::vector<Packet>& packets) {
  packets.clear();
  if (body.empty() || !websocket::IsText(body)) return false;
  while (!body.empty()) {
    const size_t colon = body.substr(0, 12).find(':');
    if (colon == std::string_view::npos || colon == 0 || packets.size() >= kPacketsMost) return false;
    size_t length = 0;
    const auto [end, error] = std::from_chars(body.data(), body.data() + colon, length);
    if (error != std::errc() || end != body.data() + colon || length == 0) return false;
    body.remove_prefix(colon + 1);
    const size_t bytes = AfterUnits(body, length);
    if (bytes == std::string_view::npos) return false;
    const std::string_view packet = body.substr(0, bytes);
    body.remove_prefix(bytes);
    if (packet.substr(0, 2) == "b4") {
      if (!AddBase64(packet.substr(2), packets)) return false;
    } else if (IsTextPacket(packet)) {
      packets.push_back({.binary = false, .text = packet, .bytes = {}});
    } else {
      return false;
    }
  }
  return true;
}

bool ParseBinaryPayload3(std::string_view body, std::vector<Packet>& packets) {
  packets.clear();
  while (!body.empty()) {
    const bool binary = body[0] == 1;
    if (static_cast<uint8_t>(body[0]) > 1 || packets.size() >= kPacketsMost) return false;
    size_t length = 0, at = 1;
    while (at < body.size() && static_cast<uint8_t>(body[at]) != 255) {
      const auto digit = static_cast<uint8_t>(body[at]);
      if (digit > 9 || at > 10) return false;
      length = length * 10 + digit;
      ++at;
    }
    if (at >= body.size() || length == 0 || body.size() - at - 1 < length) return false;
    const std::string_view packet = body.substr(at + 1, length);
    body.remove_prefix(at + 1 + length);
    if (binary) {
      if (packet[0] != 4) return false;
      packets.push_back({.binary = true, .text = {}, .bytes = std::string(packet.substr(1))});
    } else if (IsTextPacket(packet) && websocket::IsText(packet)) {
      packets.push_back({.binary = false, .text = packet, .bytes = {}});
    } else {
      return false;
    }
  }
  return !packets.empty();
}

void AppendPacket(std::string& payload, bool binary, std::string_view packet) {
  if (!payload.empty()) payload += kSeparator;
  if (binary) {
    payload += 'b';
    payload += EncodeBase64(packet);
  } else {
    payload += packet;
  }
}

void AppendPacket3(std::string& payload, bool binary, std::string_view packet) {
  if (binary) {
    const std::string text = "b4" + EncodeBase64(packet);
    payload += std::to_string(text.size()) + ":" + text;
  } else {
    payload += std::to_string(Utf16Length(packet)) + ":";
    payload += packet;
  }
}

size_t Utf16Length(std::string_view text) {
  size_t units = 0;
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    if ((byte & 0xc0) != 0x80) ++units;  // a character begins
    if (byte >= 0xf0) ++units;           // one of four bytes is a pair
  }
  return units;
}

std::string EncodeUrlSafe(std::string_view bytes) {
  std::string text;
  for (size_t i = 0; i + 2 < bytes.size(); i += 3) {
    const uint32_t group = static_cast<uint8_t>(bytes[i]) << 16 | static_cast<uint8_t>(bytes[i + 1]) << 8 |
                           static_cast<uint8_t>(bytes[i + 2]);
    for (int shift = 18; shift >= 0; shift -= 6) text += kLetters[group >> shift & 63];
  }
  return text;
}

std::string FormatSessionId(const SessionId& id) {
  char bytes[kIdBytes];
  bytes[0] = static_cast<char>(id.shard);
  std::memcpy(bytes + 1, &id.slot, 4);
  std::memcpy(bytes + 5, id.secret, 10);
  return EncodeUrlSafe({bytes, sizeof bytes});
}

bool DecodeId(std::string_view text, uint8_t (&bytes)[kIdBytes]) {
  if (text.size() != kIdBytes / 3 * 4) return false;
  for (size_t i = 0; i < text.size() / 4; ++i) {
    uint32_t group = 0;
    for (size_t k = 0; k < 4; ++k) {
      const int8_t value = kValues[static_cast<uint8_t>(text[i * 4 + k])];
      if (value < 0) return false;
      group = group << 6 | static_cast<uint32_t>(value);
    }
    bytes[i * 3] = static_cast<uint8_t>(group >> 16);
    bytes[i * 3 + 1] = static_cast<uint8_t>(group >> 8 & 255);
    bytes[i * 3 + 2] = static_cast<uint8_t>(group & 255);
  }
  return true;
}

bool ParseSessionId(std::string_view text, SessionId& id) {
  uint8_t bytes[kIdBytes];
  if (!DecodeId(text, bytes)) return false;
  id.shard = bytes[0];
  std::memcpy(&id.slot, bytes + 1, 4);
  std::memcpy(id.secret, bytes + 5, 10);
  return true;
}

}  // namespace muster::push::engineio
