#include "model/value.h"

#include <charconv>

namespace muster {

const Value* Value::Find(std::string_view key) const {
  for (const Entry& entry : entries) {
    if (entry.key == key) return &entry.value;
  }
  return nullptr;
}

std::string Value::Text(std::string_view key, std::string_view fallback) const {
  const Value* found = Find(key);
  return found && found->is_scalar() ? found->text : std::string(fallback);
}

int64_t Value::Integer(std::string_view key, int64_t fallback) const {
  const Value* found = Find(key);
  if (!found || !found->is_scalar()) return fallback;
  int64_t number = 0;
  const char* begin = found->text.data() + (found->text.starts_with('+') ? 1 : 0);
  const char* end = found->text.data() + found->text.size();
  const auto [stop, error] = std::from_chars(begin, end, number);
  return error == std::errc() && stop == end ? number : fallback;
}

bool Value::Bool(std::string_view key, bool fallback) const {
  const Value* found = Find(key);
  return found ? ReadBool(*found, fallback) : fallback;
}

std::vector<std::string> Value::Texts(std::string_view key) const {
  const Value* found = Find(key);
  if (!found) return {};
  if (found->is_scalar()) return {found->text};
  std::vector<std::string> texts;
  for (const Value& item : found->items) {
    if (item.is_scalar()) texts.push_back(item.text);
  }
  return texts;
}

bool ReadBool(const Value& value, bool fallback) {
  for (const std::string_view yes : {"true", "True", "TRUE", "yes", "on"}) {
    if (value.text == yes) return true;
  }
  for (const std::string_view no : {"false", "False", "FALSE", "no", "off"}) {
    if (value.text == no) return false;
  }
  return fallback;
}

}  // namespace muster
