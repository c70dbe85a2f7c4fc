// Lines of several instances put into one order, with a prefix that tells whose they are. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "cli/console.h"

namespace muster::cli {

struct LogLine {
  std::string instance;
  int64_t at_ms = 0;  // since 1970
  std::string text;
  bool operator==(const LogLine&) const = default;
};

class LogMerge {
 public:
  // The instances that may write: the prefix is as wide as the widest name, and each has its colour.
  explicit LogMerge(const std::vector<std::string>& instances);

  // Another that may write; those that are known already are left as they are.
  void Know(const std::string& instance);
  void Add(LogLine line) { held_.push_back(std::move(line)); }
  // All lines added since the last call, by time; lines of the same moment in the order they came, so that
  // those of one instance never change places.
  std::vector<LogLine> Take();
  std::string Format(const LogLine& line, bool color) const;

 private:
  std::vector<LogLine> held_;
  std::map<std::string, size_t> number_;
  size_t width_ = 0;
};

}  // namespace muster::cli
