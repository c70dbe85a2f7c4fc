#include "recipes/redis_primary/record.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/file_error.h"
#include "base/files.h"
#include "recipes/redis/words.h"

namespace muster::redis_primary {
namespace {

constexpr size_t kRecordMost = 64u << 10;
constexpr const char* kMark = "data/muster-copy";

// All of a block, so that the file that another record takes the place of has room for the next one.
constexpr size_t kRoom = 4096;

std::string PathIn(const std::string& records) { return records + "/redis-term"; }
std::string ReservePathIn(const std::string& records) { return PathIn(records) + ".reserve"; }

std::string Padded(std::string text) {
  if (text.size() < kRoom) text.resize(kRoom, '\n');
  return text;
}

// Overwrites what is kept for it, and has the two change places: what was the record is what is kept from
// then on. Neither needs room that isn't there.
Status WriteReserve(const std::string& records, const std::string& text) {
  const std::string reserve = ReservePathIn(records);
  if (text.size() != kRoom) return Error::Unavailable("disk-full", "no room for all of {}", PathIn(records));
  Fd fd(open(reserve.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.valid()) return FileError(reserve, errno);
  if (pwrite(fd.get(), text.data(), text.size(), 0) != static_cast<ssize_t>(text.size()) ||
      fsync(fd.get()) != 0) {
    return FileError(reserve, errno);
  }
  const std::string path = PathIn(records);
  const bool swapped = renameat2(AT_FDCWD, reserve.c_str(), AT_FDCWD, path.c_str(), RENAME_EXCHANGE) == 0;
  if (!swapped) return FileError(path, errno);
  const Fd folder(open(records.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.valid() || fsync(folder.get()) != 0) return FileError(records, errno);
  return Done();
}

}  // namespace

std::string FormatRecord(const Record& record) {
  return fmt::format(
      "version 1\nterm {}\naim {}\nfollows {}\npid {}\ncopy {}\nwas {}\nlinked_pid {}\nlinked {}\nready_pid "
      "{}\nlost {}\n",
      record.term, record.aim, record.follows, record.pid, record.copy, record.was, record.linked_pid,
      record.linked, record.ready_pid, record.lost);
}

Record ParseRecord(std::string_view text) {
  Record record;
  for (const std::string_view line : redis::Lines(text)) {
    const size_t space = line.find(' ');
    if (space == std::string_view::npos) continue;
    const std::string_view name = line.substr(0, space), value = line.substr(space + 1);
    const auto number = redis::ParseNumber<int64_t>(value).value_or(0);
    if (name == "term") record.term = number;
    if (name == "aim") record.aim = value;
    if (name == "follows") record.follows = value;
    if (name == "pid") record.pid = static_cast<int>(number);
    if (name == "copy") record.copy = number;
    if (name == "was") record.was = value;
    if (name == "linked_pid") record.linked_pid = static_cast<int>(number);
    if (name == "linked") record.linked = value;
    if (name == "ready_pid") record.ready_pid = static_cast<int>(number);
    if (name == "lost") record.lost = number;
  }
  return record;
}

Record ReadRecord(const std::string& records, const std::string& folder) {
  if (!records.empty()) {
    const auto text = ReadFile(PathIn(records), kRecordMost);
    if (text.ok()) return ParseRecord(*text);
  }
  const auto mark = ReadWithin(folder, kMark, kRecordMost);
  if (!mark.ok()) return {};
  const Record said = ParseRecord(*mark);
  return {.term = std::max(said.copy, said.lost), .copy = said.copy, .was = said.was, .lost = said.lost};
}

Status MarkData(const std::string& folder, const Record& record, const Owner& owner) {
  const std::string text =
      fmt::format("version 1\ncopy {}\nwas {}\nlost {}\n", record.copy, record.was, record.lost);
  return WriteWithin(folder, kMark, text, 0600, owner);
}

Status WriteRecord(const std::string& records, const Record& record, bool durable) {
  if (records.empty()) return Done();
  const std::string text = Padded(FormatRecord(record));
  const Status written = WriteFile(PathIn(records), text, {.mode = 0600, .durable = durable});
  if (written.ok()) {
    ReserveRecord(records);
    return Done();
  }
  if (written.error().code() != "disk-full" || !WriteReserve(records, text).ok()) return written;
  return Done();
}

void ReserveRecord(const std::string& records) {
  std::error_code error;
  if (records.empty() || fs::exists(ReservePathIn(records), error) || error) return;
  (void)WriteFile(ReservePathIn(records), Padded(""), {.mode = 0600, .durable = true});
}

bool HasData(const std::string& folder) {
  std::error_code error;
  if (fs::file_size(folder + "/data/dump.rdb", error) > 0 && !error) return true;
  for (const auto& entry : fs::directory_iterator(folder + "/data/appendonlydir", error)) {
    std::error_code ignored;
    if (entry.is_regular_file(ignored) && entry.path().extension() != ".manifest" &&
        entry.file_size(ignored) > 0 && !ignored) {
      return true;
    }
  }
  return false;
}

bool HasAppendOnlyFiles(const std::string& folder) {
  std::error_code error;
  return fs::exists(folder + "/data/appendonlydir/appendonly.aof.manifest", error) && !error;
}

bool HasMark(const std::string& folder) { return ReadWithin(folder, kMark, kRecordMost).ok(); }

Record RecordOfEmptied(Record record, bool is_loss) {
  record.lost = is_loss ? record.copy : 0;
  record.copy = 0;
  record.linked_pid = 0;
  if (is_loss) return record;  // as what it had that, and who had it as well, is asked yet
  record.was.clear();
  record.linked.clear();
  return record;
}

}  // namespace muster::redis_primary
