// Standard input, or another file, read without blocking the loop.
#pragma once

#include <memory>
#include <string>

#include "net/loop.h"

namespace muster::cli {

// Waits on the pool of `loop`, whose thread alone calls it. Doesn't own `fd`. What can't be read is the end:
// no errors.
class InputReader {
 public:
  InputReader(net::Loop& loop, int fd);
  ~InputReader();

  // What comes next, `most` bytes at most; "" at the end, after `Stop`, and where nothing can be read. One at
  // a time. Nothing is read before it is asked for.
  net::Task<std::string> Next(size_t most);
  void Stop();  // ends a Next that waits

 private:
  struct State;
  net::Loop& loop_;
  std::shared_ptr<State> state_;
};

}  // namespace muster::cli
