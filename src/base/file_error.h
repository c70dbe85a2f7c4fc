// What went wrong with a file, by errno. Any thread.
#pragma once

#include <string_view>

#include "base/result.h"

namespace muster {

// Code "disk-full" for ENOSPC and EDQUOT, else "os-error": "open /x: Permission denied". For what writes or
// makes files only: inotify and cgroups say ENOSPC, too, and mean something else.
Error FileError(std::string_view path, int error_number, std::string_view what_was_done = "");

}  // namespace muster
