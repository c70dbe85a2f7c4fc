// Numbers that one thread counts and any thread may read.
#pragma once

#include <atomic>
#include <cstdint>

namespace muster::push {

// Written by the thread of its loop only: no locked instruction is needed.
class Counter {
 public:
  void Add(int64_t more) {
    value_.store(value_.load(std::memory_order_relaxed) + more, std::memory_order_relaxed);
  }
  void Set(int64_t value) { value_.store(value, std::memory_order_relaxed); }
  int64_t get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> value_{0};
};

struct LoopCounters {
  Counter connections;         // open now
  Counter accepted;            // ever
  Counter refused_by_address;  // over the limit of an address
  Counter refused_by_node;     // over the limit of the node
  Counter refused_by_files;    // no descriptor left
  Counter bytes_in, bytes_out;
  Counter writes;          // system calls that sent something
  Counter messages_in;     // WebSocket messages
  Counter frames_out;      // WebSocket frames and HTTP responses queued
  Counter dropped_slow;    // frames not given to a consumer that is too slow
  Counter closed_slow;     // consumers closed for it
  Counter closed_timeout;  // connections closed for what they didn't send in time
  Counter bad_frames;      // WebSocket connections closed for breaking the protocol
  Counter reads_put_off;   // turns that left a connection with more to read over TLS
  Counter handed_over;     // connections given to the loop that their session lives on
};

}  // namespace muster::push
