#include "push/loop/websocket.h"

#include <openssl/evp.h>

#include <cstring>

#include "base/bytes.h"

namespace muster::push::websocket {
namespace {

constexpr std::string_view kMagic = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
constexpr uint64_t kControlMost = 125;

uint64_t BigEndian(const char* at, int bytes) {
  uint64_t value = 0;
  for (int i = 0; i < bytes; ++i) value = value << 8 | static_cast<uint8_t>(at[i]);
  return value;
}

bool IsControl(Opcode opcode) { return (static_cast<uint8_t>(opcode) & 8) != 0; }

}  // namespace

Parsed ParseHeader(std::string_view bytes, Header& header) {
  if (bytes.empty()) return Parsed::kNeedMore;
  const auto first = static_cast<uint8_t>(bytes[0]);
  const uint8_t opcode = first & 15;
  if ((first & 0x70) != 0 || (opcode > 2 && opcode < 8) || opcode > 10) return Parsed::kBad;
  header.last = (first & 0x80) != 0;
  header.opcode = static_cast<Opcode>(opcode);
  if (bytes.size() < 2) return Parsed::kNeedMore;
  const auto second = static_cast<uint8_t>(bytes[1]);
  if ((second & 0x80) == 0) return Parsed::kBad;  // a client masks all it sends
  header.length = second & 0x7f;
  if (IsControl(header.opcode) && (!header.last || header.length > kControlMost)) return Parsed::kBad;
  size_t at = 2;
  if (header.length >= 126) {
    const int wide = header.length == 126 ? 2 : 8;
    if (bytes.size() < at + wide) return Parsed::kNeedMore;
    header.length = BigEndian(bytes.data() + at, wide);
    at += wide;
    if (header.length < (wide == 2 ? 126u : 65536u) || header.length >> 63 != 0) return Parsed::kBad;
  }
  if (bytes.size() < at + 4) return Parsed::kNeedMore;
  std::memcpy(&header.mask, bytes.data() + at, 4);
  header.size = static_cast<uint8_t>(at + 4);
  return Parsed::kWhole;
}

void Unmask(char* data, size_t size, uint32_t mask) {
  const uint64_t wide = uint64_t{mask} << 32 | mask;
  size_t at = 0;
  for (; at + 8 <= size; at += 8) {
    uint64_t word;
    std::memcpy(&word, data + at, 8);
    word ^= wide;
    std::memcpy(data + at, &word, 8);
  }
  char bytes[4];
  std::memcpy(bytes, &mask, 4);
  for (; at < size; ++at) data[at] = static_cast<char>(data[at] ^ bytes[at & 3]);
}

size_t WriteHeaderBefore(char* payload, Opcode opcode, uint64_t length) {
  const auto first = static_cast<char>(0x80 | static_cast<uint8_t>(opcode));
  if (length < 126) {
    payload[-2] = first;
    payload[-1] = static_cast<char>(length);
    return 2;
  }
  const int wide = length < 65536 ? 2 : 8;
  payload[-wide - 2] = first;
  payload[-wide - 1] = static_cast<char>(wide == 2 ? 126 : 127);
  for (int i = 1; i <= wide; ++i) {
    payload[-i] = static_cast<char>(length & 0xff);
    length >>= 8;
  }
  return static_cast<size_t>(wide) + 2;
}

bool MaySendCloseCode(uint16_t code) {
  if (code >= 3000 && code < 5000) return true;
  return code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006;
}

Close ParseClose(std::string_view payload) {
  Close close;
  if (payload.empty()) {
    close.good = true;
    return close;
  }
  close.code = kProtocolError;
  if (payload.size() == 1) return close;
  const auto code = static_cast<uint16_t>(BigEndian(payload.data(), 2));
  if (!MaySendCloseCode(code)) return close;
  close.code = kBadText;
  if (!IsText(payload.substr(2))) return close;
  return {true, code, payload.substr(2)};
}

std::string ClosePayload(uint16_t code, std::string_view reason) {
  if (code == kNoCode) return {};
  std::string payload = {static_cast<char>(code >> 8), static_cast<char>(code & 0xff)};
  payload += reason.substr(0, kControlMost - 2);
  return payload;
}

std::string AcceptKey(std::string_view key) {
  if (key.size() != 24) return {};
  const auto bytes = DecodeBase64(key);
  if (!bytes || bytes->size() != 16) return {};
  std::string text(key);
  text += kMagic;
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  EVP_Digest(text.data(), text.size(), digest, &size, EVP_sha1(), nullptr);
  return EncodeBase64({reinterpret_cast<const char*>(digest), size});
}

bool IsText(std::string_view bytes) {
  size_t at = 0;
  for (; at + 8 <= bytes.size(); at += 8) {
    uint64_t word;
    std::memcpy(&word, bytes.data() + at, 8);
    if ((word & 0x8080808080808080u) != 0) return IsUtf8(bytes.substr(at));
  }
  return IsUtf8(bytes.substr(at));
}

size_t WholeText(std::string_view bytes) {
  size_t whole = bytes.size();
  for (size_t back = 1; back <= 3 && back <= bytes.size(); ++back) {
    const auto byte = static_cast<uint8_t>(bytes[bytes.size() - back]);
    if ((byte & 0xc0) == 0x80) continue;
    const size_t wanted = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    if (wanted > back) {
      // Which second bytes may follow depends on the first, and one of the ends of their range always may.
      bool may_go_on = false;
      for (const char more : {'\x80', '\xbf'}) {
        std::string character(bytes.substr(bytes.size() - back));
        character.resize(wanted, more);
        may_go_on = may_go_on || IsUtf8(character);
      }
      if (!may_go_on) return std::string_view::npos;
      whole = bytes.size() - back;
    }
    break;
  }
  return IsText(bytes.substr(0, whole)) ? whole : std::string_view::npos;
}

}  // namespace muster::push::websocket
