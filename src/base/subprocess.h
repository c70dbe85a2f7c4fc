// Runs a short command to its end. Blocking, from any thread: use net::Loop::Run, which calls it on the pool,
// where a loop must go on meanwhile.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace muster {

struct Exec {
  std::vector<std::string> argv;           // argv[0] is looked up in PATH
  std::map<std::string, std::string> env;  // added to the caller's own
  bool only_env = false;               // … or instead of it; the program is looked for in its PATH first
  std::string input;                   // given on standard input
  std::string working_folder;          // empty: the caller's
  std::vector<std::string> joins;      // cgroup.procs files: it enters those groups that are there
  size_t output_max_bytes = 1u << 20;  // more than this of each stream is dropped from the front
};

struct Output {
  int status = 0;  // exit status, or 128 + signal
  std::string out;
  std::string err;
};

// Codes: "program-missing" (with the Debian package that has it, where known), "timeout" (the command was
// killed, and is reaped), "no-command", "os-error". A status other than 0 is not an error here.
Result<Output> RunCommand(const Exec& exec, Duration timeout);

// What a server and its agents are started with, as "NAME=VALUE": of the caller's environment what a program
// needs to find its way, and what muster's own tests and sanitizers are told by. Tokens that somebody has in
// their shell are none of theirs.
std::vector<std::string> SmallEnvironment();

// The Debian package that installs `program`, or "" where muster doesn't know it.
std::string PackageOf(std::string_view program);

// The path of `program` in PATH (and /usr/sbin, /sbin), or "" where it isn't there.
std::string FindProgram(std::string_view program);

}  // namespace muster
