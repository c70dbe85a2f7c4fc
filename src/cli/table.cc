#include "cli/table.h"

#include <fmt/core.h>

#include <algorithm>

#include "cli/wrap.h"

namespace muster::cli {

namespace {

constexpr size_t kWrapLeast =
    20;  // narrower, text is no pleasure to read: it begins further to the left then
constexpr size_t kWrapIndent = 4;

}  // namespace

std::string Table::Text(bool color, size_t columns) const { return Lines(color, columns, false); }

std::string Table::WrappedText(bool color, size_t columns) const { return Lines(color, columns, true); }

std::string Table::Lines(bool color, size_t columns, bool wrap) const {
  std::vector<size_t> widths;
  for (const std::string& head : heads_) widths.push_back(Width(head));
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size() && i < widths.size(); ++i)
      widths[i] = std::max(widths[i], Width(row[i].text));
  }
  const auto line = [&](const auto& cell_at, size_t count) {
    std::string text;
    for (size_t i = 0; i < count; ++i) {
      const Cell cell = cell_at(i);
      const bool last = i + 1 == count;
      text += Paint(cell.text, cell.color, color);
      if (!last) text += std::string(widths[i] - Width(cell.text) + 2, ' ');
    }
    while (!text.empty() && text.back() == ' ') text.pop_back();
    return (columns ? Fit(text, columns) : text) + "\n";
  };
  std::string text = line([&](size_t i) { return Cell{heads_[i], Color::kBold}; }, heads_.size());
  size_t before_last = 0;
  for (size_t i = 0; i + 1 < widths.size(); ++i) before_last += widths[i] + 2;
  for (const auto& row : rows_) {
    const bool whole = row.size() == widths.size();
    if (!wrap || !whole || columns == 0 || before_last + Width(row.back().text) <= columns) {
      text += line([&](size_t i) { return row[i]; }, std::min(row.size(), widths.size()));
      continue;
    }
    const bool beside = before_last + kWrapLeast <= columns;
    const size_t indent = beside ? before_last : std::min(kWrapIndent, columns - 1);
    std::vector<std::string> lines = WrapWords(row.back().text, columns - indent);
    std::string first = beside ? lines.front() : "";
    if (beside) lines.erase(lines.begin());
    text += line(
        [&](size_t i) {
          return i + 1 < row.size() ? row[i] : Cell{first, row.back().color};
        },
        row.size());
    for (const std::string& more : lines) {
      text += Fit(std::string(indent, ' ') + Paint(more, row.back().color, color), columns) + "\n";
    }
  }
  return text;
}

std::string ShortDuration(Duration duration) {
  if (duration.count() < 0) return "-";
  const int64_t seconds = duration.count() / 1000;
  if (seconds < 60) return fmt::format("{}s", seconds);
  if (seconds < 3600) return fmt::format("{}m{:02}s", seconds / 60, seconds % 60);
  if (seconds < 86400) return fmt::format("{}h{:02}m", seconds / 3600, seconds / 60 % 60);
  return fmt::format("{}d{}h", seconds / 86400, seconds / 3600 % 24);
}

std::string ShortSize(int64_t bytes) {
  if (bytes < 1024) return fmt::format("{} B", bytes);
  double size = static_cast<double>(bytes);
  const char* const units[] = {"KB", "MB", "GB", "TB"};
  size_t unit = 0;
  size /= 1024;
  while (size >= 1024 && unit < 3) {
    size /= 1024;
    ++unit;
  }
  return fmt::format("{:.1f} {}", size, units[unit]);
}

std::string ShortTime(WallTime time) {
  if (time.time_since_epoch().count() == 0) return "-";
  std::string text = FormatWallTime(time).substr(0, 19);
  text[10] = ' ';
  return text;
}

}  // namespace muster::cli
