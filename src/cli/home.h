// Where muster keeps what it knows on this machine. Pure, but StoreExists and CallerName, which ask
// the system on the command's one thread. Nothing is made or written.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "base/result.h"

namespace muster::cli {

// MUSTER_HOME if set; /var/lib/muster as root; else $XDG_STATE_HOME/muster or ~/.local/state/muster. `get`
// reads the environment.
std::filesystem::path ChooseHome(const std::function<const char*(const char*)>& get, bool root,
                                 const std::filesystem::path& current);

std::filesystem::path ApiSocket(const std::filesystem::path& home);
std::filesystem::path ServerLog(const std::filesystem::path& home);
// A server has been here: what it knows is worth starting one for.
bool StoreExists(const std::filesystem::path& home);

// Whether this user may use what stands there: that a folder or socket is closed to them is not that nothing
// runs. Code "home-denied"; nothing where there is no home yet.
Status HomeOpen(const std::filesystem::path& home);

// Who asks, for history and audit: the caller's name, also under sudo.
std::string CallerName();

}  // namespace muster::cli
