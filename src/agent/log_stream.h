// The files of an instance's logs folder as one stream of bytes, and their times. Shared by the keeper that
// rotates them and by what reads them; nobody else needs it. Blocking; one thread at a time for each object,
// and whole logs are read on the pool. Positions and sizes are bytes, times (`ms`) milliseconds since 1970.
// What can't be read is left out: there are no errors here.
#pragma once

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/log_files.h"
#include "base/files.h"
#include "base/time.h"

namespace muster::agent::logs {

constexpr const char* kLog = "current.log";
constexpr const char* kTimes = "current.times";
constexpr size_t kChunk = 256 << 10;

// The folder belongs to the instance's user, who may put links there: nothing here follows one.
Fd OpenIn(int folder, const std::string& name, int flags);
Fd OpenFolder(const std::string& folder);
int64_t SizeOf(int fd);
int64_t ModifiedMs(const struct stat& file);

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

// The whole file, or with a small `most` hardly more than where the log begins.
Times TimesIn(int folder, const std::string& name, size_t most = 4 << 20);

std::string Slot(int number, const char* ending);
int64_t BaseOfCurrent(int folder, const Times& times);

std::string CleanUtf8(std::string_view bytes);

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
// it isn't rotated meanwhile; destroying it closes the files and lets go.
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
Stream OpenStream(int folder, int64_t from = 0, size_t times_most = 4 << 20);

}  // namespace muster::agent::logs
