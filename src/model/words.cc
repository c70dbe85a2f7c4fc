#include "model/words.h"

namespace muster {
namespace {

constexpr std::string_view kOpen = "\x01path:";
constexpr char kClose = '\x02';
constexpr std::string_view kBrace = "brace";
constexpr std::string_view kWords[] = {"folder", "data", "logs", "artifact", kBrace};

// The word at the start of `text`, which begins with "{"; "" if none does.
std::string_view WordAt(std::string_view text) {
  for (const std::string_view word : kWords) {
    if (text.size() >= word.size() + 2 && text.substr(1, word.size()) == word && text[word.size() + 1] == '}')
      return word;
  }
  return "";
}

using ValueOf = std::function<std::optional<std::string>(std::string_view name)>;

std::string Replace(std::string_view text, const ValueOf& value) {
  std::string replaced;
  for (size_t at = text.find('{'); at != std::string_view::npos; at = text.find('{')) {
    replaced += text.substr(0, at);
    text.remove_prefix(at);
    const std::string_view word = WordAt(text);
    const std::optional<std::string> with = word.empty() ? std::nullopt : value(word);
    replaced += with ? *with : "{";
    text.remove_prefix(with ? word.size() + 2 : 1);
  }
  return replaced + std::string(text);
}

std::string Sealed(std::string_view text) {
  return Replace(text, [](std::string_view word) { return "{brace}" + std::string(word) + "}"; });
}

}  // namespace

std::string PathMarker(std::string_view name) { return std::string(kOpen) + std::string(name) + kClose; }

std::string SealWords(std::string_view text) {
  std::string sealed;
  while (true) {
    const size_t open = text.find(kOpen);
    const size_t close = open == std::string_view::npos ? open : text.find(kClose, open);
    if (close == std::string_view::npos) break;
    sealed += Sealed(text.substr(0, open));
    sealed += "{" + std::string(text.substr(open + kOpen.size(), close - open - kOpen.size())) + "}";
    text.remove_prefix(close + 1);
  }
  return sealed + Sealed(text);
}

std::string FillWords(std::string_view text, const ValueOf& value) {
  return Replace(text, [&](std::string_view word) { return word == kBrace ? "{" : value(word); });
}

}  // namespace muster
