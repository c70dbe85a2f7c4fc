#include "recipes/redis_primary/verify.h"

#include <fmt/format.h>

#include <random>

#include "recipes/redis_primary/connection.h"
#include "recipes/redis_primary/layout.h"

namespace muster::redis_primary {
namespace {

constexpr Duration kWithin = 3s;

using net::resp::Command;

std::string RandomText() {
  std::random_device random;
  return fmt::format("{:08x}{:08x}", random(), random());
}

// Reads `key` from a replica, until it has `value` or time is up.
net::Task<Check> ReadFrom(Operator::Context context, LeaseTerms::Peer peer, std::string key,
                          std::string value) {
  Check check{.name = fmt::format("what {} took is read from {}:{}", context.instance->name, peer.address,
                                  peer.port)};
  check.hint = "muster status tells who is linked";
  auto client = co_await OpenOther(context, peer.address, peer.port, kWithin);
  if (!client.ok()) {
    check.evidence = {client.error().message()};
    co_return check;
  }
  const Command get = {"GET", key};
  const auto answer = co_await (*client)->Command(get, kWithin);
  check.passed = answer.ok() && answer->text == value;
  check.evidence = {!answer.ok() ? answer.error().message() : "GET answers " + net::resp::Describe(*answer)};
  co_return check;
}

// Whether nobody takes writes at `peer`. Who doesn't answer takes none; that it is to is looked at there.
net::Task<Check> TakesNone(Operator::Context context, LeaseTerms::Peer peer) {
  const redis::Access own = redis::AccessOf(*context.instance);
  Check check{.name = fmt::format("{}:{} takes no writes beside {}", peer.address, peer.port,
                                  context.instance->name)};
  check.hint = "muster status tells who is primary; what another took alone is lost once it follows";
  auto client = co_await OpenOther(context, peer.address, peer.port, kWithin);
  if (!client.ok()) {
    check.passed = true;
    check.evidence = {client.error().message()};
    co_return check;
  }
  const Command role = {"ROLE"};
  const auto answer = co_await (*client)->Command(role, kWithin);
  const bool follows = answer.ok() && answer->items.size() >= 3 && answer->items[0].text == "slave";
  check.passed = follows && answer->items[1].text == own.host &&
                 answer->items[2].AsInteger() == std::optional<int64_t>(own.port);
  check.evidence = {!answer.ok() ? answer.error().message() : "ROLE answers " + net::resp::Describe(*answer)};
  co_return check;
}

net::Task<std::vector<Check>> TryPrimary(Operator::Context context, Client client,
                                         std::vector<redis::ReplicaLink> replicas) {
  const std::string& name = context.instance->name;
  const std::string value = RandomText(), key = "muster:verify:" + value;
  const std::vector<Command> commands = {
      {"SET", key, value, "EX", "60"},
      {"WAIT", std::to_string(replicas.size()), std::to_string((kWithin / 2).count())},
      {"GET", key}};
  std::vector<Check> checks;
  Check write{.name = fmt::format("{}, the primary, takes a write and has it", name)};
  write.hint = "muster logs " + name;
  auto answers = co_await client->Pipeline(commands, kWithin);
  if (!answers.ok()) {
    write.evidence = {answers.error().message()};
    checks.push_back(std::move(write));
    co_return checks;
  }
  write.passed = (*answers)[0].is_ok() && (*answers)[2].text == value;
  write.evidence = {"SET answers " + net::resp::Describe((*answers)[0])};
  checks.push_back(std::move(write));
  if (!replicas.empty()) {
    Check wait{.name = fmt::format("all {} replicas of {} confirm it (WAIT)", replicas.size(), name)};
    wait.passed = (*answers)[1].AsInteger().value_or(0) >= static_cast<int64_t>(replicas.size());
    wait.evidence = {"WAIT answers " + net::resp::Describe((*answers)[1])};
    wait.hint = "a replica lags, or is not linked: muster ps tells by how much";
    checks.push_back(std::move(wait));
  }
  for (const redis::ReplicaLink& replica : replicas) {
    LeaseTerms::Peer peer{.host = "", .address = replica.address, .port = replica.port};
    Check read = co_await ReadFrom(context, std::move(peer), key, value);
    checks.push_back(std::move(read));
  }
  const LeaseTerms terms = LeaseTermsOf(*context.instance);
  for (const LeaseTerms::Peer& peer : terms.peers) {
    Check none = co_await TakesNone(context, peer);
    checks.push_back(std::move(none));
  }
  const Command del = {"DEL", key};
  (void)co_await client->Command(del, kWithin);
  co_return checks;
}

net::Task<std::vector<Check>> TryReplica(Operator::Context context, Client client, redis::ServerInfo info) {
  const std::string& name = context.instance->name;
  std::vector<Check> checks;
  const bool fenced = info.master_host == kFenceHost;
  Check link{.name = fmt::format("{} is linked to its primary", name), .passed = info.link_up && !fenced};
  link.evidence = {fenced ? "it follows nobody"
                          : fmt::format("{}:{}, the link is {}", info.master_host, info.master_port,
                                        info.link_up ? "up" : "down")};
  link.hint = "muster status tells what muster waits for";
  checks.push_back(std::move(link));
  const Command set = {"SET", "muster:verify:" + RandomText(), "1", "EX", "1"};
  const auto answer = co_await client->Command(set, kWithin);
  Check refuses{.name = fmt::format("{}, a replica, refuses writes", name)};
  refuses.passed = answer.ok() && answer->error_code() == "READONLY";
  refuses.evidence = {answer.ok() ? "SET answers " + net::resp::Describe(*answer) : answer.error().message()};
  refuses.hint = "was it made a primary by hand? muster restart " + name;
  checks.push_back(std::move(refuses));
  co_return checks;
}

}  // namespace

net::Task<std::vector<Check>> VerifyMember(Operator::Context context) {
  auto taken = std::make_shared<std::optional<std::string>>();
  Result<Answer> answer = Error::Unavailable("redis-closed", "it wasn't asked");
  auto client = co_await Open(context, taken, kWithin);
  if (client.ok()) {
    answer = co_await AskInfo(context, *client, kWithin);
  } else {
    answer = client.error();
  }
  if (!answer.ok()) {
    Check check{.name = context.instance->name + " answers"};
    check.evidence = {answer.error().message()};
    check.hint = "muster logs " + context.instance->name;
    co_return std::vector<Check>{check};
  }
  const redis::ServerInfo& info = answer->info;
  if (info.master) co_return co_await TryPrimary(context, *client, info.replicas);
  co_return co_await TryReplica(context, *client, info);
}

}  // namespace muster::redis_primary
