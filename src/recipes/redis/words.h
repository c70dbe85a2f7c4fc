// What the readers of Redis' texts share: lines, words and numbers. Pure. Pieces point into the argument.
#pragma once

#include <charconv>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace muster::redis {

// All of `text` as a number, or nullopt.
template <class Number>
std::optional<Number> ParseNumber(std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// The value of that name, as among a verb's arguments or a member's facts; "": there is none.
inline std::string TextAt(const std::map<std::string, std::string>& values, const std::string& name) {
  const auto found = values.find(name);
  return found == values.end() ? "" : found->second;
}

// What stands between any run of `separators`; nothing empty.
inline std::vector<std::string_view> Words(std::string_view text, std::string_view separators = " ") {
  std::vector<std::string_view> words;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = text.find_first_not_of(separators, at);
    if (begin == std::string_view::npos) break;
    const size_t end = std::min(text.find_first_of(separators, begin), text.size());
    words.push_back(text.substr(begin, end - begin));
    at = end;
  }
  return words;
}

// Lines that aren't empty, with either end.
inline std::vector<std::string_view> Lines(std::string_view text) { return Words(text, "\r\n"); }

}  // namespace muster::redis
