#include "model/listens.h"

#include <charconv>

#include "base/text.h"

namespace muster {
namespace {

bool ReadNumber(std::string_view text, int& number) {
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && stop == text.data() + text.size();
}

}  // namespace

std::string FormatListens(const std::string& address, const std::map<std::string, PortRange>& ports) {
  if (ports.empty()) return "";
  std::string text = address;
  for (const auto& [name, range] : ports) {
    text += fmt::format(" {}", range.first);
    if (range.count > 1) text += fmt::format("-{}", range.first + range.count - 1);
    if (range.udp) text += "/udp";
  }
  return text;
}

Listens ParseListens(std::string_view text) {
  const std::vector<std::string> words = Split(text, ' ');
  Listens listens;
  if (words.size() < 2) return listens;
  listens.address = words[0];
  for (size_t i = 1; i < words.size(); ++i) {
    std::string_view word = words[i];
    PortRange range;
    range.udp = word.ends_with("/udp");
    if (range.udp) word.remove_suffix(4);
    const size_t dash = word.find('-');
    int last = 0;
    if (!ReadNumber(word.substr(0, dash), range.first)) continue;
    if (dash != std::string_view::npos) {
      if (!ReadNumber(word.substr(dash + 1), last) || last < range.first || last > 65535) continue;
      range.count = last - range.first + 1;
    }
    listens.ports.push_back(range);
  }
  return listens;
}

Listens ListensOf(const Observed& observed) {
  const auto fact = observed.facts.find(kListensFact);
  return fact == observed.facts.end() ? Listens{} : ParseListens(fact->second);
}

}  // namespace muster
