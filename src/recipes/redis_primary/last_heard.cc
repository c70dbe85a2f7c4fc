#include "recipes/redis_primary/last_heard.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "recipes/redis_primary/facts.h"

namespace muster::redis_primary {
namespace {

// A primary is heard each second, in whole seconds by a clock that is looked at ten times in each.
constexpr int64_t kSilent_s = 2;

}  // namespace

void LastHeard::Answered(const redis::ServerInfo& info, As as, Time asked, Time now) {
  if (as == As::kPrimary) {
    heard_.reset();
    answered_ = asked;
    offset_ = info.offset;
    behind_ = BehindText(info);
    return;
  }
  if (as == As::kReplica && info.link_up && !info.loading && info.last_io_s >= 0) {
    const Time heard = now - std::chrono::seconds(info.last_io_s);
    heard_ = heard_ ? std::max(*heard_, heard) : heard;
    hears_ = info.last_io_s < kSilent_s;
    answered_.reset();
    return;
  }
  // It has lost the link since it was last asked. Where nothing came by it before that, it had lost it then.
  if (std::exchange(hears_, false)) {
    const bool told = as == As::kReplica && info.link_down_s >= 0 && info.link_down_s <= info.uptime_s;
    const Time lost = told ? now - std::chrono::seconds(info.link_down_s) : now;
    heard_ = std::max(*heard_, lost);
  }
}

void LastHeard::Tell(bool is_primary, Time now, std::map<std::string, std::string>& measures) const {
  if (heard_ && !hears_) measures["unheard_ms"] = std::to_string((now - *heard_).count());
  if (is_primary || !answered_) return;
  measures["answered_ms"] = std::to_string((now - *answered_).count());
  measures["answered_offset"] = std::to_string(offset_);
  if (!behind_.empty()) measures["answered_behind"] = behind_;
}

}  // namespace muster::redis_primary
