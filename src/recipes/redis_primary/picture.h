// All members of one service as they were last seen, read from their facts. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "model/instance.h"
#include "recipes/redis_primary/layout.h"

namespace muster::redis_primary {

enum class Role { kUnknown, kPrimary, kReplica, kFenced };

struct Member {
  std::string name, host, address;  // as "10.0.0.1:6379"; "" where it isn't known
  bool desired = false;             // else it is to leave
  InstanceState state = InstanceState::kAbsent;
  bool told = false;                                 // its agent has told what it remembers
  bool silent = false;                               // its host isn't heard: all of this is old
  bool held = false, busy = false, missing = false;  // as in Mender::Input
  Role role = Role::kUnknown;
  int64_t term = 0, copy = 0;
  bool was_primary = false;      // in the term of its copy
  bool synced = false;           // its process was linked, or primary, in that term
  std::string primary;           // whom it follows
  std::string link;              // up, quiet, down
  std::set<std::string> linked;  // of who was primary: whom it had for linked
  bool loading = false, empty = false;
  std::string write;
  int64_t offset = -1;
  std::map<std::string, int64_t> behind;  // of a primary: bytes, by address
  LeaseTerms lease;  // that it keeps, whatever the file says by now; hosts 0: nobody has told

  bool running() const;
  bool ready() const { return state == InstanceState::kReady && !silent; }
  // It has a process that can take orders, as far as one can know.
  bool alive() const { return running() && !silent; }
  bool follows(const Member& other) const { return role == Role::kReplica && primary == other.address; }
  bool linked_to(const Member& other) const { return follows(other) && link == "up" && !loading; }
};

struct Picture {
  std::vector<Member> members;  // desired ones in their order, then those that are to leave
  int64_t term = 0;             // the highest that anybody knows
  int64_t copy = 0;             // the highest of anybody's data

  const Member* Find(std::string_view name) const;
  // Who takes writes, as far as is known, on a host that is heard; of several the one of the highest term.
  const Member* Primary() const;
  // Whose data is the newest: who was primary in the term `copy`. nullptr where nobody who is known was.
  const Member* Last() const;
};

Picture PictureOf(const std::string& service, const std::vector<Instance>& desired,
                  const std::map<std::string, Observed>& observed);

}  // namespace muster::redis_primary
