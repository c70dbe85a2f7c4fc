// RFC 6455, the server's side: frames, masks, close codes and the handshake's key. Pure; nothing is kept.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace muster::push::websocket {

enum class Opcode : uint8_t {
  kContinuation = 0,
  kText = 1,
  kBinary = 2,
  kClose = 8,
  kPing = 9,
  kPong = 10,
};

enum CloseCode : uint16_t {
  kNormal = 1000,
  kGoingAway = 1001,
  kProtocolError = 1002,
  kNoCode = 1005,  // stands for a close frame without one; never on the wire
  kBadText = 1007,
  kPolicy = 1008,
  kTooBig = 1009,
  kTryAgainLater = 1013,
};

struct Header {
  bool last = false;  // the FIN bit
  Opcode opcode = Opcode::kContinuation;
  uint64_t length = 0;  // of the payload
  uint32_t mask = 0;    // as it stood in memory
  uint8_t size = 0;     // of the header itself
};

enum class Parsed { kWhole, kNeedMore, kBad };

// Reads the header of a client's frame. kBad: a reserved bit or opcode, no mask, a control frame that is long
// or in fragments, or a length that isn't in its shortest form.
Parsed ParseHeader(std::string_view bytes, Header& header);

// In place; twice is as never.
void Unmask(char* data, size_t size, uint32_t mask);

// Writes an unmasked header that ends right before `payload`; returns its size, at most 10.
size_t WriteHeaderBefore(char* payload, Opcode opcode, uint64_t length);

// Whether a peer may send this code (RFC 6455, 7.4).
bool MaySendCloseCode(uint16_t code);

struct Close {
  bool good = false;
  uint16_t code = kNoCode;  // what to answer with; for a bad one why it is bad
  std::string_view reason;  // points into the payload
};
Close ParseClose(std::string_view payload);
// The payload of a close frame; kNoCode makes an empty one.
std::string ClosePayload(uint16_t code, std::string_view reason = {});

// Sec-WebSocket-Accept for a key; "" where the key isn't 16 bytes in base64.
std::string AcceptKey(std::string_view key);

// Whether this is UTF-8; fast where most of it is ASCII.
bool IsText(std::string_view bytes);
// How many bytes at the front of a text that goes on are whole characters; npos: no end makes it UTF-8.
size_t WholeText(std::string_view bytes);

}  // namespace muster::push::websocket
