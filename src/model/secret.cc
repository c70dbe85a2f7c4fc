#include "model/secret.h"

#include <algorithm>

namespace muster {
namespace {

constexpr std::string_view kOpen = "\x01secret:";
constexpr char kClose = '\x02';

}  // namespace

std::string SecretMarker(std::string_view name) { return std::string(kOpen) + std::string(name) + kClose; }

std::string ReplaceSecrets(std::string_view text, const std::function<std::string(std::string_view)>& value) {
  std::string replaced;
  while (true) {
    const size_t open = text.find(kOpen);
    const size_t close = open == std::string_view::npos ? open : text.find(kClose, open);
    if (close == std::string_view::npos) return replaced + std::string(text);
    replaced += text.substr(0, open);
    replaced += value(text.substr(open + kOpen.size(), close - open - kOpen.size()));
    text.remove_prefix(close + 1);
  }
}

std::vector<std::string> SecretNamesIn(std::string_view text) {
  std::vector<std::string> names;
  ReplaceSecrets(text, [&](std::string_view name) {
    if (std::find(names.begin(), names.end(), name) == names.end()) names.emplace_back(name);
    return std::string();
  });
  return names;
}

std::string MaskMarkers(std::string_view text) {
  return ReplaceSecrets(text, [](std::string_view name) { return "{{secret." + std::string(name) + "}}"; });
}

}  // namespace muster
