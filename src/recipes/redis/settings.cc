#include "recipes/redis/settings.h"

#include <algorithm>
#include <map>
#include <optional>

#include "base/text.h"
#include "model/secret.h"
#include "recipes/redis/conf.h"
#include "recipes/redis/words.h"

namespace muster::redis {
namespace {

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

// As Redis reads them: no plus sign, no zeros in front.
std::optional<int64_t> Integer(std::string_view text) {
  const std::string_view digits = text.starts_with('-') ? text.substr(1) : text;
  if (digits.starts_with('0') && text != "0") return std::nullopt;
  return ParseNumber<int64_t>(text);
}

std::optional<int64_t> Size(std::string_view text) {
  const size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const auto number = ParseNumber<int64_t>(text.substr(0, digits));
  if (!number) return std::nullopt;
  static constexpr std::pair<std::string_view, int64_t> kUnits[] = {
      {"", 1},        {"b", 1},        {"k", 1000},       {"kb", 1 << 10},
      {"m", 1000000}, {"mb", 1 << 20}, {"g", 1000000000}, {"gb", 1 << 30},
  };
  const std::string unit = Lower(text.substr(digits));
  for (const auto& [name, bytes] : kUnits) {
    int64_t size = 0;
    if (unit == name && !__builtin_mul_overflow(*number, bytes, &size)) return size;
  }
  return std::nullopt;
}

std::optional<int64_t> Percent(std::string_view text) {
  if (!text.ends_with('%')) return std::nullopt;
  const auto number = Integer(text.substr(0, text.size() - 1));
  return number && *number >= 0 && *number <= 100 ? number : std::nullopt;
}

bool IsOctal(std::string_view text) {
  return !text.empty() && text.size() <= 4 && text.find_first_not_of("01234567") == std::string_view::npos;
}

std::vector<std::string> WordList(std::string_view words) {
  std::vector<std::string> list;
  for (const std::string_view word : Words(words)) list.emplace_back(word);
  return list;
}

bool Contains(const std::vector<std::string>& list, const std::string& word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

// What is wrong with something, in words that follow "… is VALUE:"; "" where nothing is.
std::string WrongNumber(const Setting& setting, std::optional<int64_t> number, std::string_view wanted) {
  if (!number) return std::string(wanted);
  if (*number >= setting.least && *number <= setting.most) return "";
  if (setting.most == std::numeric_limits<int64_t>::max()) {
    return fmt::format("at least {} is possible", setting.least);
  }
  return fmt::format("{} to {} is possible", setting.least, setting.most);
}

std::string WrongWords(const Setting& setting, const std::string& value) {
  const std::vector<std::string> known = WordList(setting.words);
  const std::vector<std::string> words = setting.many ? WordList(value) : std::vector<std::string>{value};
  for (const std::string& word : words) {
    if (Contains(known, Lower(word))) continue;
    return "it is one of " + Join(known, ", ");
  }
  return words.empty() ? "it is one of " + Join(known, ", ") : "";
}

std::string WrongSave(const std::string& value) {
  if (value.empty() || value == "\"\"") return "";
  const std::vector<std::string_view> words = Words(value);
  for (const std::string_view word : words) {
    const auto number = Integer(word);
    if (!number || *number < 0) return "it is seconds and changes, such as 900 1, or \"\" for never";
  }
  const bool from_a_second = words.size() % 2 == 0 && *Integer(words[0]) >= 1;
  return from_a_second ? "" : "it is seconds and changes, such as 900 1, or \"\" for never";
}

const char* const kBufferClasses[] = {"normal", "slave", "pubsub"};  // in the order of CONFIG GET

std::string BufferClass(std::string_view name) {
  const std::string lower = Lower(name);
  return lower == "replica" ? "slave" : lower;
}

std::string WrongBufferLimit(const std::string& value) {
  const std::vector<std::string_view> words = Words(value);
  bool good = !words.empty() && words.size() % 4 == 0;
  for (size_t i = 0; good && i < words.size(); i += 4) {
    good = std::count(std::begin(kBufferClasses), std::end(kBufferClasses), BufferClass(words[i])) > 0 &&
           Size(words[i + 1]) && Size(words[i + 2]) && ParseNumber<uint32_t>(words[i + 3]);
  }
  return good ? "" : "it is normal, replica or pubsub, a hard limit, a soft one, and seconds";
}

std::string Wrong(const Setting& setting, const std::string& value) {
  if (value.find_first_of(std::string_view("\r\n\0", 3)) != std::string::npos) return "it is one line";
  if (setting.name == "save") return WrongSave(value);
  if (setting.name == "client-output-buffer-limit") return WrongBufferLimit(value);
  switch (setting.form) {
    case Form::kText:
      return setting.many && !SplitArguments(value) ? "a quote isn't closed" : "";
    case Form::kYesNo:
      return Lower(value) == "yes" || Lower(value) == "no" ? "" : "it is yes or no";
    case Form::kInteger:
      return WrongNumber(setting, Integer(value), "it is a whole number, without a unit");
    case Form::kSize:
      return WrongNumber(setting, Size(value), "it is a size such as 100mb, or bytes");
    case Form::kSizeOrPercent:
      if (Percent(value)) return "";
      return WrongNumber(setting, Size(value), "it is a size such as 100mb, bytes, or 0% to 100%");
    case Form::kWord:
      return WrongWords(setting, value);
    case Form::kOctal:
      return IsOctal(value) ? "" : "it is a mode such as 700";
  }
  return "";
}

std::string NearestName(const std::string& name) {
  static const std::vector<std::string> kNames = [] {
    std::vector<std::string> names;
    for (const Setting& setting : AllSettings()) {
      if (setting.cost != Cost::kOwned) names.emplace_back(setting.name);
    }
    return names;
  }();
  return Nearest(name, kNames).value_or("");
}

void CheckValues(const GivenSetting& given, const Setting& setting, std::vector<Finding>& findings) {
  if (given.values.size() > 1 && !setting.repeats) {
    findings.push_back(
        {.code = "redis-setting-value",
         .mark = given.mark,
         .message = fmt::format("{} has {} values, and redis takes one", given.name, given.values.size()),
         .fix = "keep one of them"});
    return;
  }
  for (const std::string& value : given.values) {
    if (!SecretNamesIn(value).empty()) continue;
    const std::string wrong = Wrong(setting, value);
    if (wrong.empty()) continue;
    findings.push_back({.code = "redis-setting-value",
                        .mark = given.mark,
                        .message = fmt::format("{} can't be \"{}\": {}", given.name, value, wrong),
                        .fix = "correct it, or leave it out"});
    return;
  }
}

std::string RunningBufferLimits(const Setting& setting, const std::vector<std::string>& values) {
  std::map<std::string, std::string> limits;
  const auto take = [&limits](std::string_view text) {
    const std::vector<std::string_view> words = Words(text);
    for (size_t i = 0; i + 3 < words.size(); i += 4) {
      limits[BufferClass(words[i])] = fmt::format("{} {} {}", Size(words[i + 1]).value_or(0),
                                                  Size(words[i + 2]).value_or(0), words[i + 3]);
    }
  };
  take(setting.standard);
  for (const std::string& value : values) take(value);
  std::string text;
  for (const char* name : kBufferClasses) {
    text += fmt::format("{}{} {}", text.empty() ? "" : " ", name, limits[name]);
  }
  return text;
}

std::string RunningSave(const std::vector<std::string>& values) {
  std::vector<std::string> lines;
  for (const std::string& value : values) {
    // What stood before is forgotten.
    if (value.empty() || value == "\"\"") lines.clear();
    for (const std::string& word : WordList(value == "\"\"" ? "" : value)) lines.push_back(word);
  }
  return Join(lines, " ");
}

// Redis tells them in an order of its own.
std::string RunningWords(const Setting& setting, const std::string& value) {
  if (!setting.many) return Lower(value);
  const std::vector<std::string> given = WordList(Lower(value));
  std::vector<std::string> words;
  for (const std::string& word : WordList(setting.words)) {
    if (Contains(given, word)) words.push_back(word);
  }
  // "default" is no flag: it is what remains when there is none.
  if (words.size() > 1) std::erase(words, "default");
  return Join(words, " ");
}

}  // namespace

std::vector<Finding> CheckSettings(const std::vector<GivenSetting>& given) {
  std::vector<Finding> findings;
  std::map<std::string, std::string> seen;  // the name of today, and as it was given
  for (const GivenSetting& one : given) {
    const Setting* setting = FindSetting(one.name);
    if (setting == nullptr) {
      const std::string near = NearestName(CurrentName(one.name));
      findings.push_back({.code = "redis-setting-unknown",
                          .mark = one.mark,
                          .message = fmt::format("redis has no setting {}", one.name),
                          .fix = near.empty() ? "https://redis.io/docs/management/config lists them"
                                              : fmt::format("did you mean {}?", near)});
      continue;
    }
    if (setting->cost == Cost::kOwned) {
      findings.push_back({.code = "redis-setting-owned",
                          .mark = one.mark,
                          .message = fmt::format("{} is muster's to set", one.name),
                          .fix = std::string(setting->instead)});
      continue;
    }
    const auto [first, is_new] = seen.emplace(setting->name, one.name);
    if (!is_new) {
      findings.push_back({.code = "redis-setting-twice",
                          .mark = one.mark,
                          .message = fmt::format("{} and {} are the same setting", first->second, one.name),
                          .fix = fmt::format("keep {}", setting->name)});
      continue;
    }
    CheckValues(one, *setting, findings);
  }
  return findings;
}

std::string RunningValue(const Setting& setting, const std::vector<std::string>& values) {
  if (values.empty()) return std::string(setting.standard);
  if (setting.name == "save") return RunningSave(values);
  if (setting.name == "client-output-buffer-limit") return RunningBufferLimits(setting, values);
  const std::string& value = values.back();
  switch (setting.form) {
    case Form::kYesNo:
      return Lower(value);
    case Form::kWord:
      return RunningWords(setting, value);
    case Form::kSize:
    case Form::kSizeOrPercent:
      if (const auto size = Size(value)) return std::to_string(*size);
      return value;
    case Form::kOctal:
      return value.substr(std::min(value.find_first_not_of('0'), value.size() - 1));
    default:
      return value;
  }
}

}  // namespace muster::redis
