#include "agent/log_stream.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>

#include <cstdlib>

#include "base/bytes.h"

namespace muster::agent::logs {
namespace {

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

}  // namespace

Fd OpenIn(int folder, const std::string& name, int flags) {
  Fd fd(openat(folder, name.c_str(), flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0640));
  struct stat file {};
  if (fd.valid() && (fstat(fd.get(), &file) != 0 || !S_ISREG(file.st_mode))) fd.Reset();
  return fd;
}
Fd OpenFolder(const std::string& folder) {
  return Fd(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
}
int64_t SizeOf(int fd) {
  struct stat file {};
  return fstat(fd, &file) == 0 ? file.st_size : 0;
}
int64_t ModifiedMs(const struct stat& file) {
  return file.st_mtim.tv_sec * 1000 + file.st_mtim.tv_nsec / 1'000'000;
}

Times TimesIn(int folder, const std::string& name, size_t most) {
  return ParseTimes(ReadStart(folder, name, most));
}

std::string Slot(int number, const char* ending) { return std::to_string(number) + ending; }

int64_t BaseOfCurrent(int folder, const Times& times) {
  if (times.base >= 0) return times.base;
  const Fd newest = OpenIn(folder, Slot(1, ".log"), O_RDONLY);
  if (!newest.valid()) return 0;
  return std::max<int64_t>(0, TimesIn(folder, Slot(1, ".times")).base) + SizeOf(newest.get());
}

std::string CleanUtf8(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  for (size_t at = 0; at < bytes.size();) {
    const size_t length = CharacterLength(bytes.substr(at));
    if (length > 0 && bytes[at] != '\0') {
      text.append(bytes.substr(at, length));
      at += length;
    } else {
      text += "\xEF\xBF\xBD";
      ++at;
    }
  }
  return text;
}

Stream OpenStream(int folder, int64_t from, size_t times_most) {
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

}  // namespace muster::agent::logs
