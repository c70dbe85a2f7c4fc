#include "recipes/redis_cluster/verify.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/digest.h"
#include "base/text.h"
#include "net/resp_client.h"
#include "recipes/redis/cluster_view.h"
#include "recipes/redis/info.h"

namespace muster::redis_cluster {
namespace {

using net::resp::Command;
using net::resp::Value;

constexpr Duration kAnswerWithin = 5s;
constexpr Duration kArrivesWithin = 5s;
constexpr Duration kPoll = 10ms;
constexpr int kRedirectsMost = 5;
constexpr const char* kKeyLivesMs = "60000";
constexpr size_t kSlotsShown = 200;  // characters
constexpr size_t kRangesShown = 3;

// Every byte there is: a protocol that isn't safe for them is soon found out.
std::string EveryByte() {
  std::string bytes = RandomHex(8);
  for (int byte = 0; byte < 256; ++byte) bytes += static_cast<char>(byte);
  return bytes;
}

std::string Shown(const Result<Value>& answer) {
  return answer.ok() ? net::resp::Describe(*answer) : answer.error().message();
}

class Verifier {
 public:
  explicit Verifier(VerifyInput input) : input_(std::move(input)) {}

  net::Task<std::vector<Check>> Run() {
    const bool known = co_await Learn();
    if (!known) co_return std::move(checks_);
    TellState();
    for (const redis::ClusterNode* node : Owners()) co_await WriteAndRead(*node);
    const redis::ClusterNode* myself = view_.myself();
    if (myself && myself->replica) co_await ArrivesHere(*myself);
    if (myself && myself->master && !view_.ReplicasOf(myself->id).empty()) co_await ArrivesThere(*myself);
    co_await Clean();
    co_return std::move(checks_);
  }

 private:
  struct Reply {
    Result<Value> answer;
    std::string by;                  // who gave it
    std::vector<std::string> asked;  // who was asked, and what each said
  };

  void Say(std::string_view what, bool passed, std::vector<std::string> evidence, std::string hint = "") {
    checks_.push_back({.name = fmt::format("{}: {}", input_.instance, what),
                       .passed = passed,
                       .evidence = std::move(evidence),
                       .hint = passed ? "" : std::move(hint)});
  }
  // Of many ranges the first ones.
  static std::string NameOf(const redis::SlotSet& slots) {
    std::vector<std::string> texts;
    for (const auto& [first, last] : slots.Ranges()) {
      texts.push_back(first == last ? std::to_string(first) : fmt::format("{}-{}", first, last));
    }
    const size_t more = texts.size() > kRangesShown ? texts.size() - kRangesShown : 0;
    texts.resize(texts.size() - more);
    return (slots.count() == 1 ? "slot " : "slots ") + Join(texts, ", ") +
           (more > 0 ? fmt::format(" and {} more ranges", more) : "");
  }
  // In the order of their slots, which is the same whoever is asked.
  std::vector<const redis::ClusterNode*> Owners() const {
    std::vector<const redis::ClusterNode*> owners;
    for (const redis::ClusterNode& node : view_.nodes) {
      if (node.master && !node.slots.empty()) owners.push_back(&node);
    }
    std::sort(owners.begin(), owners.end(),
              [](const redis::ClusterNode* one, const redis::ClusterNode* other) {
                return one->slots.Ranges().front() < other->slots.Ranges().front();
              });
    return owners;
  }
  std::string Hint() const { return fmt::format("muster ps; muster logs {}", input_.instance); }
  static std::string Seat(const std::string& host, int port) { return fmt::format("{}:{}", host, port); }

  net::Task<Result<net::RespClient*>> At(std::string host, int port) {
    std::unique_ptr<net::RespClient>& client = clients_[Seat(host, port)];
    if (!client || client->closed()) {
      net::RespOptions options;
      options.password = input_.password;
      MUSTER_CO_TRY(client,
                    co_await net::RespClient::Connect(*input_.loop, host, port, options, kAnswerWithin));
    }
    co_return client.get();
  }

  net::Task<Result<std::vector<Value>>> AskAt(std::string host, int port, std::vector<Command> commands) {
    MUSTER_CO_TRY(net::RespClient* const client, co_await At(host, port));
    co_return co_await client->Pipeline(std::move(commands), kAnswerWithin);
  }

  // Begins with the member itself and goes where it is sent.
  net::Task<Reply> Follow(Command command) {
    std::string host = input_.host;
    int port = input_.port;
    bool asking = false;
    Reply reply{.answer = Value{}, .by = "", .asked = {}};
    for (int turn = 0; turn <= kRedirectsMost; ++turn) {
      std::vector<Command> commands;
      if (asking) commands.push_back({"ASKING"});
      commands.push_back(command);
      reply.by = Seat(host, port);
      auto answers = co_await AskAt(host, port, std::move(commands));
      if (!answers.ok()) {
        reply.answer = answers.error();
        break;
      }
      reply.answer = std::move(answers->back());
      const auto redirect =
          reply.answer->is_error() ? redis::ParseRedirect(reply.answer->text) : std::nullopt;
      if (!redirect) break;
      reply.asked.push_back(fmt::format("{}: {}", reply.by, reply.answer->text));
      if (!redirect->host.empty()) host = redirect->host;
      port = redirect->port;
      asking = redirect->ask;
    }
    co_return reply;
  }

  // What it says of itself and of all.
  net::Task<bool> Learn() {
    std::vector<Command> commands = {{"CLUSTER", "NODES"}, {"CLUSTER", "INFO"}, {"INFO", "replication"}};
    const auto answers = co_await AskAt(input_.host, input_.port, std::move(commands));
    std::string why;
    if (!answers.ok()) {
      why = answers.error().Text();
    } else {
      for (const Value& answer : *answers) {
        if (answer.is_error()) why = net::resp::Describe(answer);
      }
    }
    if (why.empty()) {
      auto view = redis::ParseClusterNodes((*answers)[0].text);
      auto cluster = redis::ParseClusterInfo((*answers)[1].text);
      auto info = redis::ParseInfo((*answers)[2].text);
      if (view.ok() && cluster.ok() && info.ok()) {
        view_ = std::move(view).value();
        cluster_ = *cluster;
        info_ = std::move(info).value();
        co_return true;
      }
      why = "it says of itself what can't be read";
    }
    Say("tells of its cluster", false, {why}, Hint());
    co_return false;
  }

  void TellState() {
    Say("sees the cluster well", cluster_.ok,
        {fmt::format("cluster_state is {}, {} nodes are known", cluster_.ok ? "ok" : "fail",
                     cluster_.known_nodes)},
        Hint());
    const redis::SlotSet missing = redis::SlotSet::All() - view_.Covered();
    std::string named = missing.Text();
    if (named.size() > kSlotsShown) named = named.substr(0, kSlotsShown) + "…";
    Say("sees an owner of each slot", missing.empty(),
        {missing.empty()
             ? fmt::format("{} slots of {} masters", redis::kSlots, cluster_.size)
             : fmt::format("nobody who is well has {} of {}: {}", missing.count(), redis::kSlots, named)},
        Hint());
    if (!info_.replica) return;
    Say("is linked to its master", info_.link_up,
        {fmt::format(
            "{} is {}", Seat(info_.master_host, info_.master_port),
            info_.link_up ? "up" : fmt::format("down for {} s", std::max<int64_t>(info_.link_down_s, 0)))},
        Hint());
  }

  std::string NewKey(const redis::ClusterNode& master) {
    const int slot = master.slots.Ranges().front().first;
    std::string key =
        fmt::format("muster:verify:{}:{{{}}}", RandomHex(8), redis::SlotTags()[static_cast<size_t>(slot)]);
    keys_.push_back(key);
    return key;
  }

  net::Task<void> WriteAndRead(const redis::ClusterNode& master) {
    const std::string key = NewKey(master), value = EveryByte();
    const Command set = {"SET", key, value, "PX", kKeyLivesMs};
    const Reply written = co_await Follow(set);
    const std::string what = fmt::format("writes to {} and reads back", NameOf(master.slots));
    std::vector<std::string> evidence = written.asked;
    if (!written.answer.ok() || !written.answer->is_ok()) {
      evidence.push_back(fmt::format("SET {} at {}: {}", key, written.by, Shown(written.answer)));
      Say(what, false, std::move(evidence), Hint());
      co_return;
    }
    const Command get = {"GET", key};
    const Reply read = co_await Follow(get);
    const bool same = read.answer.ok() && !read.answer->is_error() && read.answer->text == value;
    evidence.push_back(fmt::format("SET {} at {}: OK", key, written.by));
    evidence.push_back(
        same ? fmt::format("GET at {}: the same {} bytes", read.by, value.size())
             : fmt::format("GET at {}: {}, which isn't what was written", read.by, Shown(read.answer)));
    Say(what, same, std::move(evidence), Hint());
  }

  // A key of its master's slots, as this replica has it.
  net::Task<void> ArrivesHere(const redis::ClusterNode& myself) {
    const std::string what = "gets what is written to its master";
    const redis::ClusterNode* master = view_.Find(myself.master_id);
    if (!master || master->slots.empty()) {
      Say(what, false, {"it follows no master that has slots"}, Hint());
      co_return;
    }
    const std::string key = NewKey(*master), value = EveryByte();
    const Command set = {"SET", key, value, "PX", kKeyLivesMs};
    const Reply written = co_await Follow(set);
    if (!written.answer.ok() || !written.answer->is_ok()) {
      Say(what, false, {fmt::format("SET {} at {}: {}", key, written.by, Shown(written.answer))}, Hint());
      co_return;
    }
    const Time begun = Now();
    while (true) {
      std::vector<Command> commands = {{"READONLY"}, {"GET", key}, {"READWRITE"}};
      const auto answers = co_await AskAt(input_.host, input_.port, std::move(commands));
      const std::string said = answers.ok() ? net::resp::Describe((*answers)[1]) : answers.error().message();
      const Duration took = Now() - begun;
      if (answers.ok() && (*answers)[1].text == value) {
        Say(what, true, {fmt::format("{} was here after {}", key, FormatDuration(took))});
        co_return;
      }
      if (!answers.ok() || took >= kArrivesWithin) {
        Say(what, false, {fmt::format("GET {} after {}: {}", key, FormatDuration(took), said)}, Hint());
        co_return;
      }
      co_await input_.loop->Sleep(kPoll);
    }
  }

  net::Task<void> ArrivesThere(const redis::ClusterNode& myself) {
    const std::string what = "hands what is written to it to a replica";
    if (myself.slots.empty()) co_return;
    const std::string key = NewKey(myself), value = EveryByte();
    const auto wait = std::to_string(kArrivesWithin.count() - 500);
    std::vector<Command> commands = {{"SET", key, value, "PX", kKeyLivesMs}, {"WAIT", "1", wait}};
    const auto answers = co_await AskAt(input_.host, input_.port, std::move(commands));
    if (!answers.ok()) {
      Say(what, false, {answers.error().message()}, Hint());
      co_return;
    }
    const bool arrived = (*answers)[0].is_ok() && (*answers)[1].AsInteger().value_or(0) >= 1;
    Say(what, arrived,
        {fmt::format("SET {}: {}", key, net::resp::Describe((*answers)[0])),
         fmt::format("WAIT 1: {}", net::resp::Describe((*answers)[1]))},
        Hint());
  }

  net::Task<void> Clean() {
    for (const std::string& key : keys_) {
      const Command command = {"DEL", key};
      (void)co_await Follow(command);
    }
  }

  const VerifyInput input_;
  std::map<std::string, std::unique_ptr<net::RespClient>> clients_;
  redis::ClusterView view_;
  redis::ClusterInfo cluster_;
  redis::ServerInfo info_;
  std::vector<std::string> keys_;
  std::vector<Check> checks_;
};

}  // namespace

net::Task<std::vector<Check>> VerifyMember(VerifyInput input) {
  Verifier verifier(std::move(input));
  co_return co_await verifier.Run();
}

}  // namespace muster::redis_cluster
