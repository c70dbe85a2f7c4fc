// Finds what has an id of 15 random bytes without going through all. For the loop's thread.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

namespace muster::push::socketio {

// T has `uint8_t id[15]`, which stays as it is while it is in, and `T* next_by_id`, which is this list's: no
// memory is asked for one more, but now and then for twice as many as there were.
template <class T>
class ById {
 public:
  void Add(T& item) {
    if (size_ >= heads_.size()) Grow();
    T*& head = HeadOf(item.id);
    item.next_by_id = head;
    head = &item;
    ++size_;
  }
  void Remove(T& item) {  // which is in
    T** link = &HeadOf(item.id);
    while (*link != &item) link = &(*link)->next_by_id;
    *link = item.next_by_id;
    --size_;
  }
  T* Find(const uint8_t (&id)[15]) {  // nullptr: there is none
    if (size_ == 0) return nullptr;
    T* item = HeadOf(id);
    while (item != nullptr && std::memcmp(item->id, id, sizeof id) != 0) item = item->next_by_id;
    return item;
  }
  size_t size() const { return size_; }

 private:
  // Ids are random and made here, so that any bytes of them spread.
  T*& HeadOf(const uint8_t (&id)[15]) {
    uint64_t number = 0;
    std::memcpy(&number, id, sizeof number);
    return heads_[number & (heads_.size() - 1)];
  }
  void Grow() {
    std::vector<T*> old(heads_.empty() ? 64 : heads_.size() * 2);
    old.swap(heads_);
    for (T* item : old) {
      while (item != nullptr) {
        T* next = item->next_by_id;
        T*& head = HeadOf(item->id);
        item->next_by_id = head;
        head = item;
        item = next;
      }
    }
  }

  std::vector<T*> heads_;  // their number is a power of two
  size_t size_ = 0;
};

}  // namespace muster::push::socketio
