// A WebSocket (RFC 6455) that sends back each message it gets. Pure: bytes in, bytes out.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace example {

class EchoSocket {
 public:
  // The value of Sec-WebSocket-Accept.
  static std::string AcceptOf(std::string_view key);

  // Takes whole frames from `input`, appends what is to be sent to `output`. False: close the connection when
  // that is sent.
  bool Feed(std::string& input, std::string& output);
  // Begins the closing handshake, once.
  void Close(uint16_t code, std::string_view reason, std::string& output);

 private:
  bool Take(int opcode, bool last, std::string payload, std::string& output);
  bool TakeControl(int opcode, const std::string& payload, std::string& output);
  bool Refuse(uint16_t code, std::string_view reason, std::string& output);

  int opcode_ = 0;  // of the message that is being put together; 0: none
  std::string message_;
  bool close_sent_ = false;
};

bool IsUtf8(std::string_view text);

}  // namespace example
