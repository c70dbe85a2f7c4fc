// Objects of one size, made in blocks and found by number. For one thread, the loop's. Nothing here fails but
// for want of memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>
#include <vector>

namespace muster::push {

// Numbers of freed objects are given out again, the latest first, so that what was touched last is used next.
template <class T>
class Slab {
 public:
  static constexpr uint32_t kPerBlock = 128;

  Slab() = default;
  Slab(const Slab&) = delete;
  Slab& operator=(const Slab&) = delete;
  ~Slab() {
    for (uint32_t number = 0; number < count_; ++number) {
      if (T* object = Find(number)) std::destroy_at(object);
    }
  }

  template <class... Args>
  std::pair<T*, uint32_t> Make(Args&&... args) {
    uint32_t number = free_;
    if (number == kNone) {
      number = count_++;
      if (number / kPerBlock == blocks_.size()) blocks_.push_back(std::make_unique<Block>());
    } else {
      free_ = CellOf(number).next_free;
    }
    Cell& cell = CellOf(number);
    cell.next_free = kUsed;
    ++size_;
    return {new (cell.bytes) T(std::forward<Args>(args)...), number};
  }
  void Free(uint32_t number) {
    Cell& cell = CellOf(number);
    std::destroy_at(std::launder(reinterpret_cast<T*>(cell.bytes)));
    cell.next_free = free_;
    free_ = number;
    --size_;
  }
  T* Find(uint32_t number) {  // nullptr: no such object now
    if (number >= count_ || CellOf(number).next_free != kUsed) return nullptr;
    return std::launder(reinterpret_cast<T*>(CellOf(number).bytes));
  }
  size_t size() const { return size_; }
  uint32_t count() const { return count_; }  // numbers ever given out lie below

 private:
  static constexpr uint32_t kNone = ~0u, kUsed = ~0u - 1;
  struct Cell {
    alignas(T) std::byte bytes[sizeof(T)];
    uint32_t next_free;
  };
  struct Block {
    Cell cells[kPerBlock];
  };
  Cell& CellOf(uint32_t number) { return blocks_[number / kPerBlock]->cells[number % kPerBlock]; }

  std::vector<std::unique_ptr<Block>> blocks_;
  uint32_t count_ = 0, free_ = kNone;
  size_t size_ = 0;
};

}  // namespace muster::push
