// What a part of the cluster file may look like: keys, types, units. A value, declared by each recipe for its
// own settings; the parser's shape stage and `muster schema` are both made from it, so they can't disagree.
// Never changed once made: copies share `element`, from any thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

namespace muster {

struct Shape {
  enum class Type {
    kText,      // any scalar; {{…}} allowed where `templated`
    kInteger,   // between `minimum` and `maximum`
    kBool,      // true false yes no on off
    kDuration,  // 2s, 1m30s
    kSize,      // 64m
    kPort,      // 1..65535
    kPorts,     // 8844, 8100-8110, 8200-8210/udp
    kCount,     // 5, "5 per host"
    kShare,     // 25% or 2
    kWord,      // one of `words`
    kFile,      // the path of a file on the user's machine, sent with the bundle
    kScalar,    // any scalar, meaning left to the program that gets it
    kAny,       // anything at all
    kList,      // of `element`; a single scalar counts as a list of one where `or_single`
    kMap,       // free keys (matching `key_pattern` if set), values of `element`
    kObject,    // the keys in `fields`, no others
    kEither,    // one of `choices`, told apart by YAML type (scalar, list, map)
  };
  struct Field;

  Type type = Type::kText;
  std::string help;
  int64_t minimum = INT64_MIN;
  int64_t maximum = INT64_MAX;
  bool templated = false;
  bool or_single = false;
  bool secret = false;      // kFile: what stands in the file is never shown
  std::string key_pattern;  // ECMA regular expression, whole key
  std::string pattern;      // kText: the same for the value
  std::vector<std::string> words;
  std::vector<Field> fields;
  std::vector<Shape> choices;
  std::shared_ptr<const Shape> element;
};

struct Shape::Field {
  std::string name;
  Shape shape;
  bool required = false;
};

}  // namespace muster
