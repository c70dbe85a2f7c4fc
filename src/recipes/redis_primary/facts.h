// From what a member says of itself, and what is remembered of it, to what its operator tells. Pure.
//
// Facts: role primary|replica|fenced · term · copy, was · lost · primary host:port (of a replica) · link
// up|quiet|down · linked host:port,… (of who was primary, or lost what it had as such) · lost_as
// primary|replica · synced yes (this process was linked in the term of its copy) · loading yes · empty yes ·
// write ok, or why not · version · run · lease (layout.h). Measures: offset, keys, memory; of a primary
// `behind` host:port=bytes,…; those of last_heard.h
#pragma once

#include <map>
#include <string>

#include "base/time.h"
#include "recipes/redis/info.h"
#include "recipes/redis_primary/record.h"

namespace muster::redis_primary {

using Values = std::map<std::string, std::string>;

// What is known of it without asking: of one that doesn't run (`pid` 0), or hasn't answered yet.
Values RememberedFacts(const Record& record, int pid);

// How far each replica is behind, as `behind`.
std::string BehindText(const redis::ServerInfo& info);

struct Told {
  Values facts, measures;
  Record record;         // as it is from now on
  bool durable = false;  // what has changed in it must not be lost
};
// `quiet_after`: a replica that has heard nothing for so long isn't linked. `refusal`: why its disk takes no
// writes (MISCONF), by its own word.
Told Tell(const redis::ServerInfo& info, Record record, int pid, Duration quiet_after,
          const std::string& refusal = "");

}  // namespace muster::redis_primary
