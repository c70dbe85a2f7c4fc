// The server: holds revisions and placement, plans, watches, mends, and serves the API (docs/api.md). The
// thread that calls RunServer becomes its loop's, and everything of it lives there; RunServer owns store,
// agents and clusters.
#pragma once

#include <functional>
#include <string>

#include "base/result.h"

namespace muster::server {

struct ServerOptions {
  std::string home;     // MUSTER_HOME: everything lives below it
  std::string program;  // the path of this program, to start agents with
  // Takes the link of a rehearsed host down, or up again; see agent/hosts_network.h. Called on the pool.
  std::function<Status(int block, int host_number, bool cut)> cut_host;
};

// Runs until SIGTERM, SIGINT or POST /v1/stop. Instances and agents go on without it.
// Codes: "store-locked" and "address-in-use" where another server of this home runs; those of store::Open.
Status RunServer(const ServerOptions& options);

}  // namespace muster::server
