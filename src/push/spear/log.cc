#include "push/spear/log.h"

#include <unistd.h>

#include <array>
#include <atomic>

#include "base/time.h"
#include "push/socketio/json.h"

namespace muster::push {
namespace {

constexpr std::array<std::string_view, 4> kNames = {"debug", "info", "warn", "error"};
std::atomic<int> least{1};
std::atomic<bool> as_json{false};

}  // namespace

void SetLog(std::string_view level, bool json) {
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == level) least = static_cast<int>(i);
  }
  as_json = json;
}

void Log(LogLevel level, std::string_view event, std::initializer_list<LogField> fields) {
  if (static_cast<int>(level) < least) return;
  const std::string_view name = kNames[static_cast<size_t>(level)];
  std::string line;
  if (as_json) {
    line =
        R"({"time":")" + FormatWallTime(WallNow()) + R"(","level":")" + std::string(name) + R"(","event":)";
    json::AppendQuoted(line, event);
    for (const LogField& field : fields) {
      line += ',';
      json::AppendQuoted(line, field.first);
      line += ':';
      json::AppendQuoted(line, field.second);
    }
    line += "}\n";
  } else {
    line = FormatWallTime(WallNow()) + " " + std::string(name) + " " + std::string(event);
    for (const LogField& field : fields) {
      line += ' ';
      line += field.first;
      line += '=';
      const bool plain = !field.second.empty() && field.second.find_first_of(" \"\n") == std::string::npos;
      if (plain) {
        line += field.second;
      } else {
        json::AppendQuoted(line, field.second);
      }
    }
    line += '\n';
  }
  (void)!write(STDERR_FILENO, line.data(), line.size());  // in one piece, so that lines of threads don't mix
}

}  // namespace muster::push
