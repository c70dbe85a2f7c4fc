// Says what the shape stage thinks of cluster files, for tests that hold it against the JSON Schema.
//
//   spec-shape-tool --schema     prints the schema
//   spec-shape-tool < NAMES      for each file name on a line: "ok", or "bad" and the findings' codes
//   spec-shape-tool -v < NAMES   the findings in full
//
// It knows the real recipes' kinds and some made-up ones, which between them use every type of Shape.
#include <cstdio>
#include <iostream>
#include <string>

#include "base/files.h"
#include "recipes/recipe.h"
#include "spec/spec.h"

using namespace muster;

namespace {

using Type = Shape::Type;

Shape Make(Type type) {
  Shape shape;
  shape.type = type;
  return shape;
}

Shape Pattern(std::string pattern) {
  Shape shape = Make(Type::kText);
  shape.pattern = std::move(pattern);
  return shape;
}

Shape Words(std::vector<std::string> words) {
  Shape shape = Make(Type::kWord);
  shape.words = std::move(words);
  return shape;
}

Shape Integer(int64_t minimum, int64_t maximum) {
  Shape shape = Make(Type::kInteger);
  shape.minimum = minimum;
  shape.maximum = maximum;
  return shape;
}

Shape ListOf(Shape element, bool or_single) {
  Shape shape = Make(Type::kList);
  shape.element = std::make_shared<Shape>(std::move(element));
  shape.or_single = or_single;
  return shape;
}

Shape MapOf(Shape element, std::string key_pattern = "") {
  Shape shape = Make(Type::kMap);
  shape.element = std::make_shared<Shape>(std::move(element));
  shape.key_pattern = std::move(key_pattern);
  return shape;
}

Shape Object(std::vector<Shape::Field> fields) {
  Shape shape = Make(Type::kObject);
  shape.fields = std::move(fields);
  return shape;
}

Shape Either(std::vector<Shape> choices) {
  Shape shape = Make(Type::kEither);
  shape.choices = std::move(choices);
  return shape;
}

spec::Shapes AllShapes() {
  spec::Shapes shapes;
  for (const auto& [kind, recipe] : AllRecipes()) shapes[kind] = recipe.layout->SettingsShape();
  shapes["scalars"] = Object({{"text", Make(Type::kText), true},
                              {"integer", Make(Type::kInteger)},
                              {"small", Integer(-5, 100)},
                              {"bool", Make(Type::kBool)},
                              {"duration", Make(Type::kDuration)},
                              {"size", Make(Type::kSize)},
                              {"port", Make(Type::kPort)},
                              {"ports", Make(Type::kPorts)},
                              {"count", Make(Type::kCount)},
                              {"share", Make(Type::kShare)},
                              {"word", Words({"red", "green", "on"})},
                              {"file", Make(Type::kFile)},
                              {"scalar", Make(Type::kScalar)},
                              {"any", Make(Type::kAny)}});
  shapes["patterns"] = Object({{"octal", Pattern("0?[0-7]{3}")},
                               {"version", Pattern("1\\.[01]")},
                               {"four", Pattern("all|[0-9]{1,4}")},
                               {"spaceless", Pattern("[^\\s;]+")},
                               {"blank", Pattern("\\s*")},
                               {"word", Pattern("\\w+(-\\d+)?")},
                               {"anything", Pattern("[^\"\\\\;{}\\n\\r]*")},
                               {"short", Pattern(".{0,5}")},
                               {"signed", Pattern("-?[0-9]+")}});
  shapes["nested"] = Object(
      {{"list", ListOf(Integer(0, 9), false)},
       {"or_single", ListOf(Make(Type::kDuration), true)},
       {"bare_list", Make(Type::kList)},
       {"bare_map", Make(Type::kMap)},
       {"map", MapOf(Make(Type::kPorts), "[a-z][a-z0-9_]{0,7}")},
       {"free_map", MapOf(Make(Type::kText))},
       {"any_list", ListOf(Make(Type::kAny), true)},
       {"lists", ListOf(ListOf(Make(Type::kBool), true), true)},
       {"objects", ListOf(Object({{"name", Pattern("[a-z]+"), true}, {"size", Make(Type::kSize)}}), true)},
       {"either", Either({Make(Type::kBool), ListOf(Make(Type::kFile), false),
                          Object({{"from", Make(Type::kFile), true}, {"word", Words({"a", "b"})}})})},
       {"either_any", Either({Make(Type::kSize), Make(Type::kAny)})},
       {"either_map", Either({MapOf(Make(Type::kShare)), Make(Type::kDuration), Make(Type::kInteger)})}});
  return shapes;
}

}  // namespace

int main(int argc, char** argv) {
  const spec::Shapes shapes = AllShapes();
  const std::string option = argc > 1 ? argv[1] : "";
  if (option == "--schema") {
    std::cout << spec::SchemaText(shapes);
    return 0;
  }
  for (std::string name; std::getline(std::cin, name);) {
    const auto text = ReadFile(name);
    if (!text.ok()) {
      std::cerr << text.error().Text() << "\n";
      return 1;
    }
    const spec::Parsed parsed = spec::ParseCluster(*text, name, shapes);
    if (option == "-v") {
      for (const Finding& finding : parsed.findings) std::cout << FormatFinding(finding) << "\n";
      std::cout << (parsed.shape_ok ? "shape ok\n" : "shape bad\n");
      continue;
    }
    std::cout << (parsed.shape_ok ? "ok" : "bad");
    for (const Finding& finding : parsed.findings) std::cout << " " << finding.code;
    std::cout << "\n";
  }
  return 0;
}
