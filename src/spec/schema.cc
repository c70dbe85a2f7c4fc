// The JSON Schema of cluster files, from the same Shapes as the shape stage.
//
// It is about the document as YAML 1.2's core schema types it: `80` is an integer, `"80"` and `2s` are
// strings, `yes` is a string, `1.5` a number, an empty value null. Conventions, the same in shape_check.cc:
//   text, file, scalar  any scalar: string, number, boolean     integer, port  an integer without quotes
//   boolean             true, false, or one of the strings yes no on off
//   duration … share    a string or an integer whose text matches the pattern; a schema can't match the text
//                       of an integer, so where digits alone are right an integer from 0 to 999999 is let in
//   word                a string of the list; words that YAML reads as something else are not used
#include <nlohmann/json.hpp>

#include "spec/file_shape.h"
#include "spec/shape_check.h"
#include "spec/spec.h"

namespace muster::spec {
namespace {

using Json = nlohmann::ordered_json;
using Type = Shape::Type;

std::string Whole(std::string_view pattern) { return "^(?:" + std::string(pattern) + ")$"; }

Json SchemaOf(const Shape& shape);

Json Described(Json schema, const Shape& shape) {
  if (!shape.help.empty()) schema["description"] = shape.help;
  return schema;
}

Json TextOrInteger(std::string_view pattern, bool bare_digits, int64_t most) {
  Json text{{"type", "string"}, {"pattern", Whole(pattern)}};
  if (!bare_digits) return text;
  return {{"anyOf", Json::array({text, {{"type", "integer"}, {"minimum", 0}, {"maximum", most}}})}};
}

Json Bare(const Shape& shape) {
  switch (shape.type) {
    case Type::kText:
      if (!shape.pattern.empty()) return TextOrInteger(shape.pattern, Matches("7", shape.pattern), 9999);
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
      return TextOrInteger(PatternOf(shape.type), false, 0);
    case Type::kSize:
      return TextOrInteger(PatternOf(shape.type), true, 999'999'999'999);
    case Type::kPorts:
      return TextOrInteger(PatternOf(shape.type), true, 99'999);
    case Type::kCount:
    case Type::kShare:
      return TextOrInteger(PatternOf(shape.type), true, 999'999);
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
      if (!shape.key_pattern.empty()) map["propertyNames"] = {{"pattern", Whole(shape.key_pattern)}};
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
