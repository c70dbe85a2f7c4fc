// Starting the server where none answers. Blocks, on the command's one thread.
#pragma once

#include <filesystem>

#include "base/result.h"

namespace muster::cli {

// Does somebody listen on this Unix socket?
bool SocketAnswers(const std::filesystem::path& socket_path);

// Starts `program server run` in a session of its own, its output appended to the server's log, and waits
// until its socket answers, at most 10 s. Nobody owns that process: `muster server stop` ends it. Codes:
// "server-failed" with the end of the log, "os-error". Two at once are fine: the second server finds the
// socket taken and ends, and both callers get an answer from the first.
Status StartServer(const std::filesystem::path& program, const std::filesystem::path& home);

}  // namespace muster::cli
