#include "spec/shape_check.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <optional>
#include <regex>

#include "base/text.h"
#include "spec/words.h"

namespace muster::spec {
namespace {

using Type = Shape::Type;

void Add(std::vector<Finding>& findings, std::string_view code, Mark mark, std::string message,
         std::string fix) {
  findings.push_back({.severity = Severity::kError,
                      .code = std::string(code),
                      .mark = mark,
                      .message = std::move(message),
                      .fix = std::move(fix),
                      .file = ""});
}

}  // namespace

namespace {

// The key that was meant: nearly the same; else the only one that has all of its words, as server_name has
// `name`, or whose words it all has, as `memory_limit` has memory's.
std::optional<std::string> NearestKey(const std::string& key, const std::vector<std::string>& names) {
  if (auto near = Nearest(key, names)) return near;
  const auto has_all = [](const std::string& text, const std::string& of) {
    const std::vector<std::string> words = Split(text, '_');
    for (const std::string& word : Split(of, '_')) {
      if (word.empty() || std::find(words.begin(), words.end(), word) == words.end()) return false;
    }
    return true;
  };
  std::optional<std::string> only;
  for (const std::string& name : names) {
    if (!has_all(name, key) && !has_all(key, name)) continue;
    if (only) return std::nullopt;
    only = name;
  }
  return only;
}

// Characters, so that a pattern's {0,200} counts those and not bytes, as the JSON Schema does.
std::wstring Characters(std::string_view text) {
  std::wstring characters;
  for (size_t i = 0; i < text.size();) {
    const auto first = static_cast<unsigned char>(text[i++]);
    const int more = first < 0xc0 ? 0 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
    wchar_t character = more == 0 ? first : first & (0x3f >> more);
    for (int k = 0; k < more && i < text.size(); ++k) {
      character = (character << 6) | (static_cast<unsigned char>(text[i++]) & 0x3f);
    }
    characters += character;
  }
  return characters;
}

// An integer as JSON has it: 0640 is 640, +7 is 7.
std::string Canonical(const std::string& integer) {
  const size_t digits = integer.find_first_not_of("+-0");
  if (digits == std::string::npos) return "0";
  return (integer[0] == '-' ? "-" : "") + integer.substr(digits);
}

// The JSON Schema sees an integer without quotes as JSON has it.
bool MatchesBothWays(const Value& value, std::string_view pattern) {
  return Matches(value.text, pattern) &&
         (value.type != Value::Type::kInteger || Matches(Canonical(value.text), pattern));
}

}  // namespace

bool Matches(const std::string& text, std::string_view pattern) {
  static std::map<std::string, std::wregex, std::less<>> known;
  static std::mutex mutex;
  const std::wstring characters = Characters(text);
  if (characters.size() > kPatternMost) return false;
  const std::lock_guard lock(mutex);
  auto found = known.find(pattern);
  if (found == known.end()) {
    found = known.emplace(std::string(pattern), std::wregex(Characters(pattern))).first;
  }
  return std::regex_match(characters, found->second);
}

namespace {

std::string Kind(const Value& value) {
  switch (value.type) {
    case Value::Type::kNull:
      return "nothing";
    case Value::Type::kList:
      return "a list";
    case Value::Type::kMap:
      return "a map";
    default:
      return "\"" + Shown(value.text) + "\"";
  }
}

// ", with a control character in it: U+0007": it can't be seen in what is shown. "" where there is none.
std::string ControlIn(std::string_view text) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f) continue;
    const std::string_view name = c == '\n' ? "a line break, " : c == '\t' ? "a tab, " : "";
    return fmt::format(", with a control character in it: {}U+{:04X}", name, static_cast<unsigned char>(c));
  }
  return "";
}

bool HasUnit(Type type) { return type == Type::kDuration || type == Type::kSize; }

void CheckScalar(const Value& value, const Shape& shape, const std::string& where,
                 std::vector<Finding>& findings) {
  if (!value.is_scalar()) {
    Add(findings, "wrong-type", value.mark,
        fmt::format("{} is {}, but must be {}", where, Kind(value), Describe(shape)),
        "write " + Describe(shape));
    return;
  }
  const bool whole = value.type == Value::Type::kInteger || value.type == Value::Type::kString;
  if (shape.type == Type::kBool) {
    const bool word = value.text == "yes" || value.text == "no" || value.text == "on" || value.text == "off";
    if (value.type != Value::Type::kBool && !word) {
      Add(findings, "wrong-type", value.mark,
          fmt::format("{} is {}, but must be {}", where, Kind(value), Describe(shape)),
          "write true or false");
    }
    return;
  }
  if (const std::string_view pattern = PatternOf(shape.type); !pattern.empty()) {
    const bool plain_only = shape.type == Type::kInteger || shape.type == Type::kPort;
    if ((plain_only && value.quoted) || !whole || !Matches(value.text, pattern)) {
      const bool unit =
          HasUnit(shape.type) && !value.text.empty() && value.text[0] >= '0' && value.text[0] <= '9';
      Add(findings, unit ? "bad-unit" : "wrong-type", value.mark,
          fmt::format("{} is {}, but must be {}", where, Kind(value), Describe(shape)),
          plain_only && value.quoted ? "take the quotes (or the tag !!str) away"
                                     : "write " + Describe(shape));
      return;
    }
  }
  switch (shape.type) {
    case Type::kInteger:
    case Type::kPort: {
      const int64_t low = shape.type == Type::kPort ? 1 : shape.minimum;
      const int64_t high = shape.type == Type::kPort ? 65535 : shape.maximum;
      errno = 0;
      const int64_t number = std::strtoll(value.text.c_str(), nullptr, 10);
      if (errno == ERANGE || number < low || number > high) {
        std::string range;
        if (low != INT64_MIN) range += fmt::format(" of at least {}", low);
        if (high != INT64_MAX) range += fmt::format("{} at most {}", range.empty() ? " of" : " and", high);
        Add(findings, "out-of-range", value.mark, fmt::format("{} is {}", where, Shown(value.text)),
            fmt::format("write a number{}", range));
      }
      break;
    }
    case Type::kWord: {
      for (const std::string& word : shape.words) {
        if (word == value.text && value.type == Value::Type::kString) return;
      }
      const auto near = Nearest(value.text, shape.words);
      Add(findings, "bad-word", value.mark, fmt::format("{} is \"{}\"", where, Shown(value.text)),
          (near ? fmt::format("did you mean {}? ", *near) : std::string()) +
              "possible: " + Join(shape.words, ", "));
      break;
    }
    case Type::kText:
      if (!shape.pattern.empty() && (!whole || !MatchesBothWays(value, shape.pattern))) {
        Add(findings, "bad-pattern", value.mark,
            fmt::format("{} is \"{}\"{}", where, Shown(value.text), ControlIn(value.text)),
            shape.help.empty() ? "it must match " + shape.pattern : shape.help);
      }
      break;
    default:
      break;
  }
}

// How to write an object in place of `value`: with what stands there as its one key, where that may be meant.
std::string WriteObject(const Value& value, const Shape& shape) {
  std::vector<std::string> names, required;
  for (const Shape::Field& field : shape.fields) {
    names.push_back(field.name);
    if (field.required) required.push_back(field.name);
  }
  if (required.size() == 1 && value.is_scalar()) {
    return fmt::format("write {{ {}: {} }}", required[0], Shown(value.text));
  }
  if (names.empty()) return "write a map, one `key: value` a line";
  constexpr size_t kNamedMost = 12;
  const std::string more = names.size() > kNamedMost ? " …" : "";
  names.resize(std::min(names.size(), kNamedMost));
  return fmt::format("write a map, one `key: value` a line; {} {}{}",
                     names.size() == 1 ? "its key is" : "its keys are", Join(names, ", "), more);
}

void CheckObject(const Value& value, const Shape& shape, const std::string& where,
                 std::vector<Finding>& findings) {
  if (!value.is_map()) {
    Add(findings, "wrong-type", value.mark,
        fmt::format("{} is {}, but must be {}", where, Kind(value), Describe(shape)),
        WriteObject(value, shape));
    return;
  }
  for (const Value::Entry& entry : value.entries) {
    const Shape::Field* found = nullptr;
    for (const Shape::Field& field : shape.fields) {
      if (field.name == entry.key) found = &field;
    }
    if (found) {
      CheckShape(entry.value, found->shape, where.empty() ? entry.key : where + "." + entry.key, findings);
      continue;
    }
    std::vector<std::string> names;
    for (const Shape::Field& field : shape.fields) names.push_back(field.name);
    const auto near = NearestKey(entry.key, names);
    Add(findings, "unknown-key", entry.key_mark,
        fmt::format("{} has no key {}", where.empty() ? "the file" : where, entry.key),
        near ? fmt::format("did you mean {}?", *near) : "known are: " + Join(names, ", "));
  }
  for (const Shape::Field& field : shape.fields) {
    if (field.required && !value.Find(field.name)) {
      Add(findings, "missing-key", value.mark,
          fmt::format("{} needs the key {}", where.empty() ? "the file" : where, field.name),
          fmt::format("add {}: {}", field.name, Describe(field.shape)));
    }
  }
}

}  // namespace

std::string_view PatternOf(Type type) {
  // No wider than what ParseDuration and ParseSize take: what those refuse would count as not written.
  switch (type) {
    case Type::kInteger:
    case Type::kPort:
      return "[-+]?[0-9]+";
    case Type::kDuration:
      return "(?=[0-9])([0-9]{1,3}d)?([0-9]{1,4}h)?([0-9]{1,6}m)?([0-9]{1,8}s)?([0-9]{1,11}ms)?";
    case Type::kSize:
      return "[0-9]{1,12}[kKmM]?|[0-9]{1,9}[gG]";
    case Type::kPorts:
      return "[0-9]{1,5}(-[0-9]{1,5})?(/(tcp|udp))?";
    case Type::kCount:
      return "[0-9]{1,6}( per host)?";
    case Type::kShare:
      return "[0-9]{1,6}%?";
    default:
      return "";
  }
}

std::string Describe(const Shape& shape) {
  switch (shape.type) {
    case Type::kText:
    case Type::kScalar:
      return "a text";
    case Type::kInteger:
      return "a whole number";
    case Type::kBool:
      return "true or false";
    case Type::kDuration:
      return "a duration with its unit, such as 500ms, 2s or 1m30s";
    case Type::kSize:
      return "a size, such as 64m or 1g";
    case Type::kPort:
      return "a port number";
    case Type::kPorts:
      return "a port, a range or either with /udp, such as 8080, 8100-8110 or 5353/udp";
    case Type::kCount:
      return "a number, or one per host, such as 3 or 5 per host";
    case Type::kShare:
      return "a number or a percentage, such as 2 or 25%";
    case Type::kWord:
      return "one of " + Join(shape.words, ", ");
    case Type::kFile:
      return "the path of a file";
    case Type::kAny:
      return "anything";
    case Type::kList:
      return "a list";
    case Type::kMap:
    case Type::kObject:
      return "a map";
    case Type::kEither: {
      std::string text;
      for (size_t i = 0; i < shape.choices.size(); ++i) {
        if (i > 0) text += " or ";
        text += Describe(shape.choices[i]);
      }
      return text;
    }
  }
  return "something else";
}

void CheckShape(const Value& value, const Shape& shape, const std::string& where,
                std::vector<Finding>& findings) {
  switch (shape.type) {
    case Type::kAny:
      return;
    case Type::kObject:
      CheckObject(value, shape, where, findings);
      return;
    case Type::kMap:
      if (!value.is_map()) {
        Add(findings, "wrong-type", value.mark,
            fmt::format("{} is {}, but must be a map", where, Kind(value)),
            "write a map, one `key: value` a line");
        return;
      }
      for (const Value::Entry& entry : value.entries) {
        if (!shape.key_pattern.empty() && !Matches(entry.key, shape.key_pattern)) {
          Add(findings, "bad-pattern", entry.key_mark,
              fmt::format("{} can't be a name in {}", entry.key, where),
              shape.help.empty() ? "it must match " + shape.key_pattern : shape.help);
        }
        if (shape.element) CheckShape(entry.value, *shape.element, where + "." + entry.key, findings);
      }
      return;
    case Type::kList:
      if (shape.or_single && !value.is_list() && value.type != Value::Type::kNull) {
        if (shape.element) CheckShape(value, *shape.element, where, findings);
        return;
      }
      if (!value.is_list()) {
        Add(findings, "wrong-type", value.mark,
            fmt::format("{} is {}, but must be a list", where, Kind(value)),
            "write a list: [a, b], or one `- item` a line");
        return;
      }
      for (size_t i = 0; i < value.items.size(); ++i) {
        if (shape.element)
          CheckShape(value.items[i], *shape.element, fmt::format("{}[{}]", where, i), findings);
      }
      return;
    case Type::kEither: {
      for (const Shape& choice : shape.choices) {
        const bool list = choice.type == Type::kList,
                   map = choice.type == Type::kMap || choice.type == Type::kObject;
        const bool any = choice.type == Type::kAny;
        if (any || (list && value.is_list()) || (map && value.is_map()) ||
            (!list && !map && value.is_scalar())) {
          CheckShape(value, choice, where, findings);
          return;
        }
      }
      Add(findings, "wrong-type", value.mark,
          fmt::format("{} is {}, but must be {}", where, Kind(value), Describe(shape)),
          "write " + Describe(shape));
      return;
    }
    default:
      CheckScalar(value, shape, where, findings);
  }
}

}  // namespace muster::spec
