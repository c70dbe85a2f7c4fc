#include "base/bytes.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace muster {
namespace {

constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

// Bytes that a character beginning with `first` has; 0 where none begins so.
size_t LengthOf(unsigned char first) {
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first < 0xE0) return 2;
  if (first >= 0xE0 && first < 0xF0) return 3;
  if (first >= 0xF0 && first < 0xF5) return 4;
  return 0;
}

// Whether `bytes` begin a character, as far as they go.
bool BeginsCharacter(std::string_view bytes) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const size_t length = LengthOf(byte(0));
  if (length == 0) return false;
  const size_t there = std::min(length, bytes.size());
  for (size_t i = 1; i < there; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return false;
  }
  if (there < 2) return true;
  // Forms that are too long, surrogates, and what lies behind the last character.
  if (byte(0) == 0xE0 && byte(1) < 0xA0) return false;
  if (byte(0) == 0xED && byte(1) >= 0xA0) return false;
  if (byte(0) == 0xF0 && byte(1) < 0x90) return false;
  return !(byte(0) == 0xF4 && byte(1) >= 0x90);
}

}  // namespace

size_t CharacterLength(std::string_view bytes) {
  if (bytes.empty()) return 0;
  const size_t length = LengthOf(static_cast<unsigned char>(bytes[0]));
  return length <= bytes.size() && BeginsCharacter(bytes) ? length : 0;
}

bool IsUtf8(std::string_view bytes) {
  for (size_t at = 0; at < bytes.size();) {
    if (static_cast<unsigned char>(bytes[at]) < 0x80) {
      ++at;
      continue;
    }
    const size_t length = CharacterLength(bytes.substr(at));
    if (length == 0) return false;
    at += length;
  }
  return true;
}

size_t WholeUtf8(std::string_view bytes) {
  for (size_t back = 1; back <= std::min<size_t>(3, bytes.size()); ++back) {
    const std::string_view last = bytes.substr(bytes.size() - back);
    if ((static_cast<unsigned char>(last[0]) & 0xC0) == 0x80) continue;  // in the middle of one
    const bool waits = LengthOf(static_cast<unsigned char>(last[0])) > back && BeginsCharacter(last);
    return waits ? bytes.size() - back : bytes.size();
  }
  return bytes.size();
}

bool IsPlain(std::string_view bytes) {
  constexpr size_t kEscapedMost = 15;  // of so many bytes one: as base64 makes them a third longer
  size_t controls = 0;
  for (const char c : bytes) {
    controls += static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t' && c != '\r';
  }
  return controls * kEscapedMost <= bytes.size() && IsUtf8(bytes);
}

std::string EncodeBase64(std::string_view bytes) {
  std::string text((bytes.size() + 2) / 3 * 4, '=');
  const auto byte = [&](size_t at) { return uint32_t{static_cast<unsigned char>(bytes[at])}; };
  size_t at = 0, to = 0;
  for (; at + 3 <= bytes.size(); at += 3, to += 4) {
    const uint32_t group = byte(at) << 16 | byte(at + 1) << 8 | byte(at + 2);
    text[to] = kDigits[group >> 18];
    text[to + 1] = kDigits[group >> 12 & 63];
    text[to + 2] = kDigits[group >> 6 & 63];
    text[to + 3] = kDigits[group & 63];
  }
  const size_t count = bytes.size() - at;
  if (count == 0) return text;
  const uint32_t group = byte(at) << 16 | (count > 1 ? byte(at + 1) << 8 : 0u);
  for (size_t i = 0; i <= count; ++i) text[to + i] = kDigits[group >> (18 - 6 * i) & 63];
  return text;
}

std::optional<std::string> DecodeBase64(std::string_view text) {
  static const std::array<int8_t, 256> values = [] {
    std::array<int8_t, 256> table;
    table.fill(-1);
    for (size_t i = 0; i < kDigits.size(); ++i)
      table[static_cast<unsigned char>(kDigits[i])] = static_cast<int8_t>(i);
    return table;
  }();
  if (text.size() % 4 != 0) return std::nullopt;
  size_t padding = 0;
  while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') ++padding;
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3);
  for (size_t at = 0; at < text.size(); at += 4) {
    const size_t digits = at + 4 == text.size() ? 4 - padding : 4;
    uint32_t group = 0;
    for (size_t i = 0; i < 4; ++i) {
      const int value = i < digits ? values[static_cast<unsigned char>(text[at + i])] : 0;
      if (value < 0) return std::nullopt;
      group = group << 6 | static_cast<uint32_t>(value);
    }
    const char three[] = {static_cast<char>(group >> 16 & 0xFF), static_cast<char>(group >> 8 & 0xFF),
                          static_cast<char>(group & 0xFF)};
    if (digits > 1) bytes.append(three, digits - 1);
  }
  return bytes;
}

}  // namespace muster
