// The settings of redis.conf: which there are, what changing one costs, and whether a value can be right.
// Pure. Of Redis 7.0.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/finding.h"

namespace muster::redis {

enum class Cost {
  kLive,     // CONFIG SET takes it
  kRestart,  // only a server that starts reads it
  kOwned,    // muster writes it; in a cluster file it is refused
};

enum class Form {
  kText,
  kYesNo,
  kInteger,        // in the setting's own unit: durations are bare numbers in Redis
  kSize,           // bytes: "100mb" is 100 MiB, "100m" 100 000 000
  kSizeOrPercent,  // or "5%" of maxmemory
  kWord,           // one of `words`
  kOctal,
};

struct Setting {
  std::string_view name;
  Cost cost = Cost::kLive;
  Form form = Form::kText;
  std::string_view standard;  // what CONFIG GET says where nothing is set; not kept for what muster owns
  int64_t least = 0, most = std::numeric_limits<int64_t>::max();  // of kInteger and kSize, both included
  std::string_view words;                                         // of kWord, between spaces
  bool many = false;         // a value is several arguments, such as "900 1" of `save`
  bool repeats = false;      // may stand on several lines
  std::string_view instead;  // of kOwned: why, and what to write instead
};

std::span<const Setting> AllSettings();  // by name
// In lower case; names of earlier releases (slave-…, …-ziplist-…) as they are called now.
std::string CurrentName(std::string_view name);
const Setting* FindSetting(std::string_view name);  // nullptr: there is none

// As it stands in a cluster file: a value for each line of redis.conf, without the name.
struct GivenSetting {
  std::string name;
  std::vector<std::string> values;
  Mark mark;
};

// Codes "redis-setting-unknown", "redis-setting-owned", "redis-setting-value", "redis-setting-twice" (by its
// name of today and an earlier one). Values that hold a secret are not looked at.
std::vector<Finding> CheckSettings(const std::vector<GivenSetting>& given);

// What CONFIG GET says of a server that has these values: sizes in bytes, words in lower case, lines in one.
// For values that CheckSettings has let through; no values are the standard. Equal texts: nothing has
// changed.
std::string RunningValue(const Setting& setting, const std::vector<std::string>& values);

}  // namespace muster::redis
