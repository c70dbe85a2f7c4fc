// What of a member counts once its service has no primary: until when a replica heard the primary, and until
// when a primary took writes. So one that had heard nothing for long before the primary ended is told from
// one that lost it by that end. Pure; one for each member, on its operator's loop thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "base/time.h"
#include "recipes/redis/info.h"

namespace muster::redis_primary {

// Of each moment that isn't known to the millisecond it tells the bound that speaks for the replica: it has
// heard its primary as late as it may have, and that has answered as early as it may have.
class LastHeard {
 public:
  enum class As { kPrimary, kReplica, kNeither };
  // It runs, was asked at `asked`, and has said this at `now`. `as`: what it is by its record, too.
  void Answered(const redis::ServerInfo& info, As as, Time asked, Time now);
  // As measures; ages in milliseconds before `now`:
  // - unheard_ms: of one that followed; not while it hears its primary;
  // - answered_ms, answered_offset, answered_behind (facts.h, `behind`): of one that was primary and isn't;
  //   `is_primary`: its process has answered as such.
  void Tell(bool is_primary, Time now, std::map<std::string, std::string>& measures) const;

 private:
  std::optional<Time> heard_;  // its primary
  bool hears_ = false;         // still, when it was last asked
  std::optional<Time> answered_;
  int64_t offset_ = -1;  // then
  std::string behind_;   // its replicas, then
};

}  // namespace muster::redis_primary
