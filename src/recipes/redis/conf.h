// redis.conf as text: written so that Redis reads what was meant, and read as Redis does. Pure.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace muster::redis {

// A line: a setting's name and its arguments, without quotes.
struct Directive {
  std::string name;
  std::vector<std::string> arguments;

  bool operator==(const Directive&) const = default;
};

// A setting's name and, for each line, the arguments as they stand there: {"save", {"900 1", "300 10"}}.
using ConfSettings = std::map<std::string, std::vector<std::string>>;

// The lines for `settings`, in their order. The value of a setting with one argument (as the table of
// settings.h knows) is taken as it is, spaces, quotes and all; that of another is split as Redis splits.
std::vector<Directive> DirectivesOf(const ConfSettings& settings);
// The way back, under today's names; of a setting that doesn't repeat the last one counts, as for Redis.
ConfSettings SettingsOf(const std::vector<Directive>& directives);

// Arguments are put in quotes where they need it. The mark of a secret (model/secret.h) goes through as it
// is, in quotes: its value may be anything but a double quote, a backslash or a line's end.
std::string RenderConf(const std::vector<Directive>& directives);

// Names come in lower case. An `include` is a line like any other: nothing is opened. Code "bad-quoting" with
// the line's number.
Result<std::vector<Directive>> ReadConf(std::string_view text);

// What Redis makes of a line: words between spaces, with "…" (escapes \n \r \t \b \a \\ \" \xHH) and '…'.
// nullopt where a quote isn't closed, or something stands right behind one.
std::optional<std::vector<std::string>> SplitArguments(std::string_view line);

}  // namespace muster::redis
