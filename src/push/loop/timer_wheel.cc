#include "push/loop/timer_wheel.h"

#include <algorithm>

namespace muster::push {

TimerWheel::TimerWheel(Time start) : start_(start) {
  for (auto& level : slots_) {
    for (TimerNode& slot : level) slot.next_ = slot.previous_ = &slot;
  }
}

void TimerWheel::Insert(TimerNode& node) {
  const uint32_t ahead = node.tick_ - static_cast<uint32_t>(current_);
  TimerNode* slot;
  if (ahead < 256) {
    slot = &slots_[0][node.tick_ & 255];
  } else if (ahead < 65536) {
    slot = &slots_[1][(node.tick_ >> 8) & 255];
  } else {
    slot = &slots_[2][(node.tick_ >> 16) & 255];
  }
  node.previous_ = slot->previous_;
  node.next_ = slot;
  slot->previous_->next_ = &node;
  slot->previous_ = &node;
}

void TimerWheel::Set(TimerNode& node, Time deadline) {
  Clear(node);
  constexpr uint32_t kMost = (256u << 16) - 65536;
  const int64_t ticks = TickOf(deadline) - current_;
  node.tick_ = static_cast<uint32_t>(current_ + std::clamp<int64_t>(ticks, 1, kMost));
  Insert(node);
  ++size_;
}

void TimerWheel::Clear(TimerNode& node) {
  if (node.next_ == nullptr) return;
  node.previous_->next_ = node.next_;
  node.next_->previous_ = node.previous_;
  node.next_ = node.previous_ = nullptr;
  --size_;
}

void TimerWheel::CascadeSlot(TimerNode& slot) {
  TimerNode* node = slot.next_;
  slot.next_ = slot.previous_ = &slot;
  while (node != &slot) {
    TimerNode* next = node->next_;
    Insert(*node);
    node = next;
  }
}

void TimerWheel::Cascade() {
  if ((current_ & 255) != 0) return;
  if ((current_ & 65535) == 0) CascadeSlot(slots_[2][(current_ >> 16) & 255]);
  CascadeSlot(slots_[1][(current_ >> 8) & 255]);
}

Duration TimerWheel::Idle(Time now) const {
  if (size_ == 0) return Duration(-1);
  // To the end of this turn of the innermost wheel: behind it, others may have come down.
  int64_t tick = current_ + 1;
  while ((tick & 255) != 0 && slots_[0][tick & 255].next_ == &slots_[0][tick & 255]) ++tick;
  const Time due = start_ + Duration(tick * kTickMs);
  return std::max(Duration(0), std::chrono::duration_cast<Duration>(due - now));
}

}  // namespace muster::push
