// Objects of one size, made in blocks and found by number. For one thread, the loop's. Nothing here fails but
// for want of memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#define MUSTER_PUSH_POISON 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MUSTER_PUSH_POISON 1
#endif
#endif
#ifdef MUSTER_PUSH_POISON
#include <sanitizer/asan_interface.h>
#endif

namespace muster::push {

// For the address sanitizer: memory that is kept, but nobody's now. Without it, they do nothing.
#ifdef MUSTER_PUSH_POISON
constexpr bool kPoisons = true;
inline void Poison(const void* memory, size_t size) { __asan_poison_memory_region(memory, size); }
inline void Unpoison(const void* memory, size_t size) { __asan_unpoison_memory_region(memory, size); }
#else
constexpr bool kPoisons = false;
inline void Poison(const void*, size_t) {}
inline void Unpoison(const void*, size_t) {}
#endif

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
    for (auto& block : blocks_) Unpoison(block->cells, sizeof block->cells);
  }

  template <class... Args>
  std::pair<T*, uint32_t> Make(Args&&... args) {
    uint32_t number = free_;
    if (number == kNone) {
      number = count_++;
      if (number / kPerBlock == blocks_.size()) blocks_.push_back(std::unique_ptr<Block>(new Block));
    } else {
      Unpoison(CellOf(number), sizeof(T));
      free_ = *std::launder(reinterpret_cast<uint32_t*>(CellOf(number)));
    }
    UsedOf(number) |= BitOf(number);
    ++size_;
    return {new (CellOf(number)) T(std::forward<Args>(args)...), number};
  }
  void Free(uint32_t number) {
    std::destroy_at(std::launder(reinterpret_cast<T*>(CellOf(number))));
    new (CellOf(number)) uint32_t(free_);  // where the object was
    Poison(CellOf(number), sizeof(T));
    UsedOf(number) &= ~BitOf(number);
    free_ = number;
    --size_;
  }
  T* Find(uint32_t number) {  // nullptr: no such object now
    if (number >= count_ || (UsedOf(number) & BitOf(number)) == 0) return nullptr;
    return std::launder(reinterpret_cast<T*>(CellOf(number)));
  }
  size_t size() const { return size_; }
  uint32_t count() const { return count_; }  // numbers ever given out lie below

 private:
  static constexpr uint32_t kNone = ~0u;
  static_assert(sizeof(T) >= sizeof(uint32_t));
  static_assert(alignof(T) >= alignof(uint32_t));
  struct Block {
    uint64_t used[kPerBlock / 64] = {};
    alignas(T) std::byte cells[kPerBlock][sizeof(T)];
  };
  std::byte* CellOf(uint32_t number) { return blocks_[number / kPerBlock]->cells[number % kPerBlock]; }
  uint64_t& UsedOf(uint32_t number) { return blocks_[number / kPerBlock]->used[number % kPerBlock / 64]; }
  static uint64_t BitOf(uint32_t number) { return uint64_t{1} << (number % 64); }

  std::vector<std::unique_ptr<Block>> blocks_;
  uint32_t count_ = 0, free_ = kNone;
  size_t size_ = 0;
};

}  // namespace muster::push
