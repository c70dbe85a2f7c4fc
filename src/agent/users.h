// The users that instances run as. On the agent's loop thread: look-ups are remembered by it for 5 s.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/result.h"

namespace muster::agent {

struct User {
  uid_t uid = static_cast<uid_t>(-1);  // -1: as the agent itself, which isn't root
  gid_t gid = static_cast<gid_t>(-1);
  std::string name;
};

// The user `wanted`, else the package's own of the recipe, else "muster-CLUSTER", which is made where it is
// missing. Without root everything runs as the caller. Blocks while a user is made. Codes: "unknown-user",
// "user-root" (nothing runs as root, by whatever name), "os-error", and those of RunCommand.
Result<User> UserFor(const std::string& wanted, const std::string& cluster);

// The same without making one: short.
Result<User> KnownUserFor(const std::string& wanted, const std::string& cluster);

// Whose a folder is; {} where there is none.
User OwnerOf(const std::string& folder);

}  // namespace muster::agent
