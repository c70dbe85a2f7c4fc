// A YAML document as a tree in which each node knows its place. What spec reads and recipes interpret. A
// value: each node owns those below it. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace muster {

// Place in the cluster file; both 1-based; 0 where there is none.
struct Mark {
  int line = 0;
  int column = 0;
  bool operator==(const Mark&) const = default;
};

// One node. Scalars keep their text and are typed by the YAML 1.2 core schema unless quoted: `80` is an
// integer,
// `"80"` and `2s` are strings, `yes` is a string (readers of booleans take it as true).
class Value {
 public:
  enum class Type { kNull, kBool, kInteger, kNumber, kString, kList, kMap };
  struct Entry;

  Type type = Type::kNull;
  Mark mark;
  std::string text;  // scalars: as written, without quotes
  bool quoted = false;
  // Not what the file says: put here (in a list: in place of some of it) where that is of no use, so that the
  // rest can be checked.
  bool stand_in = false;
  std::vector<Value> items;    // lists
  std::vector<Entry> entries;  // maps, in the file's order

  bool is_map() const { return type == Type::kMap; }
  bool is_list() const { return type == Type::kList; }
  bool is_scalar() const { return type != Type::kMap && type != Type::kList && type != Type::kNull; }

  // nullptr where absent or not a map; else this node's own.
  const Value* Find(std::string_view key) const;

  // Readers for validated values: the fallback where `key` is absent.
  std::string Text(std::string_view key, std::string_view fallback = "") const;
  int64_t Integer(std::string_view key, int64_t fallback) const;
  bool Bool(std::string_view key, bool fallback) const;
  // A scalar gives one element, a list its scalars.
  std::vector<std::string> Texts(std::string_view key) const;
};

struct Value::Entry {
  std::string key;
  Mark key_mark;
  Value value;
};

bool ReadBool(const Value& value, bool fallback);

}  // namespace muster
