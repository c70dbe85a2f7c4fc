// What the server remembers: SQLite in one file, beside a folder of blobs and a key file (0600).
// Called on the server's loop thread only. Every write is durable when the call returns; `Transaction` groups
// them. Failures that aren't named below have the codes of store/database.h. Sizes are bytes, times UTC.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace muster::store {

struct ClusterRow {
  std::string key;  // "mall@rehearsal"
  std::string name;
  bool rehearsal = false;
  int block = 0;  // C of 127.77.C.0/24; 0 where not rehearsed
  int64_t epoch = 0;
  int64_t revision = 0;   // the newest accepted one
  std::string placement;  // JSON
  std::string held;       // JSON: instances stopped by hand
  std::string extra;      // JSON: what later versions add
};

struct RevisionRow {
  std::string cluster;
  int64_t number = 0;
  WallTime created{};
  std::string author;
  std::string text;  // the cluster file
  std::string file_name;
  std::string bundle;  // JSON: files by path -> {sha256,size,executable}; overrides
  int renderer = 0;
  std::string note;  // "rollback to 3", "scale gateway 12"
};

struct RunRow {
  std::string id;
  std::string cluster;
  int64_t revision = 0;
  std::string action;  // up, down, restart …
  std::string state;   // running, paused, done, failed, cancelled
  std::string plan;    // JSON, steps in order
  WallTime started{};
  WallTime ended{};
  std::string error;  // JSON, "" none
  std::string author;
};

// A journal row: intent first, outcome later.
struct StepRow {
  std::string run;
  std::string step;
  WallTime intent{};
  WallTime settled{};  // epoch 0: still open
  std::string error;   // JSON, "" for success
};

struct PutBackRow {
  int64_t id = 0;
  std::string run;
  std::string step;  // JSON of the step that undoes
};

struct AuditRow {
  int64_t id = 0;
  WallTime at{};
  std::string who;
  std::string cluster;
  std::string action;
  std::string detail;
};

struct SecretRow {
  std::string name;
  std::string digest;  // keyed
  WallTime updated{};
};

class Store {
 public:
  // Opens or creates `folder`. An older store is copied beside itself, then migrated; a newer one is refused
  // with code "store-newer". Code "store-locked" where another server has it, "store-corrupt" for a damaged
  // or lost database, "key-missing" and "key-damaged" where its secrets can't be opened. Finishes a rotation
  // that was cut short.
  static Result<std::unique_ptr<Store>> Open(const std::string& folder);
  virtual ~Store() = default;

  // All writes in `writes` become durable together, or none does. An inner one can fail by itself. Code
  // "disk-full" like every write; nothing was changed then.
  virtual Status Transaction(const std::function<Status()>& writes) = 0;

  virtual Result<std::vector<ClusterRow>> Clusters() = 0;
  virtual Result<std::optional<ClusterRow>> FindCluster(const std::string& key) = 0;
  virtual Status PutCluster(const ClusterRow& row) = 0;
  virtual Status DeleteCluster(const std::string& key) = 0;  // with everything of it but audit

  virtual Status AddRevision(const RevisionRow& row) = 0;  // code "revision-exists"
  virtual Result<std::vector<RevisionRow>> Revisions(const std::string& cluster) = 0;  // oldest first
  virtual Result<std::optional<RevisionRow>> FindRevision(const std::string& cluster, int64_t number) = 0;
  // Drops older ones, then unused blobs. The cluster's own revision and those of running or paused runs stay;
  // so do blobs that were put or asked for within the hour. Of runs 1000 stay, of audit rows 10,000 (AddAudit
  // lets 100 more be).
  virtual Status KeepRevisions(const std::string& cluster, int keep) = 0;

  virtual Status PutRun(const RunRow& row) = 0;
  virtual Result<std::vector<RunRow>> Runs(const std::string& cluster, int most) = 0;  // newest first
  virtual Result<std::optional<RunRow>> FindRun(const std::string& id) = 0;
  virtual Status PutStep(const StepRow& row) = 0;  // the first intent of a step is kept
  virtual Result<std::vector<StepRow>> Steps(const std::string& run) = 0;
  virtual Result<int64_t> AddPutBack(const PutBackRow& row) = 0;
  virtual Status RemovePutBack(int64_t id) = 0;
  virtual Result<std::vector<PutBackRow>> PutBacks(const std::string& run) = 0;

  // Sealed with AES-256-GCM by the key file, as part of this cluster and name. Code "secret-damaged".
  virtual Status PutSecret(const std::string& cluster, const std::string& name, const std::string& value) = 0;
  virtual Result<std::optional<std::string>> Secret(const std::string& cluster, const std::string& name) = 0;
  virtual Result<std::vector<SecretRow>> Secrets(const std::string& cluster) = 0;
  virtual Status DeleteSecret(const std::string& cluster, const std::string& name) = 0;
  virtual Status RotateKey() = 0;  // a new sealing key; all secrets sealed anew, their digests as before

  virtual Status AddAudit(const AuditRow& row) = 0;
  virtual Result<std::vector<AuditRow>> Audit(const std::string& cluster,
                                              int most) = 0;  // "" all; newest first

  // Blobs by SHA-256, beside the database. PutBlob verifies the digest: code "digest-differs". WriteBlob is
  // the slow part of it and may run on any thread; that the blob is kept until it is used takes HasBlob then.
  virtual Status PutBlob(const std::string& sha256, std::string_view bytes) = 0;
  virtual Status WriteBlob(const std::string& sha256, std::string_view bytes) const = 0;
  virtual bool HasBlob(const std::string& sha256) = 0;
  virtual std::string BlobPath(const std::string& sha256) = 0;
};

}  // namespace muster::store
