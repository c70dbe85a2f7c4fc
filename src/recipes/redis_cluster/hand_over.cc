#include "recipes/redis_cluster/hand_over.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "base/fault.h"
#include "base/text.h"
#include "recipes/redis/words.h"
#include "recipes/redis_cluster/same_keys.h"

namespace muster::redis_cluster {
namespace {

using net::resp::Command;
using net::resp::Value;

constexpr int kSlotsAtOnce = 64;
constexpr const char* kKeysOfSlot = "1000";  // at once; a slot may have millions
// Of one MIGRATE, during which the server does nothing else.
constexpr size_t kKeysMost = 200;
constexpr int64_t kBytesMost = 2 << 20;
// Of MIGRATEs sent without waiting for answers. One to a host that has vanished blocks the server for as long
// as it may take, so there mustn't be many.
constexpr size_t kFlightMost = 6;
constexpr int64_t kFlightBytes = 4 << 20;
constexpr int64_t kIdleMs = 500, kIdleMsMost = 60'000;
constexpr int64_t kBytesPerMs = 50'000;    // a slow link
constexpr int64_t kRoundBytes = 32 << 20;  // so that a round has an end in sight
constexpr Duration kReserve = 2s;          // a round isn't begun any more
constexpr Duration kTargetWithin = 1s;
constexpr Duration kReplicaWithin = 500ms;    // asked again while there is time
constexpr Duration kReplicaBackWithin = 10s;  // one that was restarted, say
// How long nothing may get over: a cluster that was down for a moment, a target that is slow.
constexpr Duration kFruitlessFor = 3s;
constexpr Duration kPause = 50ms;
constexpr int64_t kComparedMost = 32 << 20;  // bytes
constexpr size_t kKeysNamed = 3;             // keys

// Keys of one slot that go together.
struct Load {
  int slot = 0;
  std::vector<std::string> keys;
  int64_t bytes = 0;
};

class Mover {
 public:
  Mover(Node& node, HandOver order) : node_(node), order_(std::move(order)) {}

  net::Task<Result<Values>> Run() {
    MUSTER_CO_DO(co_await Begin());
    const Duration reserve = std::min(kReserve, node_.left() / 4);
    Time fruitful = Now();
    while (!left_.empty() && node_.left() > reserve) {
      const int64_t before = keys_;
      const redis::SlotSet left_before = left_;
      if (order_.goes_on) MUSTER_CO_DO(co_await order_.goes_on());
      const Status status = co_await Round(left_.First(kSlotsAtOnce));
      // What is under way when the time is over is done by the server or not: the next order looks.
      if (!status.ok() && status.error().kind() == ErrorKind::kTimeout && Any()) break;
      if (!status.ok()) co_return status.error();
      if (keys_ > before || !(left_ == left_before)) {
        fruitful = Now();
        continue;
      }
      if (!differing_.empty() && trouble_.empty()) co_return KeysDiffer();
      // A target that sends them elsewhere doesn't import them, and won't by itself.
      const bool elsewhere = trouble_.find("MOVED") != std::string::npos;
      if (elsewhere || Now() - fruitful > kFruitlessFor) {
        co_return Error::Unavailable("move-failed", "the keys of slots {} don't get to {}:{}: {}",
                                     left_.Text(), order_.host, order_.port, trouble_);
      }
      co_await node_.loop().Sleep(kPause);
    }
    co_return Values{
        {"done", (order_.slots - left_).Text()}, {"left", left_.Text()}, {"keys", std::to_string(keys_)}};
  }

 private:
  bool Any() const { return keys_ > 0 || !(left_ == order_.slots); }

  // Sees who has the slots, and that the other is who it should be.
  net::Task<Status> Begin() {
    MUSTER_CO_TRY(const redis::ClusterView view, co_await node_.View());
    const redis::ClusterNode* myself = view.myself();
    if (!myself) co_return Error::Unavailable("bad-answer", "redis doesn't say which node it is");
    id_ = myself->id;
    if (myself->id == order_.to) co_return Error::Invalid("bad-args", "a node can't hand slots to itself");
    for (const int slot : order_.slots.List()) {
      const redis::ClusterNode* owner = view.OwnerOf(slot);
      if (owner && owner->id == order_.to) continue;
      if (owner != myself) {
        co_return Error::Conflict("slots-elsewhere", "slot {} belongs to {}, not to {}", slot,
                                  owner ? owner->id : "nobody", myself->id);
      }
      const auto mark = myself->migrating.find(slot);
      if (mark == myself->migrating.end()) {
        unmarked_.Add(slot);
      } else if (mark->second != order_.to) {
        // Some of its keys may be there; unless that node has another's place, or none.
        const redis::ClusterNode* before = view.Find(mark->second);
        if (before && before->master && !before->failed && !before->no_address) {
          co_return Error::Conflict("slots-elsewhere", "slot {} is on its way to {} already", slot,
                                    mark->second);
        }
        unmarked_.Add(slot);
      }
      left_.Add(slot);
    }
    if (left_.empty()) co_return Done();
    if (order_.smallest) MUSTER_CO_DO(co_await Choose());
    co_return co_await Reach();
  }

  net::Task<Status> Choose() {
    const std::vector<int> slots = left_.List();
    std::vector<Command> commands;
    for (const int slot : slots) commands.push_back({"CLUSTER", "COUNTKEYSINSLOT", std::to_string(slot)});
    MUSTER_CO_TRY(const std::vector<Value> answers, co_await node_.AskAll(std::move(commands)));
    size_t smallest = 0;
    for (size_t i = 0; i < slots.size(); ++i) {
      if (answers[i].is_error()) co_return node_.Refused(answers[i], "CLUSTER COUNTKEYSINSLOT");
      if (answers[i].AsInteger().value_or(0) < answers[smallest].AsInteger().value_or(0)) smallest = i;
    }
    left_ = redis::SlotSet();
    left_.Add(slots[smallest]);
    order_.slots = left_;
    co_return Done();
  }

  // A server that waits for one that isn't there answers nobody: so it is asked first.
  net::Task<Status> Reach() {
    const Duration within = std::min(kTargetWithin, node_.left());
    if (!target_ || target_->closed()) {
      net::RespOptions options;
      options.password = order_.password;
      MUSTER_CO_TRY(target_, co_await net::RespClient::Connect(node_.loop(), order_.host, order_.port,
                                                               options, within));
    }
    const Command command = {"CLUSTER", "MYID"};
    MUSTER_CO_TRY(const Value id, co_await target_->Command(command, within));
    if (id.is_error()) co_return node_.Refused(id, "CLUSTER MYID");
    if (id.text != order_.to) {
      co_return Error::Conflict("slots-elsewhere", "{}:{} is node {}, not {}", order_.host, order_.port,
                                id.text, order_.to);
    }
    const Command nodes = {"CLUSTER", "NODES"};
    MUSTER_CO_TRY(const Value text, co_await target_->Command(nodes, within));
    if (text.is_error()) co_return node_.Refused(text, "CLUSTER NODES");
    MUSTER_CO_TRY(const redis::ClusterView view, redis::ParseClusterNodes(text.text));
    inherited_ = order_.inherited;
    if (view.myself()) {
      for (const auto& [slot, giver] : view.myself()->importing) {
        if (giver != id_) inherited_.Add(slot);
      }
    }
    co_return Done();
  }

  net::Task<Status> Round(redis::SlotSet window) {
    trouble_.clear();
    differing_.clear();
    uncompared_.clear();
    MUSTER_CO_TRY(std::vector<Load> loads, co_await Gather(window));
    MUSTER_CO_DO(co_await Weigh(loads));
    std::vector<Load> cut = Cut(std::move(loads));
    for (size_t at = 0; at < cut.size();) {
      size_t end = at;
      int64_t bytes = 0;
      while (end < cut.size() && end - at < kFlightMost &&
             (end == at || bytes + cut[end].bytes <= kFlightBytes)) {
        bytes += cut[end++].bytes;
      }
      const bool smooth = co_await Send(cut, at, end);
      if (!smooth && node_.client().closed()) co_return Error::Timeout("redis-timeout", "{}", trouble_);
      MUSTER_CO_DO(co_await Secure());
      if (!smooth) break;
      at = end;
    }
    MUSTER_CO_DO(co_await Count(window));
    if (trouble_.empty()) co_return Done();
    co_return co_await Reach();
  }

  // What has come to the other is deleted here, and on it alone until a replica of it has it, too: nothing
  // more is sent before. Of one without replicas nothing is waited for, unless it has had one when the order
  // was given. A replica that stays behind ends the order in time; the next one gets no further than this one
  // has.
  net::Task<Status> Secure() {
    if (!target_ || target_->closed()) MUSTER_CO_DO(co_await Reach());
    const Command role = {"ROLE"};  // what WAIT waits for is all that was done before the last command
    const Command wait = {"WAIT", "1", std::to_string(kReplicaWithin.count())};
    const Duration reserve = std::min(kReserve, node_.left() / 4);
    const Time without = Now() + kReplicaBackWithin;
    while (true) {
      MUSTER_CO_TRY(const Value now, co_await target_->Command(role, kTargetWithin));
      const bool followed =
          now.items.size() > 2 && now.items[0].text == "master" && !now.items[2].items.empty();
      if (!followed && !order_.followed) co_return Done();
      if (!followed && Now() >= without) co_return NobodyHasIt();
      MUSTER_CO_TRY(const Value replicas, co_await target_->Command(wait, kReplicaWithin + kTargetWithin));
      if (replicas.is_error() || replicas.AsInteger().value_or(0) >= 1) co_return Done();
      if (node_.left() <= reserve + kReplicaWithin) {
        co_return NobodyHasIt();
      }
      if (order_.goes_on) MUSTER_CO_DO(co_await order_.goes_on());
    }
  }
  Error NobodyHasIt() const {
    return Error::Timeout("redis-timeout", "no replica of {}:{} has what has come to it", order_.host,
                          order_.port);
  }

  // The keys that are there. None come any more once a slot is marked: new ones go to the other.
  net::Task<Result<std::vector<Load>>> Gather(redis::SlotSet window) {
    const std::vector<int> slots = window.List();
    // One that is marked answers TRYAGAIN to commands with several keys that are at both, so it is marked
    // once it is its turn. Of what was on its way before this node took the giver's place, keys may have
    // gone.
    const redis::SlotSet marked = unmarked_ & (window | inherited_);
    std::vector<Command> commands;
    for (const int slot : marked.List()) {
      commands.push_back({"CLUSTER", "SETSLOT", std::to_string(slot), "MIGRATING", order_.to});
    }
    const size_t marks = commands.size();
    for (const int slot : slots) {
      commands.push_back({"CLUSTER", "GETKEYSINSLOT", std::to_string(slot), kKeysOfSlot});
    }
    MUSTER_CO_TRY(std::vector<Value> answers, co_await node_.AskAll(std::move(commands)));
    for (size_t i = 0; i < marks; ++i) {
      if (answers[i].is_error()) co_return node_.Refused(answers[i], "CLUSTER SETSLOT MIGRATING");
    }
    MUSTER_FAULT("redis-cluster.slots-migrating");
    unmarked_ -= marked;
    std::vector<Load> loads;
    for (size_t i = 0; i < slots.size(); ++i) {
      Value& answer = answers[marks + i];
      if (answer.is_error()) co_return node_.Refused(answer, "CLUSTER GETKEYSINSLOT");
      if (answer.items.empty()) {
        left_.Remove(slots[i]);
        continue;
      }
      Load load{.slot = slots[i]};
      for (Value& key : answer.items) load.keys.push_back(std::move(key.text));
      loads.push_back(std::move(load));
    }
    co_return loads;
  }

  net::Task<Status> Weigh(const std::vector<Load>& loads) {
    std::vector<Command> commands;
    for (const Load& load : loads) {
      for (const std::string& key : load.keys) commands.push_back({"MEMORY", "USAGE", key});
    }
    weights_.clear();
    MUSTER_CO_TRY(const std::vector<Value> answers, co_await node_.AskAll(std::move(commands)));
    for (const Value& answer : answers) weights_.push_back(answer.AsInteger().value_or(0));  // gone: nothing
    co_return Done();
  }

  // Into pieces that a server is done with soon. One key can't be cut.
  std::vector<Load> Cut(std::vector<Load> loads) const {
    std::vector<Load> cut;
    size_t weight = 0;
    int64_t whole = 0;
    for (Load& load : loads) {
      Load piece{.slot = load.slot};
      for (std::string& key : load.keys) {
        const int64_t bytes = weights_[weight++];
        const bool full = piece.keys.size() >= kKeysMost || piece.bytes + bytes > kBytesMost;
        if (full && !piece.keys.empty()) cut.push_back(std::exchange(piece, Load{.slot = load.slot}));
        if (whole > kRoundBytes) return cut;
        piece.keys.push_back(std::move(key));
        piece.bytes += bytes;
        whole += bytes;
      }
      if (!piece.keys.empty()) cut.push_back(std::move(piece));
    }
    return cut;
  }

  Command Migrate(const Load& load) const {
    const int64_t idle = std::min(kIdleMs + load.bytes / kBytesPerMs, kIdleMsMost);
    Command command = {"MIGRATE", order_.host, std::to_string(order_.port), "", "0", std::to_string(idle)};
    // What an earlier try that broke off has left there is older: this node answers for the slot's keys
    // as long as it has them. Where it has taken a giver's place that isn't so, see Compare.
    if (again_.Has(load.slot)) command.emplace_back("REPLACE");
    if (!order_.password.empty()) {
      command.emplace_back("AUTH");
      command.push_back(order_.password);
    }
    command.emplace_back("KEYS");
    command.insert(command.end(), load.keys.begin(), load.keys.end());
    return command;
  }

  // Whether all went well; else `trouble_` says what didn't.
  net::Task<bool> Send(const std::vector<Load>& loads, size_t at, size_t end) {
    std::vector<Command> commands;
    for (size_t i = at; i < end; ++i) commands.push_back(Migrate(loads[i]));
    trouble_.clear();
    const auto answers = co_await node_.AskAll(std::move(commands));
    MUSTER_FAULT("redis-cluster.keys-migrated");
    if (!answers.ok()) {
      trouble_ = answers.error().message();
      co_return false;
    }
    for (size_t i = at; i < end; ++i) {
      const Value& answer = (*answers)[i - at];
      if (!answer.is_error()) {  // NOKEY is none: they are gone
        keys_ += static_cast<int64_t>(loads[i].keys.size());
        continue;
      }
      const bool both_have = answer.text.find("BUSYKEY") != std::string::npos;
      if (both_have && inherited_.Has(loads[i].slot)) {
        const Status compared = co_await Compare(loads[i]);
        if (compared.ok()) continue;
        trouble_ = compared.error().message();
        break;
      }
      const Error refused = node_.Refused(answer, "MIGRATE");
      trouble_ = refused.message();
      // BUSYKEY: they are there; IOERR: they may be
      if (!inherited_.Has(loads[i].slot)) again_.Add(loads[i].slot);
    }
    co_return trouble_.empty();
  }

  // Keys that both have, where this node has taken the place of the one that began to give the slot away.
  // That one's mark is gone with it: what had been moved was written to over there, until this node took
  // writes of its own for keys that it doesn't have. Which of two values is the right one nobody can tell but
  // a person. Those that are the same go.
  net::Task<Status> Compare(const Load& load) {
    if (load.bytes > kComparedMost) {
      uncompared_.insert(load.keys.front());
      Differ(load.slot, load.keys.front());
      co_return Done();
    }
    std::vector<std::string> keys = load.keys;
    MUSTER_CO_TRY(const std::vector<Same> compared, co_await CompareKeys(node_, *target_, std::move(keys)));
    Load same{.slot = load.slot};
    for (size_t i = 0; i < load.keys.size(); ++i) {
      if (compared[i] == Same::kYes) same.keys.push_back(load.keys[i]);
      if (compared[i] == Same::kNo) Differ(load.slot, load.keys[i]);
    }
    if (same.keys.empty()) co_return Done();
    again_.Add(load.slot);
    std::vector<Command> commands = {Migrate(same)};
    again_.Remove(load.slot);
    MUSTER_CO_TRY(const std::vector<Value> moved, co_await node_.AskAll(std::move(commands)));
    if (moved.front().is_error()) co_return node_.Refused(moved.front(), "MIGRATE");
    keys_ += static_cast<int64_t>(same.keys.size());
    co_return Done();
  }

  void Differ(int slot, const std::string& key) { differing_.emplace(key, slot); }

  Error KeysDiffer() const {
    std::vector<std::string> named;
    for (const auto& [key, slot] : differing_) {
      if (named.size() < kKeysNamed)
        named.push_back(fmt::format("\"{}\" (slot {}{})", key, slot,
                                    uncompared_.contains(key) ? ", too large to be compared" : ""));
    }
    if (differing_.size() > named.size())
      named.push_back(fmt::format("{} more", differing_.size() - named.size()));
    return Error::Conflict(
               "keys-differ",
               "{}:{} has other values of {}, or other times to live, since this node took over meanwhile",
               order_.host, order_.port, Join(named, ", "))
        .Hint("delete the wrong one: DEL here, or ASKING and DEL there; the rest is moved then");
  }

  net::Task<Status> Count(redis::SlotSet window) {
    const std::vector<int> slots = (window & left_).List();
    std::vector<Command> commands;
    for (const int slot : slots) commands.push_back({"CLUSTER", "COUNTKEYSINSLOT", std::to_string(slot)});
    MUSTER_CO_TRY(const std::vector<Value> answers, co_await node_.AskAll(std::move(commands)));
    for (size_t i = 0; i < slots.size(); ++i) {
      if (answers[i].AsInteger() == 0) left_.Remove(slots[i]);
    }
    co_return Done();
  }

  Node& node_;
  HandOver order_;
  std::unique_ptr<net::RespClient> target_;
  std::string id_;
  redis::SlotSet left_, unmarked_;
  redis::SlotSet inherited_;              // the target takes them from another, whose place this node took
  std::map<std::string, int> differing_;  // keys of this round with their slots
  std::set<std::string> uncompared_;      // of those
  redis::SlotSet again_;                  // something went wrong with it before
  std::vector<int64_t> weights_;          // of the keys gathered, in their order
  int64_t keys_ = 0;
  std::string trouble_;
};

}  // namespace

net::Task<Result<Values>> HandOverSlots(Node& node, HandOver order) {
  Mover mover(node, std::move(order));
  co_return co_await mover.Run();
}

}  // namespace muster::redis_cluster
