// Asks one instance how it is, again and again.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "model/instance.h"
#include "net/loop.h"

namespace muster::agent {

// Probes on the loop: quickly after a start, so that readiness is seen when it comes, then each `every`, with
// instances spread over that time. Loop thread only. Owned by the Member; nothing is called after it has been
// stopped or destroyed.
class Prober {
 public:
  struct Target {
    Probe probe;
    std::string address;
    std::vector<std::string> command;        // kCommand: with paths resolved
    std::map<std::string, std::string> env;  // for the command
    std::string folder;                      // the command's working folder
    std::string log_path;                    // kLog
    int64_t log_from = 0;                    // only what is written after this many bytes counts
    std::vector<std::string> joins = {};     // cgroup.procs files that the command enters
    uid_t uid = static_cast<uid_t>(-1);
    gid_t gid = static_cast<gid_t>(-1);
    int passes = 1;                                    // so many in a row end its being asked eagerly
    std::function<net::Task<Status>()> ask = nullptr;  // kOperator
    // kHttp, kTcp, kOperator: whether who has answered is the instance itself. Asked on the pool until it
    // says so once.
    std::function<Status()> confirm = nullptr;
  };
  using Seen = std::function<void(Status)>;

  // `eager` until `passes` successes in a row. `seen` is called on the loop after each probe. Codes:
  // "probe-failed", "bad-pattern", and those of TryConnect, Fetch and RunCommand.
  static std::shared_ptr<Prober> Start(net::Loop& loop, Target target, bool eager, Seen seen);
  // Asks once, the same way. Of kLog nothing is asked: a line that was written is written.
  static net::Task<Status> Ask(net::Loop& loop, Target target);
  virtual ~Prober() = default;
  // Milliseconds since the last probe has ended; -1 before the first.
  virtual int64_t age_ms() const = 0;
  virtual void Stop() = 0;
};

}  // namespace muster::agent
