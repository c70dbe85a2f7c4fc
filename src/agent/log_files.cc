#include "agent/log_files.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <deque>

#include "base/text.h"

namespace muster::agent {
namespace {

constexpr const char* kLog = "current.log";
constexpr const char* kTimes = "current.times";
// A rotation in progress: what becomes 1.log and 1.times, and the times of what stays. See Recover.
constexpr const char* kRotatingLog = "rotating.log";
constexpr const char* kRotatingTimes = "rotating.times";
constexpr const char* kRotatingRest = "rotating.rest";
constexpr int64_t kMarksMost = 8192;
constexpr size_t kChunk = 256 << 10;

// The folder belongs to the instance's user, who may put links there: nothing here follows one.
Fd OpenIn(int folder, const std::string& name, int flags) {
  Fd fd(openat(folder, name.c_str(), flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0640));
  struct stat file {};
  if (fd.valid() && (fstat(fd.get(), &file) != 0 || !S_ISREG(file.st_mode))) fd.Reset();
  return fd;
}
Fd OpenFolder(const std::string& folder) {
  return Fd(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
}
bool ExistsIn(int folder, const std::string& name) {
  return faccessat(folder, name.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}
int64_t SizeOf(int fd) {
  struct stat file {};
  return fstat(fd, &file) == 0 ? file.st_size : 0;
}
int64_t ModifiedMs(const struct stat& file) {
  return file.st_mtim.tv_sec * 1000 + file.st_mtim.tv_nsec / 1'000'000;
}

std::string ReadStart(int folder, const std::string& name, size_t most) {
  const Fd fd = OpenIn(folder, name, O_RDONLY);
  std::string text;
  if (!fd.valid()) return text;
  char buffer[65536];
  while (text.size() < most) {
    const ssize_t got = read(fd.get(), buffer, std::min(sizeof buffer, most - text.size()));
    if (got <= 0) break;
    text.append(buffer, static_cast<size_t>(got));
  }
  return text;
}

Status WriteAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return Error::Os("write a log", errno);
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return Done();
}

// A new file that belongs to whom the log belongs to.
Result<Fd> CreateIn(int folder, const std::string& name) {
  unlinkat(folder, name.c_str(), 0);
  Fd fd = OpenIn(folder, name, O_WRONLY | O_CREAT | O_EXCL);
  if (!fd.valid()) return Error::Os("make " + name, errno);
  struct stat log {};
  const bool known = fstatat(folder, kLog, &log, AT_SYMLINK_NOFOLLOW) == 0;
  // Without root it can't be given away, and is the right user's already.
  if (known && geteuid() == 0 && fchown(fd.get(), log.st_uid, log.st_gid) != 0) return Error::Os(name, errno);
  return fd;
}

struct Mark {
  int64_t position;  // bytes before it were there…
  int64_t ms;        // …by then
};
struct Times {
  int64_t base = -1;  // -1: not known
  std::vector<Mark> marks;

  std::string Text() const {
    std::string text = fmt::format("base {}\n", base);
    for (const Mark& mark : marks) text += fmt::format("{} {}\n", mark.position, mark.ms);
    return text;
  }
};

Times ParseTimes(std::string_view text) {
  Times times;
  while (true) {
    const size_t end = text.find('\n');
    if (end == std::string_view::npos) return times;  // A last line without its end was being written.
    const std::string line(text.substr(0, end));
    text.remove_prefix(end + 1);
    char* rest = nullptr;
    if (line.rfind("base ", 0) == 0) {
      times.base = std::strtoll(line.c_str() + 5, nullptr, 10);
    } else if (const int64_t position = std::strtoll(line.c_str(), &rest, 10); rest && *rest == ' ') {
      times.marks.push_back({position, std::strtoll(rest, nullptr, 10)});
    }
  }
}

// The whole file, or with a small `most` hardly more than where the log begins.
Times TimesIn(int folder, const std::string& name, size_t most = 4 << 20) {
  return ParseTimes(ReadStart(folder, name, most));
}

Status WriteTimes(int folder, const std::string& name, const Times& times) {
  MUSTER_TRY(const Fd fd, CreateIn(folder, name));
  return WriteAll(fd.get(), times.Text());
}

std::string Slot(int number, const char* ending) { return std::to_string(number) + ending; }

// Takes rotating.* in as 1.*, moving the others up. Only renames, each of which leaves a state to go on from.
void Commit(int folder, int keep) {
  const auto rename_in = [&](const std::string& from, const std::string& to) {
    renameat(folder, from.c_str(), folder, to.c_str());
  };
  if (ExistsIn(folder, kRotatingLog)) {
    int free_slot = 1;
    while (ExistsIn(folder, Slot(free_slot, ".log"))) ++free_slot;
    for (int slot = free_slot; slot > 1; --slot) {
      rename_in(Slot(slot - 1, ".log"), Slot(slot, ".log"));
      if (ExistsIn(folder, Slot(slot - 1, ".times")))
        rename_in(Slot(slot - 1, ".times"), Slot(slot, ".times"));
    }
    rename_in(kRotatingLog, Slot(1, ".log"));
  }
  if (ExistsIn(folder, kRotatingTimes)) rename_in(kRotatingTimes, Slot(1, ".times"));
  if (ExistsIn(folder, kRotatingRest)) rename_in(kRotatingRest, kTimes);
  for (int slot = std::max(keep, 0) + 1; ExistsIn(folder, Slot(slot, ".log")); ++slot) {
    unlinkat(folder, Slot(slot, ".log").c_str(), 0);
    unlinkat(folder, Slot(slot, ".times").c_str(), 0);
  }
}

// Whether the current log still begins with all of what was copied out of it.
bool StillThere(int folder) {
  const Fd copy = OpenIn(folder, kRotatingLog, O_RDONLY), log = OpenIn(folder, kLog, O_RDONLY);
  if (!copy.valid() || !log.valid() || SizeOf(log.get()) < SizeOf(copy.get())) return false;
  std::string one(kChunk, '\0'), other(kChunk, '\0');
  while (true) {
    const ssize_t got = read(copy.get(), one.data(), one.size());
    if (got <= 0) return true;
    if (read(log.get(), other.data(), static_cast<size_t>(got)) != got) return false;
    if (one.compare(0, static_cast<size_t>(got), other, 0, static_cast<size_t>(got)) != 0) return false;
  }
}

// An agent killed in a rotation leaves rotating.*: before the cut they are a mere copy, after it the only
// one.
void Recover(int folder, int keep) {
  if (ExistsIn(folder, kRotatingLog) && (!ExistsIn(folder, kRotatingRest) || StillThere(folder))) {
    for (const char* name : {kRotatingRest, kRotatingTimes, kRotatingLog}) unlinkat(folder, name, 0);
    return;
  }
  Commit(folder, keep);
}

// Copies `bytes` from where both stand, or as many as there are.
Result<int64_t> Copy(int from, int to, int64_t bytes) {
  std::string buffer(kChunk, '\0');
  int64_t copied = 0;
  while (copied < bytes) {
    const size_t wanted = static_cast<size_t>(std::min<int64_t>(kChunk, bytes - copied));
    const ssize_t got = read(from, buffer.data(), wanted);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Error::Os("read a log", errno);
    if (got == 0) break;
    MUSTER_DO(WriteAll(to, {buffer.data(), static_cast<size_t>(got)}));
    copied += got;
  }
  return copied;
}

// The times of the first `bytes`, and of the rest.
std::pair<Times, Times> SplitTimes(const Times& all, int64_t bytes) {
  std::pair<Times, Times> split{{all.base, {}}, {all.base + bytes, {}}};
  const auto after = std::find_if(all.marks.begin(), all.marks.end(),
                                  [&](const Mark& mark) { return mark.position > all.base + bytes; });
  split.first.marks.assign(all.marks.begin(), after);
  split.second.marks.assign(after, all.marks.end());
  if (after != all.marks.end()) split.first.marks.push_back({all.base + bytes, after->ms});
  return split;
}

int64_t BaseOfCurrent(int folder, const Times& times) {
  if (times.base >= 0) return times.base;
  const Fd newest = OpenIn(folder, Slot(1, ".log"), O_RDONLY);
  if (!newest.valid()) return 0;
  return std::max<int64_t>(0, TimesIn(folder, Slot(1, ".times")).base) + SizeOf(newest.get());
}

// ------------------------------------------------------------------------------------------------ reading

std::string CleanUtf8(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  for (size_t at = 0; at < bytes.size();) {
    const auto byte = [&](size_t i) { return static_cast<unsigned char>(bytes[at + i]); };
    const size_t length = byte(0) < 0x80                      ? 1
                          : byte(0) >= 0xC2 && byte(0) < 0xE0 ? 2
                          : byte(0) >= 0xE0 && byte(0) < 0xF0 ? 3
                          : byte(0) >= 0xF0 && byte(0) < 0xF5 ? 4
                                                              : 0;
    bool good = length > 0 && at + length <= bytes.size() && byte(0) != 0;
    for (size_t i = 1; good && i < length; ++i) good = (byte(i) & 0xC0) == 0x80;
    if (good && length == 3)
      good = !(byte(0) == 0xE0 && byte(1) < 0xA0) && !(byte(0) == 0xED && byte(1) >= 0xA0);
    if (good && length == 4)
      good = !(byte(0) == 0xF0 && byte(1) < 0x90) && !(byte(0) == 0xF4 && byte(1) >= 0x90);
    if (good) {
      text.append(bytes.substr(at, length));
      at += length;
    } else {
      text += "\xEF\xBF\xBD";
      ++at;
    }
  }
  return text;
}

// Cuts the stream into lines, or pieces of lines that are too long. `take` gets position and bytes, and
// returns false to stop.
class LineCutter {
 public:
  explicit LineCutter(int64_t position) : position_(position) {}

  template <class Take>
  bool Add(std::string_view bytes, const Take& take) {
    rest_ += bytes;
    size_t done = 0;
    bool go_on = true;
    while (go_on) {
      const size_t end = rest_.find('\n', done);
      const size_t length = (end == std::string::npos ? rest_.size() : end) - done;
      if (length > kLogLineBytesMost) {
        size_t piece = kLogLineBytesMost;  // Not in the middle of a character.
        while (piece > kLogLineBytesMost - 4 && (rest_[done + piece] & 0xC0) == 0x80) --piece;
        go_on = take(position_, std::string_view(rest_).substr(done, piece));
        done += piece;
        position_ += static_cast<int64_t>(piece);
      } else if (end != std::string::npos) {
        std::string_view line = std::string_view(rest_).substr(done, length);
        if (line.ends_with('\r')) line.remove_suffix(1);
        go_on = take(position_, line);
        done = end + 1;
        position_ += static_cast<int64_t>(length) + 1;
      } else {
        break;
      }
    }
    rest_.erase(0, done);
    return go_on;
  }
  // Behind the last whole line, and what follows it.
  int64_t position() const { return position_; }
  const std::string& rest() const { return rest_; }

 private:
  int64_t position_;
  std::string rest_;
};

struct Segment {
  Fd fd;
  int64_t base = 0;
  int64_t size = 0;
  int64_t end() const { return base + size; }
};

// The files of a logs folder as they are now, oldest first. Holds a shared lock on the current log, so that
// it isn't rotated meanwhile.
struct Stream {
  std::vector<Segment> segments;
  std::vector<Mark> marks;
  int64_t modified_ms = 0;

  int64_t begin() const { return segments.empty() ? 0 : segments.front().base; }
  int64_t end() const { return segments.empty() ? 0 : segments.back().end(); }
  WallTime TimeOf(int64_t position) const {
    const auto mark =
        std::upper_bound(marks.begin(), marks.end(), position,
                         [](int64_t wanted, const Mark& mark) { return wanted < mark.position; });
    return WallTime(Duration(mark == marks.end() ? modified_ms : mark->ms));
  }
  // Gives the bytes from `position` on to `take`, in pieces, until it returns false.
  template <class Take>
  void Read(int64_t position, const Take& take) const {
    std::string buffer(kChunk, '\0');
    for (const Segment& segment : segments) {
      for (int64_t at = std::max(position, segment.base); at < segment.end();) {
        const size_t wanted = static_cast<size_t>(std::min<int64_t>(kChunk, segment.end() - at));
        const ssize_t got = pread(segment.fd.get(), buffer.data(), wanted, at - segment.base);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        if (!take(std::string_view(buffer.data(), static_cast<size_t>(got)))) return;
        at += got;
      }
    }
  }
  // Where the last `lines` lines begin; looks no further back than `lowest`, nor than such lines can be long.
  int64_t StartOfTail(int lines, int64_t lowest) const {
    lowest = std::max(lowest, end() - (int64_t{lines} + 1) * static_cast<int64_t>(kLogLineBytesMost + 2));
    int64_t left = int64_t{lines} + 1;  // One more: the last byte is a line end itself.
    std::string buffer(kChunk, '\0');
    for (auto segment = segments.rbegin(); segment != segments.rend(); ++segment) {
      for (int64_t high = segment->end(); high > std::max(segment->base, lowest);) {
        const int64_t low = std::max({segment->base, lowest, high - static_cast<int64_t>(kChunk)});
        const ssize_t got =
            pread(segment->fd.get(), buffer.data(), static_cast<size_t>(high - low), low - segment->base);
        for (ssize_t i = got - 1; i >= 0; --i) {
          if (buffer[static_cast<size_t>(i)] == '\n' && --left == 0) return low + i + 1;
        }
        high = low;
      }
    }
    return lowest;
  }
};

// `from`: where the whole stream isn't needed, only what is at this position or later. `times_most`: bytes to
// read of each file of times.
Stream OpenStream(int folder, int64_t from = 0, size_t times_most = 4 << 20) {
  Stream stream;
  Fd log = OpenIn(folder, kLog, O_RDONLY);
  // A rotation takes milliseconds; a log whose own program keeps it locked is read all the same.
  for (int attempt = 0; log.valid() && attempt < 200 && flock(log.get(), LOCK_SH | LOCK_NB) != 0; ++attempt) {
    poll(nullptr, 0, 5);
  }
  std::vector<Times> times{TimesIn(folder, kTimes, times_most)};
  int64_t base = BaseOfCurrent(folder, times[0]);
  if (log.valid()) {
    struct stat file {};
    fstat(log.get(), &file);
    stream.modified_ms = ModifiedMs(file);
    stream.segments.push_back({std::move(log), base, file.st_size});
  }
  for (int slot = 1; base > from; ++slot) {
    Fd rotated = OpenIn(folder, Slot(slot, ".log"), O_RDONLY);
    if (!rotated.valid()) break;
    const int64_t size = SizeOf(rotated.get());
    times.push_back(TimesIn(folder, Slot(slot, ".times"), times_most));
    base = times.back().base >= 0 ? times.back().base : std::max<int64_t>(0, base - size);
    stream.segments.insert(stream.segments.begin(), Segment{std::move(rotated), base, size});
  }
  for (auto part = times.rbegin(); part != times.rend(); ++part) {
    stream.marks.insert(stream.marks.end(), part->marks.begin(), part->marks.end());
  }
  return stream;
}

// The first position whose time may be `since` or later.
int64_t StartOfTime(const Stream& stream, std::optional<WallTime> since) {
  int64_t start = stream.begin();
  if (!since) return start;
  for (const Mark& mark : stream.marks) {
    if (WallTime(Duration(mark.ms)) >= *since) break;
    start = std::max(start, mark.position);
  }
  return start;
}

}  // namespace

LogKeeper::LogKeeper(std::string folder, LogPolicy policy) : folder_(std::move(folder)), policy_(policy) {}

Status LogKeeper::Load(int folder) {
  Recover(folder, policy_.keep);
  Times times = TimesIn(folder, kTimes);
  base_ = BaseOfCurrent(folder, times);
  marked_ = times.marks.empty() ? base_ : times.marks.back().position;
  mark_count_ = static_cast<int64_t>(times.marks.size());
  if (times.base >= 0) return Done();
  times.base = base_;
  return WriteTimes(folder, kTimes, times);
}

Status LogKeeper::Note(int folder, int64_t size, int64_t ms) {
  if (base_ + size < marked_) {
    // Somebody emptied it by hand. Positions go on from where they were.
    base_ = marked_;
    mark_count_ = 0;
    MUSTER_DO(WriteTimes(folder, kTimes, {base_, {}}));
  }
  if (base_ + size == marked_) return Done();
  const Fd fd = OpenIn(folder, kTimes, O_WRONLY | O_APPEND);
  if (!fd.valid()) {  // Removed by hand: read anew the next time.
    base_ = -1;
    return Done();
  }
  marked_ = base_ + size;
  MUSTER_DO(WriteAll(fd.get(), fmt::format("{} {}\n", marked_, ms)));
  if (++mark_count_ <= kMarksMost) return Done();
  // A log that grows slowly for weeks: the older half becomes coarser.
  Times times = TimesIn(folder, kTimes);
  std::vector<Mark> fewer;
  for (size_t i = 0; i < times.marks.size(); ++i) {
    if (i % 2 == 1 || i > times.marks.size() / 2) fewer.push_back(times.marks[i]);
  }
  times.marks = std::move(fewer);
  mark_count_ = static_cast<int64_t>(times.marks.size());
  MUSTER_DO(WriteTimes(folder, "coarser.times", times));
  renameat(folder, "coarser.times", folder, kTimes);
  return Done();
}

Status LogKeeper::Rotate(int folder) {
  const Fd log = OpenIn(folder, kLog, O_RDWR);
  if (!log.valid()) return Done();
  if (flock(log.get(), LOCK_EX | LOCK_NB) != 0) return Done();  // Being read: another time.
  struct stat file {};
  if (fstat(log.get(), &file) != 0) return Error::Os("rotate a log", errno);
  // Only whole blocks can be cut off, and not all of a file. What remains is in the middle of a line, as a
  // rule; readers put it together.
  const int64_t block = std::max<int64_t>(file.st_blksize, 512);
  const int64_t cut = (file.st_size - 1) / block * block;
  if (cut <= 0) return Done();
  MUSTER_TRY(const Fd copy, CreateIn(folder, kRotatingLog));
  MUSTER_TRY(int64_t copied, Copy(log.get(), copy.get(), cut));
  const Times times = TimesIn(folder, kTimes);
  const auto write_times = [&]() -> Status {
    const auto [rotated, rest] = SplitTimes(times, copied);
    MUSTER_DO(WriteTimes(folder, kRotatingTimes, rotated));
    return WriteTimes(folder, kRotatingRest, rest);
  };
  MUSTER_DO(write_times());
  if (fallocate(log.get(), FALLOC_FL_COLLAPSE_RANGE, 0, cut) != 0) {
    // This file system can't: copy up to the end, and empty it before more comes.
    MUSTER_TRY(const int64_t more, Copy(log.get(), copy.get(), INT64_MAX));
    if (ftruncate(log.get(), 0) != 0) return Error::Os("rotate a log", errno);
    copied += more;
    MUSTER_DO(write_times());
  }
  Commit(folder, policy_.keep);
  base_ = -1;
  return Done();
}

Status LogKeeper::Look(WallTime now) {
  struct stat file {};
  if (fstatat(AT_FDCWD, (folder_ + "/" + kLog).c_str(), &file, AT_SYMLINK_NOFOLLOW) != 0) return Done();
  if (!S_ISREG(file.st_mode) || (base_ >= 0 && file.st_size == size_seen_)) return Done();
  const Fd folder = OpenFolder(folder_);
  if (!folder.valid()) return Done();
  if (base_ < 0) MUSTER_DO(Load(folder.get()).While("reading {}", folder_));
  // When the last byte was written is more exact than when the agent looked.
  const int64_t ms = std::min(ModifiedMs(file), now.time_since_epoch().count());
  MUSTER_DO(Note(folder.get(), file.st_size, ms).While("noting the times of {}", folder_));
  size_seen_ = file.st_size;
  if (file.st_size <= policy_.rotate_bytes) return Done();
  size_seen_ = -1;
  MUSTER_DO(Rotate(folder.get()).While("rotating {}", folder_));
  return base_ < 0 ? Load(folder.get()) : Done();
}

Result<int64_t> ForEachLogLine(const std::string& folder, const LogReadOptions& options,
                               const std::function<bool(LogLine)>& take) {
  const Fd opened = OpenFolder(folder);
  if (!opened.valid()) return 0;
  const Stream stream = OpenStream(opened.get());
  const int64_t start_of_time = StartOfTime(stream, options.since);
  int64_t start = start_of_time;
  if (options.tail >= 0) start = std::max(start, stream.StartOfTail(options.tail, start));
  // A line that began before that time is older, unless it begins just there.
  bool in_middle = false;
  if (options.since && start == start_of_time && start > stream.begin()) {
    stream.Read(start - 1, [&](std::string_view bytes) {
      in_middle = bytes[0] != '\n';
      return false;
    });
  }
  const auto wanted = [&](int64_t position) {
    if (in_middle && position == start) return false;
    return !options.since || stream.TimeOf(position) >= *options.since;
  };

  // Only so many of them: counted first, as pieces of long lines count, too.
  int64_t surplus = 0;
  if (options.tail >= 0) {
    LineCutter cutter(start);
    int64_t count = 0;
    stream.Read(start, [&](std::string_view bytes) {
      return cutter.Add(bytes, [&](int64_t position, std::string_view) {
        count += wanted(position);
        return true;
      });
    });
    if (options.partial && !cutter.rest().empty()) count += wanted(cutter.position());
    surplus = count - options.tail;
  }

  LineCutter cutter(start);
  bool go_on = true;
  const auto give = [&](int64_t position, std::string_view line) {
    if (!wanted(position) || surplus-- > 0) return true;
    go_on = take({stream.TimeOf(position), CleanUtf8(line)});
    return go_on;
  };
  stream.Read(start, [&](std::string_view bytes) { return cutter.Add(bytes, give); });
  if (go_on && options.partial && !cutter.rest().empty()) give(cutter.position(), cutter.rest());
  return cutter.position();
}

Result<LogRead> ReadLines(const std::string& folder, int tail, std::optional<WallTime> since, bool partial) {
  constexpr size_t kBytesMost = 4 << 20;
  std::deque<LogLine> lines;
  size_t bytes = 0;
  const LogReadOptions options{.tail = tail, .since = since, .partial = partial};
  const std::function<bool(LogLine)> take = [&](LogLine line) {
    bytes += line.text.size() + sizeof(LogLine);
    lines.push_back(std::move(line));
    for (; bytes > kBytesMost && lines.size() > 1; lines.pop_front()) {
      bytes -= lines.front().text.size() + sizeof(LogLine);
    }
    return true;
  };
  MUSTER_TRY(const int64_t end, ForEachLogLine(folder, options, take));
  LogRead read{.end = end};
  read.lines.assign(std::make_move_iterator(lines.begin()), std::make_move_iterator(lines.end()));
  return read;
}

std::vector<std::string> LastLogLines(const std::string& folder, size_t most) {
  constexpr size_t kEvidenceBytesMost = 1000;  // of one line
  std::vector<std::string> texts;
  const Result<LogRead> read = ReadLines(folder, static_cast<int>(most), {});
  if (!read.ok()) return texts;
  for (const LogLine& line : read->lines) {
    texts.push_back(line.text.size() <= kEvidenceBytesMost
                        ? line.text
                        : CleanUtf8(std::string_view(line.text).substr(0, kEvidenceBytesMost)) + "…");
  }
  return texts;
}

Result<LogFollower> LogFollower::Open(std::string folder, std::optional<int64_t> position) {
  Fd inotify(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!inotify.valid()) return Error::Os("follow a log", errno);
  const uint32_t events = IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_DONT_FOLLOW | IN_ONLYDIR;
  if (inotify_add_watch(inotify.get(), folder.c_str(), events) < 0)
    return Error::Os("follow " + folder, errno);
  if (!position) {
    const Fd opened = OpenFolder(folder);
    position = opened.valid() ? OpenStream(opened.get(), INT64_MAX, 64).end() : 0;
  }
  return LogFollower(std::move(folder), *position, std::move(inotify));
}

Result<std::vector<LogLine>> LogFollower::Next(WallTime now) {
  constexpr size_t kBytesMost = 1 << 20;
  char events[4096];
  while (read(inotify_.get(), events, sizeof events) > 0) {
  }
  std::vector<LogLine> lines;
  const Fd folder = OpenFolder(folder_);
  if (!folder.valid()) return lines;
  // Called for each write: no reading of all times. What is followed was written just now.
  const Stream stream = OpenStream(folder.get(), position_, 64);
  position_ = std::max(position_, stream.begin());
  LineCutter cutter(position_);
  size_t bytes_read = 0;
  stream.Read(position_, [&](std::string_view bytes) {
    bytes_read += bytes.size();
    cutter.Add(bytes, [&](int64_t, std::string_view line) {
      lines.push_back({std::min(WallTime(Duration(stream.modified_ms)), now), CleanUtf8(line)});
      return true;
    });
    return bytes_read < kBytesMost;
  });
  position_ = cutter.position();
  return lines;
}

}  // namespace muster::agent
