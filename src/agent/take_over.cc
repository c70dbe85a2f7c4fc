#include "agent/take_over.h"

#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/ports.h"

namespace muster::agent {
namespace {

std::string UserName(uid_t uid) {
  const passwd* entry = ::getpwuid(uid);
  return entry ? entry->pw_name : std::to_string(uid);
}

Status CheckUser(const Instance& instance, int pid, uid_t owner, const User& user) {
  const uid_t own = user.uid == static_cast<uid_t>(-1) ? ::geteuid() : user.uid;
  if (owner == own) return Done();
  if (owner == 0) {
    return Error::Refused("user-root",
                          "pid {}, which {} is to take over, runs as root, and an instance never does", pid,
                          instance.name)
        .Hint("restart it as a user of its own first, whom its data belongs to");
  }
  Error denied =
      Error::Refused("take-over-denied", "pid {}, which {} is to take over, belongs to {}, and {} to {}", pid,
                     instance.name, UserName(owner), instance.name, UserName(own));
  if (::geteuid() != 0) return std::move(denied).Hint("run muster as that user, or as root");
  return std::move(denied).Hint("write user: {} for {}", UserName(owner), instance.service);
}

}  // namespace

Result<int> FindToTakeOver(const Instance& instance, const User& user) {
  const std::string& folder = instance.extra.at(kDataElsewhere);
  struct stat data {};
  if (::stat(folder.c_str(), &data) != 0 || !S_ISDIR(data.st_mode)) {
    return Error::NotFound("data-missing", "{}, the data of {}, is not there", folder, instance.name)
        .Hint("correct `data` in the file; without it {} begins with no data", instance.name);
  }
  int found = 0;
  for (const auto& [name, range] : instance.ports) {
    if (range.udp) continue;
    MUSTER_TRY(const int pid, ListenerOf(instance, range.first));
    if (pid == 0) continue;
    struct stat where {};
    const std::string folder_of = "/proc/" + std::to_string(pid) + "/cwd";
    const bool same =
        ::stat(folder_of.c_str(), &where) == 0 && where.st_dev == data.st_dev && where.st_ino == data.st_ino;
    if (!same || (found != 0 && found != pid)) {
      return Error(PortTaken(instance, range.first, pid))
          .Hint("that isn't the one to take over: it doesn't work in {}", folder);
    }
    found = pid;
  }
  if (found == 0) return 0;
  struct stat process {};
  if (::stat(("/proc/" + std::to_string(found)).c_str(), &process) != 0) return 0;
  MUSTER_DO(CheckUser(instance, found, process.st_uid, user));
  return found;
}

}  // namespace muster::agent
