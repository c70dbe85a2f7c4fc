// How the windows of streams are counted, by agents and by the server alike: in bytes. Pure.
#pragma once

#include <cstdint>
#include <string_view>

namespace muster::api {

// What a chunk with this `data` takes of its stream's window: its bytes, and what a message costs besides, or
// a million empty lines would count nothing.
inline int64_t Weight(std::string_view data) { return static_cast<int64_t>(data.size()) + 64; }

}  // namespace muster::api
