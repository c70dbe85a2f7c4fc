#include "recipes/redis_cluster/verbs.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/fault.h"
#include "base/text.h"
#include "base/within.h"
#include "recipes/redis/info.h"
#include "recipes/redis/words.h"
#include "recipes/redis_cluster/epoch.h"
#include "recipes/redis_cluster/hand_over.h"
#include "recipes/redis_cluster/inherited.h"

namespace muster::redis_cluster {
namespace {

using net::resp::Command;
using net::resp::Value;

constexpr Duration kOrder = 15s;
constexpr Duration kPlainFailover = 6s;      // Redis gives up on one after 5 s
constexpr Duration kForcedFailover = 500ms;  // votes come within milliseconds, or not at all, mostly
constexpr Duration kVoteMayCome = 5500ms;    // Redis goes on with one that was begun for 5 s
constexpr Duration kUnasked = 1s;            // a takeover asks nobody
constexpr Duration kLinkEnds = 200ms;        // after its master; they end within milliseconds
constexpr Duration kLastWords = 50ms;        // of a master that died: what is in the pipe is read by then
constexpr Duration kPoll = 3ms;
constexpr Duration kPollMarking = 1ms;  // where writes that come meanwhile would begin keys anew
constexpr Duration kGetsKnown = 2s;     // for a node that was just met to be heard of
constexpr size_t kLogMost = 64u << 10;
constexpr size_t kEvidenceMost = 8;

Error BadArgs(std::string_view verb, std::string_view needs) {
  return Error::Invalid("bad-args", "{} needs {}", verb, needs);
}

Result<redis::SlotSet> SlotsArg(std::string_view verb, const Values& args) {
  auto slots = redis::SlotSet::Parse(redis::TextAt(args, "slots"));
  if (!slots.ok() || slots->empty()) return BadArgs(verb, "slots, such as 0-5460");
  return *slots;
}

Error Unnamed() { return Error::Unavailable("bad-answer", "redis doesn't say which node it is"); }

std::string Hosted(const redis::ClusterNode& node) { return fmt::format("{}:{}", node.address, node.port); }

struct Holdings {
  redis::ClusterView view;
  bool replica = false;
  bool link_up = false;
  int64_t keys = 0;
};

net::Task<Result<Values>> Meet(Node& node, Values args) {
  MUSTER_CO_TRY(const redis::ClusterView view, co_await node.View());
  std::vector<Command> commands;
  const std::string nodes = redis::TextAt(args, "nodes");  // the words point into it
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
  MUSTER_FAULT("redis-cluster.met");
  co_return Values{};
}

// `what`: ADDSLOTS or DELSLOTS.
net::Task<Status> ChangeSlots(Node& node, std::string what, redis::SlotSet slots) {
  if (slots.empty()) co_return Done();
  const std::string by_range = what + "RANGE";
  Command ranges = {"CLUSTER", by_range};
  for (const auto& [first, last] : slots.Ranges()) {
    ranges.push_back(std::to_string(first));
    ranges.push_back(std::to_string(last));
  }
  MUSTER_CO_TRY(const Value answer, co_await node.Ask(std::move(ranges)));
  if (!answer.is_error()) co_return Done();
  if (answer.text.find("nknown subcommand") == std::string::npos) {
    co_return node.Refused(answer, "CLUSTER " + by_range);
  }
  Command each = {"CLUSTER", what};  // before Redis 7
  for (const int slot : slots.List()) each.push_back(std::to_string(slot));
  std::string said = "CLUSTER " + what;
  co_return co_await node.Do(std::move(each), std::move(said));
}

net::Task<Result<Holdings>> Look(Node& node);

// Where the slots are those of a node that is gone for good, its word mustn't count any more: the new owner's
// epoch is above all that it has heard of before it says that they are its own.
net::Task<Status> Succeed(Node& node, redis::SlotSet slots) {
  MUSTER_CO_TRY(const Holdings held, co_await Look(node));
  if (held.replica)
    co_return Error::Conflict("not-primary", "it follows another: only a master can have slots of its own");
  if (held.keys > 0) {
    co_return Error::Refused("not-empty", "it has {} keys, and was to take slots only while it has none",
                             held.keys);
  }
  const Command bump = {"CLUSTER", "BUMPEPOCH"};
  MUSTER_CO_DO(co_await node.Do(bump, "CLUSTER BUMPEPOCH"));
  co_return co_await ChangeSlots(node, "DELSLOTS", std::move(slots));
}

net::Task<Result<Values>> Own(Node& node, Values args) {
  MUSTER_CO_TRY(redis::SlotSet slots, SlotsArg("own", args));
  MUSTER_CO_TRY(const redis::ClusterView view, co_await node.View());
  const std::string of = redis::TextAt(args, "of");
  redis::SlotSet inherited;
  for (const redis::ClusterNode& other : view.nodes) {
    if (!of.empty() && other.id == of && !other.myself) {
      inherited = slots & other.slots;
    } else {
      slots -= other.slots;
    }
  }
  if (slots.empty()) co_return Values{};
  inherited = inherited & slots;
  if (!of.empty()) MUSTER_CO_DO(co_await Succeed(node, inherited));
  MUSTER_CO_DO(co_await ChangeSlots(node, "ADDSLOTS", slots));
  MUSTER_FAULT("redis-cluster.slots-owned");
  co_return Values{{"slots", slots.Text()}};
}

net::Task<Result<Values>> Follow(Node& node, Values args) {
  const std::string id = redis::TextAt(args, "node");
  if (id.empty()) co_return BadArgs("follow", "the id of a node");
  const Time end = std::min(node.end(), Now() + kGetsKnown);
  while (true) {
    MUSTER_CO_TRY(const redis::ClusterView view, co_await node.View());
    const redis::ClusterNode* myself = view.myself();
    if (!myself) co_return Unnamed();
    if (myself->replica && myself->master_id == id) co_return Values{};
    // To another it would go without what it has.
    const redis::ClusterNode* before = myself->replica ? view.Find(myself->master_id) : nullptr;
    if (before && !before->slots.empty() && (before->failed || before->suspected)) {
      co_return Error::Conflict("not-empty",
                                "its master {} isn't there, and still owns slots: it may be the last copy",
                                Hosted(*before));
    }
    const redis::ClusterNode* master = view.Find(id);
    if ((!master || master->handshake) && Now() < end) {
      co_await node.loop().Sleep(10ms);
      continue;
    }
    const Command command = {"CLUSTER", "REPLICATE", id};
    MUSTER_CO_TRY(const Value answer, co_await node.Ask(command));
    MUSTER_FAULT("redis-cluster.follows");
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

Command SetSlot(int slot, const char* how, const std::string& id) {
  Command command = {"CLUSTER", "SETSLOT", std::to_string(slot), how};
  if (!id.empty()) command.push_back(id);
  return command;
}

// Slots whose keys had begun to go to another when their master went: who takes its place knows nothing of
// that, and would begin those that have gone anew.
struct Marks {
  redis::SlotSet slots;
  std::string to;  // the other's id
};

Result<Marks> MarksArg(std::string_view verb, const Values& args) {
  Marks marks;
  marks.to = redis::TextAt(args, "to");
  MUSTER_TRY(marks.slots, SlotsArg(verb, args));
  if (marks.to.empty()) return BadArgs(verb, "to, the id of a node");
  return marks;
}

net::Task<Status> MarkAll(Node& node, Marks marks) {
  std::vector<Command> commands;
  for (const int slot : marks.slots.List()) commands.push_back(SetSlot(slot, "MIGRATING", marks.to));
  co_return co_await node.DoAll(std::move(commands), "CLUSTER SETSLOT MIGRATING");
}

// Those of its own that it gives to nobody yet.
net::Task<Result<Values>> Mark(Node& node, Marks marks) {
  MUSTER_CO_TRY(const redis::ClusterView view, co_await node.View());
  const redis::ClusterNode* myself = view.myself();
  if (!myself) co_return Unnamed();
  marks.slots = marks.slots & myself->slots;
  for (const auto& [slot, to] : myself->migrating) marks.slots.Remove(slot);
  MUSTER_CO_DO(co_await MarkAll(node, marks));
  MUSTER_FAULT("redis-cluster.slots-marked");
  co_return Values{{"slots", marks.slots.Text()}};
}

// Of one that has just become a master. Who asks first which of them are its own lets writes in meanwhile.
net::Task<Status> MarkAtOnce(Node& node, Marks marks) {
  (void)co_await MarkAll(node, marks);
  MUSTER_CO_DO(co_await Mark(node, std::move(marks)));
  co_return Done();
}

// Writes that come while it isn't marked yet wait, at most for so long: it ends by itself. Not before the
// link to its master has ended, as it would hold that up as well. Before Redis 6.2 none can be held back.
net::Task<Status> HoldWrites(Node& node, Duration most) {
  const Command pause = {"CLIENT", "PAUSE", std::to_string(most.count()), "WRITE"};
  MUSTER_CO_TRY(const Value answer, co_await node.Ask(pause));
  co_return Done();
}

net::Task<Status> LetWritesGoOn(Node& node) {
  const Command go_on = {"CLIENT", "UNPAUSE"};
  MUSTER_CO_TRY(const Value answer, co_await node.Ask(go_on));
  co_return Done();
}

// A link that stands tells that its master lives, whatever was known when the order was given.
net::Task<Result<bool>> LinkEnds(Node& node, Time end) {
  const Command role = {"ROLE"};
  while (true) {
    MUSTER_CO_TRY(const Value now, co_await node.Ask(role));
    if (now.is_error()) co_return node.Refused(now, "ROLE");
    if (now.items.size() < 4 || now.items[3].text != "connected") co_return true;
    if (Now() >= end) co_return false;
    co_await node.loop().Sleep(kPoll);
  }
}

struct TakingOver {
  std::string how, of;
  bool empty = false;  // it has no keys, so that there is nothing to lose though its master lives
  Marks marks;         // set as soon as it is a master
};

// Empty once the node is a master, else what stands against it.
net::Task<Result<std::string>> Failover(Node& node, Operator::Context context, TakingOver order) {
  const Time end = node.end() - 50ms;
  const std::string &how = order.how, &of = order.of;
  const bool plain = how == "plain";
  MUSTER_CO_TRY(const redis::ClusterView view, co_await node.View());
  const redis::ClusterNode* myself = view.myself();
  if (!myself) co_return Unnamed();
  const bool marked = !order.marks.slots.empty();
  if (myself->master && !myself->slots.empty()) {
    if (marked) MUSTER_CO_DO(co_await Mark(node, order.marks));
    co_return std::string();
  }
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
  if (!plain && !order.empty) {
    MUSTER_CO_TRY(const bool ended, co_await LinkEnds(node, std::min(end, Now() + kLinkEnds)));
    if (!ended) co_return std::string("its link to its master is up, so that one lives");
  }
  MUSTER_CO_DO(co_await StillWanted(context));
  // A vote that comes late makes it a master that knows nothing of the marks: writes are held until then,
  // too.
  if (marked && !plain) MUSTER_CO_DO(co_await HoldWrites(node, std::max(node.left(), kVoteMayCome)));
  Command command = {"CLUSTER", "FAILOVER"};
  if (!plain) command.push_back(how == "force" ? "FORCE" : "TAKEOVER");
  MUSTER_CO_TRY(const Value answer, co_await node.Ask(std::move(command)));
  if (answer.is_error()) co_return net::resp::Describe(answer);
  MUSTER_FAULT("redis-cluster.failover-begun");
  while (true) {
    // Writes can't be held while what it lacks has to come. So it is marked in the moment in which it becomes
    // a master, before clients hear of it; until then this is refused.
    if (marked && plain) (void)co_await MarkAll(node, order.marks);
    MUSTER_CO_TRY(const Value now, co_await node.Ask(role));
    if (now.is_error()) co_return node.Refused(now, "ROLE");
    if (!now.items.empty() && now.items[0].text == "master") {
      if (marked) MUSTER_CO_DO(co_await MarkAtOnce(node, order.marks));
      co_return std::string();
    }
    // What it lacks doesn't come any more: whoever knows its master dead needn't wait to force it.
    const bool alone = now.items.size() >= 4 && now.items[3].text != "connected";
    if (plain && alone) co_return std::string("its link to its master ended before it had all");
    if (Now() >= end) break;
    if (!marked || !plain) co_await node.loop().Sleep(marked ? kPollMarking : kPoll);
  }
  co_return std::string(plain ? "the handover wasn't done in time" : "it wasn't elected in time");
}

// Redis forgets such marks with the node that they name.
bool IsMarked(const redis::ClusterNode* myself, const std::string& id) {
  const auto names = [&id](const auto& mark) { return mark.second == id; };
  return myself && (std::any_of(myself->importing.begin(), myself->importing.end(), names) ||
                    std::any_of(myself->migrating.begin(), myself->migrating.end(), names));
}

net::Task<Result<Values>> Forget(Node& node, Values args) {
  MUSTER_CO_TRY(const redis::ClusterView view, co_await node.View());
  std::vector<Command> commands;
  const std::string nodes = redis::TextAt(args, "nodes");  // the words point into it
  for (const std::string_view id : redis::Words(nodes, " ,")) {
    const redis::ClusterNode* known = view.Find(id);
    if (!known || known->myself) continue;
    if (IsMarked(view.myself(), known->id)) {
      co_return Error::Conflict("slots-on-their-way", "slots are on their way from or to {}", known->id)
          .Hint("to forget it would lose what has come from it: see to where they belong first");
    }
    commands.push_back({"CLUSTER", "FORGET", std::string(id)});
  }
  MUSTER_CO_TRY(const std::vector<Value> answers, co_await node.AskAll(std::move(commands)));
  MUSTER_FAULT("redis-cluster.forgotten");
  for (const Value& answer : answers) {
    // It may have been forgotten meanwhile.
    const bool gone = answer.text.find("nknown node") != std::string::npos;
    if (answer.is_error() && !gone) co_return node.Refused(answer, "CLUSTER FORGET");
  }
  co_return Values{};
}

net::Task<Result<Values>> Import(Node& node, Values args) {
  MUSTER_CO_TRY(const redis::SlotSet slots, SlotsArg("import", args));
  const std::string from = redis::TextAt(args, "from");
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
  MUSTER_FAULT("redis-cluster.slots-importing");
  co_return Values{};
}

// What has come to it, all at once. Of each slot that is marked as coming Redis tells all nodes by itself,
// over one of two connections, while its answers to their pings go over the other: who dies amid hundreds of
// such words leaves others, its replica too, with an older one as the last. Redis before 7.2.4 then takes the
// slots for unclaimed, even once the replica has taken them over, and gives them, emptied, to the dead one
// when it starts again and claims them (redis/redis#12564). So only the last one is told of.
net::Task<Status> TakeImported(Node& node, redis::SlotSet slots, std::string id) {
  const std::vector<int> all = slots.List();
  std::vector<Command> commands = {{"MULTI"}};
  for (const int slot : all) {
    if (slot != all.back()) commands.push_back(SetSlot(slot, "STABLE", ""));
    commands.push_back(SetSlot(slot, "NODE", id));
  }
  commands.push_back({"EXEC"});
  MUSTER_CO_TRY(const std::vector<Value> answers, co_await node.AskAll(std::move(commands)));
  for (const Value& answer : answers) {
    if (answer.is_error()) co_return node.Refused(answer, "CLUSTER SETSLOT NODE");
  }
  for (const Value& answer : answers.back().items) {
    if (answer.is_error()) co_return node.Refused(answer, "CLUSTER SETSLOT NODE");
  }
  co_return Done();
}

net::Task<Result<Values>> Claim(Node& node, Values args) {
  MUSTER_CO_TRY(const redis::SlotSet slots, SlotsArg("claim", args));
  const std::string id = redis::TextAt(args, "node");
  if (id.empty()) co_return BadArgs("claim", "node, the id of the new owner");
  MUSTER_CO_TRY(const redis::ClusterView view, co_await node.View());
  const redis::ClusterNode* myself = view.myself();
  if (!myself) co_return Unnamed();
  if (myself->replica) co_return Values{};  // it hears of it from its master
  std::vector<Command> commands;
  redis::SlotSet imported;
  for (const int slot : slots.List()) {
    const redis::ClusterNode* owner = view.OwnerOf(slot);
    const bool comes = myself->importing.contains(slot);
    if (comes && id == myself->id) {
      imported.Add(slot);
    } else if (!owner || owner->id != id || comes || myself->migrating.contains(slot)) {
      commands.push_back(SetSlot(slot, "NODE", id));
    }
  }
  if (!imported.empty()) MUSTER_CO_DO(co_await TakeImported(node, imported, id));
  MUSTER_CO_DO(co_await node.DoAll(std::move(commands), "CLUSTER SETSLOT NODE"));
  MUSTER_FAULT("redis-cluster.slots-claimed");
  co_return Values{};
}

net::Task<Result<Values>> Stable(Node& node, Values args) {
  if (redis::TextAt(args, "slots").empty()) args["slots"] = redis::SlotSet::All().Text();
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
  const std::string how = redis::TextAt(args, "how").empty() ? "plain" : redis::TextAt(args, "how");
  if (how != "plain" && how != "force" && how != "takeover") {
    co_return BadArgs("take-over", "how: plain, force or takeover");
  }
  const bool empty = redis::TextAt(args, "only") == "empty";
  if (empty) {
    MUSTER_CO_TRY(const Holdings held, co_await Look(node));
    if (held.replica && held.keys > 0) {
      co_return Error::Refused("not-empty", "{} has {} keys, and was to take over only while it has none",
                               context.instance->name, held.keys);
    }
  }
  TakingOver order{.how = how, .of = redis::TextAt(args, "of"), .empty = empty, .marks = {}};
  if (args.contains("slots")) {
    MUSTER_CO_TRY(order.marks, MarksArg("take-over", args));
    MUSTER_CO_TRY(const redis::ClusterView view, co_await node.View());
    if (!view.myself()) co_return Unnamed();
    (void)AddInherited(context.records, view.myself()->id, order.marks.slots);
  }
  const LogPiece before = co_await ReadLog(node, context.folder, -1);
  auto against = co_await Failover(node, context, order);
  if (!against.ok()) co_return against.error();
  if (against->empty()) {
    if (!order.marks.slots.empty() && how != "plain") MUSTER_CO_DO(co_await LetWritesGoOn(node));
    co_return Values{};
  }
  LogPiece since = co_await ReadLog(node, context.folder, before.size);
  co_return Error::Conflict("failover-denied", "{} doesn't become a master: {}", context.instance->name,
                            *against)
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
  if (!alone) {
    const Command command = {"CLUSTER", "RESET", hard ? "HARD" : "SOFT"};
    MUSTER_CO_DO(co_await node.Do(command, "CLUSTER RESET"));
    MUSTER_FAULT("redis-cluster.reset");
  }
  // A reset drops a replica's keys from memory only; they would be back after its next start. One that is
  // alone may have been reset by an order that got no further. It has no slots, so nobody writes to it.
  const Command flush = {"FLUSHALL"};
  if (held.replica || alone) MUSTER_CO_DO(co_await node.Do(flush, "FLUSHALL"));
  co_return Values{};
}

Result<HandOver> HandOverArgs(const Values& args) {
  HandOver order;
  MUSTER_TRY(order.slots, SlotsArg("hand-over", args));
  order.to = redis::TextAt(args, "to");
  order.host = redis::TextAt(args, "host");
  order.port = redis::ParseNumber<int>(redis::TextAt(args, "port")).value_or(0);
  order.smallest = redis::TextAt(args, "smallest") == "yes";
  order.followed = redis::TextAt(args, "replica") == "yes";
  if (order.to.empty() || order.host.empty() || order.port <= 0) {
    return BadArgs("hand-over", "to, host and port of another node");
  }
  return order;
}

net::Task<Result<Values>> GiveAway(Node& node, Operator::Context context, Values args) {
  MUSTER_CO_TRY(HandOver order, HandOverArgs(args));
  order.password = AccessOf(*context.instance).password;
  order.goes_on = [context] { return StillWanted(context); };
  MUSTER_CO_TRY(const redis::ClusterView view, co_await node.View());
  const std::string id = view.myself() ? view.myself()->id : "";
  order.inherited = InheritedSlots(context.records, id);
  MUSTER_CO_TRY(Values moved, co_await HandOverSlots(node, std::move(order)));
  if (const auto gone = redis::SlotSet::Parse(redis::TextAt(moved, "done")); gone.ok()) {
    (void)RemoveInherited(context.records, id, *gone);
  }
  co_return moved;
}

}  // namespace

Duration WithinOf(const std::string& verb, const Values& args) {
  const auto given = redis::ParseNumber<int64_t>(redis::TextAt(args, "within_ms"));
  if (given && *given > 0) return Duration(*given);
  if (verb != "take-over") return kOrder;
  const std::string how = redis::TextAt(args, "how");
  return how == "force" ? kForcedFailover : how == "takeover" ? kUnasked : kPlainFailover;
}

bool WaitsForLink(const std::string& verb, const Values& args) {
  return verb == "look" && redis::TextAt(args, "until") == "unlinked";
}

net::Task<Status> StillWanted(Operator::Context context) {
  if (!context.still_wanted) co_return Done();
  const bool wanted = co_await context.still_wanted();
  if (wanted) co_return Done();
  co_return Error::Conflict("order-stale", "nobody waits for this order to {} any more",
                            context.instance->name)
      .Hint("nothing: what is due now is decided anew");
}

net::Task<Result<Values>> PerformVerb(Node& node, Operator::Context context, std::string verb, Values args) {
  if (verb == "look") {
    if (!WaitsForLink(verb, args)) co_return Values{};
    // While its link stands it may be about to take in what its master had sent before it died.
    const Time end = std::min(node.end(), Now() + kLastWords);
    MUSTER_CO_TRY(const bool ended, co_await LinkEnds(node, end));
    co_return Values{{"linked", ended ? "no" : "yes"}};
  }
  if (verb == "meet") co_return co_await Meet(node, std::move(args));
  if (verb == "epoch") co_return co_await SetEpoch(node, std::move(args));
  if (verb == "own") co_return co_await Own(node, std::move(args));
  if (verb == "follow") co_return co_await Follow(node, std::move(args));
  if (verb == "take-over") co_return co_await TakeOver(node, context, std::move(args));
  if (verb == "forget") co_return co_await Forget(node, std::move(args));
  if (verb == "import") co_return co_await Import(node, std::move(args));
  if (verb == "hand-over") co_return co_await GiveAway(node, context, std::move(args));
  if (verb == "mark") {
    MUSTER_CO_TRY(Marks marks, MarksArg("mark", args));
    MUSTER_CO_TRY(const redis::ClusterView view, co_await node.View());
    if (!view.myself()) co_return Unnamed();
    (void)AddInherited(context.records, view.myself()->id, marks.slots);
    MUSTER_CO_TRY(Values marked, co_await Mark(node, std::move(marks)));
    MUSTER_CO_DO(co_await LetWritesGoOn(node));  // held by an order to take over that didn't see it done
    co_return marked;
  }
  if (verb == "claim") co_return co_await Claim(node, std::move(args));
  if (verb == "stable") co_return co_await Stable(node, std::move(args));
  if (verb == "reset") co_return co_await Reset(node, redis::TextAt(args, "hard") != "no");
  if (verb == "leave") co_return co_await Reset(node, true);
  if (verb == "set") {
    args.erase("within_ms");
    MUSTER_CO_DO(co_await SetAll(node, std::move(args)));
    co_return Values{};
  }
  co_return Error::Invalid("unknown-verb", "{} knows no verb {}", context.instance->name, verb);
}

}  // namespace muster::redis_cluster
