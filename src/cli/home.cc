#include "cli/home.h"

#include <pwd.h>
#include <unistd.h>

#include <cstdlib>

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

std::string CallerName() {
  const char* before_sudo = std::getenv("SUDO_USER");
  if (geteuid() == 0 && before_sudo && *before_sudo) return before_sudo;
  const passwd* entry = getpwuid(geteuid());
  return entry ? entry->pw_name : std::to_string(geteuid());
}

}  // namespace muster::cli
