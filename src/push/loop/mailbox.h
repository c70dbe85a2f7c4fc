// Letters from one loop's thread to another's. Any thread may put one in; only the owner takes them out.
// Nothing here fails but for want of descriptors, which ends the program at its start.
#pragma once

#include <atomic>
#include <mutex>
#include <vector>

#include "base/files.h"

namespace muster::push {

// Letters of one sender arrive in the order they were put in. Once the two lists have grown, none allocates.
template <class Letter>
class Mailbox {
 public:
  // `wake` is called by the sender where the owner may be asleep.
  template <class Wake>
  void Put(Letter letter, const Wake& wake) {
    bool first;
    {
      const std::lock_guard lock(mutex_);
      first = waiting_.empty();
      waiting_.push_back(std::move(letter));
    }
    if (first) wake();
  }
  template <class Read>  // void(Letter&)
  void TakeAll(const Read& read) {
    {
      const std::lock_guard lock(mutex_);
      taken_.swap(waiting_);
    }
    for (Letter& letter : taken_) read(letter);
    taken_.clear();
  }

 private:
  std::mutex mutex_;
  std::vector<Letter> waiting_, taken_;
};

}  // namespace muster::push
