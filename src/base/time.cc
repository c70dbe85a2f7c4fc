#include "base/time.h"

#include <ctime>

namespace muster {
namespace {

struct Unit {
  std::string_view name;
  int64_t ms;
};
// Largest first; "ms" before "m" where text is read.
constexpr Unit kUnits[] = {{"d", 86'400'000}, {"h", 3'600'000}, {"m", 60'000}, {"s", 1'000}, {"ms", 1}};
constexpr int64_t kMostMs = int64_t{3650} * 86'400'000;

Error NotADuration(std::string_view text) {
  return Error::Invalid("bad-unit", "\"{}\" is not a duration", text)
      .Hint("write it with a unit, such as 250ms, 2s, 30m or 1h30m");
}

}  // namespace

Time Now() { return std::chrono::time_point_cast<Duration>(std::chrono::steady_clock::now()); }
WallTime WallNow() { return std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now()); }

Result<Duration> ParseDuration(std::string_view text) {
  std::string_view rest = text;
  int64_t total = 0;
  size_t next_unit = 0;  // Units must come in falling order, each once.
  if (rest == "0") return Duration(0);
  if (rest.empty()) return NotADuration(text);
  while (!rest.empty()) {
    int64_t number = 0;
    size_t digits = 0;
    while (digits < rest.size() && rest[digits] >= '0' && rest[digits] <= '9' && digits < 16) {
      number = number * 10 + (rest[digits++] - '0');
    }
    if (digits == 0) return NotADuration(text);
    rest.remove_prefix(digits);
    size_t letters = 0;
    while (letters < rest.size() && rest[letters] >= 'a' && rest[letters] <= 'z') ++letters;
    const std::string_view name = rest.substr(0, letters);
    while (next_unit < std::size(kUnits) && kUnits[next_unit].name != name) ++next_unit;
    if (next_unit == std::size(kUnits)) return NotADuration(text);
    if (number > kMostMs / kUnits[next_unit].ms) return NotADuration(text);
    total += number * kUnits[next_unit++].ms;
    rest.remove_prefix(letters);
  }
  return Duration(total);
}

std::string FormatDuration(Duration duration) {
  int64_t left = duration.count();
  if (left == 0) return "0s";
  std::string text = left < 0 ? "-" : "";
  left = left < 0 ? -left : left;
  for (const Unit& unit : kUnits) {
    if (left < unit.ms) continue;
    text += fmt::format("{}{}", left / unit.ms, unit.name);
    left %= unit.ms;
  }
  return text;
}

std::string FormatWallTime(WallTime time) {
  const int64_t ms = time.time_since_epoch().count();
  const std::time_t seconds = static_cast<std::time_t>(ms / 1000);
  std::tm calendar{};
  gmtime_r(&seconds, &calendar);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", calendar.tm_year + 1900,
                     calendar.tm_mon + 1, calendar.tm_mday, calendar.tm_hour, calendar.tm_min,
                     calendar.tm_sec, ms % 1000);
}

Result<WallTime> ParseWallTime(std::string_view text) {
  std::tm calendar{};
  const std::string copy(text);
  const char* rest = strptime(copy.c_str(), "%Y-%m-%dT%H:%M:%S", &calendar);
  if (!rest)
    return Error::Invalid("bad-time", "\"{}\" is not a time", text).Hint("write it as 2026-11-21T04:38:00Z");
  int ms = 0;
  if (*rest == '.') {
    int scale = 100;
    for (++rest; *rest >= '0' && *rest <= '9'; ++rest, scale /= 10) ms += (*rest - '0') * scale;
  }
  if (std::string_view(rest) != "Z") {
    return Error::Invalid("bad-time", "\"{}\" is not a time in UTC", text).Hint("end it with Z");
  }
  return WallTime(Duration(int64_t{timegm(&calendar)} * 1000 + ms));
}

}  // namespace muster
