#include "websocket.h"

#include "digests.h"

namespace example {
namespace {

constexpr int kContinuation = 0, kText = 1, kBinary = 2, kClose = 8, kPing = 9, kPong = 10;
constexpr uint64_t kMessageMost = 16u << 20;

uint64_t BigEndian(std::string_view bytes) {
  uint64_t number = 0;
  for (const char byte : bytes) number = number << 8 | static_cast<unsigned char>(byte);
  return number;
}

void AppendFrame(int opcode, std::string_view payload, std::string& output) {
  output.push_back(static_cast<char>(0x80 | opcode));
  const size_t size = payload.size();
  const int length_bytes = size < 126 ? 0 : size < 65536 ? 2 : 8;
  output.push_back(static_cast<char>(length_bytes == 0 ? size : length_bytes == 2 ? 126 : 127));
  for (int i = length_bytes - 1; i >= 0; --i) {
    output.push_back(static_cast<char>(static_cast<uint64_t>(size) >> (8 * i)));
  }
  output += payload;
}

}  // namespace

bool IsUtf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const size_t more = lead < 0x80                   ? 0
                        : lead >= 0xc2 && lead < 0xe0 ? 1
                        : lead >= 0xe0 && lead < 0xf0 ? 2
                        : lead >= 0xf0 && lead < 0xf5 ? 3
                                                      : 4;
    if (more == 4 || i + more >= text.size()) return false;
    uint32_t point = more == 0 ? lead : lead & (0x3f >> more);
    for (size_t j = 1; j <= more; ++j) {
      const auto byte = static_cast<unsigned char>(text[i + j]);
      if ((byte & 0xc0) != 0x80) return false;
      point = point << 6 | (byte & 0x3f);
    }
    const bool overlong = (more == 2 && point < 0x800) || (more == 3 && point < 0x10000);
    if (overlong || point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) return false;
    i += more + 1;
  }
  return true;
}

std::string EchoSocket::AcceptOf(std::string_view key) {
  return Base64(Sha1(std::string(key) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
}

void EchoSocket::Close(uint16_t code, std::string_view reason, std::string& output) {
  if (close_sent_) return;
  close_sent_ = true;
  std::string payload = {static_cast<char>(code >> 8), static_cast<char>(code)};
  payload += reason;
  AppendFrame(kClose, payload, output);
}

bool EchoSocket::Refuse(uint16_t code, std::string_view reason, std::string& output) {
  Close(code, reason, output);
  return false;
}

bool EchoSocket::Feed(std::string& input, std::string& output) {
  while (input.size() >= 2) {
    const auto first = static_cast<unsigned char>(input[0]);
    const auto second = static_cast<unsigned char>(input[1]);
    const int opcode = first & 15;
    if ((first & 0x70) != 0) return Refuse(1002, "no extension was agreed on", output);
    if ((second & 0x80) == 0) return Refuse(1002, "a client masks its frames", output);
    uint64_t size = second & 0x7f;
    if (opcode >= 8 && (size > 125 || (first & 0x80) == 0)) {
      return Refuse(1002, "a control frame is short and whole", output);
    }
    const size_t length_bytes = size == 126 ? 2 : size == 127 ? 8 : 0;
    const size_t head = 2 + length_bytes + 4;
    if (input.size() < head) return true;
    if (length_bytes > 0) size = BigEndian(std::string_view(input).substr(2, length_bytes));
    if (size > kMessageMost || message_.size() + size > kMessageMost) {
      return Refuse(1009, "more than 16 MiB", output);
    }
    if (input.size() - head < size) return true;
    std::string payload = input.substr(head, size);
    for (size_t i = 0; i < payload.size(); ++i) payload[i] ^= input[head - 4 + i % 4];
    input.erase(0, head + size);
    if (!Take(opcode, (first & 0x80) != 0, std::move(payload), output)) return false;
  }
  return true;
}

bool EchoSocket::Take(int opcode, bool last, std::string payload, std::string& output) {
  if (opcode >= 8) return TakeControl(opcode, payload, output);
  if (opcode > kBinary) return Refuse(1002, "no such opcode", output);
  if ((opcode == kContinuation) != (opcode_ != 0)) return Refuse(1002, "fragments out of order", output);
  if (opcode != kContinuation) opcode_ = opcode;
  message_ += payload;
  if (!last) return true;
  if (opcode_ == kText && !IsUtf8(message_)) return Refuse(1007, "text is UTF-8", output);
  // After our close frame nothing may follow it.
  if (!close_sent_) AppendFrame(opcode_, message_, output);
  opcode_ = 0;
  message_ = std::string();
  return true;
}

bool EchoSocket::TakeControl(int opcode, const std::string& payload, std::string& output) {
  if (opcode == kPing) {
    if (!close_sent_) AppendFrame(kPong, payload, output);
    return true;
  }
  if (opcode == kPong) return true;
  if (opcode != kClose || payload.size() == 1) return Refuse(1002, "no such control frame", output);
  if (!close_sent_) AppendFrame(kClose, std::string_view(payload).substr(0, 2), output);
  close_sent_ = true;
  return false;
}

}  // namespace example
