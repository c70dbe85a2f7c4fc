#include "cli/table.h"

#include <fmt/core.h>

#include <algorithm>

namespace muster::cli {

std::string Table::Text(bool color, size_t columns) const {
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
  for (const auto& row : rows_) {
    text += line([&](size_t i) { return row[i]; }, std::min(row.size(), widths.size()));
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
