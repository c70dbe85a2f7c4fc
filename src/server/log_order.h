// Lines of several logs put into one order by time. Pure.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace muster::server {

// Merges sources that are each in their own order. A line comes out once every source that isn't over has one
// here, so that none that is still to come can be older: nothing more has to be held than what is ahead of
// the slowest source, which whoever reads them bounds.
class LogOrder {
 public:
  struct Line {
    int64_t at_ms = 0;
    std::string text;
    bool operator==(const Line&) const = default;
  };

  explicit LogOrder(size_t sources) : sources_(sources), open_and_empty_(sources) {}

  void Add(size_t source, Line line);
  void End(size_t source);
  // The oldest line and whose it is; of the same moment, the first source's. Nothing while a source has to be
  // waited for, or at the end. Lines of one source never change places, though its clock may go back.
  std::optional<std::pair<size_t, Line>> Next();
  bool over() const { return open_and_empty_ == 0 && heads_.empty(); }

 private:
  struct Source {
    std::deque<Line> lines;
    int64_t latest = INT64_MIN;  // of its lines that were the first here
    bool ended = false;
  };
  void SetHead(size_t source);

  std::vector<Source> sources_;
  std::set<std::pair<int64_t, size_t>> heads_;  // of each source with lines
  size_t open_and_empty_;
};

}  // namespace muster::server
