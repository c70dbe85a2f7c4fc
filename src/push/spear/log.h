// The log: one line an event, as text or as JSON, on standard error. Any thread; never waits for long.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace muster::push {

enum class LogLevel { kDebug, kInfo, kWarn, kError };
using LogField = std::pair<std::string_view, std::string>;

void SetLog(std::string_view level, bool json);
// `event` says what happened, in few words that stay; what differs stands in the fields. Never a secret.
void Log(LogLevel level, std::string_view event, std::initializer_list<LogField> fields = {});

}  // namespace muster::push
