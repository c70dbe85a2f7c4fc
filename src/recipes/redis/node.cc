#include "recipes/redis/node.h"

#include <fmt/format.h>

#include "base/files.h"
#include "base/text.h"
#include "model/words.h"
#include "recipes/redis/conf.h"
#include "recipes/redis/words.h"

namespace muster::redis {

Access AccessOf(const Instance& instance) {
  Access access{.host = instance.address};
  if (const auto port = instance.ports.find("port"); port != instance.ports.end()) {
    access.port = port->second.first;
  }
  for (const InstanceFile& file : instance.files) {
    if (file.path != "secret.conf" && !file.path.ends_with("/secret.conf")) continue;
    const auto as_it_stands = [](std::string_view) { return std::optional<std::string>(); };
    const auto lines = ReadConf(FillWords(file.content, as_it_stands));
    if (!lines.ok()) continue;
    for (const Directive& line : *lines) {
      if (line.name == "requirepass" && line.arguments.size() == 1) access.password = line.arguments[0];
    }
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

net::Task<Result<ClusterView>> Node::View() {
  const net::resp::Command command = {"CLUSTER", "NODES"};
  MUSTER_CO_TRY(const net::resp::Value value, co_await Ask(command));
  if (value.is_error()) co_return Refused(value, "CLUSTER NODES");
  co_return ParseClusterNodes(value.text);
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

net::Task<Status> SetAll(Node& node, std::map<std::string, std::string> settings) {
  std::vector<net::resp::Command> questions;
  for (const auto& [name, value] : settings) questions.push_back({"CONFIG", "GET", name});
  MUSTER_CO_TRY(const std::vector<net::resp::Value> has, co_await node.AskAll(std::move(questions)));
  std::vector<std::string> names;
  std::vector<net::resp::Command> commands;
  size_t at = 0;
  for (const auto& [name, value] : settings) {
    const net::resp::Value& answer = has[at++];
    if (answer.is_error()) co_return node.Refused(answer, "CONFIG GET " + name);
    const auto pairs = answer.AsPairs();
    // No setting but another directive (`loadmodule`): read at the start only.
    if (!pairs || pairs->empty() || pairs->front().second == value) continue;
    names.push_back(name);
    commands.push_back({"CONFIG", "SET", name, value});
  }
  if (commands.empty()) co_return Done();
  MUSTER_CO_TRY(const std::vector<net::resp::Value> answers, co_await node.AskAll(std::move(commands)));
  for (size_t i = 0; i < answers.size(); ++i) {
    if (!answers[i].is_error()) continue;
    // It is the same in another form ("1gb"), else it would have been restarted.
    if (answers[i].text.find("immutable") != std::string::npos) continue;
    const Error refused = node.Refused(answers[i], "CONFIG SET " + names[i]);
    co_return Error::Invalid("setting-refused", "redis doesn't take the setting {}: {}", names[i],
                             refused.message());
  }
  co_return Done();
}

bool IsBelow(int pid, int ancestor) {
  for (int depth = 0; pid > 1 && depth < 64; ++depth) {
    if (pid == ancestor) return true;
    const auto stat = ReadFile(fmt::format("/proc/{}/stat", pid));
    if (!stat.ok()) return false;
    // "PID (name, which may hold anything) STATE PARENT …"
    const size_t name_end = stat->rfind(')');
    if (name_end == std::string::npos) return false;
    const auto words = Words(std::string_view(*stat).substr(name_end + 1));
    if (words.size() < 2) return false;
    pid = ParseNumber<int>(words[1]).value_or(0);
  }
  return false;
}

}  // namespace muster::redis
