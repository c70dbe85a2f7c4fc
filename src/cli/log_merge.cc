#include "cli/log_merge.h"

#include <algorithm>

namespace muster::cli {
namespace {

constexpr Color kColors[] = {Color::kCyan,    Color::kYellow, Color::kGreen,
                             Color::kMagenta, Color::kBlue,   Color::kRed};

}  // namespace

LogMerge::LogMerge(const std::vector<std::string>& instances) {
  for (const std::string& instance : instances) Know(instance);
}

void LogMerge::Know(const std::string& instance) {
  if (number_.try_emplace(instance, number_.size()).second) width_ = std::max(width_, Width(instance));
}

std::vector<LogLine> LogMerge::Take() {
  // An instance's own lines stay in their order even where its clock went back: a line is never before the
  // one that came before it.
  std::map<std::string, int64_t> latest;
  std::vector<std::pair<int64_t, size_t>> order;
  for (size_t i = 0; i < held_.size(); ++i) {
    int64_t& last = latest[held_[i].instance];
    last = std::max(last, held_[i].at_ms);
    order.emplace_back(last, i);
  }
  std::sort(order.begin(), order.end());
  std::vector<LogLine> lines;
  for (const auto& [at, i] : order) lines.push_back(std::move(held_[i]));
  held_.clear();
  return lines;
}

std::string LogMerge::Format(const LogLine& line, bool color) const {
  const auto known = number_.find(line.instance);
  const size_t number = known == number_.end() ? 0 : known->second;
  return Paint(Pad(line.instance, width_) + " |", kColors[number % std::size(kColors)], color) + " " +
         line.text;
}

}  // namespace muster::cli
