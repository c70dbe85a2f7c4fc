#include "cli/hints.h"

#include <algorithm>
#include <array>

namespace muster::cli {
namespace {

constexpr std::string_view kProgram = "muster ";
constexpr std::array<std::string_view, 22> kOfOneCluster = {
    "host heal", "host cut", "drill",      "secret delete", "secret list", "secret set",
    "audit",     "down",     "exec",       "history",       "logs",        "ps",
    "restart",   "resume",   "rollback",   "scale",         "start",       "status",
    "stop",      "verify",   "switchover", "failover"};

bool EndsWord(std::string_view text, size_t at) {
  return at == text.size() || std::string_view(" \n;,").find(text[at]) != std::string_view::npos;
}

}  // namespace

std::string NameCluster(std::string_view text, std::string_view option) {
  const bool named =
      text.find(" -c ") != std::string_view::npos || text.find("--cluster") != std::string_view::npos;
  if (option.empty() || named) return std::string(text);
  std::string told;
  while (!text.empty()) {
    const size_t program = text.find(kProgram);
    if (program == std::string_view::npos) break;
    const size_t word = program + kProgram.size();
    const std::string_view rest = text.substr(word);
    const auto command = std::find_if(kOfOneCluster.begin(), kOfOneCluster.end(), [&](std::string_view name) {
      return rest.starts_with(name) && EndsWord(rest, name.size());
    });
    const size_t end = command == kOfOneCluster.end() ? word : word + command->size();
    told += text.substr(0, end);
    if (command != kOfOneCluster.end()) told += option;
    text.remove_prefix(end);
  }
  return told.append(text);
}

}  // namespace muster::cli
