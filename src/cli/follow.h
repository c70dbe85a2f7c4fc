// Following a run to its end: the display, Ctrl-C, and a server that goes away in the middle. Blocks on the
// loop of `api`, which the caller owns; what goes wrong is printed and becomes an exit code.
#pragma once

#include <string>

#include "cli/api_client.h"
#include "cli/command.h"

namespace muster::cli {

struct Followed {
  bool finished = false;
  bool done = false;    // state "done"
  bool failed = false;  // state "failed"
  int exit_code = 0;    // 0, 1, 3 or 130
};

// `started` is a STARTED of docs/api.md with a run. Draws or prints its events (as JSON lines with `json`),
// and where it failed its error with the evidence. Where `started` says that it goes back, the server
// begins a run back to the last good revision after a failure (`on_failure: rollback`), which is followed
// too. `up`: the command that goes on with it where it is cancelled, and brings the mended file up where it
// failed, "muster up shop.yaml --rehearse"; left out of a run that no file was given for.
Followed FollowRun(Context& context, ApiClient& api, const Json& started, bool json,
                   const std::string& up = "");

}  // namespace muster::cli
