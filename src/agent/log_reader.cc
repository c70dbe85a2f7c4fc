#include <fcntl.h>

#include <climits>
#include <deque>

#include "agent/log_files.h"
#include "agent/log_stream.h"

namespace muster::agent {

using namespace logs;

namespace {

// The first position whose time may be `since` or later, and that isn't before `from`.
int64_t StartOfTime(const Stream& stream, const LogReadOptions& options) {
  int64_t start = stream.begin();
  // Beyond the end where somebody has removed the log: positions begin anew then.
  if (options.from <= stream.end()) start = std::max(start, options.from);
  if (!options.since) return start;
  for (const Mark& mark : stream.marks) {
    if (WallTime(Duration(mark.ms)) >= *options.since) break;
    start = std::max(start, mark.position);
  }
  return start;
}

// Where the lines that are wanted begin, by time and by count; nothing where none is wanted, and `end` is
// then behind the last whole line.
std::optional<int64_t> StartOf(const Stream& stream, const LogReadOptions& options, int64_t& end) {
  const int64_t start_of_time = StartOfTime(stream, options);
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
  // Calls `act` for the position of each line that is wanted until it returns false.
  const auto each = [&](const std::function<bool(int64_t)>& act) {
    LineCutter cutter(start);
    bool go_on = true;
    const auto look = [&](int64_t position, std::string_view) {
      if (wanted(position)) go_on = act(position);
      return go_on;
    };
    stream.Read(start, [&](std::string_view bytes) { return cutter.Add(bytes, look); });
    if (go_on && options.partial && !cutter.rest().empty()) look(cutter.position(), cutter.rest());
    end = cutter.position();
  };
  // Only so many of them: counted first, as pieces of long lines count, too.
  int64_t surplus = 0;
  if (options.tail >= 0) {
    surplus -= options.tail;
    each([&](int64_t) {
      ++surplus;
      return true;
    });
  }
  std::optional<int64_t> first;
  each([&](int64_t position) {
    if (surplus-- > 0) return true;
    first = position;
    return false;
  });
  return first;
}

}  // namespace

LogReader::LogReader(std::string folder, LogReadOptions options)
    : folder_(std::move(folder)), options_(std::move(options)) {}

Result<std::vector<LogLine>> LogReader::Next(size_t bytes_most) {
  std::vector<LogLine> lines;
  if (over_) return lines;
  const Fd folder = OpenFolder(folder_);
  over_ = !folder.valid();
  if (over_) return lines;
  // Opened anew each time: a reader that waits for long must not keep the log from being rotated.
  const Stream stream = OpenStream(folder.get(), begun_ ? position_ : 0);
  if (!std::exchange(begun_, true)) {
    end_ = stream.end();
    const auto first = StartOf(stream, options_, position_);
    over_ = !first;
    if (over_) return lines;
    position_ = *first;
  }
  if (position_ < stream.begin()) {
    missed_ += std::min(stream.begin(), end_) - position_;
    position_ = stream.begin();
  }
  LineCutter cutter(position_);
  size_t bytes = 0;
  bool full = false;
  const auto give = [&](int64_t position, std::string_view line) {
    if (!lines.empty()) lines.back().end = position;
    const WallTime at = stream.TimeOf(position);
    if (options_.since && at < *options_.since) return true;
    lines.push_back({.at = at, .text = CleanUtf8(line)});
    bytes += line.size() + sizeof(LogLine);
    full = bytes >= bytes_most;
    return !full;
  };
  int64_t read_to = position_;
  stream.Read(position_, [&](std::string_view piece) {
    piece = piece.substr(0, static_cast<size_t>(std::max<int64_t>(0, end_ - read_to)));
    read_to += static_cast<int64_t>(piece.size());
    return cutter.Add(piece, give) && read_to < end_;
  });
  position_ = cutter.position();
  if (!lines.empty()) lines.back().end = position_;
  if (full) return lines;
  over_ = true;
  if (options_.partial && !cutter.rest().empty()) give(cutter.position(), cutter.rest());
  return lines;
}

Result<int64_t> ForEachLogLine(const std::string& folder, const LogReadOptions& options,
                               const std::function<bool(LogLine)>& take) {
  LogReader reader(folder, options);
  while (true) {
    MUSTER_TRY(std::vector<LogLine> lines, reader.Next(kChunk));
    if (lines.empty()) return reader.position();
    for (LogLine& line : lines) {
      if (!take(std::move(line))) return reader.position();
    }
  }
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

std::vector<std::string> LastLogLines(const std::string& folder, size_t most, int64_t from) {
  constexpr size_t kEvidenceBytesMost = 1000;  // of one line
  const LogReadOptions options{.tail = static_cast<int>(4 * most), .since = {}, .from = from};
  std::vector<std::string> texts;
  const std::function<bool(LogLine)> take = [&](LogLine line) {
    texts.push_back(line.text.size() <= kEvidenceBytesMost
                        ? std::move(line.text)
                        : CleanUtf8(std::string_view(line.text).substr(0, kEvidenceBytesMost)) + "…");
    return true;
  };
  (void)ForEachLogLine(folder, options, take);
  texts = FoldRepeats(texts);
  if (texts.size() > most) texts.erase(texts.begin(), texts.end() - static_cast<ptrdiff_t>(most));
  return texts;
}

std::vector<std::string> FoldRepeats(const std::vector<std::string>& lines) {
  constexpr size_t kBlockMost = 8;
  // How often the block of `size` at `at` comes in a row.
  const auto times = [](const std::vector<std::string>& of, size_t at, size_t size) {
    size_t count = 1;
    while (at + (count + 1) * size <= of.size() &&
           std::equal(of.begin() + static_cast<ptrdiff_t>(at), of.begin() + static_cast<ptrdiff_t>(at + size),
                      of.begin() + static_cast<ptrdiff_t>(at + count * size))) {
      ++count;
    }
    return count;
  };
  std::vector<std::string> once;
  for (size_t at = 0; at < lines.size();) {
    const size_t count = times(lines, at, 1);
    once.push_back(count == 1 ? lines[at] : fmt::format("{} ({} times)", lines[at], count));
    at += count;
  }
  std::vector<std::string> folded;
  for (size_t at = 0; at < once.size();) {
    size_t size = 2;
    while (size <= kBlockMost && times(once, at, size) == 1) ++size;
    const size_t count = size <= kBlockMost ? times(once, at, size) : 1;
    if (count == 1) size = 1;
    for (size_t i = 0; i < size; ++i) folded.push_back(once[at + i]);
    if (count > 1) folded.push_back(fmt::format("(these {} lines {} times)", size, count));
    at += size * count;
  }
  return folded;
}

int64_t LogEnd(const std::string& folder) {
  const Fd opened = OpenFolder(folder);
  return opened.valid() ? OpenStream(opened.get(), INT64_MAX, 64).end() : 0;
}

LogFollower::LogFollower(std::string folder, std::optional<int64_t> position)
    : folder_(std::move(folder)), position_(position ? *position : LogEnd(folder_)) {}

Result<std::vector<LogLine>> LogFollower::Next(WallTime now) {
  constexpr size_t kBytesMost = 1 << 20;
  std::vector<LogLine> lines;
  const Fd folder = OpenFolder(folder_);
  if (!folder.valid()) return lines;
  // Called for each write: no reading of all times. What is followed was written just now.
  const Stream stream = OpenStream(folder.get(), position_, 64);
  if (position_ < stream.begin()) {
    missed_ += stream.begin() - position_;
    position_ = stream.begin();
  }
  LineCutter cutter(position_);
  size_t bytes_read = 0;
  stream.Read(position_, [&](std::string_view bytes) {
    bytes_read += bytes.size();
    cutter.Add(bytes, [&](int64_t position, std::string_view line) {
      if (!lines.empty()) lines.back().end = position;
      lines.push_back({.at = std::min(WallTime(Duration(stream.modified_ms)), now), .text = CleanUtf8(line)});
      return true;
    });
    return bytes_read < kBytesMost;
  });
  position_ = cutter.position();
  if (!lines.empty()) lines.back().end = position_;
  return lines;
}

}  // namespace muster::agent
