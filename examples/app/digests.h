// SHA-1 (for the WebSocket handshake), SHA-256 and Base64, without a library: one would double the memory.
#pragma once

#include <string>
#include <string_view>

namespace example {

std::string Sha1(std::string_view bytes);  // 20 raw bytes
std::string Sha256Hex(std::string_view bytes);
std::string Base64(std::string_view bytes);

}  // namespace example
