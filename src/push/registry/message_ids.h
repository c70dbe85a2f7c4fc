// Ids of messages: strictly increasing on a node, unique among nodes, roughly by time. Any thread.
#pragma once

#include <atomic>
#include <cstdint>

namespace muster::push {

// 42 bits of milliseconds, 10 of the node, 12 of a sequence. Where more are asked for than a millisecond has,
// they are borrowed from the next; a clock that goes back changes nothing.
class MessageIds {
 public:
  explicit MessageIds(uint16_t node) : node_(node & 1023u) {}

  uint64_t Next(uint64_t now_ms) {
    uint64_t last = last_.load(std::memory_order_relaxed);
    uint64_t next;
    do {
      const uint64_t fresh = now_ms << 12;
      next = fresh > last ? fresh : last + 1;
    } while (!last_.compare_exchange_weak(last, next, std::memory_order_relaxed));
    return next >> 12 << 22 | uint64_t{node_} << 12 | (next & 4095);
  }

 private:
  uint16_t node_;
  std::atomic<uint64_t> last_{0};  // time and sequence, without the node
};

}  // namespace muster::push
