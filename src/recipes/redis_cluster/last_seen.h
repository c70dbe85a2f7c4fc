// What of a member counts after it has ended or lost its master: until when it had all that there was, and
// until when it took writes. Pure; one for each member, on its operator's loop thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "base/moment.h"
#include "recipes/redis_cluster/facts.h"

namespace muster::redis_cluster {

// Of each moment that isn't known to the millisecond it tells the bound that speaks for promoting: a link is
// lost as late as it may have been, a master has answered as early as it may have.
class LastSeen {
 public:
  // One that runs, asked at `asked`, has said this at `now`.
  void Answered(const Answers& answers, Time asked, Time now);
  // Its process has ended; noticed at `now`.
  void Ended(Time now);
  // As measures, in milliseconds before `now`. `runs`: its process has answered; `serves`: and has its data.
  void Tell(bool runs, bool serves, Time now, std::map<std::string, std::string>& measures) const;

  // As master it took writes at some time: for an agent that starts after its end. "" where there is nothing
  // to tell.
  std::string Record(Time now, const Moment& moment) const;  // `moment` is `now`
  // Passes over what it can't read, and what comes from a later day. It reads what agents wrote that went by
  // the calendar alone, too.
  void Restore(const std::string& record, Time now, const Moment& moment);

 private:
  std::optional<Time> whole_;     // it was master, or linked
  std::optional<Time> lost_;      // it hasn't been since
  std::optional<Time> answered_;  // as a master that takes writes; no replica since
  int64_t offset_ = -1;           // then
  std::string history_;           // that the offset counts in
};

}  // namespace muster::redis_cluster
