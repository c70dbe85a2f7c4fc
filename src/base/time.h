// Time as values. Deciding code is handed a Time; only code that does things reads a clock. All is counted in
// whole milliseconds. Any thread; everything but Now and WallNow is pure.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "base/result.h"

namespace muster {

using namespace std::chrono_literals;

using Duration = std::chrono::milliseconds;
// A point on the monotonic clock: for waiting and measuring, never stored.
using Time = std::chrono::time_point<std::chrono::steady_clock, Duration>;
// A point in the calendar: for people and for the store. Milliseconds since 1970, UTC.
using WallTime = std::chrono::time_point<std::chrono::system_clock, Duration>;

Time Now();
WallTime WallNow();

// "250ms", "2s", "30m", "1h30m", "1d". A bare number is refused: it has no unit. Never negative. Code
// "bad-unit".
Result<Duration> ParseDuration(std::string_view text);
// The shortest exact form: "1m30s", "250ms", "0s".
std::string FormatDuration(Duration duration);

// "2026-11-21T04:38:00.123Z".
std::string FormatWallTime(WallTime time);
// The same form, with or without the fraction. Code "bad-time" for another, and for one that isn't in UTC.
Result<WallTime> ParseWallTime(std::string_view text);

}  // namespace muster
