// Tables for people: columns as wide as their widest cell. Pure.
#pragma once

#include <string>
#include <vector>

#include "base/time.h"
#include "cli/console.h"

namespace muster::cli {

struct Cell {
  std::string text;
  Color color = Color::kNone;
};

class Table {
 public:
  explicit Table(std::vector<std::string> heads) : heads_(std::move(heads)) {}
  void Add(std::vector<Cell> row) { rows_.push_back(std::move(row)); }
  bool empty() const { return rows_.empty(); }
  // Lines with a newline each. `columns` 0: as wide as it comes out.
  std::string Text(bool color, size_t columns = 0) const;
  // Like Text, but what doesn't fit into the last column goes on below it, instead of being cut off.
  std::string WrappedText(bool color, size_t columns = 0) const;

 private:
  std::string Lines(bool color, size_t columns, bool wrap) const;

  std::vector<std::string> heads_;
  std::vector<std::vector<Cell>> rows_;
};

// "3s", "4m12s", "5h03m", "12d4h": coarse, as in tables. "-" for a negative one.
std::string ShortDuration(Duration duration);
// "12.4 MB" in binary units, as people read them.
std::string ShortSize(int64_t bytes);
// "2026-11-21 04:38:00" in UTC.
std::string ShortTime(WallTime time);

}  // namespace muster::cli
