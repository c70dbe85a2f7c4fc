#include "recipes/redis/drill_writers.h"

#include <fmt/format.h>

namespace muster::redis {
namespace {

using net::RespClient;
using net::resp::Command;
using net::resp::Value;

constexpr Duration kPause = 5ms;         // between two writes of one writer
constexpr Duration kPauseFailed = 10ms;  // after one that failed
constexpr size_t kBatch = 200;           // keys
constexpr Duration kReadWithin = 20s;

DrillFault FaultOf(const Error& error) {
  if (error.code() == "redis-closed") return DrillFault::kReset;
  if (error.code() == "redis-unreachable") return DrillFault::kRefused;
  return DrillFault::kOther;
}

}  // namespace

Error DrillFailure(const std::string& why) { return Error::Unavailable("drill-client", "{}", why); }

net::Task<Status> DrillWriters::Begin() {
  auto self = shared_from_this();
  const Status found = co_await FindRanges();
  if (!found.ok()) co_return found.error();
  for (size_t range = 0; range < slots_.size(); ++range) {
    writing_ += 2;
    net::Spawn(Write(range, false));
    net::Spawn(Write(range, true));
  }
  co_return Done();
}

net::Task<void> DrillWriters::End() {
  auto self = shared_from_this();
  ending_ = true;
  if (writing_ > 0) co_await ended_;
}

net::Task<Status> DrillWriters::ReadBack() {
  auto self = shared_from_this();
  Connections connections;
  for (size_t range = 0; range < slots_.size(); ++range) {
    for (const bool confirmed : {false, true}) {
      const DrillRange& account = ledger_.ranges()[range];
      const std::vector<int64_t> numbers =
          confirmed ? account.confirmed.acknowledged : account.plain.acknowledged;
      for (const std::vector<int64_t>& batch : Batches(range, numbers)) {
        const Status read = co_await ReadBatch(connections, range, confirmed, batch);
        if (!read.ok()) co_return read;
      }
    }
  }
  co_return Done();
}

net::Task<Status> DrillWriters::CleanUp() {
  auto self = shared_from_this();
  Connections connections;
  for (size_t range = 0; range < slots_.size(); ++range) {
    for (const bool confirmed : {false, true}) {
      const DrillRange& account = ledger_.ranges()[range];
      std::vector<int64_t> numbers;  // not only what was acknowledged: who knows what the others came to
      const int64_t sent = confirmed ? account.confirmed.sent : account.plain.sent;
      for (int64_t number = 1; number <= sent; ++number) numbers.push_back(number);
      for (const std::vector<int64_t>& batch : Batches(range, numbers)) {
        Command remove = KeysCommand("UNLINK", range, confirmed, batch);
        const auto removed = co_await Insist(connections, SlotOf(range, batch.front()), std::move(remove));
        if (!removed.ok()) co_return removed.error();
      }
    }
  }
  co_return Done();
}

// --- Keys.

int DrillWriters::SlotOf(size_t range, int64_t number) const {
  return slots_[range][static_cast<size_t>(number) % slots_[range].size()];
}
std::string DrillWriters::KeyOf(size_t range, bool confirmed, int64_t number) const {
  return "muster-drill:" + setup_.name + ":" + TagOf(SlotOf(range, number)) +
         (confirmed ? "wait:" : "plain:") + std::to_string(number);
}
Command DrillWriters::KeysCommand(const char* name, size_t range, bool confirmed,
                                  const std::vector<int64_t>& numbers) const {
  Command command{name};
  for (const int64_t number : numbers) command.push_back(KeyOf(range, confirmed, number));
  return command;
}
// Each of one slot, and not too long for one answer.
std::vector<std::vector<int64_t>> DrillWriters::Batches(size_t range,
                                                        const std::vector<int64_t>& numbers) const {
  std::map<int, std::vector<int64_t>> open;
  std::vector<std::vector<int64_t>> batches;
  for (const int64_t number : numbers) {
    std::vector<int64_t>& batch = open[SlotOf(range, number)];
    batch.push_back(number);
    if (batch.size() >= kBatch) batches.push_back(std::exchange(batch, {}));
  }
  for (auto& [slot, batch] : open) {
    if (!batch.empty()) batches.push_back(std::move(batch));
  }
  return batches;
}

// --- Writing.

net::Task<void> DrillWriters::Write(size_t range, bool confirmed) {
  auto self = shared_from_this();
  Connections connections;
  while (!ending_) {
    const int64_t number = ledger_.Sent(range, confirmed);
    std::vector<Command> commands{{"SET", KeyOf(range, confirmed, number), std::to_string(number), "PX",
                                   std::to_string(setup_.forget_after.count())}};
    if (confirmed) commands.push_back({"WAIT", "1", std::to_string(kDrillConfirmWithin.count())});
    const auto answers = co_await Send(connections, SlotOf(range, number), std::move(commands));
    ledger_.Redirected(range, confirmed, std::exchange(connections.redirects, 0));
    const bool written = answers.ok() && answers->front().is_ok();
    const bool has_replica = written && confirmed && answers->back().AsInteger().value_or(0) >= 1;
    if (!answers.ok()) {
      ledger_.Failed(range, confirmed, FaultOf(answers.error()), answers.error().message(), Now());
    } else if (!written) {
      const std::string answer = net::resp::Describe(answers->front());
      ledger_.Failed(range, confirmed, DrillFault::kOther, answer, Now());
    } else if (confirmed && !has_replica) {
      ledger_.Unconfirmed(range, Now());
    } else {
      ledger_.Acknowledged(range, confirmed, number, Now());
    }
    co_await setup_.loop->Sleep(written ? kPause : kPauseFailed);
  }
  if (--writing_ == 0) ended_.Set(true);
}

net::Task<Result<RespClient*>> DrillWriters::Connected(Connections& connections, Endpoint node) {
  const auto found = connections.find(node);
  if (found != connections.end() && !found->second->closed()) co_return found->second.get();
  connections.erase(node);
  net::RespOptions options;
  options.password = setup_.password;
  auto client = co_await RespClient::Connect(*setup_.loop, node.host, node.port, options, kDrillAnswerWithin);
  if (!client.ok()) {
    Note(node, client.error());
    co_return client.error();
  }
  RespClient* const connected = client->get();
  connections[node] = std::move(*client);
  co_return connected;
}

net::Task<DrillWriters::Answers> DrillWriters::SendTo(Connections& connections, Endpoint node,
                                                      Commands commands) {
  auto client = co_await Connected(connections, node);
  if (!client.ok()) co_return client.error();
  auto answers = co_await (*client)->Pipeline(std::move(commands), kDrillAnswerWithin + kDrillConfirmWithin);
  if (!answers.ok()) {
    connections.erase(node);
    Note(node, answers.error());
    co_return answers.error();
  }
  routes_.Answered(node);
  co_return std::move(*answers);
}

void DrillWriters::Note(const Endpoint& node, const Error& error) {
  if (error.code() == "redis-timeout") {
    routes_.Hangs(node, Now());
  } else {
    routes_.Refused(node, Now());
  }
}

// --- Afterwards.

// The answer to one command; asks again as long as a failover or a move may be under way.
net::Task<Result<Value>> DrillWriters::Insist(Connections& connections, int slot, Command command) {
  const Time end = Now() + kReadWithin;
  while (true) {
    std::vector<Command> commands{command};
    const auto answers = co_await Send(connections, slot, std::move(commands));
    if (answers.ok() && !answers->front().is_error()) co_return answers->front();
    if (Now() >= end) {
      const std::string why =
          answers.ok() ? net::resp::Describe(answers->front()) : answers.error().message();
      co_return DrillFailure(fmt::format("what was written can't be asked for: {}", why));
    }
    co_await setup_.loop->Sleep(kPauseFailed);
  }
}

net::Task<Status> DrillWriters::ReadBatch(Connections& connections, size_t range, bool confirmed,
                                          std::vector<int64_t> numbers) {
  Command read = KeysCommand("MGET", range, confirmed, numbers);
  const auto values = co_await Insist(connections, SlotOf(range, numbers.front()), std::move(read));
  if (!values.ok()) co_return values.error();
  if (values->items.size() != numbers.size()) co_return DrillFailure("MGET has another number of answers");
  for (size_t i = 0; i < numbers.size(); ++i) {
    if (values->items[i].text != std::to_string(numbers[i])) ledger_.Lost(range, confirmed, numbers[i]);
  }
  co_return Done();
}

}  // namespace muster::redis
