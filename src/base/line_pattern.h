// A regular expression that is looked for in lines that somebody else writes: its time grows with the line's
// length and not beyond, whatever the pattern, and it takes no stack that does.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace muster {

// ECMAScript without references back (\1), which nothing can look for in such a time. A value; any thread.
class LinePattern {
 public:
  // Code "bad-regex"; its message says why, in a few words.
  static Result<LinePattern> Of(const std::string& text);
  bool IsIn(std::string_view line) const;

 private:
  struct Compiled;
  std::shared_ptr<const Compiled> compiled_;
};

}  // namespace muster
