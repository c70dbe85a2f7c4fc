// A running nginx: testing its configuration, and reloading it until the reload has taken effect. On the
// agent's loop thread; the master belongs to the agent's Member, and is only signalled here.
#pragma once

#include <sys/types.h>

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "net/loop.h"

namespace muster::nginx {

// What is needed to act on one nginx. A copy: the Context it comes from doesn't outlive a call.
struct Running {
  net::Loop* loop = nullptr;
  std::string folder;
  std::string program = "nginx";
  int pid = 0;  // of the master; 0: not running
  uid_t uid = 0;
  gid_t gid = 0;
  bool low_ports = false;
};

struct Workers {
  std::set<int> serving;
  std::set<int> leaving;  // told to end; they finish the requests they have
};
// The worker processes of the master `pid`, as their titles in /proc tell.
Workers WorkersOf(int pid);

// The lines of a log that have the form of the master's own word that it can't do as it was told: level
// [emerg], logged by `pid`. Pure. nginx logs requests as they came, so the word may stand in any line; and
// where a path is logged as decoded, a %0A in it begins a line that looks like any other. What is found is
// good as evidence, not as proof.
std::vector<std::string> EmergenciesIn(std::string_view log, int pid);

// `nginx -t`, as the user that nginx runs as: as root it would leave files that nginx then can't write.
// Codes: "nginx-config" with nginx's own words, "program-missing", "timeout".
net::Task<Status> TestConfig(Running running);

// Sends SIGHUP and waits until new workers serve and no old one takes connections any more; gives those that
// were there before. Codes: "nginx-config" where nginx keeps its old configuration, "nginx-reload" where
// nothing happens.
net::Task<Result<Workers>> ReloadMaster(Running running, Duration within);

// Waits until these have ended, for each until its time at most. A WebSocket keeps a worker for as long as it
// is open.
net::Task<void> WaitUntilGone(net::Loop* loop, std::map<int, Time> pids);

}  // namespace muster::nginx
