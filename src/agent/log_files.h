// An instance's log: rotated under the program that writes it, readable by time, followable.
//
// The program's two output streams go straight to `current.log` (O_APPEND), so they survive the agent. All
// the files of a `logs` folder, 5.log … 1.log current.log, make one stream of bytes whose positions never
// change; FILE.times beside each tells where in the stream it begins and by when which byte had been written,
// since most programs print no times of their own. Blocking, and one thread at a time for each
// object; whole logs are read on the pool. Positions and sizes are bytes. Errors are "os-error", of the logs
// folder.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"
#include "base/result.h"
#include "base/time.h"
#include "model/instance.h"

namespace muster::agent {

struct LogLine {
  WallTime at{};     // when it was written, to about a second
  std::string text;  // valid UTF-8 without its end of line; what isn't UTF-8 has become U+FFFD
  int64_t end = 0;   // the position behind it, to go on from; 0 where it isn't known
  bool operator==(const LogLine& other) const { return at == other.at && text == other.text; }
};

// Lines longer than this come in pieces, each as a line, so that a log without line ends needs no memory.
constexpr size_t kLogLineBytesMost = 64 << 10;

// Looks after one instance's logs folder. One per instance and agent; cheap to make.
class LogKeeper {
 public:
  // `folder` need not exist yet.
  LogKeeper(std::string folder, LogPolicy policy);

  // To be called about each second and after each exit: notes by when the log has grown to its present size,
  // and rotates it once it is larger than the policy says. One stat(2) where nothing has grown. Loses no line
  // while the program goes on writing (on file systems that can't collapse a range, ext4 and xfs can: none
  // but what is written within microseconds of the rotation). Finishes a rotation that a killed agent left
  // half done.
  //
  // Copies as much as the policy's size at a time, or twice that where a range can't be collapsed. Where the
  // folder has come to more than keep + 3 times the size, or the log grows faster than it can be copied, all
  // but the newest is dropped, and a line in its place says so. How much a folder can come to hence depends
  // on how soon this is called again: see LogCare. Code "locked" where it is just being read.
  Status Look(WallTime now) { return Look(now, true); }
  Status Note(WallTime now) { return Look(now, false); }  // never rotates: for where nothing may wait
  bool WantsRotation() const;                             // one stat(2)
  void set_policy(LogPolicy policy) { policy_ = policy; }

 private:
  Status Look(WallTime now, bool rotate);
  Status Load(int folder);
  Status NoteTimes(int folder, int64_t size, int64_t ms);
  Status Rotate(int folder);
  Result<bool> CutOff(int folder, int log, int64_t cut);
  Status Drop(int folder, int log, int64_t size);

  std::string folder_;
  LogPolicy policy_;
  int64_t size_seen_ = -1;
  int64_t base_ = -1;       // position of current.log's first byte; -1: not read yet
  int64_t marked_ = 0;      // position up to which the times are known
  int64_t mark_count_ = 0;  // in current.times
};

struct LogReadOptions {
  int tail = -1;                  // the last so many lines; -1: all
  std::optional<WallTime> since;  // only lines written then or later
  int64_t from = 0;               // no line that begins before this position
  bool partial = true;  // a last line that has no line end yet counts, too (leave out when following)
};

// Reads the lines that are wanted, oldest first, in batches: as slowly as they can be passed on, in little
// memory however large the log is. What is written after the first call isn't read. Between two calls nothing
// is held, so it may be used from one thread after another.
class LogReader {
 public:
  LogReader(std::string folder, LogReadOptions options);
  // About `bytes_most` of lines; none at the end. An absent log has no lines.
  Result<std::vector<LogLine>> Next(size_t bytes_most);
  // Behind the last whole line given, for a LogFollower to go on from.
  int64_t position() const { return position_; }
  // Bytes that were rotated away for good before they could be read.
  int64_t missed() const { return missed_; }

 private:
  std::string folder_;
  LogReadOptions options_;
  bool begun_ = false;
  bool over_ = false;
  int64_t position_ = 0;
  int64_t end_ = 0;
  int64_t missed_ = 0;
};

// Hands the lines to `take`, oldest first, until it returns false. Needs little memory however large the log
// is. Returns the position behind the last whole line, for a LogFollower to go on from. An absent log has no
// lines.
Result<int64_t> ForEachLogLine(const std::string& folder, const LogReadOptions& options,
                               const std::function<bool(LogLine)>& take);

struct LogRead {
  std::vector<LogLine> lines;
  int64_t end = 0;
};
// The same as a value, for tails. Keeps the newest 4 MiB of lines; use ForEachLogLine for more.
Result<LogRead> ReadLines(const std::string& folder, int tail, std::optional<WallTime> since,
                          bool partial = true);

// Evidence: the last lines of the log, none from before the position `from`, repetitions folded.
std::vector<std::string> LastLogLines(const std::string& folder, size_t most = 10, int64_t from = 0);
// "line (4 times)" for equal lines in a row, and "(these 2 lines 4 times)" behind the first of equal blocks.
std::vector<std::string> FoldRepeats(const std::vector<std::string>& lines);
// The position behind all that is written so far.
int64_t LogEnd(const std::string& folder);

// Yields the lines that come after a position, across rotations.
class LogFollower {
 public:
  // From `position` on (of LogRead::end or ForEachLogLine), or from the present end where there is none.
  // Neither the folder nor the log need exist. When `Next` may have something more LogWaker tells.
  explicit LogFollower(std::string folder, std::optional<int64_t> position = {});

  // The whole lines written since the last call, about 1 MiB at most. Empty when there is nothing more: call
  // it until then. Lines that were rotated away for good before they could be read are skipped.
  Result<std::vector<LogLine>> Next(WallTime now);
  int64_t position() const { return position_; }
  int64_t missed() const { return missed_; }  // bytes that were skipped so

 private:
  std::string folder_;
  int64_t position_;
  int64_t missed_ = 0;
};

}  // namespace muster::agent
