#include "recipes/redis_primary/role_change.h"

#include <fmt/format.h>

#include <algorithm>

#include "recipes/redis_primary/layout.h"
#include "recipes/redis_primary/lease.h"

namespace muster::redis_primary {
namespace {

constexpr Duration kPauseMost = 4s;

bool IsHandedOver(const RoleOrder& order, const Record& record) {
  return record.aim == "fenced" && record.term == order.term;
}

}  // namespace

std::string_view FaultPointOf(const RoleOrder& order, Act act) {
  const bool promotes = order.verb == "promote", follows = order.verb == "follow";
  switch (act) {
    case Act::kCatchUp:
      return "redis.caught-up";
    case Act::kPause:
      return "redis.paused";
    case Act::kRemember:
      if (promotes) return "redis.primary-remembered";
      if (follows) return "redis.replica-remembered";
      return "redis.fenced-remembered";
    case Act::kTell:
      if (promotes) return "redis.primary-told";
      if (follows) return "redis.replica-told";
      return "redis.fenced-told";
    case Act::kConfirm:
      return "redis.confirmed";
  }
  return "";
}

Result<std::vector<Act>> ActsOf(const RoleOrder& order, const Record& record, int pid,
                                const std::string& name) {
  const bool names_other = order.verb == "follow" || order.verb == "hand-over";
  if (names_other && (order.host.empty() || order.port <= 0))
    return Error::Invalid("bad-args", "{} wants host and port", order.verb);
  const std::vector<Act> plain = {Act::kRemember, Act::kTell};
  if (order.verb == "promote") {
    const bool is_it = record.term == order.term && IsOrderedPrimary(record, pid);
    if (!is_it && order.copy != std::to_string(record.copy)) {
      return Error::Conflict("copy-differs", "{} has data of term {}, not of {}", name, record.copy,
                             order.copy);
    }
    return plain;
  }
  if (order.verb == "follow" && record.term == order.term && record.aim == "primary")
    return Error::Conflict("old-term", "{} is the primary of term {} itself", name, order.term);
  if (order.verb != "hand-over") return plain;
  // The same once more: it may not have been told.
  if (IsHandedOver(order, record)) return std::vector<Act>{Act::kRemember, Act::kTell, Act::kConfirm};
  if (!IsOrderedPrimary(record, pid)) return Error::Conflict("not-primary", "{} is no primary", name);
  // First without a pause: whoever lags by more than a moment costs nobody a write.
  return std::vector<Act>{Act::kCatchUp,  Act::kPause, Act::kCatchUp,
                          Act::kRemember, Act::kTell,  Act::kConfirm};
}

Record RecordBefore(const RoleOrder& order, Record record, int pid) {
  const bool is_it = record.term == order.term && IsOrderedPrimary(record, pid);
  const bool handed_over = IsHandedOver(order, record);
  record.term = order.term;
  record.pid = pid;
  record.follows.clear();
  if (order.verb == "promote") {
    record.aim = "primary";
    record.copy = order.term;
    record.was = "primary";
    record.lost = 0;
    record.linked_pid = pid;
    if (!is_it) record.linked.clear();
  } else if (order.verb == "follow") {
    record.aim = "replica";
    record.follows = fmt::format("{}:{}", order.host, order.port);
  } else {
    record.aim = "fenced";
    if (order.verb == "hand-over" && !handed_over) record.linked.clear();
  }
  return record;
}

Record RecordConfirmed(const RoleOrder& order, Record record) {
  record.linked = fmt::format("{}:{}", order.host, order.port);
  return record;
}

Record RecordOfStray(Record record, int pid) {
  record.aim = "fenced";
  record.follows.clear();
  record.pid = pid;
  record.linked.clear();
  return record;
}

bool IsOrderedPrimary(const Record& record, int pid) { return record.aim == "primary" && record.pid == pid; }

Following FollowingOf(const RoleOrder& order) {
  if (order.verb == "promote") return {.host = "NO", .port = "ONE"};
  if (order.verb == "follow") return {.host = order.host, .port = std::to_string(order.port)};
  return {.host = kFenceHost, .port = std::to_string(kFencePort)};
}

Duration PauseFor(Duration lease) { return std::min(LetGoAfter(lease), kPauseMost); }
Duration CatchUpWithin(Duration pause) { return pause / 2; }

}  // namespace muster::redis_primary
