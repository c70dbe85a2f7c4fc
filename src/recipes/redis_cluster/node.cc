#include "recipes/redis_cluster/node.h"

#include <fmt/format.h>

#include "base/files.h"
#include "model/words.h"
#include "recipes/redis/conf.h"
#include "recipes/redis/words.h"

namespace muster::redis_cluster {
Access AccessOf(const Instance& instance) {
  Access access{.host = instance.address};
  if (const auto port = instance.ports.find("port"); port != instance.ports.end()) {
    access.port = port->second.first;
  }
  for (const InstanceFile& file : instance.files) {
    if (file.path != "secret.conf" && !file.path.ends_with("/secret.conf")) continue;
    const auto as_it_stands = [](std::string_view) { return std::optional<std::string>(); };
    const auto directives = redis::ReadConf(FillWords(file.content, as_it_stands));
    if (!directives.ok()) continue;
    for (const redis::Directive& directive : *directives) {
      const bool one = directive.arguments.size() == 1;
      if (directive.name == "requirepass" && one) access.password = directive.arguments.front();
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
