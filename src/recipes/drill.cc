#include "recipes/drill.h"

#include <algorithm>

namespace muster {

size_t DrillLedger::AddRange(std::string name) {
  ranges_.push_back({.name = std::move(name), .plain = {}, .confirmed = {}});
  return ranges_.size() - 1;
}

DrillWrites& DrillLedger::Writes(size_t range, bool confirmed) {
  return confirmed ? ranges_.at(range).confirmed : ranges_.at(range).plain;
}

int64_t DrillLedger::Sent(size_t range, bool confirmed) { return ++Writes(range, confirmed).sent; }

void DrillLedger::Acknowledged(size_t range, bool confirmed, int64_t number, Time now) {
  DrillWrites& writes = Writes(range, confirmed);
  writes.acknowledged.push_back(number);
  if (broken_) {
    const Time from = std::max(writes.last_acknowledged.value_or(*broken_), *broken_);
    writes.longest_gap = std::max(writes.longest_gap, now - from);
    if (writes.failing_since)
      writes.outage = std::max(writes.outage.value_or(0ms), now - *writes.failing_since);
  }
  writes.failing_since.reset();
  writes.last_acknowledged = now;
}

void DrillLedger::Unconfirmed(size_t range, Time now) {
  DrillWrites& writes = Writes(range, true);
  ++writes.unconfirmed;
  Fail(writes, "no replica has confirmed it in time", now);
}

void DrillLedger::Failed(size_t range, bool confirmed, DrillFault fault, const std::string& why, Time now) {
  DrillWrites& writes = Writes(range, confirmed);
  ++writes.failed;
  if (fault == DrillFault::kReset) ++writes.resets;
  if (fault == DrillFault::kRefused) ++writes.refused;
  Fail(writes, why, now);
}

void DrillLedger::Redirected(size_t range, bool confirmed, int64_t times) {
  Writes(range, confirmed).redirects += times;
}

void DrillLedger::Fail(DrillWrites& writes, const std::string& why, Time now) {
  if (!broken_) return;
  if (writes.first_failure.empty()) writes.first_failure = why;
  if (!writes.failing_since) writes.failing_since = now;
}

void DrillLedger::Broken(Time now) {
  broken_ = now;
  for (DrillRange& range : ranges_) {
    range.plain.failing_since.reset();
    range.confirmed.failing_since.reset();
  }
}

void DrillLedger::Ended(Time now) {
  if (!broken_) return;
  for (DrillRange& range : ranges_) {
    for (DrillWrites* writes : {&range.plain, &range.confirmed}) {
      const Time from = std::max(writes->last_acknowledged.value_or(*broken_), *broken_);
      writes->longest_gap = std::max(writes->longest_gap, now - from);
      if (writes->failing_since)
        writes->outage = std::max(writes->outage.value_or(0ms), now - *writes->failing_since);
    }
  }
}

void DrillLedger::Lost(size_t range, bool confirmed, int64_t number) {
  Writes(range, confirmed).lost.push_back(number);
}

bool DrillLedger::AllServe(Time when, Time now, Duration within) const {
  return std::all_of(ranges_.begin(), ranges_.end(), [&](const DrillRange& range) {
    const auto& last = range.plain.last_acknowledged;
    return last && *last > when && now - *last <= within;
  });
}

size_t DrillLedger::fewest_acknowledged() const {
  if (ranges_.empty()) return 0;
  const auto fewer = [](const DrillRange& one, const DrillRange& other) {
    return one.plain.acknowledged.size() < other.plain.acknowledged.size();
  };
  return std::min_element(ranges_.begin(), ranges_.end(), fewer)->plain.acknowledged.size();
}

size_t DrillLedger::lost(bool confirmed) const {
  size_t number = 0;
  for (const DrillRange& range : ranges_) {
    number += confirmed ? range.confirmed.lost.size() : range.plain.lost.size();
  }
  return number;
}

}  // namespace muster
