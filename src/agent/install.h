// Puts an instance's files where they belong, takes them away, and tells what somebody changed. Blocking: on
// the agent's pool, as what there is may be large and much; MissingBlobs, RemoveUnusedArtifacts and
// DriftWatch are short and may be called on its loop thread. No process is touched. Failures that aren't
// named below have the codes of base/files.h and base/within.h.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "agent/records.h"
#include "agent/users.h"
#include "base/result.h"
#include "model/instance.h"

namespace muster::agent {

// The SHA-256 of what `instance` needs and this host doesn't have, or has with other bytes as far as a
// CheckBlob has seen.
std::vector<std::string> MissingBlobs(const Paths& paths, const Instance& instance);

// Takes a received blob (a file at `from`) into artifacts/. Code "digest-differs".
Status TakeBlob(const Paths& paths, const std::string& sha256, const std::string& from);

// Folders, artifact and files of `instance`; files of `before` that it has no more go. Codes: "bad-path" for
// one that leads out of the folder; "disk-full": what was there is still there. Nothing else of the record is
// written.
Status WriteInstance(const Paths& paths, const Instance& instance, const Instance* before, const User& user);

// Remembers the files as they were written, so that a later change can be told.
Status RememberFiles(const Paths& paths, const Instance& instance);

// Everything of the instance goes, but its data unless `delete_data`.
Status RemoveInstance(const Paths& paths, bool delete_data);

// Artifacts that none of `instances` uses go.
void RemoveUnusedArtifacts(const std::string& host_folder, const std::vector<const Instance*>& instances);

// Compares files with what was written, and the artifact with what came ("artifact NAME"). Looks into a file
// only where it has changed on disk since the last look.
class DriftWatch {
 public:
  std::vector<Drift> Look(const Paths& paths, const Instance& instance);

 private:
  struct Seen {
    int64_t size = 0, changed_ns = 0;
    uint64_t inode = 0;
    bool same = false;
  };
  std::map<std::string, Seen> seen_;
};

// Lines of a unified difference, without context beyond two lines; at most `most`.
std::vector<std::string> UnifiedDifference(const std::string& before, const std::string& after, size_t most);

}  // namespace muster::agent
