#include "recipes/redis_primary/record.h"

#include <fmt/format.h>

#include "base/files.h"
#include "recipes/redis/words.h"

namespace muster::redis_primary {
namespace {

constexpr size_t kRecordMost = 64u << 10;
constexpr const char* kMark = "data/muster-copy";

std::string PathIn(const std::string& records) { return records + "/redis-term"; }

}  // namespace

std::string FormatRecord(const Record& record) {
  return fmt::format(
      "version 1\nterm {}\naim {}\nfollows {}\npid {}\ncopy {}\nwas {}\nlinked_pid {}\nlinked {}\nready_pid "
      "{}\n",
      record.term, record.aim, record.follows, record.pid, record.copy, record.was, record.linked_pid,
      record.linked, record.ready_pid);
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
  return {.term = said.copy, .copy = said.copy, .was = said.was};
}

Status MarkData(const std::string& folder, const Record& record, const Owner& owner) {
  const std::string text = fmt::format("version 1\ncopy {}\nwas {}\n", record.copy, record.was);
  return WriteWithin(folder, kMark, text, 0600, owner);
}

Status WriteRecord(const std::string& records, const Record& record, bool durable) {
  if (records.empty()) return Done();
  return WriteFile(PathIn(records), FormatRecord(record), {.mode = 0600, .durable = durable});
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

}  // namespace muster::redis_primary
