// What an operator remembers of its member, in the agent's records: so that neither a member that was
// restarted nor an agent that was forgets what was promised. Blocking, small; the agent's loop thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/within.h"

namespace muster::redis_primary {

// A term has one primary, for ever: a mender promotes nobody in a term that it has given out before.
struct Record {
  int64_t term = 0;     // the highest that it was ordered in; lower ones are refused from then on
  std::string aim;      // what it was ordered to be in it: "primary", "replica", "fenced"; "": nothing yet
  std::string follows;  // host:port, of a replica
  int pid = 0;          // the process that the order was carried out on; another one has started fenced
  int64_t copy = 0;     // the term whose data it has, at least in part; 0: it has none
  std::string was;      // what it was in that term: "primary" or "replica"
  int linked_pid = 0;   // the process that was linked in that term: it has missed nothing while it was
  std::string linked;   // of a primary: who followed it and was linked, "host:port,host:port"
  int ready_pid = 0;    // the process that has been ready
  int64_t lost = 0;     // the term whose data it had, and that is gone from its folder; 0: none is

  bool operator==(const Record&) const = default;
};

std::string FormatRecord(const Record& record);  // pure
Record ParseRecord(std::string_view text);       // pure; what can't be read has its default

// Where there is none, as after the cluster was down, what the data says of itself; else an empty one.
Record ReadRecord(const std::string& records, const std::string& folder);
// Says beside the data whose copy it is, or that it is gone. Codes of WriteWithin.
Status MarkData(const std::string& folder, const Record& record, const Owner& owner);
// `durable`: it is on the disk when this returns. On a full disk it goes into the room that ReserveRecord has
// kept, so that a primary there can still be fenced. Codes of WriteFile.
Status WriteRecord(const std::string& records, const Record& record, bool durable);
// Keeps room for one record more, where none is kept yet and the disk has any.
void ReserveRecord(const std::string& records);

// Whether the folder of a member holds data that a server would load.
bool HasData(const std::string& folder);
// Whether it has the files of a server that kept everything, though there be nothing in them.
bool HasAppendOnlyFiles(const std::string& folder);
// Whether it says whose copy its data is, as it does from the first on, also before a server has saved any.
bool HasMark(const std::string& folder);

// What is remembered of a member whose folder holds no data at its start, though it had some. `is_loss`: that
// was kept there, and a person is to decide what becomes of it. Pure.
Record RecordOfEmptied(Record record, bool is_loss);

}  // namespace muster::redis_primary
