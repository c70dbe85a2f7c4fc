// The JSON Schema of cluster files, from the same Shapes as the shape stage.
//
// It is about the document as YAML 1.2's core schema types it: `80` is an integer, `"80"` and `2s` are
// strings, `yes` is a string, `1.5` a number, an empty value null. Conventions, the same in shape_check.cc:
//   text, file, scalar  any scalar: string, number, boolean     integer, port  an integer without quotes
//   boolean             true, false, or one of the strings yes no on off
//   duration … share,   a string that matches the pattern, or an integer that does so both as written and as
//   text with pattern   JSON has it: of 0640 and +7 the schema sees 640 and 7
//   word                a string of the list; words that YAML reads as something else are not used
// Hexadecimal and octal numbers, .inf and .nan are strings; a schema can't tell 5.0 from 5, the parser does.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "spec/file_shape.h"
#include "spec/shape_check.h"
#include "spec/spec.h"

namespace muster::spec {
namespace {

using Json = nlohmann::ordered_json;
using Type = Shape::Type;

// The pattern over the whole text, in words that every dialect of regular expressions reads alike: Python's
// `\s` knows more spaces than ours.
std::string Whole(std::string_view pattern) {
  std::string text;
  bool bracket = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      const char next = pattern[++i];
      const std::string_view set = next == 's'   ? " \\t\\n\\v\\f\\r"
                                   : next == 'w' ? "A-Za-z0-9_"
                                   : next == 'd' ? "0-9"
                                                 : "";
      if (set.empty()) {
        text += {c, next};
      } else {
        text += bracket ? std::string(set) : fmt::format("[{}]", set);
      }
      continue;
    }
    if (c == '[') bracket = true;
    if (c == ']') bracket = false;
    text += c == '.' && !bracket ? "[^\\n\\r\\u2028\\u2029]" : std::string(1, c);
  }
  return "^(?:" + text + ")$";
}

Json StringOf(std::string_view pattern) {
  Json text{{"type", "string"}, {"pattern", Whole(pattern)}};
  if (pattern.find_first_of("*+") != std::string_view::npos) text["maxLength"] = kPatternMost;
  return text;
}

struct Range {
  int64_t low, high;
};

// The integers that match as JSON has them. Those of one to three digits are tried one by one, longer ones
// and negative ones by a few of each length.
std::vector<Range> IntegersMatching(std::string_view pattern) {
  constexpr size_t kDigitsMost = 18;  // what takes so many takes any
  std::vector<Range> ranges;
  const auto add = [&](int64_t low, int64_t high) {
    if (!ranges.empty() && ranges.back().high + 1 == low) {
      ranges.back().high = high;
    } else {
      ranges.push_back({low, high});
    }
  };
  const auto all_match = [&](const std::string& sign, size_t digits) {
    for (const std::string_view some : {"100000000000000000", "999999999999999999", "123456789012345678",
                                        "777777777777777777", "505050505050505050"}) {
      if (!Matches(sign + std::string(some.substr(0, digits)), pattern)) return false;
    }
    return true;
  };
  const auto power = [](size_t exponent) {
    int64_t number = 1;
    for (size_t i = 0; i < exponent; ++i) number *= 10;
    return number;
  };
  for (size_t digits = kDigitsMost; digits >= 1; --digits) {
    if (!all_match("-", digits)) continue;
    add(digits == kDigitsMost ? INT64_MIN : -(power(digits) - 1), -power(digits - 1));
  }
  for (int64_t number = 0; number < 1000; ++number) {
    if (Matches(std::to_string(number), pattern)) add(number, number);
  }
  for (size_t digits = 4; digits <= kDigitsMost; ++digits) {
    if (all_match("", digits)) add(power(digits - 1), digits == kDigitsMost ? INT64_MAX : power(digits) - 1);
  }
  return ranges;
}

Json SchemaOf(const Shape& shape);

Json Described(Json schema, const Shape& shape) {
  if (!shape.help.empty()) schema["description"] = shape.help;
  return schema;
}

Json TextOrInteger(std::string_view pattern) {
  Json choices = Json::array({StringOf(pattern)});
  for (const auto& [low, high] : IntegersMatching(pattern)) {
    Json integer{{"type", "integer"}};
    if (low != INT64_MIN) integer["minimum"] = low;
    if (high != INT64_MAX) integer["maximum"] = high;
    choices.push_back(integer);
  }
  if (choices.size() == 1) return choices[0];
  return {{"anyOf", choices}};
}

Json Bare(const Shape& shape) {
  switch (shape.type) {
    case Type::kText:
      if (!shape.pattern.empty()) return TextOrInteger(shape.pattern);
      return {{"type", {"string", "number", "boolean"}}};
    case Type::kFile:
    case Type::kScalar:
      return {{"type", {"string", "number", "boolean"}}};
    case Type::kInteger:
    case Type::kPort: {
      Json schema{{"type", "integer"}};
      const int64_t low = shape.type == Type::kPort ? 1 : shape.minimum;
      const int64_t high = shape.type == Type::kPort ? 65535 : shape.maximum;
      schema["minimum"] = low;
      schema["maximum"] = high;
      return schema;
    }
    case Type::kBool:
      return {{"enum", {true, false, "yes", "no", "on", "off"}}};
    case Type::kDuration:
    case Type::kSize:
    case Type::kPorts:
    case Type::kCount:
    case Type::kShare:
      return TextOrInteger(PatternOf(shape.type));
    case Type::kWord:
      return {{"enum", shape.words}};
    case Type::kAny:
      return Json::object();
    case Type::kList: {
      Json list{{"type", "array"}};
      if (shape.element) list["items"] = SchemaOf(*shape.element);
      if (!shape.or_single || !shape.element) return list;
      return {{"anyOf", Json::array({list,
                                     {{"allOf", Json::array({SchemaOf(*shape.element),
                                                             {{"not", {{"type", {"array", "null"}}}}}})}}})}};
    }
    case Type::kMap: {
      Json map{{"type", "object"}};
      if (shape.element) map["additionalProperties"] = SchemaOf(*shape.element);
      if (!shape.key_pattern.empty()) map["propertyNames"] = StringOf(shape.key_pattern);
      return map;
    }
    case Type::kObject: {
      Json object{{"type", "object"}, {"additionalProperties", false}, {"properties", Json::object()}};
      Json required = Json::array();
      for (const Shape::Field& field : shape.fields) {
        object["properties"][field.name] = SchemaOf(field.shape);
        if (field.required) required.push_back(field.name);
      }
      if (!required.empty()) object["required"] = required;
      return object;
    }
    case Type::kEither: {
      // Told apart by YAML type, the first choice of a type counts: as in CheckShape.
      Json choices = Json::array();
      bool list = false, map = false, scalar = false;
      for (const Shape& choice : shape.choices) {
        if (choice.type == Type::kAny) {
          Json kinds = Json::array({"null"});
          if (!list) kinds.push_back("array");
          if (!map) kinds.push_back("object");
          if (!scalar) kinds.insert(kinds.end(), {"string", "number", "boolean"});
          choices.push_back(Described({{"type", kinds}}, choice));
          break;
        }
        const bool is_list = choice.type == Type::kList;
        const bool is_map = choice.type == Type::kMap || choice.type == Type::kObject;
        bool& seen = is_list ? list : is_map ? map : scalar;
        if (std::exchange(seen, true)) continue;
        const Json kinds = is_list  ? Json::array({"array"})
                           : is_map ? Json::array({"object"})
                                    : Json::array({"string", "number", "boolean"});
        choices.push_back({{"allOf", Json::array({{{"type", kinds}}, SchemaOf(choice)})}});
      }
      return {{"anyOf", choices}};
    }
  }
  return Json::object();
}

Json SchemaOf(const Shape& shape) { return Described(Bare(shape), shape); }

}  // namespace

std::string SchemaText(const Shapes& shapes) {
  Json schema = SchemaOf(FileShape());
  Json kinds = Json::array(), definitions = Json::object(), rules = Json::array();
  for (const auto& [kind, settings] : shapes) {
    kinds.push_back(kind);
    definitions[kind] = SchemaOf(ServiceShape(kind, settings));
    rules.push_back({{"if", {{"properties", {{"kind", {{"const", kind}}}}}, {"required", {"kind"}}}},
                     {"then", {{"$ref", "#/$defs/" + kind}}}});
  }
  // By the kind, not by trying all: an editor then shows what is wrong, not that nothing fits.
  schema["properties"]["services"]["additionalProperties"] = {
      {"type", "object"},
      {"required", {"kind"}},
      {"properties", {{"kind", {{"enum", kinds}}}}},
      {"allOf", rules},
  };
  Json whole{{"$schema", "https://json-schema.org/draft/2020-12/schema"}, {"title", "muster cluster file"}};
  for (auto& [key, value] : schema.items()) whole[key] = value;
  whole["$defs"] = definitions;
  return whole.dump(2) + "\n";
}

}  // namespace muster::spec
