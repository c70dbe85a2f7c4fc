#include "recipes/redis_cluster/verbs.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "base/within.h"
#include "recipes/redis/info.h"
#include "recipes/redis/words.h"
#include "recipes/redis_cluster/hand_over.h"

namespace muster::redis_cluster {
namespace {

using net::resp::Command;
using net::resp::Value;

constexpr Duration kOrder = 15s;
constexpr Duration kPlainFailover = 6s;      // Redis gives up on one after 5 s
constexpr Duration kForcedFailover = 500ms;  // votes come within milliseconds, or not at all
constexpr Duration kUnasked = 1s;            // a takeover asks nobody
constexpr Duration kPoll = 3ms;
constexpr Duration kGetsKnown = 2s;  // for a node that was just met to be heard of
constexpr size_t kLogMost = 64u << 10;
constexpr size_t kEvidenceMost = 8;

std::string Arg(const Values& args, const std::string& name) {
  const auto found = args.find(name);
  return found == args.end() ? "" : found->second;
}

Error BadArgs(std::string_view verb, std::string_view needs) {
  return Error::Invalid("bad-args", "{} needs {}", verb, needs);
}

Result<redis::SlotSet> SlotsArg(std::string_view verb, const Values& args) {
  auto slots = redis::SlotSet::Parse(Arg(args, "slots"));
  if (!slots.ok() || slots->empty()) return BadArgs(verb, "slots, such as 0-5460");
  return *slots;
}

Error Unnamed() { return Error::Unavailable("bad-answer", "redis doesn't say which node it is"); }

std::string Hosted(const redis::ClusterNode& node) { return fmt::format("{}:{}", node.address, node.port); }

net::Task<Result<Values>> Meet(Node& node, Values args) {
  MUSTER_CO_TRY(const redis::ClusterView view, co_await node.View());
  std::vector<Command> commands;
  const std::string nodes = Arg(args, "nodes");  // the words point into it
  for (const std::string_view word : redis::Words(nodes)) {
    const size_t at = word.rfind('@');
    const std::string_view seat = word.substr(0, at);
    const size_t colon = seat.rfind(':');
    if (colon == std::string_view::npos) co_return BadArgs("meet", "nodes, such as 10.0.0.1:7001@17001");
    const std::string host(seat.substr(0, colon)), port(seat.substr(colon + 1));
    // Whoever is in handshake is on the way. One that failed may be another by now, under the same address.
    const redis::ClusterNode* known = view.At(host, redis::ParseNumber<int>(port).value_or(0));
    if (known && !known->failed && !known->suspected && !known->no_address) continue;
    Command command = {"CLUSTER", "MEET", host, port};
    if (at != std::string_view::npos) command.emplace_back(word.substr(at + 1));
    commands.push_back(std::move(command));
  }
  MUSTER_CO_DO(co_await node.DoAll(std::move(commands), "CLUSTER MEET"));
  co_return Values{};
}

net::Task<Result<Values>> SetEpoch(Node& node, Values args) {
  const std::string number = Arg(args, "number");
  if (number.empty()) co_return BadArgs("epoch", "a number");
  const Command ask = {"CLUSTER", "INFO"};
  MUSTER_CO_TRY(const Value answer, co_await node.Ask(ask));
  if (answer.is_error()) co_return node.Refused(answer, "CLUSTER INFO");
  MUSTER_CO_TRY(const redis::ClusterInfo info, redis::ParseClusterInfo(answer.text));
  if (std::to_string(info.my_epoch) == number) co_return Values{};
  const Command command = {"CLUSTER", "SET-CONFIG-EPOCH", number};
  MUSTER_CO_DO(co_await node.Do(command, "CLUSTER SET-CONFIG-EPOCH"));
  co_return Values{};
}

net::Task<Result<Values>> Own(Node& node, Values args) {
  MUSTER_CO_TRY(redis::SlotSet slots, SlotsArg("own", args));
  MUSTER_CO_TRY(const redis::ClusterView view, co_await node.View());
  for (const redis::ClusterNode& other : view.nodes) slots -= other.slots;
  if (slots.empty()) co_return Values{};
  Command ranges = {"CLUSTER", "ADDSLOTSRANGE"};
  for (const auto& [first, last] : slots.Ranges()) {
    ranges.push_back(std::to_string(first));
    ranges.push_back(std::to_string(last));
  }
  MUSTER_CO_TRY(const Value answer, co_await node.Ask(std::move(ranges)));
  if (!answer.is_error()) co_return Values{{"slots", slots.Text()}};
  if (answer.text.find("nknown subcommand") == std::string::npos) {
    co_return node.Refused(answer, "CLUSTER ADDSLOTSRANGE");
  }
  Command each = {"CLUSTER", "ADDSLOTS"};  // before Redis 7
  for (const int slot : slots.List()) each.push_back(std::to_string(slot));
  MUSTER_CO_DO(co_await node.Do(std::move(each), "CLUSTER ADDSLOTS"));
  co_return Values{{"slots", slots.Text()}};
}

net::Task<Result<Values>> Follow(Node& node, Values args) {
  const std::string id = Arg(args, "node");
  if (id.empty()) co_return BadArgs("follow", "the id of a node");
  const Time end = std::min(node.end(), Now() + kGetsKnown);
  while (true) {
    MUSTER_CO_TRY(const redis::ClusterView view, co_await node.View());
    const redis::ClusterNode* myself = view.myself();
    if (!myself) co_return Unnamed();
    if (myself->replica && myself->master_id == id) co_return Values{};
    const redis::ClusterNode* master = view.Find(id);
    if ((!master || master->handshake) && Now() < end) {
      co_await node.loop().Sleep(10ms);
      continue;
    }
    const Command command = {"CLUSTER", "REPLICATE", id};
    MUSTER_CO_TRY(const Value answer, co_await node.Ask(command));
    if (!answer.is_error()) co_return Values{};
    Error refused = node.Refused(answer, "CLUSTER REPLICATE");
    if (answer.text.find("must be empty") == std::string::npos) co_return refused;
    co_return Error::Conflict("not-empty", "{}", refused.message())
        .Hint("a node that has slots or keys of its own can't follow another");
  }
}

// The end of its log from `from` on; `from` -1: where it ends now, as the answer's second.
struct LogPiece {
  std::vector<std::string> lines;
  int64_t size = 0;
};
net::Task<LogPiece> ReadLog(Node& node, std::string folder, int64_t from) {
  std::function<LogPiece()> read = [folder = std::move(folder), from] {
    LogPiece piece;
    const auto log = OpenWithin(folder, "logs/current.log");
    if (!log.ok()) return piece;
    piece.size = lseek(log->get(), 0, SEEK_END);
    if (from < 0) return piece;
    const int64_t begin = std::max<int64_t>(from <= piece.size ? from : 0, piece.size - int64_t{kLogMost});
    std::string text(static_cast<size_t>(piece.size - begin), '\0');
    const ssize_t got = pread(log->get(), text.data(), text.size(), begin);
    text.resize(got > 0 ? static_cast<size_t>(got) : 0);
    piece.lines = LastLines(text, kEvidenceMost);
    return piece;
  };
  co_return co_await node.loop().Blocking(std::move(read));
}

// Empty once the node is a master, else what stands against it.
net::Task<Result<std::string>> Failover(Node& node, std::string how, std::string of, Time end) {
  const bool plain = how == "plain";
  MUSTER_CO_TRY(const redis::ClusterView view, co_await node.View());
  const redis::ClusterNode* myself = view.myself();
  if (!myself) co_return Unnamed();
  if (myself->master && !myself->slots.empty()) co_return std::string();
  if (myself->master) co_return std::string("it follows nobody, and there is nothing to take over");
  if (!of.empty() && myself->master_id != of) {
    co_return fmt::format("it follows {}, not {}", myself->master_id, of);
  }
  const Command role = {"ROLE"};
  if (plain) {
    // Redis would wait 5 s for a stream that doesn't flow.
    MUSTER_CO_TRY(const Value now, co_await node.Ask(role));
    if (now.items.size() >= 4 && now.items[3].text != "connected") {
      co_return fmt::format("its link to its master is not up: {}", now.items[3].text);
    }
  }
  Command command = {"CLUSTER", "FAILOVER"};
  if (!plain) command.push_back(how == "force" ? "FORCE" : "TAKEOVER");
  MUSTER_CO_TRY(const Value answer, co_await node.Ask(std::move(command)));
  if (answer.is_error()) co_return net::resp::Describe(answer);
  while (true) {
    MUSTER_CO_TRY(const Value now, co_await node.Ask(role));
    if (now.is_error()) co_return node.Refused(now, "ROLE");
    if (!now.items.empty() && now.items[0].text == "master") co_return std::string();
    if (Now() >= end) break;
    co_await node.loop().Sleep(kPoll);
  }
  co_return std::string(plain ? "the handover wasn't done in time" : "it wasn't elected in time");
}

net::Task<Result<Values>> Forget(Node& node, Values args) {
  MUSTER_CO_TRY(const redis::ClusterView view, co_await node.View());
  std::vector<Command> commands;
  const std::string nodes = Arg(args, "nodes");  // the words point into it
  for (const std::string_view id : redis::Words(nodes, " ,")) {
    const redis::ClusterNode* known = view.Find(id);
    if (known && !known->myself) commands.push_back({"CLUSTER", "FORGET", std::string(id)});
  }
  MUSTER_CO_TRY(const std::vector<Value> answers, co_await node.AskAll(std::move(commands)));
  for (const Value& answer : answers) {
    // It may have been forgotten meanwhile.
    const bool gone = answer.text.find("nknown node") != std::string::npos;
    if (answer.is_error() && !gone) co_return node.Refused(answer, "CLUSTER FORGET");
  }
  co_return Values{};
}

Command SetSlot(int slot, const char* how, const std::string& id) {
  Command command = {"CLUSTER", "SETSLOT", std::to_string(slot), how};
  if (!id.empty()) command.push_back(id);
  return command;
}

net::Task<Result<Values>> Import(Node& node, Values args) {
  MUSTER_CO_TRY(const redis::SlotSet slots, SlotsArg("import", args));
  const std::string from = Arg(args, "from");
  if (from.empty()) co_return BadArgs("import", "from, the id of a node");
  MUSTER_CO_TRY(const redis::ClusterView view, co_await node.View());
  const redis::ClusterNode* myself = view.myself();
  if (!myself) co_return Unnamed();
  std::vector<Command> commands;
  for (const int slot : slots.List()) {
    const auto marked = myself->importing.find(slot);
    if (marked != myself->importing.end() && marked->second == from) continue;
    if (!myself->slots.Has(slot)) commands.push_back(SetSlot(slot, "IMPORTING", from));
  }
  MUSTER_CO_DO(co_await node.DoAll(std::move(commands), "CLUSTER SETSLOT IMPORTING"));
  co_return Values{};
}

net::Task<Result<Values>> Claim(Node& node, Values args) {
  MUSTER_CO_TRY(const redis::SlotSet slots, SlotsArg("claim", args));
  const std::string id = Arg(args, "node");
  if (id.empty()) co_return BadArgs("claim", "node, the id of the new owner");
  MUSTER_CO_TRY(const redis::ClusterView view, co_await node.View());
  const redis::ClusterNode* myself = view.myself();
  if (!myself) co_return Unnamed();
  if (myself->replica) co_return Values{};  // it hears of it from its master
  std::vector<Command> commands;
  for (const int slot : slots.List()) {
    const redis::ClusterNode* owner = view.OwnerOf(slot);
    const bool marked = myself->migrating.contains(slot) || myself->importing.contains(slot);
    if (!owner || owner->id != id || marked) commands.push_back(SetSlot(slot, "NODE", id));
  }
  MUSTER_CO_DO(co_await node.DoAll(std::move(commands), "CLUSTER SETSLOT NODE"));
  co_return Values{};
}

net::Task<Result<Values>> Stable(Node& node, Values args) {
  if (Arg(args, "slots").empty()) args["slots"] = redis::SlotSet::All().Text();
  MUSTER_CO_TRY(const redis::SlotSet slots, SlotsArg("stable", args));
  MUSTER_CO_TRY(const redis::ClusterView view, co_await node.View());
  const redis::ClusterNode* myself = view.myself();
  if (!myself) co_return Unnamed();
  std::vector<Command> commands;
  for (const int slot : slots.List()) {
    if (!myself->migrating.contains(slot) && !myself->importing.contains(slot)) continue;
    commands.push_back(SetSlot(slot, "STABLE", ""));
  }
  MUSTER_CO_DO(co_await node.DoAll(std::move(commands), "CLUSTER SETSLOT STABLE"));
  co_return Values{};
}

struct Holdings {
  redis::ClusterView view;
  bool replica = false;
  bool link_up = false;
  int64_t keys = 0;
};

net::Task<Result<Holdings>> Look(Node& node) {
  std::vector<Command> commands = {{"CLUSTER", "NODES"}, {"INFO", "replication"}, {"INFO", "keyspace"}};
  MUSTER_CO_TRY(const std::vector<Value> answers, co_await node.AskAll(std::move(commands)));
  for (const Value& answer : answers) {
    if (answer.is_error()) co_return node.Refused(answer, "what it holds");
  }
  Holdings held;
  MUSTER_CO_TRY(held.view, redis::ParseClusterNodes(answers[0].text));
  MUSTER_CO_TRY(const redis::ServerInfo info, redis::ParseInfo(answers[1].text + "\n" + answers[2].text));
  held.replica = info.replica;
  held.link_up = info.link_up;
  held.keys = info.keys;
  co_return held;
}

net::Task<Result<Values>> TakeOver(Node& node, Operator::Context context, Values args) {
  const std::string how = Arg(args, "how").empty() ? "plain" : Arg(args, "how");
  if (how != "plain" && how != "force" && how != "takeover") {
    co_return BadArgs("take-over", "how: plain, force or takeover");
  }
  if (Arg(args, "only") == "empty") {
    MUSTER_CO_TRY(const Holdings held, co_await Look(node));
    if (held.replica && held.keys > 0) {
      co_return Error::Refused("not-empty", "{} has {} keys, and was to take over only while it has none",
                               context.instance->name, held.keys);
    }
  }
  const LogPiece before = co_await ReadLog(node, context.folder, -1);
  const std::string of = Arg(args, "of");
  MUSTER_CO_TRY(const std::string against, co_await Failover(node, how, of, node.end() - 50ms));
  if (against.empty()) co_return Values{};
  LogPiece since = co_await ReadLog(node, context.folder, before.size);
  co_return Error::Conflict("failover-denied", "{} doesn't become a master: {}", context.instance->name,
                            against)
      .Evidence(std::move(since.lines));
}

// Nobody's data goes with it: it has none, or its master has all of it.
Status MayGo(const Holdings& held) {
  const redis::ClusterNode* myself = held.view.myself();
  if (!myself) return Unnamed();
  if (!myself->slots.empty()) {
    return Error::Refused("not-empty", "it owns slots: {}", myself->slots.Text());
  }
  if (held.keys == 0) return Done();
  if (!held.replica) return Error::Refused("not-empty", "it has {} keys, and follows nobody", held.keys);
  const redis::ClusterNode* master = held.view.Find(myself->master_id);
  if (held.link_up && master && !master->failed && !master->suspected) return Done();
  return Error::Refused("not-empty", "it has {} keys, and its master {} isn't there: it may be the last copy",
                        held.keys, master ? Hosted(*master) : myself->master_id);
}

net::Task<Result<Values>> Reset(Node& node, bool hard) {
  MUSTER_CO_TRY(const Holdings held, co_await Look(node));
  MUSTER_CO_DO(MayGo(held));
  // Each reset gives it another id: one that has been done isn't done again.
  const bool alone = held.view.nodes.size() == 1 && !held.replica && held.keys == 0 &&
                     held.view.nodes.front().config_epoch == 0;
  if (alone) co_return Values{};
  const Command command = {"CLUSTER", "RESET", hard ? "HARD" : "SOFT"};
  MUSTER_CO_DO(co_await node.Do(command, "CLUSTER RESET"));
  // A reset drops a replica's keys from memory only; they would be back after its next start.
  const Command flush = {"FLUSHALL"};
  if (held.replica) MUSTER_CO_DO(co_await node.Do(flush, "FLUSHALL"));
  co_return Values{};
}

Result<HandOver> HandOverArgs(const Values& args) {
  HandOver order;
  MUSTER_TRY(order.slots, SlotsArg("hand-over", args));
  order.to = Arg(args, "to");
  order.host = Arg(args, "host");
  order.port = redis::ParseNumber<int>(Arg(args, "port")).value_or(0);
  if (order.to.empty() || order.host.empty() || order.port <= 0) {
    return BadArgs("hand-over", "to, host and port of another node");
  }
  return order;
}

net::Task<Result<Values>> GiveAway(Node& node, Operator::Context context, Values args) {
  MUSTER_CO_TRY(HandOver order, HandOverArgs(args));
  order.password = AccessOf(*context.instance).password;
  co_return co_await HandOverSlots(node, std::move(order));
}

}  // namespace

Duration WithinOf(const std::string& verb, const Values& args) {
  const auto given = redis::ParseNumber<int64_t>(Arg(args, "within_ms"));
  if (given && *given > 0) return Duration(*given);
  if (verb != "take-over") return kOrder;
  const std::string how = Arg(args, "how");
  return how == "force" ? kForcedFailover : how == "takeover" ? kUnasked : kPlainFailover;
}

net::Task<Status> SetAll(Node& node, Values settings) {
  std::vector<Command> questions;
  for (const auto& [name, value] : settings) questions.push_back({"CONFIG", "GET", name});
  MUSTER_CO_TRY(const std::vector<Value> has, co_await node.AskAll(std::move(questions)));
  std::vector<std::string> names;
  std::vector<Command> commands;
  size_t at = 0;
  for (const auto& [name, value] : settings) {
    const Value& answer = has[at++];
    if (answer.is_error()) co_return node.Refused(answer, "CONFIG GET " + name);
    const auto pairs = answer.AsPairs();
    // No setting but another directive (`loadmodule`): read at the start only.
    if (!pairs || pairs->empty() || pairs->front().second == value) continue;
    names.push_back(name);
    commands.push_back({"CONFIG", "SET", name, value});
  }
  MUSTER_CO_TRY(const std::vector<Value> answers, co_await node.AskAll(std::move(commands)));
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

net::Task<Result<Values>> PerformVerb(Node& node, Operator::Context context, std::string verb, Values args) {
  if (verb == "look") co_return Values{};
  if (verb == "meet") co_return co_await Meet(node, std::move(args));
  if (verb == "epoch") co_return co_await SetEpoch(node, std::move(args));
  if (verb == "own") co_return co_await Own(node, std::move(args));
  if (verb == "follow") co_return co_await Follow(node, std::move(args));
  if (verb == "take-over") co_return co_await TakeOver(node, context, std::move(args));
  if (verb == "forget") co_return co_await Forget(node, std::move(args));
  if (verb == "import") co_return co_await Import(node, std::move(args));
  if (verb == "hand-over") co_return co_await GiveAway(node, context, std::move(args));
  if (verb == "claim") co_return co_await Claim(node, std::move(args));
  if (verb == "stable") co_return co_await Stable(node, std::move(args));
  if (verb == "reset") co_return co_await Reset(node, Arg(args, "hard") != "no");
  if (verb == "leave") co_return co_await Reset(node, true);
  if (verb == "set") {
    args.erase("within_ms");
    MUSTER_CO_DO(co_await SetAll(node, std::move(args)));
    co_return Values{};
  }
  co_return Error::Invalid("unknown-verb", "{} knows no verb {}", context.instance->name, verb);
}

}  // namespace muster::redis_cluster
