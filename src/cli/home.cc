#include "cli/home.h"

#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace muster::cli {

namespace fs = std::filesystem;

fs::path ChooseHome(const std::function<const char*(const char*)>& get, bool root, const fs::path& current) {
  const auto text = [&](const char* name) {
    const char* value = get(name);
    return std::string(value ? value : "");
  };
  const std::string home = text("MUSTER_HOME");
  if (!home.empty())
    return (fs::path(home).is_absolute() ? fs::path(home) : current / home).lexically_normal();
  if (root) return "/var/lib/muster";
  const std::string state = text("XDG_STATE_HOME");
  if (!state.empty()) return fs::path(state) / "muster";
  return fs::path(text("HOME")) / ".local" / "state" / "muster";
}

fs::path ApiSocket(const fs::path& home) { return home / "server" / "api.sock"; }
fs::path ServerLog(const fs::path& home) { return home / "server" / "server.log"; }

bool StoreExists(const fs::path& home) {
  std::error_code error;
  return fs::exists(home / "server" / "muster.db", error);
}

namespace {

std::string UserName(uid_t id) {
  const passwd* entry = getpwuid(id);
  return entry ? entry->pw_name : std::to_string(id);
}

Error Denied(const fs::path& path, int error_number) {
  struct stat there {};
  if (stat(path.c_str(), &there) != 0 || there.st_uid == geteuid()) {
    return Error::Denied("home-denied", "{} can't be used: {}", path.string(), strerror(error_number))
        .Hint("give yourself the right to it again (chmod u+rwx), or set MUSTER_HOME to another folder");
  }
  const std::string owner = UserName(there.st_uid);
  return Error::Denied("home-denied", "{} belongs to {}, and {} may not use it", path.string(), owner,
                       UserName(geteuid()))
      .Hint("run muster as {}, or set MUSTER_HOME to a folder of your own", owner);
}

}  // namespace

Status HomeOpen(const fs::path& home) {
  const auto closed = [](const fs::path& path, int mode) -> int {
    return faccessat(AT_FDCWD, path.c_str(), mode, AT_EACCESS) == 0 || errno == ENOENT ? 0 : errno;
  };
  // A folder above that may not be entered hides whether the home is there.
  for (fs::path above = home; above.has_relative_path(); above = above.parent_path()) {
    if (closed(above, F_OK) != EACCES) continue;
    if (closed(above.parent_path(), F_OK) == 0) return Denied(above.parent_path(), EACCES);
  }
  for (const fs::path& folder : {home, home / "server"}) {
    if (const int error = closed(folder, R_OK | W_OK | X_OK)) return Denied(folder, error);
  }
  if (const int error = closed(ApiSocket(home), R_OK | W_OK)) return Denied(ApiSocket(home), error);
  return Done();
}

std::string CallerName() {
  const char* before_sudo = std::getenv("SUDO_USER");
  if (geteuid() == 0 && before_sudo && *before_sudo) return before_sudo;
  return UserName(geteuid());
}

}  // namespace muster::cli
