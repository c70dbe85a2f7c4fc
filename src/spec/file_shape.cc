#include "spec/file_shape.h"

namespace muster::spec {
namespace {

using Type = Shape::Type;

Shape Scalar(Type type, std::string help) {
  Shape shape;
  shape.type = type;
  shape.help = std::move(help);
  return shape;
}

Shape Words(std::vector<std::string> words, std::string help) {
  Shape shape = Scalar(Type::kWord, std::move(help));
  shape.words = std::move(words);
  return shape;
}

Shape TextList(std::string help) {
  Shape shape = Scalar(Type::kList, std::move(help));
  shape.element = std::make_shared<Shape>(Scalar(Type::kText, ""));
  shape.or_single = true;
  return shape;
}

Shape UpdateShape() {
  Shape shape = Scalar(Type::kObject, "How a new revision is rolled out");
  Shape keep = Scalar(Type::kInteger, "Revisions kept for rollback");
  keep.minimum = 1;
  keep.maximum = 1000;
  shape.fields = {
      {"max_unavailable", Scalar(Type::kShare, "How many may be away at once, rounded down"), false},
      {"max_surge", Scalar(Type::kShare, "How many more may run meanwhile, rounded up"), false},
      {"min_ready", Scalar(Type::kDuration, "How long each must be ready before the next"), false},
      {"deadline", Scalar(Type::kDuration, "How long one may take to become ready"), false},
      {"drain", Scalar(Type::kDuration, "How long requests under way may take once it gets no new ones"),
       false},
      {"keep", keep, false},
      {"on_failure", Words({"stop", "rollback"}, "What a failed release does"), false},
  };
  return shape;
}

Shape RequireShape() {
  Shape number = Scalar(Type::kText, "How many of its hosts must be reachable: all, quorum, or a number");
  number.pattern = "all|quorum|[0-9]{1,4}";
  return number;
}

}  // namespace

Shape FileShape() {
  Shape name = Scalar(
      Type::kText, "a name has lower-case letters, digits and dashes, at most 32, and begins with a letter");
  name.pattern = kNamePattern;

  Shape address = Scalar(Type::kText, "");
  Shape host = Scalar(Type::kObject, "A machine");
  host.fields = {{"address", Scalar(Type::kText, "How other hosts reach it"), true}};
  Shape hosts = Scalar(Type::kMap, name.help);
  hosts.key_pattern = kNamePattern;
  hosts.element = std::make_shared<Shape>(host);

  Shape service = Scalar(Type::kAny, "");
  Shape services = Scalar(Type::kMap, name.help);
  services.key_pattern = kNamePattern;
  services.element = std::make_shared<Shape>(service);

  Shape file = Scalar(Type::kObject, "A cluster");
  file.fields = {{"cluster", name, true}, {"hosts", hosts, false}, {"services", services, true}};
  return file;
}

Shape ServiceShape(const std::string& kind, const Shape& settings) {
  Shape shape = settings;
  shape.type = Type::kObject;
  const std::vector<Shape::Field> common{
      {"kind", Words({kind}, "What it is"), true},
      {"uses", TextList("Services that must be ready before it"), false},
      {"hosts", TextList("The hosts it may stand on; all where left out"), false},
      {"user", Scalar(Type::kText, "The user it runs as"), false},
      {"require", RequireShape(), false},
      {"update", UpdateShape(), false},
  };
  shape.fields.insert(shape.fields.begin(), common.begin(), common.end());
  return shape;
}

}  // namespace muster::spec
