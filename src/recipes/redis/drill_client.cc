#include "recipes/redis/drill_client.h"

#include <algorithm>

#include "net/resp_client.h"
#include "recipes/redis/cluster_view.h"

namespace muster::redis {
namespace {

using net::RespClient;
using net::resp::Command;
using net::resp::Value;

constexpr Duration kAnswerWithin = 500ms;  // a client that waits no longer, as many do
constexpr Duration kConfirmWithin = 200ms;
constexpr Duration kPause = 5ms;         // between two writes of one writer
constexpr Duration kPauseFailed = 10ms;  // after one that failed
constexpr int kRedirectsMost = 5;
constexpr size_t kTagsMost = 16;  // slots of each range that are written to
constexpr size_t kBatch = 200;    // keys
constexpr Duration kReadWithin = 20s;

Error Failure(const std::string& why) { return Error::Unavailable("drill-client", "{}", why); }

// Connections of one task, which sends on each one thing after the other.
using Connections = std::map<Endpoint, std::unique_ptr<RespClient>>;

class ClusterClient final : public DrillClient, public std::enable_shared_from_this<ClusterClient> {
 public:
  explicit ClusterClient(DrillSetup setup) : setup_(std::move(setup)), routes_(setup_.nodes) {}

  net::Task<Status> Begin() override {
    auto self = shared_from_this();
    Result<ClusterView> view = Failure("no node of the service answers");
    for (const Endpoint& node : setup_.nodes) {
      view = co_await LookAt(node);
      if (view.ok()) break;
    }
    if (!view.ok()) co_return Failure("no member answers: " + view.error().message());
    Divide(*view);
    if (ledger_.ranges().empty()) co_return Failure("no node of the service has slots");
    for (size_t range = 0; range < slots_.size(); ++range) {
      writing_ += 2;
      net::Spawn(Write(range, false));
      net::Spawn(Write(range, true));
    }
    co_return Done();
  }

  net::Task<void> End() override {
    auto self = shared_from_this();
    ending_ = true;
    if (writing_ > 0) co_await ended_;
  }

  net::Task<Status> ReadBack() override {
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

  net::Task<Status> CleanUp() override {
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

  DrillLedger& ledger() override { return ledger_; }

 private:
  // --- Which slots are written to.

  net::Task<Result<ClusterView>> LookAt(Endpoint node) {
    net::RespOptions options;
    options.password = setup_.password;
    auto client = co_await RespClient::Connect(*setup_.loop, node.host, node.port, options, kAnswerWithin);
    if (!client.ok()) co_return client.error();
    Command ask{"CLUSTER", "NODES"};
    auto answer = co_await (*client)->Command(std::move(ask), kAnswerWithin);
    if (!answer.ok()) co_return answer.error();
    if (answer->is_error()) co_return net::resp::RefusedError(*answer, "CLUSTER NODES");
    co_return ParseClusterNodes(answer->text);
  }

  void Divide(const ClusterView& view) {
    std::vector<const ClusterNode*> masters;
    for (const ClusterNode& node : view.nodes) {
      if (node.master && !node.slots.empty()) masters.push_back(&node);
    }
    std::sort(masters.begin(), masters.end(), [](const ClusterNode* one, const ClusterNode* other) {
      return one->slots.Ranges().front().first < other->slots.Ranges().front().first;
    });
    for (const ClusterNode* master : masters) {
      ledger_.AddRange(master->slots.Text());
      const std::vector<int> slots = master->slots.List();
      const size_t number = std::min(kTagsMost, slots.size());
      std::vector<int> chosen;
      for (size_t i = 0; i < number; ++i) chosen.push_back(slots[i * slots.size() / number]);
      for (const int slot : chosen) {
        if (!master->address.empty()) routes_.Owns(slot, {master->address, master->port});
      }
      slots_.push_back(std::move(chosen));
    }
  }

  int SlotOf(size_t range, int64_t number) const {
    return slots_[range][static_cast<size_t>(number) % slots_[range].size()];
  }
  std::string KeyOf(size_t range, bool confirmed, int64_t number) const {
    return "muster-drill:" + setup_.name + ":{" + SlotTags()[static_cast<size_t>(SlotOf(range, number))] +
           "}:" + (confirmed ? "wait:" : "plain:") + std::to_string(number);
  }
  Command KeysCommand(const char* name, size_t range, bool confirmed,
                      const std::vector<int64_t>& numbers) const {
    Command command{name};
    for (const int64_t number : numbers) command.push_back(KeyOf(range, confirmed, number));
    return command;
  }
  // Each of one slot, and not too long for one answer.
  std::vector<std::vector<int64_t>> Batches(size_t range, const std::vector<int64_t>& numbers) const {
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

  net::Task<void> Write(size_t range, bool confirmed) {
    auto self = shared_from_this();
    Connections connections;
    while (!ending_) {
      const int64_t number = ledger_.Sent(range, confirmed);
      std::vector<Command> commands{{"SET", KeyOf(range, confirmed, number), std::to_string(number), "PX",
                                     std::to_string(setup_.forget_after.count())}};
      if (confirmed) commands.push_back({"WAIT", "1", std::to_string(kConfirmWithin.count())});
      const auto answers = co_await Send(connections, SlotOf(range, number), std::move(commands));
      const bool written = answers.ok() && answers->front().is_ok();
      const bool has_replica = written && confirmed && answers->back().AsInteger().value_or(0) >= 1;
      if (!answers.ok()) {
        ledger_.Failed(range, confirmed, answers.error().message(), Now());
      } else if (!written) {
        ledger_.Failed(range, confirmed, net::resp::Describe(answers->front()), Now());
      } else if (confirmed && !has_replica) {
        ledger_.Unconfirmed(range, Now());
      } else {
        ledger_.Acknowledged(range, confirmed, number, Now());
      }
      co_await setup_.loop->Sleep(written ? kPause : kPauseFailed);
    }
    if (--writing_ == 0) ended_.Set(true);
  }

  // Sends what is of one slot to whoever owns it, following redirects. An answer may be an error. Codes
  // "drill-client" and those of RespClient.
  net::Task<Result<std::vector<Value>>> Send(Connections& connections, int slot,
                                             std::vector<Command> commands) {
    Endpoint node = routes_.For(slot, Now());
    bool asking = false;
    for (int hop = 0; hop < kRedirectsMost; ++hop) {
      auto client = co_await Connected(connections, node);
      if (!client.ok()) co_return client.error();
      std::vector<Command> sent = commands;
      if (asking) sent.insert(sent.begin(), Command{"ASKING"});
      auto answers = co_await (*client)->Pipeline(std::move(sent), kAnswerWithin + kConfirmWithin);
      if (!answers.ok()) {
        connections.erase(node);
        Note(node, answers.error());
        co_return answers.error();
      }
      routes_.Answered(node);
      if (asking) answers->erase(answers->begin());
      const Value& first = answers->front();
      const auto redirect = first.is_error() ? ParseRedirect(first.text) : std::nullopt;
      if (!redirect) {
        if (!first.is_error()) routes_.Owns(slot, node);
        co_return std::move(*answers);
      }
      const Endpoint to{redirect->host.empty() ? node.host : redirect->host, redirect->port};
      asking = redirect->ask;
      if (!asking) routes_.Owns(slot, to);
      if (routes_.Avoids(to, Now()))
        co_return Failure(
            fmt::format("{} says that {} has the slot, which doesn't answer", node.Text(), to.Text()));
      node = to;
    }
    co_return Failure("one node redirects to another, and that one back");
  }

  net::Task<Result<RespClient*>> Connected(Connections& connections, Endpoint node) {
    const auto found = connections.find(node);
    if (found != connections.end() && !found->second->closed()) co_return found->second.get();
    connections.erase(node);
    net::RespOptions options;
    options.password = setup_.password;
    auto client = co_await RespClient::Connect(*setup_.loop, node.host, node.port, options, kAnswerWithin);
    if (!client.ok()) {
      Note(node, client.error());
      co_return client.error();
    }
    RespClient* const connected = client->get();
    connections[node] = std::move(*client);
    co_return connected;
  }

  void Note(const Endpoint& node, const Error& error) {
    if (error.code() == "redis-timeout") {
      routes_.Hangs(node, Now());
    } else {
      routes_.Refused(node, Now());
    }
  }

  // --- Afterwards.

  // The answer to one command; asks again as long as a failover or a move may be under way.
  net::Task<Result<Value>> Insist(Connections& connections, int slot, Command command) {
    const Time end = Now() + kReadWithin;
    while (true) {
      std::vector<Command> commands{command};
      const auto answers = co_await Send(connections, slot, std::move(commands));
      if (answers.ok() && !answers->front().is_error()) co_return answers->front();
      if (Now() >= end) {
        const std::string why =
            answers.ok() ? net::resp::Describe(answers->front()) : answers.error().message();
        co_return Failure(fmt::format("slot {} can't be asked: {}", slot, why));
      }
      co_await setup_.loop->Sleep(kPauseFailed);
    }
  }

  net::Task<Status> ReadBatch(Connections& connections, size_t range, bool confirmed,
                              std::vector<int64_t> numbers) {
    Command read = KeysCommand("MGET", range, confirmed, numbers);
    const auto values = co_await Insist(connections, SlotOf(range, numbers.front()), std::move(read));
    if (!values.ok()) co_return values.error();
    if (values->items.size() != numbers.size()) co_return Failure("MGET has another number of answers");
    for (size_t i = 0; i < numbers.size(); ++i) {
      if (values->items[i].text != std::to_string(numbers[i])) ledger_.Lost(range, confirmed, numbers[i]);
    }
    co_return Done();
  }

  DrillSetup setup_;
  DrillRoutes routes_;
  DrillLedger ledger_;
  std::vector<std::vector<int>> slots_;  // by range: those that are written to
  bool ending_ = false;
  int writing_ = 0;
  net::Promised<bool> ended_;
};

}  // namespace

std::shared_ptr<DrillClient> MakeClusterDrillClient(DrillSetup setup) {
  return std::make_shared<ClusterClient>(std::move(setup));
}

}  // namespace muster::redis
