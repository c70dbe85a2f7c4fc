// The members of services: where they are placed, what they should be, and what they are. Values that own all
// they hold, so any thread may have its copy; functions are pure. Durations are milliseconds.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/time.h"
#include "model/cluster.h"

namespace muster {

struct PortRange {
  int first = 0;
  int count = 1;
  bool udp = false;
  bool operator==(const PortRange&) const = default;
};

// Whose place it is: a member's that is wanted; one's that isn't any more, and that stands as long as its run
// isn't through: it gets its place back where more are wanted again; one's that went down with its data
// before others had it, and comes up once more for that; or one's of which nobody knows whether it still
// stands: only its name and its seat are kept from others.
enum class Claim { kWanted, kFormer, kReturning, kReserved };

// The remembered place of one instance. Once given it doesn't move.
struct Place {
  std::string service;
  std::string host;
  int ordinal = 0;  // the number in its name, from 1; never used again while it stands
  int slot = 0;  // among its service's members on the host, from 0: ports are the file's plus slot × width.
                 // Below 0: not known
  std::map<std::string, PortRange> ports;
  Claim claim = Claim::kWanted;
  bool operator==(const Place&) const = default;
};
using Placement = std::map<std::string, Place>;  // by instance name

// What a change costs a running instance, in order of cost.
enum class Impact { kNone, kLive, kReload, kRestart, kRebuild };
std::string_view ImpactName(Impact impact);
Impact ImpactNamed(std::string_view name);

struct Probe {
  enum class Kind { kNone, kHttp, kTcp, kCommand, kLog, kOperator };
  Kind kind = Kind::kNone;  // kOperator: its recipe's operator knows how to ask it
  std::string target;       // HTTP: path. Command: the command line. Log: an ECMA regular expression
  int port = 0;             // HTTP, TCP
  bool tls = false;
  int status_min = 200, status_max = 399;
  Duration every = 2s;
  Duration timeout = 1s;
  int fail_after = 3;  // so many failures in a row: not ready; hung if it is still alive
  bool kill_when_hung = true;
  bool operator==(const Probe&) const = default;
};

struct Limits {
  int64_t memory_bytes = 0;  // 0: none
  double cpus = 0;           // 0: none
  int64_t open_files = 0;    // 0: the agent's own
  bool operator==(const Limits&) const = default;
};

struct RestartPolicy {
  Duration backoff_first = 200ms;
  Duration backoff_most = 30s;
  Duration healthy_after = 10s;  // up for so long: the crash count starts anew
  int crashes_most = 5;          // so many crashes in a row: failed
  bool operator==(const RestartPolicy&) const = default;
};

struct LogPolicy {
  int64_t rotate_bytes = 16 << 20;
  int keep = 5;
  bool operator==(const LogPolicy&) const = default;
};

// A file in an instance's folder. `content` may hold secret markers (see model/secret.h).
struct InstanceFile {
  std::string path;     // relative to the instance's folder
  std::string content;  // or:
  std::string blob;     // SHA-256 of a blob, whose bytes are the content
  int mode = 0640;
  Impact impact = Impact::kRestart;
  bool secret = false;  // it holds a secret: 0600, and never shown
  bool operator==(const InstanceFile&) const = default;
};

// Something installed by content and shared by the instances of a host: a jar, a program.
struct Artifact {
  std::string name;  // file name
  std::string sha256;
  bool executable = false;
  bool operator==(const Artifact&) const = default;
};

// What one instance should be. A pure function of file and placement. Paths in argv, env and files may hold
// the words {folder} {data} {logs} {artifact}, which the agent replaces by its own absolute paths.
struct Instance {
  std::string name;
  std::string service;
  std::string kind;
  std::string host;
  std::string address;  // its host's
  int ordinal = 0;
  std::map<std::string, PortRange> ports;

  std::vector<std::string> argv;
  std::map<std::string, std::string> env;  // values may hold secret markers
  std::string user;                        // "" : the agent's choice, "muster-CLUSTER" as root
  std::string working_folder;              // "" : the instance's folder
  std::vector<InstanceFile> files;
  std::vector<std::string> data_folders;  // below the instance's folder; survive everything but delete-data
  Artifact artifact;                      // name empty: none
  Probe probe;
  Duration ready_within = 600s;
  int stop_signal = 15;
  Duration stop_timeout = 10s;  // then SIGKILL
  Limits limits;
  RestartPolicy restart;
  LogPolicy log;
  std::vector<std::string> fronts;  // instances this one sends requests to (a load balancer's upstreams)
  std::map<std::string, std::string> extra;  // for the recipe's operator; part of the hash
  int renderer = 0;                          // the version that rendered this; not part of the hash

  std::string hash;  // of all above that a restart can change; set by plan
  std::map<std::string, std::string>
      parts;  // hash of each part ("command", "env", "file:conf/x" …) for impact and diffs
};

// In Instance::extra: the folder that {data} stands for, where its data was there before muster was. Muster
// never deletes it. Who works there and listens on the member's ports when it is first started is taken over
// as it runs.
inline constexpr const char* kDataElsewhere = "data-elsewhere";

enum class InstanceState {
  kAbsent,    // nothing installed
  kStopped,   // installed, not running, nobody wants it to
  kStarting,  // running, not ready yet
  kReady,
  kUnhealthy,  // running, was ready, doesn't answer
  kBackoff,    // died; waits for its next start
  kStopping,
  kFailed,   // given up on
  kUnknown,  // its host is silent
};
std::string_view StateName(InstanceState state);
InstanceState StateNamed(std::string_view name);

struct Drift {
  std::string path;
  std::string what;                     // "changed", "missing", "mode"
  std::vector<std::string> difference;  // unified diff lines, secrets masked; at most 40
};

// Facts of every kind: what the last probe met, of what is starting or unhealthy; its data folders.
inline constexpr const char* kProbeFact = "probe";
inline constexpr const char* kDataFact = "data";
inline constexpr const char* kUnprovenFact =
    "unproven";  // its health check was changed: nobody is killed for it yet

// What to do about a check that is wrong itself.
inline constexpr const char* kMendCheck =
    "it runs on, and nobody kills it for that; mend `health:` of its service";

// What one instance is, as its agent sees it.
struct Observed {
  std::string name;
  std::string service;
  std::string host;
  InstanceState state = InstanceState::kAbsent;
  int pid = 0;
  WallTime since{};  // when it got into this state
  std::string hash;  // of what is installed
  std::map<std::string, std::string> parts;
  std::string running_hash;  // of what the process was started from
  int renderer = 0;
  int restarts = 0;                   // by the agent, since the last deliberate start
  std::string last_exit;              // "exit 1", "signal 9", "killed as hung: WHY", "unknown"
  std::vector<std::string> evidence;  // where it failed: last lines of its log, or why it has none
  int64_t probe_age_ms = -1;          // since the last probe ended; -1: none yet
  int64_t memory_bytes = 0;
  std::vector<Drift> drift;
  std::map<std::string, std::string> facts;  // the recipe's: role, offset, "out" …; and those of every kind
};

enum class Health { kGreen, kYellow, kRed };
std::string_view HealthName(Health health);

}  // namespace muster
