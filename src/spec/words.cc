#include "spec/words.h"

#include <fmt/core.h>

#include "base/text.h"

namespace muster::spec {

std::string Shown(std::string_view text) {
  constexpr size_t kMost = 60;
  std::string shown(text.substr(0, kMost));
  if (text.size() > kMost) {
    size_t end = kMost;  // not within a character
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
    shown = std::string(text.substr(0, end)) + "…";
  }
  for (char& c : shown) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  return shown;
}

std::string Suggest(std::string_view word, const std::vector<std::string>& known) {
  constexpr size_t kWordMost = 64, kComparedMost = 2000, kListedMost = 20;
  if (word.size() <= kWordMost && known.size() <= kComparedMost) {
    if (const auto near = Nearest(word, known)) return fmt::format("did you mean {}?", *near);
  }
  if (known.size() <= kListedMost) return "known are: " + Join(known, ", ");
  const std::vector<std::string> first(known.begin(), known.begin() + kListedMost);
  return fmt::format("known are: {} and {} more", Join(first, ", "), known.size() - kListedMost);
}

}  // namespace muster::spec
