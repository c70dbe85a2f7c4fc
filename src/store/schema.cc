#include "store/schema.h"

#include <string>

namespace muster::store {
namespace {

// In the file's header, so that another program's database is never taken for ours ("mstr").
constexpr int64_t kApplication = 0x6d737472;

// No foreign keys: audit outlives its cluster, and secrets are set before it is there. Times are
// milliseconds since 1970; 0 is "not yet". `id` columns of AUTOINCREMENT are never used again.
constexpr const char* kVersion1 = R"sql(
CREATE TABLE clusters(
  key TEXT PRIMARY KEY, name TEXT NOT NULL, rehearsal INTEGER NOT NULL, block INTEGER NOT NULL,
  epoch INTEGER NOT NULL, revision INTEGER NOT NULL, placement TEXT NOT NULL, held TEXT NOT NULL,
  extra TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE revisions(
  cluster TEXT NOT NULL, number INTEGER NOT NULL, created INTEGER NOT NULL, author TEXT NOT NULL,
  text TEXT NOT NULL, file_name TEXT NOT NULL, bundle TEXT NOT NULL, renderer INTEGER NOT NULL,
  note TEXT NOT NULL, UNIQUE(cluster, number)) STRICT;

CREATE TABLE runs(
  ordinal INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, cluster TEXT NOT NULL,
  revision INTEGER NOT NULL, action TEXT NOT NULL, state TEXT NOT NULL, plan TEXT NOT NULL,
  started INTEGER NOT NULL, ended INTEGER NOT NULL, error TEXT NOT NULL, author TEXT NOT NULL) STRICT;
CREATE INDEX runs_of_cluster ON runs(cluster, ordinal);

CREATE TABLE steps(
  ordinal INTEGER PRIMARY KEY AUTOINCREMENT, run TEXT NOT NULL, step TEXT NOT NULL,
  intent INTEGER NOT NULL, settled INTEGER NOT NULL, error TEXT NOT NULL, UNIQUE(run, step)) STRICT;

CREATE TABLE put_backs(
  id INTEGER PRIMARY KEY AUTOINCREMENT, run TEXT NOT NULL, step TEXT NOT NULL) STRICT;
CREATE INDEX put_backs_of_run ON put_backs(run, id);

CREATE TABLE secrets(
  cluster TEXT NOT NULL, name TEXT NOT NULL, key_id TEXT NOT NULL, sealed BLOB NOT NULL,
  digest TEXT NOT NULL, updated INTEGER NOT NULL, PRIMARY KEY(cluster, name)) STRICT, WITHOUT ROWID;

CREATE TABLE audit(
  id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, who TEXT NOT NULL, cluster TEXT NOT NULL,
  action TEXT NOT NULL, detail TEXT NOT NULL) STRICT;
CREATE INDEX audit_of_cluster ON audit(cluster, id);
)sql";

}  // namespace

const std::vector<Migration>& Migrations() {
  static const std::vector<Migration> kMigrations = {{1, kVersion1}};
  return kMigrations;
}

Status Migrate(Database& database, const std::vector<Migration>& migrations) {
  MUSTER_TRY(const int64_t version, database.Number("PRAGMA user_version"));
  MUSTER_TRY(const int64_t application, database.Number("PRAGMA application_id"));
  MUSTER_TRY(const int64_t tables, database.Number("SELECT count(*) FROM sqlite_schema"));
  const int64_t newest = migrations.back().to;
  if (application != kApplication && (tables > 0 || version > 0)) {
    return Error::Internal("store-corrupt", "{} is another program's database, or its header is damaged",
                           database.path())
        .Hint("move it away; put a backup in its place if there is one");
  }
  if (version > newest) {
    return Error::Refused("store-newer", "{} has version {}, and this muster knows up to {}", database.path(),
                          version, newest)
        .Hint("use the newer muster, or put the copy {}.v{} in its place (what was done since is lost then)",
              database.path(), newest);
  }
  if (version == newest) return Done();
  if (version > 0) {
    const std::string copy = database.path() + ".v" + std::to_string(version);
    MUSTER_DO(database.CopyTo(copy).While("copying the store to {} before its migration", copy));
  }
  return database
      .Transaction([&]() -> Status {
        for (const Migration& migration : migrations) {
          if (migration.to <= version) continue;
          MUSTER_DO(database.Execute(migration.script).While("migrating to version {}", migration.to));
        }
        MUSTER_DO(database.Execute("PRAGMA application_id=" + std::to_string(kApplication)));
        return database.Execute("PRAGMA user_version=" + std::to_string(newest));
      })
      .While("migrating the store from version {} to {}", version, newest);
}

}  // namespace muster::store
