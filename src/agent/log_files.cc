#include "agent/log_files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>

#include "agent/log_stream.h"

namespace muster::agent {

using namespace logs;

namespace {

// A rotation in progress: what becomes 1.log and 1.times, and the times of what stays. See Recover.
constexpr const char* kRotatingLog = "rotating.log";
constexpr const char* kRotatingTimes = "rotating.times";
constexpr const char* kRotatingRest = "rotating.rest";
constexpr int64_t kMarksMost = 8192;
constexpr std::string_view kNote = "muster: at least ";  // so many bytes are missing here
constexpr size_t kNoteMost = 256;

bool ExistsIn(int folder, const std::string& name) {
  return faccessat(folder, name.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
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

Status WriteTimes(int folder, const std::string& name, const Times& times) {
  MUSTER_TRY(const Fd fd, CreateIn(folder, name));
  return WriteAll(fd.get(), times.Text());
}

// Takes rotating.* in as 1.*, moving the others up. Only renames, each of which leaves a state to go on from.
void Commit(int folder, int keep) {
  const auto rename_in = [&](const std::string& from, const std::string& to) {
    renameat(folder, from.c_str(), folder, to.c_str());
  };
  if (ExistsIn(folder, kRotatingLog)) {
    int free_slot = 1;
    while (ExistsIn(folder, Slot(free_slot, ".log"))) ++free_slot;
    for (int slot = free_slot; slot > 1; --slot) {
      // Times first: who is killed in between finds the log where it was, and gives it the times that went
      // ahead. The other way round those of the next one would come over them.
      if (ExistsIn(folder, Slot(slot - 1, ".times")))
        rename_in(Slot(slot - 1, ".times"), Slot(slot, ".times"));
      rename_in(Slot(slot - 1, ".log"), Slot(slot, ".log"));
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

int64_t SlotBytes(int folder) {
  int64_t bytes = 0;
  for (int slot = 1;; ++slot) {
    struct stat file {};
    if (fstatat(folder, Slot(slot, ".log").c_str(), &file, AT_SYMLINK_NOFOLLOW) != 0) return bytes;
    bytes += file.st_size;
  }
}

// Whether the current log still has all of what was copied out of it, where that was.
bool StillThere(int folder) {
  const Fd copy = OpenIn(folder, kRotatingLog, O_RDONLY), log = OpenIn(folder, kLog, O_RDONLY);
  if (!copy.valid() || !log.valid()) return false;
  // Where the surplus was being dropped, the copy is of what is behind it, and begins with a line of ours.
  const int64_t base = TimesIn(folder, kTimes, 64).base;
  const int64_t begin = base < 0 ? 0 : std::max<int64_t>(0, TimesIn(folder, kRotatingTimes, 64).base - base);
  std::string one(kChunk, '\0'), other(kChunk, '\0');
  int64_t at = 0;
  if (begin > 0) {
    const ssize_t got = pread(copy.get(), one.data(), kNoteMost, 0);
    const std::string_view start(one.data(), static_cast<size_t>(std::max<ssize_t>(got, 0)));
    if (start.starts_with(kNote)) at = static_cast<int64_t>(start.find('\n')) + 1;
  }
  while (true) {
    const ssize_t got = pread(copy.get(), one.data(), one.size(), at);
    if (got <= 0) return true;
    if (pread(log.get(), other.data(), static_cast<size_t>(got), begin + at) != got) return false;
    if (one.compare(0, static_cast<size_t>(got), other, 0, static_cast<size_t>(got)) != 0) return false;
    at += got;
  }
}

void RemoveRotating(int folder) {
  // In this order: without the rest, what is still there counts for nothing.
  for (const char* name : {kRotatingRest, kRotatingTimes, kRotatingLog}) unlinkat(folder, name, 0);
}

// An agent killed in a rotation leaves rotating.*: before the cut they are a mere copy, after it the only
// one.
void Recover(int folder, int keep) {
  if (ExistsIn(folder, kRotatingLog) && (!ExistsIn(folder, kRotatingRest) || StillThere(folder))) {
    RemoveRotating(folder);
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

Status LogKeeper::NoteTimes(int folder, int64_t size, int64_t ms) {
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
  if (flock(log.get(), LOCK_EX | LOCK_NB) != 0) return Error::Conflict("locked", "it is being read");
  struct stat file {};
  if (fstat(log.get(), &file) != 0) return Error::Os("rotate a log", errno);
  // Only whole blocks can be cut off, and not all of a file. What remains is in the middle of a line, as a
  // rule; readers put it together.
  const int64_t block = std::max<int64_t>(file.st_blksize, 512);
  const int64_t most = (std::max<int64_t>(policy_.rotate_bytes, 1) + block - 1) / block * block;
  const int64_t cut = std::min((file.st_size - 1) / block * block, most);
  if (cut <= 0) return Done();
  // A burst is rotated piece by piece, and nothing of it dropped as long as the folder holds no more than it
  // may.
  const bool too_fast =
      file.st_size > 2 * most && file.st_size + SlotBytes(folder) > (int64_t{policy_.keep} + 3) * most;
  if (too_fast) return Drop(folder, log.get(), file.st_size);
  Result<bool> rotated = CutOff(folder, log.get(), cut);
  if (!rotated.ok()) {  // The disk is full, as a rule: half a copy only takes room.
    RemoveRotating(folder);
    return rotated.error();
  }
  if (!*rotated) {
    RemoveRotating(folder);
    return Drop(folder, log.get(), SizeOf(log.get()));
  }
  Commit(folder, policy_.keep);
  base_ = -1;
  return Done();
}

// Makes rotating.* of the first `cut` bytes and takes them out of the log. False where it is written faster
// than it can be copied: nothing has been taken out then.
Result<bool> LogKeeper::CutOff(int folder, int log, int64_t cut) {
  MUSTER_TRY(const Fd copy, CreateIn(folder, kRotatingLog));
  MUSTER_TRY(int64_t copied, Copy(log, copy.get(), cut));
  const Times times = TimesIn(folder, kTimes);
  const auto write_times = [&]() -> Status {
    const auto [rotated, rest] = SplitTimes(times, copied);
    MUSTER_DO(WriteTimes(folder, kRotatingTimes, rotated));
    return WriteTimes(folder, kRotatingRest, rest);
  };
  MUSTER_DO(write_times());
  if (fallocate(log, FALLOC_FL_COLLAPSE_RANGE, 0, cut) == 0) return true;
  // This file system can't: copy up to the end, and empty it before more comes.
  const int64_t enough = SizeOf(log) - copied + cut;
  MUSTER_TRY(const int64_t more, Copy(log, copy.get(), enough));
  if (more == enough) return false;
  copied += more;
  MUSTER_DO(write_times());
  if (ftruncate(log, 0) != 0) return Error::Os("rotate a log", errno);
  return true;
}

// The newest bytes are kept as 1.log, all older ones go: positions stay true that way, and a follower that
// was further back is told that it has missed some. No byte of the surplus is read or written.
Status LogKeeper::Drop(int folder, int log, int64_t size) {
  int64_t from = std::max<int64_t>(0, size - std::max<int64_t>(policy_.rotate_bytes, 1));
  std::string start(4096, '\0');
  const ssize_t got = pread(log, start.data(), start.size(), from);
  const size_t line_end = start.substr(0, static_cast<size_t>(std::max<ssize_t>(got, 0))).find('\n');
  if (line_end != std::string::npos) from += static_cast<int64_t>(line_end) + 1;
  std::string note =
      fmt::format("{}{} bytes were dropped: it writes faster than its log is rotated\n", kNote, from);
  if (static_cast<int64_t>(note.size()) > from) note.clear();
  const Times times = TimesIn(folder, kTimes);
  const int64_t base = std::max<int64_t>(times.base, 0) + from - static_cast<int64_t>(note.size());
  // First, as this makes room where there is none.
  for (int slot = 1; ExistsIn(folder, Slot(slot, ".log")); ++slot) {
    unlinkat(folder, Slot(slot, ".log").c_str(), 0);
    unlinkat(folder, Slot(slot, ".times").c_str(), 0);
  }
  int64_t end = base;
  const auto save = [&]() -> Status {
    MUSTER_TRY(const Fd copy, CreateIn(folder, kRotatingLog));
    MUSTER_DO(WriteAll(copy.get(), note));
    if (lseek(log, from, SEEK_SET) < 0) return Error::Os("read a log", errno);
    // What comes while this is copied, too, but it isn't run after.
    MUSTER_TRY(const int64_t copied, Copy(log, copy.get(), 2 * (size - from)));
    end = base + static_cast<int64_t>(note.size()) + copied;
    const int64_t ms = times.marks.empty() ? 0 : times.marks.back().ms;
    MUSTER_DO(WriteTimes(folder, kRotatingTimes, {base, {{end, ms}}}));
    return WriteTimes(folder, kRotatingRest, {end, {}});
  };
  const Status saved = policy_.keep > 0 ? save() : Done();
  if (!saved.ok() || policy_.keep <= 0) {
    RemoveRotating(folder);
    end = std::max<int64_t>(times.base, 0) + SizeOf(log);
  }
  if (ftruncate(log, 0) != 0) return Error::Os("rotate a log", errno);
  base_ = -1;
  if (!saved.ok() || policy_.keep <= 0) return WriteTimes(folder, kTimes, {end, {}});
  Commit(folder, policy_.keep);
  return Done();
}

bool LogKeeper::WantsRotation() const {
  struct stat file {};
  const std::string path = folder_ + "/" + kLog;
  return fstatat(AT_FDCWD, path.c_str(), &file, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(file.st_mode) &&
         file.st_size > policy_.rotate_bytes;
}

Status LogKeeper::Look(WallTime now, bool rotate) {
  struct stat file {};
  if (fstatat(AT_FDCWD, (folder_ + "/" + kLog).c_str(), &file, AT_SYMLINK_NOFOLLOW) != 0) return Done();
  const bool due = rotate && file.st_size > policy_.rotate_bytes;
  if (!S_ISREG(file.st_mode) || (base_ >= 0 && file.st_size == size_seen_ && !due)) return Done();
  const Fd folder = OpenFolder(folder_);
  if (!folder.valid()) return Done();
  if (base_ < 0) MUSTER_DO(Load(folder.get()).While("reading {}", folder_));
  // When the last byte was written is more exact than when the agent looked.
  const int64_t ms = std::min(ModifiedMs(file), now.time_since_epoch().count());
  MUSTER_DO(NoteTimes(folder.get(), file.st_size, ms).While("noting the times of {}", folder_));
  size_seen_ = file.st_size;
  if (!due) return Done();
  size_seen_ = -1;
  MUSTER_DO(Rotate(folder.get()).While("rotating {}", folder_));
  return base_ < 0 ? Load(folder.get()) : Done();
}

}  // namespace muster::agent
