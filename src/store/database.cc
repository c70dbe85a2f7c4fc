#include "store/database.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/digest.h"
#include "base/fault.h"
#include "base/files.h"

namespace muster::store {
namespace {

// A backup or a person with the sqlite3 shell may hold the database for a moment.
constexpr int kBusyMs = 5000;

constexpr std::string_view kCorruptHint =
    "stop the server, move {0} with its -wal and -shm files away, and put a backup or one of the copies "
    "{0}.vN in its place; what runs on the hosts goes on meanwhile";

int Bind(sqlite3_stmt* statement, int place, const Bound& value) {
  if (const auto* number = std::get_if<int64_t>(&value)) return sqlite3_bind_int64(statement, place, *number);
  if (const auto* text = std::get_if<std::string_view>(&value)) {
    // A null pointer would bind NULL, which no column here takes.
    return sqlite3_bind_text64(statement, place, text->data() ? text->data() : "", text->size(),
                               SQLITE_STATIC, SQLITE_UTF8);
  }
  const std::string_view bytes = std::get<Blob>(value).bytes;
  return sqlite3_bind_blob64(statement, place, bytes.data() ? bytes.data() : "", bytes.size(), SQLITE_STATIC);
}

// Resets a kept statement whatever way the function is left: an open one would hold the read lock.
class Use {
 public:
  explicit Use(sqlite3_stmt* statement) : statement_(statement) {}
  ~Use() {
    sqlite3_reset(statement_);
    sqlite3_clear_bindings(statement_);
  }
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;

 private:
  sqlite3_stmt* statement_;
};

Status SyncFile(const std::string& path, int flags) {
  const Fd fd(open(path.c_str(), flags | O_CLOEXEC));
  if (!fd.valid() || fsync(fd.get()) != 0) return Error::Os(path, errno);
  return Done();
}

}  // namespace

int64_t Row::Integer(int column) const { return sqlite3_column_int64(statement_, column); }

std::string Row::Text(int column) const {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  return text ? std::string(text, static_cast<size_t>(sqlite3_column_bytes(statement_, column))) : "";
}

std::string Row::Bytes(int column) const {
  const auto* bytes = static_cast<const char*>(sqlite3_column_blob(statement_, column));
  return bytes ? std::string(bytes, static_cast<size_t>(sqlite3_column_bytes(statement_, column))) : "";
}

Result<std::unique_ptr<Database>> Database::Open(const std::string& path) {
  {
    // Made here, since SQLite would make it with the umask's mode; log and index take the mode of this file.
    const Fd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!fd.valid() && errno == ENOSPC) {
      return Error::Unavailable("disk-full", "no space left for {}", path)
          .Hint("free some space and try again");
    }
    if (!fd.valid()) {
      return Error::Denied("store-unreadable", "{}: {}", path, std::strerror(errno))
          .Hint("the server must own its folder; look at `ls -la` there");
    }
  }
  sqlite3* connection = nullptr;
  const int opened =
      sqlite3_open_v2(path.c_str(), &connection, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
  std::unique_ptr<Database> database(new Database(connection, path));
  if (opened != SQLITE_OK) return database->ErrorNow(opened);
  sqlite3_extended_result_codes(connection, 1);
  sqlite3_busy_timeout(connection, kBusyMs);
  // secure_delete: what is deleted is overwritten where that costs no writing of its own, so that a rotated
  // key leaves little old ciphertext behind. (ON would write every freed page, even to make room on a full
  // disk.)
  MUSTER_DO(
      database->Run("PRAGMA journal_mode=WAL", {}, [](const Row&) {}).While("opening the store {}", path));
  MUSTER_DO(
      database->Execute("PRAGMA synchronous=FULL; PRAGMA secure_delete=FAST; PRAGMA temp_store=MEMORY;"));
  return database;
}

Database::~Database() {
  for (const auto& [sql, statement] : statements_) sqlite3_finalize(statement);
  sqlite3_close_v2(connection_);
}

Error Database::ErrorNow(int code) {
  const std::string text = connection_ ? sqlite3_errmsg(connection_) : sqlite3_errstr(code);
  const int system = connection_ ? sqlite3_system_errno(connection_) : 0;
  const int primary = code & 0xff;
  const bool no_space = primary == SQLITE_IOERR && (system == ENOSPC || system == EDQUOT);
  if (primary == SQLITE_FULL || no_space) {
    return Error::Unavailable("disk-full", "no space left for {}", path_)
        .Hint("free some space and try again; nothing was changed");
  }
  if (primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB || code == SQLITE_IOERR_SHORT_READ) {
    return Error::Internal("store-corrupt", "{} is damaged: {}", path_, text).Hint(kCorruptHint, path_);
  }
  if (primary == SQLITE_BUSY || primary == SQLITE_LOCKED) {
    return Error::Unavailable("store-busy", "another program holds {}", path_)
        .Hint("see who has it open with `fuser {}`", path_);
  }
  if (primary == SQLITE_CANTOPEN || primary == SQLITE_PERM || primary == SQLITE_READONLY) {
    return Error::Denied("store-unreadable", "{}: {}", path_, text)
        .Hint("the server must own its folder and be able to write there");
  }
  if (primary == SQLITE_CONSTRAINT) return Error::Conflict("row-exists", "{}", text);
  return Error::Internal("store-failed", "{}: {} (SQLite {})", path_, text, code);
}

Result<sqlite3_stmt*> Database::Prepared(std::string_view sql) {
  if (const auto found = statements_.find(sql); found != statements_.end()) return found->second;
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v3(connection_, sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  if (code != SQLITE_OK) return ErrorNow(code);
  statements_.emplace(sql, statement);
  return statement;
}

Status Database::Execute(const std::string& script) {
  const int code = sqlite3_exec(connection_, script.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return ErrorNow(code);
  return Done();
}

Status Database::Run(std::string_view sql, const std::vector<Bound>& values,
                     const std::function<void(const Row&)>& each) {
  MUSTER_TRY(sqlite3_stmt * statement, Prepared(sql));
  const Use use(statement);
  for (size_t i = 0; i < values.size(); ++i) {
    const int code = Bind(statement, static_cast<int>(i) + 1, values[i]);
    if (code != SQLITE_OK) return ErrorNow(code);
  }
  while (true) {
    const int code = sqlite3_step(statement);
    if (code == SQLITE_DONE) return Done();
    if (code != SQLITE_ROW) return ErrorNow(code);
    if (each) each(Row(statement));
  }
}

Result<int64_t> Database::Number(std::string_view sql, const std::vector<Bound>& values) {
  int64_t number = 0;
  MUSTER_DO(Run(sql, values, [&](const Row& row) { number = row.Integer(0); }));
  return number;
}

void Database::RollBack(const std::string& savepoint) {
  // On a full disk SQLite may have rolled everything back by itself.
  if (sqlite3_get_autocommit(connection_)) return;
  if (savepoint.empty()) {
    (void)Run("ROLLBACK");
    return;
  }
  (void)Run("ROLLBACK TO " + savepoint);
  (void)Run("RELEASE " + savepoint);
}

Status Database::Transaction(const std::function<Status()>& writes) {
  const std::string savepoint = depth_ == 0 ? "" : "s" + std::to_string(depth_);
  // IMMEDIATE: it takes the write lock now, where waiting for it is still possible.
  MUSTER_DO(Run(savepoint.empty() ? std::string("BEGIN IMMEDIATE") : "SAVEPOINT " + savepoint));
  ++depth_;
  Status written = Error::Internal("store-failed", "the transaction was left by an exception");
  try {
    written = writes();
  } catch (...) {
    --depth_;
    RollBack(savepoint);
    throw;
  }
  --depth_;
  if (written.ok() && savepoint.empty()) {
    MUSTER_FAULT("store.before-commit");
    written = Run("COMMIT");
    if (written.ok()) MUSTER_FAULT("store.after-commit");
  } else if (written.ok()) {
    written = Run("RELEASE " + savepoint);
  }
  if (!written.ok()) RollBack(savepoint);
  return written;
}

Status Database::Check() {
  std::string found;
  MUSTER_DO(Run("PRAGMA quick_check(1)", {}, [&](const Row& row) { found = row.Text(0); }));
  if (found == "ok") return Done();
  return Error::Internal("store-corrupt", "{} is damaged: {}", path_, found).Hint(kCorruptHint, path_);
}

Status Database::CopyTo(const std::string& path) {
  const std::string temporary = path + "." + RandomHex(4) + ".tmp";
  Status copied = Run("VACUUM INTO ?", {std::string_view(temporary)});
  // VACUUM INTO doesn't wait for the disk; a copy that isn't there after a power cut is none.
  if (copied.ok()) copied = SyncFile(temporary, O_RDWR);
  if (copied.ok() && chmod(temporary.c_str(), 0600) != 0) copied = Error::Os(temporary, errno);
  if (copied.ok() && rename(temporary.c_str(), path.c_str()) != 0) copied = Error::Os(path, errno);
  if (!copied.ok()) {
    unlink(temporary.c_str());
    return copied;
  }
  return SyncFile(fs::path(path).parent_path().string(), O_RDONLY | O_DIRECTORY);
}

Status Database::Checkpoint() {
  return Run("PRAGMA wal_checkpoint(TRUNCATE)", {}, [](const Row&) {});
}

int64_t Database::last_id() const { return sqlite3_last_insert_rowid(connection_); }

}  // namespace muster::store
