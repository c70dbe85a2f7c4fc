#include "store/store.h"

#include <unistd.h>

#include <set>

#include "base/files.h"
#include "store/blobs.h"
#include "store/bundle.h"
#include "store/database.h"
#include "store/keys.h"
#include "store/schema.h"

namespace muster::store {
namespace {

// A blob that was uploaded or asked for belongs to a revision that is about to come; for so long it is kept
// although nothing refers to it yet.
constexpr auto kPromise = std::chrono::hours(1);

int64_t Ms(WallTime time) { return time.time_since_epoch().count(); }
WallTime At(int64_t ms) { return WallTime(Duration(ms)); }

constexpr std::string_view kClusterColumns =
    "SELECT key, name, rehearsal, block, epoch, revision, placement, held, extra FROM clusters ";
ClusterRow ClusterFrom(const Row& row) {
  return {.key = row.Text(0),
          .name = row.Text(1),
          .rehearsal = row.Integer(2) != 0,
          .block = static_cast<int>(row.Integer(3)),
          .epoch = row.Integer(4),
          .revision = row.Integer(5),
          .placement = row.Text(6),
          .held = row.Text(7),
          .extra = row.Text(8)};
}

constexpr std::string_view kRevisionColumns =
    "SELECT cluster, number, created, author, text, file_name, bundle, renderer, note FROM revisions ";
RevisionRow RevisionFrom(const Row& row) {
  return {.cluster = row.Text(0),
          .number = row.Integer(1),
          .created = At(row.Integer(2)),
          .author = row.Text(3),
          .text = row.Text(4),
          .file_name = row.Text(5),
          .bundle = row.Text(6),
          .renderer = static_cast<int>(row.Integer(7)),
          .note = row.Text(8)};
}

constexpr std::string_view kRunColumns =
    "SELECT id, cluster, revision, action, state, plan, started, ended, error, author FROM runs ";
RunRow RunFrom(const Row& row) {
  return {.id = row.Text(0),
          .cluster = row.Text(1),
          .revision = row.Integer(2),
          .action = row.Text(3),
          .state = row.Text(4),
          .plan = row.Text(5),
          .started = At(row.Integer(6)),
          .ended = At(row.Integer(7)),
          .error = row.Text(8),
          .author = row.Text(9)};
}

constexpr int64_t kRunsKept = 1000, kAuditKept = 10'000;  // of each cluster
constexpr int kAuditTrimmedEvery = 100;                   // rows that are added

constexpr std::string_view kAuditColumns = "SELECT id, at, who, cluster, action, detail FROM audit ";
AuditRow AuditFrom(const Row& row) {
  return {.id = row.Integer(0),
          .at = At(row.Integer(1)),
          .who = row.Text(2),
          .cluster = row.Text(3),
          .action = row.Text(4),
          .detail = row.Text(5)};
}

// Contents of a cluster's files are secrets by their SHA-256, under a name that no cluster can have: so they
// turn with the key, and are lost with it, like all secrets.
std::string FilesOf(const std::string& cluster) { return cluster + " files"; }

Result<FileLock> TakeLock(const std::string& folder) {
  const std::string path = folder + "/lock";
  Result<FileLock> lock = FileLock::TryTake(path);
  if (!lock.ok() && lock.error().code() == "locked") {
    const Result<std::string> holder = ReadFile(path, 64);
    return Error::Conflict("store-locked", "another server{} has the store in {}",
                           holder.ok() && !holder->empty() ? " (pid " + *holder + ")" : "", folder)
        .Hint("talk to that one, or stop it first: muster server stop");
  }
  if (!lock.ok()) return lock;
  // For the message above only: what counts is the lock.
  const std::string pid = std::to_string(getpid());
  if (ftruncate(lock->fd(), 0) == 0) (void)!pwrite(lock->fd(), pid.data(), pid.size(), 0);
  return lock;
}

class SqliteStore : public Store {
 public:
  SqliteStore(FileLock lock, std::unique_ptr<Database> database, Blobs blobs, Keys keys)
      : lock_(std::move(lock)),
        database_(std::move(database)),
        blobs_(std::move(blobs)),
        keys_(std::move(keys)) {}

  Status Prepare();  // what a killed server left half-done

  Status Transaction(const std::function<Status()>& writes) override;

  Result<std::vector<ClusterRow>> Clusters() override;
  Result<std::optional<ClusterRow>> FindCluster(const std::string& key) override;
  Status PutCluster(const ClusterRow& row) override;
  Status DeleteCluster(const std::string& key) override;

  Status AddRevision(const RevisionRow& row) override;
  Result<std::vector<RevisionRow>> Revisions(const std::string& cluster) override;
  Result<std::optional<RevisionRow>> FindRevision(const std::string& cluster, int64_t number) override;
  Status KeepRevisions(const std::string& cluster, int keep) override;

  Status PutRun(const RunRow& row) override;
  Result<std::vector<RunRow>> Runs(const std::string& cluster, int most) override;
  Result<std::optional<RunRow>> FindRun(const std::string& id) override;
  Status PutStep(const StepRow& row) override;
  Result<std::vector<StepRow>> Steps(const std::string& run) override;
  Result<int64_t> AddPutBack(const PutBackRow& row) override;
  Status RemovePutBack(int64_t id) override;
  Result<std::vector<PutBackRow>> PutBacks(const std::string& run) override;

  Status PutSecret(const std::string& cluster, const std::string& name, const std::string& value) override;
  Result<std::optional<std::string>> Secret(const std::string& cluster, const std::string& name) override;
  Result<std::vector<SecretRow>> Secrets(const std::string& cluster) override;
  Status DeleteSecret(const std::string& cluster, const std::string& name) override;
  Status RotateKey() override;

  Status AddAudit(const AuditRow& row) override;
  Result<std::vector<AuditRow>> Audit(const std::string& cluster, int most) override;

  Status PutBlob(const std::string& sha256, std::string_view bytes) override;
  Status WriteBlob(const std::string& sha256, std::string_view bytes) const override {
    return blobs_.Put(sha256, bytes);
  }
  bool HasBlob(const std::string& sha256) override;
  std::string BlobPath(const std::string& sha256) override { return blobs_.PathOf(sha256); }

 private:
  // A write of one statement; the same road as a transaction of many.
  Status Write(std::string_view sql, const std::vector<Bound>& values) {
    return Transaction([&] { return database_->Run(sql, values); });
  }
  template <class T, class Read>
  Result<std::vector<T>> All(const std::string& sql, const std::vector<Bound>& values, Read read) {
    std::vector<T> rows;
    MUSTER_DO(database_->Run(sql, values, [&](const Row& row) { rows.push_back(read(row)); }));
    return rows;
  }
  template <class T, class Read>
  Result<std::optional<T>> One(const std::string& sql, const std::vector<Bound>& values, Read read) {
    std::optional<T> found;
    MUSTER_DO(database_->Run(sql, values, [&](const Row& row) { found = read(row); }));
    return found;
  }
  Status SealAnew();
  Status SealOldRevisions();
  Result<std::string> Unsealed(const RevisionRow& row);  // its bundle
  Status DropOldHistory(const std::string& cluster);
  Status DropUnusedBlobs();
  Status TrimAudit(const std::string& cluster);

  FileLock lock_;
  std::unique_ptr<Database> database_;
  Blobs blobs_;
  Keys keys_;
  std::map<std::string, Time> promised_;
  std::map<std::string, int> audited_;  // rows added, by cluster
  // Files can't be rolled back, so they go when the rows that named them are gone for good.
  std::vector<std::function<void()>> after_commit_;
};

Status SqliteStore::Prepare() {
  MUSTER_TRY(const auto ids, All<std::string>("SELECT DISTINCT key_id FROM secrets", {},
                                              [](const Row& row) { return row.Text(0); }));
  for (const std::string& id : ids) {
    if (keys_.Knows(id)) continue;
    return Error::Refused("key-missing", "secrets are sealed with the key {}, which isn't in the key file",
                          id)
        .Hint(
            "put the key file that belongs to this store in its place; if it is lost for good, so are the "
            "secrets: sqlite3 {} 'DELETE FROM secrets', then set them again",
            database_->path());
  }
  // On a full disk they stay as they are until the next start.
  (void)SealOldRevisions();
  // A rotation that was cut short is carried on: the new key is safely on disk.
  if (!keys_.rotating()) return Done();
  // One damaged secret must not keep the server from starting; then no row has the new key yet.
  if (!SealAnew().ok()) return keys_.AbandonRotation();
  return keys_.FinishRotation();
}

Status SqliteStore::Transaction(const std::function<Status()>& writes) {
  const size_t before = after_commit_.size();
  const Status written = database_->Transaction(writes);
  if (!written.ok()) {
    after_commit_.resize(before);
    return written;
  }
  if (database_->in_transaction()) return written;
  for (const auto& act : std::exchange(after_commit_, {})) act();
  return written;
}

// Clusters.

Result<std::vector<ClusterRow>> SqliteStore::Clusters() {
  return All<ClusterRow>(std::string(kClusterColumns) + "ORDER BY key", {}, ClusterFrom);
}

Result<std::optional<ClusterRow>> SqliteStore::FindCluster(const std::string& key) {
  return One<ClusterRow>(std::string(kClusterColumns) + "WHERE key=?", {key}, ClusterFrom);
}

Status SqliteStore::PutCluster(const ClusterRow& row) {
  return Write(
      "INSERT OR REPLACE INTO clusters(key, name, rehearsal, block, epoch, revision, placement, held, "
      "extra) VALUES(?,?,?,?,?,?,?,?,?)",
      {row.key, row.name, int64_t{row.rehearsal}, int64_t{row.block}, row.epoch, row.revision, row.placement,
       row.held, row.extra});
}

Status SqliteStore::DeleteCluster(const std::string& key) {
  return Transaction([&]() -> Status {
    MUSTER_DO(
        database_->Run("DELETE FROM put_backs WHERE run IN (SELECT id FROM runs WHERE cluster=?)", {key}));
    MUSTER_DO(database_->Run("DELETE FROM steps WHERE run IN (SELECT id FROM runs WHERE cluster=?)", {key}));
    MUSTER_DO(database_->Run("DELETE FROM runs WHERE cluster=?", {key}));
    MUSTER_DO(database_->Run("DELETE FROM revisions WHERE cluster=?", {key}));
    MUSTER_DO(database_->Run("DELETE FROM secrets WHERE cluster IN (?,?)", {key, FilesOf(key)}));
    MUSTER_DO(database_->Run("DELETE FROM clusters WHERE key=?", {key}));
    // What fails to go now is tried again at the next run's end.
    after_commit_.push_back([this] { (void)DropUnusedBlobs(); });
    return Done();
  });
}

// Revisions.

Status SqliteStore::AddRevision(const RevisionRow& row) {
  std::map<std::string, std::string> texts;
  const std::string bundle = TakeOutTexts(row.bundle, texts);
  const Status added = Transaction([&]() -> Status {
    for (const auto& [sha256, text] : texts) MUSTER_DO(PutSecret(FilesOf(row.cluster), sha256, text));
    MUSTER_DO(database_->Run(
        "INSERT INTO revisions(cluster, number, created, author, text, file_name, bundle, renderer, note) "
        "VALUES(?,?,?,?,?,?,?,?,?)",
        {row.cluster, row.number, Ms(row.created), row.author, row.text, row.file_name, bundle,
         int64_t{row.renderer}, row.note}));
    after_commit_.push_back([this, bundle] {
      std::set<std::string> used;
      CollectBlobs(bundle, used);
      for (const std::string& sha256 : used) promised_.erase(sha256);
    });
    return Done();
  });
  if (!added.ok() && added.error().code() == "row-exists") {
    return Error::Conflict("revision-exists", "revision {} of {} is there already", row.number, row.cluster);
  }
  return added;
}

Result<std::vector<RevisionRow>> SqliteStore::Revisions(const std::string& cluster) {
  MUSTER_TRY(auto rows, All<RevisionRow>(std::string(kRevisionColumns) + "WHERE cluster=? ORDER BY number",
                                         {cluster}, RevisionFrom));
  for (RevisionRow& row : rows) {
    // One that is damaged hides none of the others; whoever wants just it is told.
    if (auto bundle = Unsealed(row); bundle.ok()) row.bundle = std::move(bundle).value();
  }
  return rows;
}

Result<std::optional<RevisionRow>> SqliteStore::FindRevision(const std::string& cluster, int64_t number) {
  MUSTER_TRY(auto row, One<RevisionRow>(std::string(kRevisionColumns) + "WHERE cluster=? AND number=?",
                                        {cluster, number}, RevisionFrom));
  if (row) {
    MUSTER_TRY(row->bundle, Unsealed(*row));
  }
  return row;
}

Result<std::string> SqliteStore::Unsealed(const RevisionRow& row) {
  return PutInTexts(row.bundle, [&](const std::string& sha256) -> Result<std::string> {
    auto text = Secret(FilesOf(row.cluster), sha256);
    if (text.ok() && *text) return **text;
    return Error::Internal("secret-damaged", "the files of revision {} of {} can't be opened", row.number,
                           row.cluster)
        .Hint("bring the cluster up again from its file: muster up FILE");
  });
}

// Earlier releases kept the contents of files in the open.
Status SqliteStore::SealOldRevisions() {
  MUSTER_TRY(auto rows, All<RevisionRow>(kRevisionColumns.data(), {}, RevisionFrom));
  bool sealed = false;
  MUSTER_DO(database_->Execute("PRAGMA secure_delete=ON"));
  const Status done = Transaction([&]() -> Status {
    for (const RevisionRow& row : rows) {
      std::map<std::string, std::string> texts;
      const std::string bundle = TakeOutTexts(row.bundle, texts);
      for (const auto& [sha256, text] : texts) MUSTER_DO(PutSecret(FilesOf(row.cluster), sha256, text));
      if (texts.empty()) continue;
      sealed = true;
      MUSTER_DO(database_->Run("UPDATE revisions SET bundle=? WHERE cluster=? AND number=?",
                               {bundle, row.cluster, row.number}));
    }
    return Done();
  });
  MUSTER_DO(database_->Execute("PRAGMA secure_delete=FAST"));
  MUSTER_DO(done);
  return sealed ? database_->Checkpoint() : Done();
}

Status SqliteStore::KeepRevisions(const std::string& cluster, int keep) {
  // The cluster's own revision and those of runs that aren't over stay, however few are to be kept.
  MUSTER_DO(Transaction([&]() -> Status {
    MUSTER_DO(database_->Run(
        "DELETE FROM revisions WHERE cluster=?1 "
        "AND number NOT IN (SELECT number FROM revisions WHERE cluster=?1 ORDER BY number DESC LIMIT ?2) "
        "AND number NOT IN (SELECT revision FROM clusters WHERE key=?1) "
        "AND number NOT IN (SELECT revision FROM runs WHERE cluster=?1 AND state IN ('running', 'paused'))",
        {cluster, int64_t{std::max(keep, 1)}}));
    return database_->Run(
        "DELETE FROM secrets WHERE cluster=?2 AND NOT EXISTS "
        "(SELECT 1 FROM revisions WHERE cluster=?1 AND instr(bundle, secrets.name)>0)",
        {cluster, FilesOf(cluster)});
  }));
  MUSTER_DO(Transaction([&] { return DropOldHistory(cluster); }));
  if (!database_->in_transaction()) return DropUnusedBlobs();
  after_commit_.push_back([this] { (void)DropUnusedBlobs(); });
  return Done();
}

// A cluster that lives for years has many runs, most of which nobody will ask for again.
Status SqliteStore::DropOldHistory(const std::string& cluster) {
  // Of a revision that is kept, what became of it stays known: the newest run of each kind and outcome. One
  // that isn't over is never dropped.
  MUSTER_TRY(
      const auto dropped,
      All<std::string>(
          "SELECT id FROM runs WHERE cluster=?1 AND state NOT IN ('running', 'paused', 'putting-back') "
          "AND ordinal <= (SELECT ordinal FROM runs WHERE cluster=?1 ORDER BY ordinal DESC LIMIT 1 OFFSET "
          "?2) "
          "AND ordinal NOT IN (SELECT max(ordinal) FROM runs WHERE cluster=?1 "
          "AND revision IN (SELECT number FROM revisions WHERE cluster=?1) "
          "GROUP BY revision, action, state, instr(plan, '\"partial\"') > 0)",
          {cluster, kRunsKept}, [](const Row& row) { return row.Text(0); }));
  for (const std::string& run : dropped) {
    MUSTER_DO(database_->Run("DELETE FROM put_backs WHERE run=?", {run}));
    MUSTER_DO(database_->Run("DELETE FROM steps WHERE run=?", {run}));
    MUSTER_DO(database_->Run("DELETE FROM runs WHERE id=?", {run}));
  }
  // What is of no cluster, too: turning keys, stopping the server.
  for (const std::string& of : {cluster, std::string()}) {
    MUSTER_DO(TrimAudit(of));
  }
  return Done();
}

Status SqliteStore::DropUnusedBlobs() {
  std::set<std::string> used;
  bool readable = true;
  MUSTER_DO(database_->Run("SELECT bundle FROM revisions WHERE bundle<>''", {},
                           [&](const Row& row) { readable &= CollectBlobs(row.Text(0), used); }));
  if (!readable) {
    return Error::Internal("store-corrupt", "a revision's list of files can't be read; no blob was removed")
        .Hint("this needs nothing now; please report it");
  }
  const Time now = Now();
  std::erase_if(promised_, [&](const auto& promise) { return now - promise.second > kPromise; });
  for (const auto& [sha256, since] : promised_) used.insert(sha256);
  return blobs_.KeepOnly(used);
}

// Runs and their journal.

Status SqliteStore::PutRun(const RunRow& row) {
  return Write(
      "INSERT INTO runs(id, cluster, revision, action, state, plan, started, ended, error, author) "
      "VALUES(?,?,?,?,?,?,?,?,?,?) ON CONFLICT(id) DO UPDATE SET cluster=excluded.cluster, "
      "revision=excluded.revision, action=excluded.action, state=excluded.state, plan=excluded.plan, "
      "started=excluded.started, ended=excluded.ended, error=excluded.error, author=excluded.author",
      {row.id, row.cluster, row.revision, row.action, row.state, row.plan, Ms(row.started), Ms(row.ended),
       row.error, row.author});
}

Result<std::vector<RunRow>> SqliteStore::Runs(const std::string& cluster, int most) {
  return All<RunRow>(std::string(kRunColumns) + "WHERE cluster=? ORDER BY ordinal DESC LIMIT ?",
                     {cluster, int64_t{most}}, RunFrom);
}

Result<std::optional<RunRow>> SqliteStore::FindRun(const std::string& id) {
  return One<RunRow>(std::string(kRunColumns) + "WHERE id=?", {id}, RunFrom);
}

Status SqliteStore::PutStep(const StepRow& row) {
  // The first intent stays: a step that is sent again, or settled, was begun then.
  return Write(
      "INSERT INTO steps(run, step, intent, settled, error) VALUES(?,?,?,?,?) "
      "ON CONFLICT(run, step) DO UPDATE SET settled=excluded.settled, error=excluded.error",
      {row.run, row.step, Ms(row.intent), Ms(row.settled), row.error});
}

Result<std::vector<StepRow>> SqliteStore::Steps(const std::string& run) {
  return All<StepRow>("SELECT run, step, intent, settled, error FROM steps WHERE run=? ORDER BY ordinal",
                      {run}, [](const Row& row) {
                        return StepRow{.run = row.Text(0),
                                       .step = row.Text(1),
                                       .intent = At(row.Integer(2)),
                                       .settled = At(row.Integer(3)),
                                       .error = row.Text(4)};
                      });
}

Result<int64_t> SqliteStore::AddPutBack(const PutBackRow& row) {
  int64_t id = 0;
  MUSTER_DO(Transaction([&]() -> Status {
    MUSTER_DO(database_->Run("INSERT INTO put_backs(run, step) VALUES(?,?)", {row.run, row.step}));
    id = database_->last_id();
    return Done();
  }));
  return id;
}

Status SqliteStore::RemovePutBack(int64_t id) { return Write("DELETE FROM put_backs WHERE id=?", {id}); }

Result<std::vector<PutBackRow>> SqliteStore::PutBacks(const std::string& run) {
  return All<PutBackRow>("SELECT id, run, step FROM put_backs WHERE run=? ORDER BY id", {run},
                         [](const Row& row) {
                           return PutBackRow{.id = row.Integer(0), .run = row.Text(1), .step = row.Text(2)};
                         });
}

// Secrets.

Status SqliteStore::PutSecret(const std::string& cluster, const std::string& name, const std::string& value) {
  const std::string sealed = keys_.Seal(cluster, name, value);
  const std::string digest = keys_.DigestOf(cluster, name, value);
  return Write(
      "INSERT OR REPLACE INTO secrets(cluster, name, key_id, sealed, digest, updated) "
      "VALUES(?,?,?,?,?,?)",
      {cluster, name, keys_.id(), Blob{sealed}, digest, Ms(WallNow())});
}

Result<std::optional<std::string>> SqliteStore::Secret(const std::string& cluster, const std::string& name) {
  std::optional<std::pair<std::string, std::string>> found;
  MUSTER_DO(database_->Run("SELECT key_id, sealed FROM secrets WHERE cluster=? AND name=?", {cluster, name},
                           [&](const Row& row) { found.emplace(row.Text(0), row.Bytes(1)); }));
  if (!found) return std::optional<std::string>();
  MUSTER_TRY(std::string value, keys_.Unseal(found->first, cluster, name, found->second));
  return std::optional<std::string>(std::move(value));
}

Result<std::vector<SecretRow>> SqliteStore::Secrets(const std::string& cluster) {
  return All<SecretRow>("SELECT name, digest, updated FROM secrets WHERE cluster=? ORDER BY name", {cluster},
                        [](const Row& row) {
                          return SecretRow{
                              .name = row.Text(0), .digest = row.Text(1), .updated = At(row.Integer(2))};
                        });
}

Status SqliteStore::DeleteSecret(const std::string& cluster, const std::string& name) {
  return Write("DELETE FROM secrets WHERE cluster=? AND name=?", {cluster, name});
}

Status SqliteStore::RotateKey() {
  if (database_->in_transaction()) {
    return Error::Internal("store-failed", "a key can't be rotated inside a transaction");
  }
  MUSTER_DO(keys_.BeginRotation().While("writing the new key"));
  if (Status sealed = SealAnew(); !sealed.ok()) {
    (void)keys_.AbandonRotation();  // Where this fails too, the next start carries the rotation on.
    return sealed;
  }
  MUSTER_DO(keys_.FinishRotation().While("putting the new key in place"));
  return database_->Checkpoint();  // Else what the old key sealed would stay in the log for a while.
}

Status SqliteStore::SealAnew() {
  struct Sealed {
    std::string cluster, name, key_id, bytes;
  };
  return Transaction([&]() -> Status {
    MUSTER_TRY(const auto rows,
               All<Sealed>("SELECT cluster, name, key_id, sealed FROM secrets WHERE key_id<>?", {keys_.id()},
                           [](const Row& row) {
                             return Sealed{row.Text(0), row.Text(1), row.Text(2), row.Bytes(3)};
                           }));
    for (const Sealed& row : rows) {
      MUSTER_TRY(const std::string value, keys_.Unseal(row.key_id, row.cluster, row.name, row.bytes));
      const std::string sealed = keys_.Seal(row.cluster, row.name, value);
      MUSTER_DO(database_->Run("UPDATE secrets SET key_id=?, sealed=? WHERE cluster=? AND name=?",
                               {keys_.id(), Blob{sealed}, row.cluster, row.name}));
    }
    return Done();
  });
}

// Audit and blobs.

Status SqliteStore::AddAudit(const AuditRow& row) {
  MUSTER_DO(Write("INSERT INTO audit(at, who, cluster, action, detail) VALUES(?,?,?,?,?)",
                  {Ms(row.at), row.who, row.cluster, row.action, row.detail}));
  // There may be no run, whose end does it, for long.
  if (++audited_[row.cluster] % kAuditTrimmedEvery == 0) (void)TrimAudit(row.cluster);
  return Done();
}

Status SqliteStore::TrimAudit(const std::string& cluster) {
  return Write(
      "DELETE FROM audit WHERE cluster=?1 "
      "AND id <= (SELECT id FROM audit WHERE cluster=?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
      {cluster, kAuditKept});
}

Result<std::vector<AuditRow>> SqliteStore::Audit(const std::string& cluster, int most) {
  if (cluster.empty()) {
    return All<AuditRow>(std::string(kAuditColumns) + "ORDER BY id DESC LIMIT ?", {int64_t{most}}, AuditFrom);
  }
  return All<AuditRow>(std::string(kAuditColumns) + "WHERE cluster=? ORDER BY id DESC LIMIT ?",
                       {cluster, int64_t{most}}, AuditFrom);
}

Status SqliteStore::PutBlob(const std::string& sha256, std::string_view bytes) {
  MUSTER_DO(blobs_.Put(sha256, bytes));
  promised_[sha256] = Now();
  return Done();
}

bool SqliteStore::HasBlob(const std::string& sha256) {
  const bool there = blobs_.Has(sha256);
  if (there) promised_[sha256] = Now();
  return there;
}

}  // namespace

Result<std::unique_ptr<Store>> Store::Open(const std::string& folder) {
  MUSTER_DO(MakeFolder(folder, 0700));
  MUSTER_TRY(FileLock lock, TakeLock(folder));
  const std::string path = folder + "/muster.db";
  const std::string key_path = folder + "/key";
  std::error_code error;
  const auto size = fs::file_size(path, error);
  const bool empty = error || size == 0;
  const bool has_key = fs::exists(key_path, error);
  // The key is made after the database, so a key without one means that the database was lost: an empty
  // store in its place would make every running cluster look like a stranger's.
  if (empty && has_key) {
    return Error::Internal("store-corrupt", "{} is gone or empty, though its key is there", path)
        .Hint("put a backup in its place; or, to begin with an empty store, move {} away", key_path);
  }
  MUSTER_TRY(std::unique_ptr<Database> database, Database::Open(path));
  MUSTER_DO(database->Check());
  MUSTER_DO(Migrate(*database, Migrations()));
  MUSTER_TRY(Blobs blobs, Blobs::Open(folder + "/blobs"));
  Result<Keys> keys = Keys::Load(key_path);
  if (!keys.ok() && keys.error().code() == "key-missing") {
    MUSTER_TRY(const int64_t secrets, database->Number("SELECT count(*) FROM secrets"));
    if (secrets > 0) {
      return Error::Refused("key-missing", "the store has {} secrets, but {} isn't there", secrets, key_path)
          .Hint(
              "put it back from a backup; if it is lost for good, so are the secrets: sqlite3 {} 'DELETE "
              "FROM "
              "secrets', then set them again",
              path);
    }
    keys = Keys::Create(key_path);
  }
  if (!keys.ok()) return std::move(keys).error();
  auto store = std::make_unique<SqliteStore>(std::move(lock), std::move(database), std::move(blobs),
                                             std::move(keys).value());
  MUSTER_DO(store->Prepare());
  return std::unique_ptr<Store>(std::move(store));
}

}  // namespace muster::store
