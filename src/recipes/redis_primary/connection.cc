#include "recipes/redis_primary/connection.h"

#include <fmt/format.h>
#include <signal.h>

#include <cerrno>

namespace muster::redis_primary {
namespace {

net::Task<Result<Client>> OpenWith(Operator::Context context, std::string host, int port,
                                   std::string password, Duration timeout) {
  net::RespOptions options;
  options.password = password;
  MUSTER_CO_TRY(Client client,
                co_await net::RespClient::Connect(*context.loop, host, port, options, timeout));
  if (!password.empty()) co_return client;
  const net::resp::Command ping = {"PING"};
  MUSTER_CO_TRY(const net::resp::Value pong, co_await client->Command(ping, timeout));
  if (pong.error_code() == "NOAUTH") co_return net::resp::RefusedError(pong, "PING");
  co_return client;
}

// Who answers on its port must be its own process.
Status CheckOwn(const Operator::Context& context, const redis::ServerInfo& info) {
  const int pid = static_cast<int>(info.pid);
  if (redis::IsBelow(pid, context.pid)) return Done();
  const redis::Access access = redis::AccessOf(*context.instance);
  if (::kill(pid, 0) != 0 && errno == ESRCH) {
    return Error::Unavailable("redis-closed", "the redis that answered at {}:{} has ended", access.host,
                              access.port);
  }
  return Error::Conflict("port-taken", "another redis answers at {}:{}: pid {}, not {}", access.host,
                         access.port, pid, context.pid)
      .Hint("end that process where it is no instance of muster's, or take another port");
}

}  // namespace

net::Task<Result<Client>> Open(Operator::Context context, std::shared_ptr<std::optional<std::string>> taken,
                               Duration timeout) {
  const Time end = Now() + timeout;
  const redis::Access access = redis::AccessOf(*context.instance);
  auto client = co_await OpenWith(context, access.host, access.port, access.password, timeout);
  if (client.ok()) {
    *taken = access.password;
  } else if (client.error().code() == "redis-denied" && *taken && **taken != access.password) {
    const Duration left = std::max(end - Now(), Duration(1));
    auto before = co_await OpenWith(context, access.host, access.port, **taken, left);
    if (before.ok()) co_return before;
  }
  co_return client;
}

net::Task<Result<Client>> OpenOther(Operator::Context context, std::string host, int port, Duration timeout) {
  const std::string password = redis::AccessOf(*context.instance).password;
  co_return co_await OpenWith(context, std::move(host), port, password, timeout);
}

net::Task<Result<Answer>> AskInfo(Operator::Context context, Client client, Duration timeout) {
  // A PING is refused as a write would be, where the disk takes none.
  const std::vector<net::resp::Command> commands = {{"INFO"}, {"PING"}};
  MUSTER_CO_TRY(const std::vector<net::resp::Value> values, co_await client->Pipeline(commands, timeout));
  if (values[0].is_error()) co_return net::resp::RefusedError(values[0], "INFO");
  Answer answer;
  MUSTER_CO_TRY(answer.info, redis::ParseInfo(values[0].text));
  MUSTER_CO_DO(CheckOwn(context, answer.info));
  if (values[1].error_code() == "MISCONF") answer.refusal = values[1].text;
  co_return answer;
}

}  // namespace muster::redis_primary
