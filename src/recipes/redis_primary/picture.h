// All members of one service as they were last seen, read from their facts. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "model/instance.h"
#include "recipes/redis_primary/layout.h"

namespace muster::redis_primary {

enum class Role { kUnknown, kPrimary, kReplica, kFenced };

struct Member {
  std::string name, host, address;  // as "10.0.0.1:6379"; "" where it isn't known
  bool desired = false;             // else it is to leave
  InstanceState state = InstanceState::kAbsent;
  bool told = false;       // its agent has told what it remembers
  bool silent = false;     // its host isn't heard: all of this is old
  bool not_asked = false;  // it ran when its agent came, which has had no answer of it yet
  bool held = false, busy = false, missing = false;  // as in Mender::Input
  Role role = Role::kUnknown;
  int64_t term = 0, copy = 0;
  int64_t lost = 0;              // the term whose data it had, and that is gone
  bool lost_as_primary = false;  // in that term
  bool was_primary = false;      // in the term of its copy
  bool synced = false;           // its process was linked, or primary, in that term
  std::string primary;           // whom it follows
  std::string link;              // up, quiet, down
  std::set<std::string> linked;  // of who was primary, or lost what it had as such: whom it had for linked
  bool loading = false, empty = false;
  std::string write;
  int64_t offset = -1;
  std::map<std::string, int64_t> behind;  // of a primary: bytes, by address
  // As in last_heard.h: as it was told, and what Look made of the ages.
  std::string unheard_ms, answered_ms;
  std::optional<Time> heard, answered;
  int64_t answered_offset = -1;
  std::map<std::string, int64_t> answered_behind;
  LeaseTerms lease;  // that it keeps, whatever the file says by now; hosts 0: nobody has told

  bool running() const;
  bool ready() const { return state == InstanceState::kReady && !silent; }
  // It has a process that can take orders, as far as one can know.
  bool alive() const { return running() && !silent; }
  bool follows(const Member& other) const { return role == Role::kReplica && primary == other.address; }
  // Redis itself refuses writes to it for that, and whether its disk takes any, as far as it knows.
  bool refuses_writes() const { return write.starts_with("MISCONF"); }
  bool disk_ok() const { return write.empty() || write == "ok"; }
  bool linked_to(const Member& other) const { return follows(other) && link == "up" && !loading; }
};

struct Picture {
  std::vector<Member> members;  // desired ones in their order, then those that are to leave
  int64_t term = 0;             // the highest that anybody knows
  int64_t copy = 0;             // the highest of anybody's data

  const Member* Find(std::string_view name) const;
  // Who takes writes, as far as is known, on a host that is heard; of several the one of the highest term.
  const Member* Primary() const;
  // Who had data that is gone, where nobody has any: all of the service's is lost.
  std::vector<std::string> Bereft() const;
  // Whose data is the newest: who was primary in the term `copy`. nullptr where nobody who is known was.
  const Member* Last() const;
  // Who was primary in that term, or in a later one, and has lost its data. nullptr where nobody is known to.
  const Member* Robbed() const;
};

Picture PictureOf(const std::string& service, const std::vector<Instance>& desired,
                  const std::map<std::string, Observed>& observed);

}  // namespace muster::redis_primary
