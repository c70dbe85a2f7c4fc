// Bytes of a stranger as WebSocket frames, as a loop of muster-push takes them apart.
#include <cstdlib>
#include <string>

#include "base/bytes.h"
#include "push/loop/websocket.h"

using namespace muster;
using namespace muster::push;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string bytes(reinterpret_cast<const char*>(data), size);
  size_t at = 0;
  while (at < bytes.size()) {
    websocket::Header header;
    if (websocket::ParseHeader(std::string_view(bytes).substr(at), header) != websocket::Parsed::kWhole)
      break;
    if (header.size > 14 || header.size > bytes.size() - at) std::abort();
    if (bytes.size() - at - header.size < header.length) break;
    char* payload = bytes.data() + at + header.size;
    websocket::Unmask(payload, header.length, header.mask);
    const std::string_view text(payload, header.length);
    if (websocket::IsText(text) != IsUtf8(text)) std::abort();
    if (header.opcode == websocket::Opcode::kClose) {
      const websocket::Close close = websocket::ParseClose(text);
      if (close.good && close.code != websocket::kNoCode && !websocket::MaySendCloseCode(close.code))
        std::abort();
    }
    at += header.size + header.length;
  }
  (void)websocket::AcceptKey(bytes);
  return 0;
}
