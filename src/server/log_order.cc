#include "server/log_order.h"

#include <algorithm>

namespace muster::server {

void LogOrder::SetHead(size_t source) {
  Source& one = sources_[source];
  one.latest = std::max(one.latest, one.lines.front().at_ms);
  heads_.emplace(one.latest, source);
}

void LogOrder::Add(size_t source, Line line) {
  Source& one = sources_[source];
  if (one.ended) return;
  one.lines.push_back(std::move(line));
  if (one.lines.size() > 1) return;
  --open_and_empty_;
  SetHead(source);
}

void LogOrder::End(size_t source) {
  Source& one = sources_[source];
  if (std::exchange(one.ended, true)) return;
  if (one.lines.empty()) --open_and_empty_;
}

std::optional<std::pair<size_t, LogOrder::Line>> LogOrder::Next() {
  if (open_and_empty_ > 0 || heads_.empty()) return std::nullopt;
  const size_t source = heads_.begin()->second;
  heads_.erase(heads_.begin());
  Source& one = sources_[source];
  std::pair<size_t, Line> next{source, std::move(one.lines.front())};
  one.lines.pop_front();
  if (!one.lines.empty()) {
    SetHead(source);
  } else if (!one.ended) {
    ++open_and_empty_;
  }
  return next;
}

}  // namespace muster::server
