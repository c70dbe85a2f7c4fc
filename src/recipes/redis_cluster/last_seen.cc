#include "recipes/redis_cluster/last_seen.h"

#include <fmt/format.h>

#include <algorithm>

#include "recipes/redis/words.h"

namespace muster::redis_cluster {
namespace {

// Redis counts whole seconds, by a clock that it looks at ten times in each.
constexpr Duration kRedisCounts = 2s;
constexpr const char* kNone = "-";  // no history, in a record

// When the link was lost at the latest. Of one that hasn't been linked since it was started, or followed
// somebody else before, Redis can't say.
std::optional<Time> LostAtLatest(const redis::ServerInfo& info, Time now) {
  if (info.link_down_s < 0 || info.link_down_s > info.uptime_s) return std::nullopt;
  return now - std::chrono::seconds(info.link_down_s);
}

}  // namespace

void LastSeen::Answered(const Answers& answers, Time asked, Time now) {
  const redis::ServerInfo& info = answers.info;
  if (info.master) {
    if (answers.loading) return;
    whole_ = asked;
    lost_.reset();
    if (!answers.takes_writes) return;
    answered_ = asked;
    offset_ = info.offset;
    history_ = info.replication_id;
    return;
  }
  answered_.reset();
  if (info.link_up) {
    whole_ = asked;
    lost_.reset();
    return;
  }
  const auto told = LostAtLatest(info, now);
  Time lost = told ? *told : whole_ ? now : now - std::chrono::seconds(info.uptime_s);
  // Where Redis tells of a later loss by far, it was linked in between.
  if (lost_ && !(told && *told > *lost_ + kRedisCounts)) lost = std::min(lost, *lost_);
  if (whole_) lost = std::max(lost, *whole_);
  lost_ = lost;
}

void LastSeen::Ended(Time now) {
  if (!lost_) lost_ = now;
}

void LastSeen::Tell(bool runs, bool serves, Time now, std::map<std::string, std::string>& measures) const {
  if (runs && lost_) measures["unlinked_ms"] = std::to_string((now - *lost_).count());
  if (serves || !answered_) return;
  measures["answered_ms"] = std::to_string((now - *answered_).count());
  if (offset_ < 0 || history_.empty()) return;
  measures["offset"] = std::to_string(offset_);
  measures["history"] = history_;
}

// "WALL_MS OFFSET HISTORY BOOT SINCE_BOOT_MS"; without the last two where the boot isn't known, and then
// without a history, too, where there is none.
std::string LastSeen::Record(Time now, const Moment& moment) const {
  if (!answered_) return "";
  const Moment at = moment.Before(now - *answered_);
  const std::string start = fmt::format("{} {}", at.wall.time_since_epoch().count(), offset_);
  if (at.boot.empty()) return fmt::format("{} {}", start, history_);
  return fmt::format("{} {} {} {}", start, history_.empty() ? kNone : history_, at.boot,
                     at.since_boot.count());
}

void LastSeen::Restore(const std::string& record, Time now, const Moment& moment) {
  const auto words = redis::Words(record);
  if (words.size() != 2 && words.size() != 3 && words.size() != 5) return;
  const auto wall = redis::ParseNumber<int64_t>(words[0]), offset = redis::ParseNumber<int64_t>(words[1]);
  if (!wall || !offset) return;
  Moment at{.wall = WallTime(Duration(*wall)), .boot = "", .since_boot = {}};
  if (words.size() == 5) {
    const auto since_boot = redis::ParseNumber<int64_t>(words[4]);
    if (!since_boot) return;
    at.boot = words[3];
    at.since_boot = Duration(*since_boot);
  }
  const auto age = AgeOf(at, moment);
  if (!age) return;
  answered_ = now - *age;
  offset_ = *offset;
  history_ = words.size() == 2 || words[2] == kNone ? "" : words[2];
}

}  // namespace muster::redis_cluster
