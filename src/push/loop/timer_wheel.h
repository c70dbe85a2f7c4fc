// Deadlines of many connections, coarse and cheap: setting and clearing one is a few pointer moves and
// allocates nothing. For one thread, the loop's; time is handed in. A timer never fires late by the wheel's
// doing, but up to four milliseconds early.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "base/time.h"

namespace muster::push {

// What can wait in a wheel derives from this. It must not move while it is set.
struct TimerNode {
  TimerNode() = default;
  TimerNode(const TimerNode&) = delete;
  TimerNode& operator=(const TimerNode&) = delete;

  bool set() const { return next_ != nullptr; }

 private:
  friend class TimerWheel;
  TimerNode* next_ = nullptr;
  TimerNode* previous_ = nullptr;
  uint32_t tick_ = 0;

 public:
  uint8_t kind =
      0;  // the owner's word for what this node is part of; last, so that what derives fills the gap
};

class TimerWheel {
 public:
  explicit TimerWheel(Time start);

  // Sets it anew if it was set.
  void Set(TimerNode& node, Time deadline);
  void Clear(TimerNode& node);

  // Takes out those whose time has come, one after the other; `fire` may set and clear any.
  template <class Fire>  // void(TimerNode&)
  void Advance(Time now, const Fire& fire) {
    const int64_t target = TickOf(now);
    while (current_ < target) {
      if (size_ == 0) {  // days may have gone by
        current_ = target;
        return;
      }
      ++current_;
      Cascade();
      TimerNode& slot = slots_[0][current_ & 255];
      while (slot.next_ != &slot) {
        TimerNode& node = *slot.next_;
        Clear(node);
        fire(node);
      }
    }
  }

  // To be called before Set where time may have gone by without Advance: a deadline counts from where the
  // wheel stands, and one that waits for nothing is not advanced.
  void CatchUp(Time now) {
    if (size_ == 0) current_ = std::max(current_, TickOf(now));
  }

  // How long nothing will fire for, at most about a second; -1ms where nothing is set.
  Duration Idle(Time now) const;
  size_t size() const { return size_; }

 private:
  static constexpr int64_t kTickMs = 4;
  int64_t TickOf(Time time) const { return (time - start_).count() / kTickMs; }
  void Insert(TimerNode& node);
  void Cascade();
  void CascadeSlot(TimerNode& slot);

  Time start_;
  int64_t current_ = 0;  // 32 bits of it would be 198 days; nodes keep these only, as none waits so long
  size_t size_ = 0;
  std::array<std::array<TimerNode, 256>, 3> slots_;
};

}  // namespace muster::push
