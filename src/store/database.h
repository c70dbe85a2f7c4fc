// SQLite behind values: statements are prepared once and kept, every failure is an Error with a stable code.
// Used by one thread; blocking, as every write waits for the disk. Codes: "disk-full", "store-corrupt",
// "store-busy", "store-unreadable", "row-exists", "store-failed".
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace muster::store {

// A value bound to a `?`. The bytes must live until the call returns.
struct Blob {
  std::string_view bytes;
};
using Bound = std::variant<int64_t, std::string_view, Blob>;

// The row a statement stands on; valid inside the callback only.
class Row {
 public:
  explicit Row(sqlite3_stmt* statement) : statement_(statement) {}
  int64_t Integer(int column) const;
  std::string Text(int column) const;
  std::string Bytes(int column) const;

 private:
  sqlite3_stmt* statement_;
};

class Database {
 public:
  // Opens or creates the file (0600) with a write-ahead log and full synchronisation.
  static Result<std::unique_ptr<Database>> Open(const std::string& path);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  // Statements in a row, none of which gives rows; for schemas.
  Status Execute(const std::string& script);
  // One statement with its values in order. `each` is called per row.
  Status Run(std::string_view sql, const std::vector<Bound>& values = {},
             const std::function<void(const Row&)>& each = {});
  Result<int64_t> Number(std::string_view sql, const std::vector<Bound>& values = {});  // of the first row; 0

  // All writes in `writes` become durable together, or none does. Inside another transaction it is a part of
  // that one, which can fail by itself.
  Status Transaction(const std::function<Status()>& writes);
  bool in_transaction() const { return depth_ > 0; }

  // Reads every page: "store-corrupt" with what is wrong.
  Status Check();
  // A whole copy of what is committed, durable, replacing `path`. Atomic.
  Status CopyTo(const std::string& path);
  // Moves the log into the database and empties it, so that nothing deleted lingers there.
  Status Checkpoint();

  int64_t last_id() const;
  const std::string& path() const { return path_; }

 private:
  Database(sqlite3* connection, std::string path) : connection_(connection), path_(std::move(path)) {}
  Error ErrorNow(int code);
  Result<sqlite3_stmt*> Prepared(std::string_view sql);
  void RollBack(const std::string& savepoint);

  sqlite3* connection_;
  std::string path_;
  std::map<std::string, sqlite3_stmt*, std::less<>> statements_;
  int depth_ = 0;
};

}  // namespace muster::store
