#include "recipes/redis_cluster/node.h"

#include <fmt/format.h>

#include "base/files.h"
#include "base/text.h"
#include "model/words.h"
#include "recipes/redis/words.h"

namespace muster::redis_cluster {
namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// What stands between double quotes from `at` on, with Redis' escapes.
std::string Quoted(std::string_view text, size_t at) {
  std::string value;
  for (; at < text.size() && text[at] != '"'; ++at) {
    if (text[at] != '\\' || at + 1 == text.size()) {
      value += text[at];
      continue;
    }
    const char escaped = text[++at];
    if (escaped == 'x' && at + 2 < text.size() && HexDigit(text[at + 1]) >= 0 &&
        HexDigit(text[at + 2]) >= 0) {
      value += static_cast<char>(HexDigit(text[at + 1]) * 16 + HexDigit(text[at + 2]));
      at += 2;
      continue;
    }
    constexpr std::string_view kLetters = "nrtba", kMeant = "\n\r\t\b\a";
    const size_t letter = kLetters.find(escaped);
    value += letter == std::string_view::npos ? escaped : kMeant[letter];
  }
  return value;
}

std::string ValueOf(std::string_view text) {
  if (text.starts_with('"')) return Quoted(text, 1);
  if (!text.starts_with('\'')) return std::string(text);
  std::string value;
  for (size_t at = 1; at < text.size() && text[at] != '\''; ++at) {
    if (text.substr(at).starts_with("\\'")) ++at;
    value += text[at];
  }
  return value;
}

}  // namespace

std::string SettingIn(std::string_view config, std::string_view name) {
  std::string value;
  for (const std::string_view line : redis::Lines(config)) {
    const std::string_view trimmed = Trim(line);
    const size_t space = trimmed.find_first_of(" \t");
    if (space == std::string_view::npos || trimmed.substr(0, space) != name) continue;
    value = ValueOf(Trim(trimmed.substr(space)));
  }
  return value;
}

Access AccessOf(const Instance& instance) {
  Access access{.host = instance.address};
  if (const auto port = instance.ports.find("port"); port != instance.ports.end()) {
    access.port = port->second.first;
  }
  for (const InstanceFile& file : instance.files) {
    if (file.path != "secret.conf" && !file.path.ends_with("/secret.conf")) continue;
    const auto as_it_stands = [](std::string_view) { return std::optional<std::string>(); };
    access.password = SettingIn(FillWords(file.content, as_it_stands), "requirepass");
  }
  return access;
}

net::Task<Result<net::resp::Value>> Node::Ask(net::resp::Command command) {
  co_return co_await client_->Command(std::move(command), left());
}

net::Task<Result<std::vector<net::resp::Value>>> Node::AskAll(std::vector<net::resp::Command> commands) {
  co_return co_await client_->Pipeline(std::move(commands), left());
}

net::Task<Status> Node::Do(net::resp::Command command, std::string what) {
  MUSTER_CO_TRY(const net::resp::Value value, co_await Ask(std::move(command)));
  if (value.is_error()) co_return Refused(value, what);
  co_return Done();
}

net::Task<Status> Node::DoAll(std::vector<net::resp::Command> commands, std::string what) {
  MUSTER_CO_TRY(const std::vector<net::resp::Value> values, co_await AskAll(std::move(commands)));
  for (const net::resp::Value& value : values) {
    if (value.is_error()) co_return Refused(value, what);
  }
  co_return Done();
}

net::Task<Result<redis::ClusterView>> Node::View() {
  const net::resp::Command command = {"CLUSTER", "NODES"};
  MUSTER_CO_TRY(const net::resp::Value value, co_await Ask(command));
  if (value.is_error()) co_return Refused(value, "CLUSTER NODES");
  co_return redis::ParseClusterNodes(value.text);
}

Error Node::Refused(const net::resp::Value& value, std::string_view what) const {
  net::resp::Value masked = value;
  for (const std::string& secret : secrets_) {
    if (!secret.empty() && masked.text.find(secret) != std::string::npos) {
      masked.text = std::string(value.error_code()) + " (its words hold the password)";
    }
  }
  return net::resp::RefusedError(masked, what);
}

bool IsBelow(int pid, int ancestor) {
  for (int depth = 0; pid > 1 && depth < 64; ++depth) {
    if (pid == ancestor) return true;
    const auto stat = ReadFile(fmt::format("/proc/{}/stat", pid));
    if (!stat.ok()) return false;
    // "PID (name, which may hold anything) STATE PARENT …"
    const size_t name_end = stat->rfind(')');
    if (name_end == std::string::npos) return false;
    const auto words = redis::Words(std::string_view(*stat).substr(name_end + 1));
    if (words.size() < 2) return false;
    pid = redis::ParseNumber<int>(words[1]).value_or(0);
  }
  return false;
}

}  // namespace muster::redis_cluster
