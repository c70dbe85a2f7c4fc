// What an agent remembers of its instances, on disk: records/NAME/, for the agent only (ARCHITECTURE.md has
// the map). Small files, written atomically. Blocking: on the agent's loop thread, but WriteDesired, which
// waits for the disk, on the pool. Failures have the codes of WriteFile.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "agent/supervisor.h"
#include "base/result.h"
#include "model/instance.h"

namespace muster::agent {

// Where everything of one instance is. All absolute.
struct Paths {
  std::string name;
  std::string folder;     // instances/NAME: the instance's own
  std::string logs;       // instances/NAME/logs
  std::string data;       // instances/NAME/data
  std::string records;    // records/NAME: the agent's
  std::string pristine;   // records/NAME/pristine: files as they were written
  std::string artifacts;  // artifacts
  std::string host;       // the host's folder
};
Paths PathsOf(const std::string& host_folder, const std::string& instance);

// The path of an installed artifact, or of a blob that is a file's content (`name` "blob").
std::string ArtifactPath(const Paths& paths, const std::string& sha256, const std::string& name);

// Puts absolute paths in place of {folder} {data} {logs} {artifact} (model/words.h).
std::string FillIn(const std::string& text, const Paths& paths, const Instance& instance);

struct Remembered {
  Instance desired;  // as last installed
  Supervisor::Memory memory;
  std::string running_hash;  // what the running process was started from, or has taken up since
  // Of what it takes up without anybody's doing: noted before that is installed, so that an agent which dies
  // in between has its successor start nothing anew.
  std::string live_hash;
  // It has run under muster: who listens in its place now is no longer taken over.
  bool had_process = false;
  WallTime since{};
  int64_t log_from = 0;  // how long current.log was when the process was started
  // Positions in the log: where the last life began, and the first of the crashes in a row.
  int64_t life_from = 0;
  int64_t loop_from = 0;
};

std::vector<std::string> RecordedInstances(const std::string& host_folder);
// nullopt where nothing (whole) is installed.
std::optional<Remembered> ReadRecord(const Paths& paths);
Status WriteDesired(const Paths& paths, const Instance& desired);
Status WriteState(const Paths& paths, const Remembered& remembered);

}  // namespace muster::agent
