// The tables of muster.db and how each version of them becomes the next. For the thread that has opened the
// database.
#pragma once

#include <vector>

#include "store/database.h"

namespace muster::store {

struct Migration {
  int64_t to;          // the version after it; they rise by one
  const char* script;  // SQL
};

// All of them, oldest first. Never change one that was released: add another.
const std::vector<Migration>& Migrations();

// Brings the database to the newest version, all steps in one transaction. An older one is copied to
// `muster.db.vN` beside it first. Codes: "store-newer" for one that a later program wrote, "store-corrupt"
// for a file that is some other program's.
Status Migrate(Database& database, const std::vector<Migration>& migrations);

}  // namespace muster::store
