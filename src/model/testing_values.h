// Settings of services as the cluster file gives them, for tests. Pure.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "model/cluster.h"

namespace muster {

// A number where it looks like one, else a string; at line 7, column 14.
inline Value Scalar(const std::string& text) {
  Value value;
  const bool number = !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
  value.type = number ? Value::Type::kInteger : Value::Type::kString;
  value.text = text;
  value.mark = {.line = 7, .column = 14};
  return value;
}

inline Value Map(std::vector<std::pair<std::string, Value>> entries) {
  Value value;
  value.type = Value::Type::kMap;
  for (auto& [key, entry] : entries) {
    value.entries.push_back({.key = key, .key_mark = {}, .value = std::move(entry)});
  }
  return value;
}

}  // namespace muster
