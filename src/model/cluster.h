// The cluster file as plain structs: what the user wants. Values that own all they hold, so any thread may
// have its copy; functions are pure. Durations are milliseconds.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/time.h"
#include "model/value.h"

namespace muster {

struct Host {
  std::string name;
  std::string address;  // the one other hosts reach it at; in a rehearsal 127.77.C.H
  Mark mark;
};

// "25%" or "2".
struct Share {
  int64_t amount = 0;
  bool percent = false;
  int RoundDown(int of) const;
  int RoundUp(int of) const;
};

struct UpdatePolicy {
  Share max_unavailable{25, true};   // rounded down; if this and surge both come to 0, one at a time
  Share max_surge{0, false};         // rounded up
  Duration min_ready = 0ms;          // how long ready before the next batch
  Duration deadline = 600s;          // per instance, from start to ready
  Duration drain = 500ms;            // for requests under way, between out of the balancers and its stop
  int keep = 10;                     // revisions kept for rollback
  bool rollback_on_failure = false;  // on_failure: rollback (else stop)
};

// How many hosts of a service must be reachable for a run to go on.
struct Require {
  enum class Kind { kDefault, kAll, kQuorum, kNumber } kind = Kind::kDefault;
  int number = 0;
};

struct Service {
  std::string name;
  std::string kind;
  Mark mark;
  std::vector<std::string> uses;
  std::vector<std::string> hosts;  // names; empty: all hosts
  std::string user;                // empty: the recipe's choice
  UpdatePolicy update;
  Require require;
  Value settings;  // the whole map under the service's name; recipes read their own keys
};

// A file of the user's that the cluster file refers to, as sent in the bundle.
struct BundledFile {
  std::string sha256;
  int64_t size = 0;  // bytes
  bool executable = false;
  std::string text;  // its content, where small and needed for rendering (env_file, templates); else empty
};

struct Cluster {
  std::string name;
  bool rehearsal = false;
  std::vector<Host> hosts;  // at least one after parsing: "local" at 127.0.0.1 where the file has none
  bool hosts_left_out = false;
  std::vector<Service> services;             // in the file's order
  std::map<std::string, BundledFile> files;  // by the path as written in the cluster file

  // "mall", or "mall@rehearsal".
  std::string key() const { return rehearsal ? name + "@rehearsal" : name; }
  // nullptr where there is none; else into this cluster, and valid as long as its lists stay as they are.
  const Service* FindService(std::string_view name) const;
  const Host* FindHost(std::string_view name) const;
};

}  // namespace muster
