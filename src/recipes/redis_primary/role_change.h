// What a verb that changes a member's role does, act by act: its agent may die after any of them, and what is
// there then has to be a state from which the mender goes on without losing an acknowledged write. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "recipes/redis_primary/record.h"

namespace muster::redis_primary {

struct RoleOrder {
  std::string verb;  // promote, follow, fence or hand-over
  int64_t term = 0;
  std::string host;  // whom it is to follow, or to hand over to
  int port = 0;
  std::string copy;  // promote: of which term its data has to be
};

enum class Act {
  kCatchUp,   // wait until the replica has what the member has at this moment
  kPause,     // writes wait, for PauseFor at the most
  kRemember,  // RecordBefore, on the disk
  kTell,      // REPLICAOF, by which a pause ends, too
  kConfirm    // where the replica has all that the member had in the end: RecordConfirmed
};

// The fault point after it: "redis.paused", or by what the member is told to be, "redis.primary-told".
std::string_view FaultPointOf(const RoleOrder& order, Act act);

// The acts of `order` in their order. `name` is the member's, `record` what it remembers, `pid` its process.
// Codes "bad-args", "copy-differs", "old-term" and "not-primary".
Result<std::vector<Act>> ActsOf(const RoleOrder& order, const Record& record, int pid,
                                const std::string& name);

// What is remembered before it is told so, whose death in between is the same as having been told:
// - one that is promoted has the newest data from then on, so nobody else is elected over what it may take;
// - one that hands over had nobody for linked, so nobody is elected who may lack something.
Record RecordBefore(const RoleOrder& order, Record record, int pid);
// What is remembered once the heir has all.
Record RecordConfirmed(const RoleOrder& order, Record record);
// Of one that takes writes though it was not ordered to, as when its agent died before it told it otherwise:
// it is fenced, and nobody is known to have what it took since.
Record RecordOfStray(Record record, int pid);
// Whether one that says that it is a master was ordered to be.
bool IsOrderedPrimary(const Record& record, int pid);

// The two words after REPLICAOF.
struct Following {
  std::string host, port;
};
Following FollowingOf(const RoleOrder& order);

// For how long writes may wait: a pause whose agent has died ends by itself when that agent would have fenced
// its member at the latest, so before anybody could be promoted elsewhere; and clients bear no more.
Duration PauseFor(Duration lease);
// How much of it may be spent on catching up: the rest is for the disk, and for telling it.
Duration CatchUpWithin(Duration pause);

}  // namespace muster::redis_primary
