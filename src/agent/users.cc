#include "agent/users.h"

#include <fcntl.h>
#include <pwd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <map>
#include <mutex>
#include <vector>

#include "base/digest.h"
#include "base/files.h"
#include "base/subprocess.h"
#include "base/time.h"

namespace muster::agent {
namespace {

constexpr size_t kNameMost = 31;  // useradd's own limit is 32

// A look-up asks every source that nsswitch.conf names, some of them over sockets; a host's instances share
// a user or two. What isn't there is looked up anew.
Result<User> Find(const std::string& name) {
  constexpr Duration kRemembered = 5s;
  static std::mutex mutex;
  static std::map<std::string, std::pair<User, Time>> known;
  {
    const std::lock_guard guard(mutex);
    if (const auto found = known.find(name);
        found != known.end() && Now() - found->second.second < kRemembered)
      return found->second.first;
  }
  passwd room{};
  passwd* entry = nullptr;
  std::vector<char> strings(16u << 10);
  while (::getpwnam_r(name.c_str(), &room, strings.data(), strings.size(), &entry) == ERANGE) {
    strings.resize(2 * strings.size());
  }
  if (!entry)
    return Error::NotFound("unknown-user", "there is no user {}", name).Hint("adduser --system {}", name);
  if (entry->pw_uid == 0)  // also under another name, and whatever the server let through
    return Error::Refused("user-root", "{} is root, and an instance never runs as root", name)
        .Hint("name another `user`, or leave it out");
  const User user{.uid = entry->pw_uid, .gid = entry->pw_gid, .name = name};
  const std::lock_guard guard(mutex);
  known[name] = {user, Now()};
  return user;
}

std::string ClustersOwn(const std::string& cluster) {
  std::string name = "muster-" + cluster.substr(0, cluster.find('@'));
  if (name.size() > kNameMost) name = name.substr(0, kNameMost - 7) + "-" + Sha256Hex(name).substr(0, 6);
  return name;
}

}  // namespace

Result<User> KnownUserFor(const std::string& wanted, const std::string& cluster) {
  if (::geteuid() != 0) return User{};
  return Find(wanted.empty() ? ClustersOwn(cluster) : wanted);
}

Result<User> UserFor(const std::string& wanted, const std::string& cluster) {
  if (::geteuid() != 0) return User{};
  if (!wanted.empty()) return Find(wanted);
  const std::string name = ClustersOwn(cluster);
  if (auto known = Find(name); known.ok()) return known;
  // Agents of other hosts make the same one, and useradd's own lock has let two of them in at once.
  const Fd lock(::open("/etc/passwd", O_RDONLY | O_CLOEXEC));
  if (lock.valid()) ::flock(lock.get(), LOCK_EX);
  if (auto known = Find(name); known.ok()) return known;
  Exec exec{.argv = {"useradd", "--system", "--no-create-home", "--home-dir", "/nonexistent", "--shell",
                     "/usr/sbin/nologin", "--user-group", name}};
  MUSTER_TRY(const Output output, RunCommand(exec, 20s));
  if (auto made = Find(name); made.ok()) return made;
  return Error::Internal("os-error", "make the user {}: {}", name, output.err);
}

User OwnerOf(const std::string& folder) {
  struct stat status {};
  if (::lstat(folder.c_str(), &status) != 0) return {};
  return {.uid = status.st_uid, .gid = status.st_gid, .name = ""};
}

}  // namespace muster::agent
