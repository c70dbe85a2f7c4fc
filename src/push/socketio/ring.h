// A queue whose places are used again with the memory that is in them. For one thread. Nothing here fails but
// for want of memory.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

namespace muster::push {

template <class T>
class Ring {
 public:
  bool empty() const { return count_ == 0; }
  size_t size() const { return count_; }
  size_t room() const { return places_.size(); }
  T& operator[](size_t index) { return places_[(first_ + index) & (places_.size() - 1)]; }
  T& front() { return (*this)[0]; }
  // A place at the end, with what was left in it: the caller fills in everything.
  T& Add() {
    if (count_ == places_.size()) Resize(count_ == 0 ? 16 : 2 * count_);
    return (*this)[count_++];
  }
  // What the front holds stays until its place is used again: the caller lets go of it.
  void DropFront() {
    first_ = (first_ + 1) & (places_.size() - 1);
    --count_;
  }
  // Gives memory back where a burst has gone by.
  void Shrink() {
    if (places_.size() > 1024 && count_ * 8 < places_.size()) Resize(places_.size() / 4);
  }

 private:
  void Resize(size_t size) {  // a power of two
    std::vector<T> places(size);
    for (size_t i = 0; i < count_; ++i) places[i] = std::move((*this)[i]);
    places_ = std::move(places);
    first_ = 0;
  }

  std::vector<T> places_;
  size_t first_ = 0, count_ = 0;
};

}  // namespace muster::push
