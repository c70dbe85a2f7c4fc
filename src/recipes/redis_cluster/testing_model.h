// A model of Redis Cluster for the mender's tests: servers that gossip, vote, replicate, die and come back,
// an agent that starts them again and takes orders as the operator does, and a controller that asks the
// mender. Time is the test's own. What it is after are the rules by which nodes come to agree and by which
// keys get lost; how long things take is about right.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>

#include "base/text.h"
#include "model/listens.h"
#include "model/testing_values.h"
#include "recipes/redis/slots.h"
#include "recipes/redis/words.h"
#include "recipes/redis_cluster/mender.h"
#include "recipes/redis_cluster/testing_bus.h"
#include "recipes/redis_cluster/testing_facts.h"

namespace muster::redis_cluster {

class TestingCluster : public TestingBus {
 public:
  explicit TestingCluster(Options options) : TestingBus(options) {
    service_.name = "cache";
    service_.kind = "redis-cluster";
    Want(options.masters, options.replicas);
    const int members = options.masters * (1 + options.replicas);
    for (int i = 1; i <= members; ++i) Add();
  }

  // --- What a test does ---

  // What the cluster file says; members are added and taken away by themselves.
  void Want(int masters, int replicas) {
    options_.masters = masters;
    options_.replicas = replicas;
    const Value settings =
        Map({{"cluster-node-timeout", Scalar(std::to_string(options_.node_timeout.count()))},
             {"appendonly", Scalar(options_.append_only ? "yes" : "no")},
             {"save", Scalar(options_.save)}});
    service_.settings = Map({{"masters", Scalar(std::to_string(masters))},
                             {"replicas", Scalar(std::to_string(replicas))},
                             {"settings", settings}});
  }
  Server& Add() {
    Instance instance;
    const int ordinal = ++last_ordinal_;
    const int host = (ordinal - 1) % options_.hosts + 1;
    instance.name = fmt::format("cache-{}", ordinal);
    instance.service = "cache";
    instance.host = fmt::format("h{}", host);
    instance.address = fmt::format("10.0.0.{}", host);
    instance.ordinal = ordinal;
    const int port = 7001 + (ordinal - 1) / options_.hosts;
    instance.ports["port"] = {port, 1, false};
    instance.ports["bus"] = {port + 10000, 1, false};
    desired_.push_back(instance);
    Server& server = servers_[instance.name];
    server.name = instance.name;
    server.host = instance.host;
    server.address = instance.address;
    server.port = port;
    server.started = now_;
    Fresh(server);
    Start(server);
    return server;
  }
  // The file has all ports elsewhere; who is installed stays where it is.
  void ShiftPorts(int by) {
    for (Instance& instance : desired_) {
      for (auto& [name, range] : instance.ports) range.first += by;
    }
    dirty_ = true;
  }
  void Undesire(const std::string& name) {
    std::erase_if(desired_, [&](const Instance& instance) { return instance.name == name; });
  }
  // It goes on, and is no member.
  void Disown(const std::string& name) {
    Undesire(name);
    at(name).foreign = true;
    observed_.erase(name);
    dirty_ = true;
  }
  void Remove(const std::string& name) {
    Undesire(name);
    servers_.erase(name);
    observed_.erase(name);
    dirty_ = true;
  }
  // As a run removes it: its agent tells that it isn't there.
  void TakeAway(const std::string& name) {
    const std::string host = at(name).host;
    Remove(name);
    observed_[name] = {.name = name, .service = "cache", .host = host, .state = InstanceState::kAbsent};
  }
  void Kill(const std::string& name) {
    Server& server = at(name);
    if (!server.running) return;
    server.seen.Ended(now_);
    server.running = server.linked = server.ok = false;
    server.died = now_;
    if (server.work) Finish(server);
    Tell(server);
  }
  // Nobody starts it again.
  void KillForGood(const std::string& name) {
    at(name).gone = true;
    Kill(name);
  }
  void Wipe(const std::string& name) {
    Kill(name);
    Fresh(at(name));
  }
  // By somebody's hand.
  void Follow(const std::string& name, const std::string& master) { SetPrimary(at(name), at(master).id); }
  void Hold(const std::string& name) {
    at(name).held = true;
    held_.insert(name);
    Kill(name);
    Tell(at(name));
  }
  void Release(const std::string& name) {
    at(name).held = false;
    held_.erase(name);
    dirty_ = true;
  }
  void Silence(const std::string& host, bool silent) {
    silent ? (void)silent_.insert(host) : (void)silent_.erase(host);
    silent ? (void)silent_since_.emplace(host, now_) : (void)silent_since_.erase(host);
    dirty_ = true;
  }
  // As a restart of the server does; all tell it anew what they know.
  void ForgetMender() {
    mender_ = MakeRedisClusterMender();
    for (auto& [name, server] : servers_) Tell(server);
  }
  // A step of a run that waits.
  void Await(const std::string& verb, const std::string& instance,
             std::map<std::string, std::string> args = {}) {
    auto step = std::make_unique<Step>();
    step->id = instance + "." + verb;
    step->instance = instance;
    step->service = "cache";
    step->verb = verb;
    step->args = std::move(args);
    step->awaited = true;
    awaited_.push_back(std::move(step));
    dirty_ = true;
  }
  bool awaits() const { return !awaited_.empty(); }
  bool awaits(const std::string& step) const {
    return std::any_of(awaited_.begin(), awaited_.end(), [&](const auto& one) { return one->id == step; });
  }
  void GiveUp() { awaited_.clear(); }
  // Two keys in each of so many slots, on their owners.
  void Fill(int every = 64) {
    for (int slot = 0; slot < redis::kSlots; slot += every) Fill(SlotSet::Range(slot, slot));
    Pass(2s);
  }
  void Fill(const SlotSet& slots) {
    for (const int slot : slots.List()) {
      filled_.push_back(slot);
      at(MasterOf(slot)).keys[slot] = 3;
    }
  }

  // A write to a slot that has been filled, acknowledged by its owner alone.
  void Write(int slot) {
    at(MasterOf(slot)).keys[slot] |= kWritten;
    written_.insert(slot);
  }

  void Tick() {
    now_ += kTick;
    for (auto& [name, server] : servers_) Supervise(server);
    Gossip();
    for (auto& [name, server] : servers_) {
      if (server.running) Cron(server);
    }
    for (auto& [name, server] : servers_) {
      if (server.work) Progress(server);
      if (server.running && !server.frozen && now_ - server.looked >= 1s) Tell(server);
    }
    // What is lost because a replica hasn't had it yet is Redis' own affair.
    for (auto& [name, server] : servers_) {
      if (server.running && server.linked) Replicate(server);
    }
    if (dirty_ || (again_ != Time{} && now_ >= again_)) Ask();
  }
  void Pass(Duration time) {
    for (const Time end = now_ + time; now_ < end;) Tick();
  }
  // Whether it came to `what` within so long.
  template <class What>
  bool RunUntil(What what, Duration most = 60s) {
    for (const Time end = now_ + most; now_ < end;) {
      Tick();
      if (what()) return true;
    }
    return false;
  }
  bool RunUntilGreen(Duration most = 60s) {
    return RunUntil([&] { return Why().empty() && awaited_.empty(); }, most);
  }

  // --- What there is ---

  Server& at(const std::string& name) { return servers_.at(name); }
  std::map<std::string, Server>& servers() { return servers_; }
  Time now() const { return now_; }
  const std::vector<Order>& orders() const { return orders_; }
  void ClearOrders() {
    orders_.clear();
    times_.clear();
  }
  bool Busy() const {
    return std::any_of(servers_.begin(), servers_.end(),
                       [](const auto& one) { return one.second.work.has_value(); });
  }
  const std::string& waits() const { return waits_; }
  const std::vector<std::string>& says() const { return says_; }
  // Codes, by "INSTANCE.VERB" of what was awaited.
  const std::map<std::string, std::string>& refused() const { return refused_; }
  // What was said of it.
  const std::map<std::string, std::string>& refusals() const { return refusals_; }
  // "" where all is as it should be, as seen from outside.
  std::string Why() {
    SlotSet owned;
    std::map<std::string, int> replicas;
    for (const Instance& instance : desired_) {
      Server& server = at(instance.name);
      if (server.held) continue;
      if (!server.running || now_ - server.started < 50ms) return instance.name + " isn't there";
      if (!server.migrating.empty() || !server.importing.empty()) return instance.name + " has marks";
      Known& self = server.self();
      if (self.master) {
        if (!(owned & self.slots).empty()) return "two masters of one slot";
        owned |= self.slots;
        continue;
      }
      if (!server.linked) return instance.name + " isn't linked";
      ++replicas[self.primary];
    }
    if (!owned.all()) return fmt::format("{} slots have no owner", redis::kSlots - owned.count());
    for (const Instance& instance : desired_) {
      Server& server = at(instance.name);
      if (server.held) continue;
      if (server.known.size() != servers_.size())
        return fmt::format("{} knows {} of {}", instance.name, server.known.size(), servers_.size());
      for (auto& [id, known] : server.known) {
        Server* other = ById(id);
        if (!other) return instance.name + " knows a ghost";
        if (other->held) continue;
        Known& self = other->self();
        if (known.handshake || known.failed || known.suspected || known.master != self.master ||
            known.primary != self.primary || known.slots != self.slots)
          return fmt::format("{} sees {} otherwise", instance.name, other->name);
      }
      if (server.self().master && held_.empty() && replicas[server.id] < options_.replicas)
        return fmt::format("{} has {} replicas", instance.name, replicas[server.id]);
    }
    return "";
  }
  std::string ReplicaOf(const std::string& master) {
    for (auto& [name, server] : servers_) {
      if (server.self().primary == at(master).id) return name;
    }
    return "";
  }
  // Slots whose owner hasn't all keys.
  std::vector<int> Lost() {
    std::vector<int> lost;
    for (const int slot : filled_) {
      const std::string owner = MasterOf(slot);
      const int all = written_.contains(slot) ? 3 | kWritten : 3;
      if (owner.empty() || at(owner).keys[slot] != all) lost.push_back(slot);
    }
    return lost;
  }
  std::string Picture() {
    std::string text;
    for (auto& [name, server] : servers_) {
      Known& self = server.self();
      text += fmt::format("{} {} {} {} {} epoch {} slots {} marks {}/{}{}\n", name, server.id.substr(0, 6),
                          server.host, server.running ? "up" : "down",
                          self.master ? std::string("master") : "of " + self.primary.substr(0, 6), self.epoch,
                          self.slots.Text().substr(0, 60), server.migrating.size(), server.importing.size(),
                          server.work ? " at " + server.work->order.verb : "");
    }
    text += "why: " + Why() + "\nwaits: " + waits_ + "\n";
    for (size_t i = orders_.size() > 25 ? orders_.size() - 25 : 0; i < orders_.size(); ++i) {
      text += fmt::format("  {} {} {} ({})\n", times_[i].time_since_epoch().count(), orders_[i].instance,
                          orders_[i].verb, orders_[i].reason);
    }
    return text;
  }

 private:
  static constexpr int kWritten = 4;

  void Start(Server& server) {
    server.running = true;
    server.ok = server.linked = false;
    server.started = server.looked = now_;
    server.unlinked_at = server.asked_votes = {};
    Begin(server);
    for (auto& [id, known] : server.known) {
      known.heard = now_;
      known.suspected = false;
    }
    Tell(server);
  }
  void Supervise(Server& server) {
    if (!server.running && !server.held && !server.gone && now_ - server.died >= 300ms) Start(server);
    if (server.running && observed_[server.name].state == InstanceState::kStarting &&
        now_ - server.started >= 50ms)
      Tell(server);
  }

  // --- The facts ---

  void Tell(Server& server) {
    Observed seen;
    seen.name = server.name;
    seen.service = "cache";
    seen.host = server.host;
    server.looked = now_;
    if (silent_.contains(server.host) || server.foreign) return;
    if (!server.running) {
      seen.state = server.held ? InstanceState::kStopped : InstanceState::kBackoff;
    } else if (now_ - server.started < 50ms) {
      seen.state = InstanceState::kStarting;
    } else {
      seen.state = InstanceState::kReady;
      seen.facts = FactsOf(server);
      server.seen.Answered(AnswersOf(server), now_, now_);
    }
    seen.facts[kListensFact] = fmt::format("{} {} {}", server.address, server.port + 10000, server.port);
    const bool runs = seen.state == InstanceState::kReady;
    server.seen.Tell(runs, runs, now_, seen.facts);
    Observed& old = observed_[server.name];
    if (old.state != seen.state || old.facts != seen.facts) dirty_ = true;
    old = seen;
  }
  // --- The controller and the operator ---

  void Ask() {
    dirty_ = false;
    again_ = {};
    std::vector<std::string> busy;
    for (const auto& [name, server] : servers_) {
      if (server.work || stepped_.contains(name)) busy.push_back(name);
    }
    std::vector<const Step*> awaited;
    for (const auto& step : awaited_) awaited.push_back(step.get());
    Mender::Input input{.service = &service_,
                        .cluster = nullptr,
                        .desired = &desired_,
                        .observed = &observed_,
                        .busy = busy,
                        .missing = {},
                        .held = held_,
                        .silent = silent_,
                        .silent_since = silent_since_,
                        .awaited = awaited,
                        .now = now_};
    Mending mending = mender_->On(input);
    waits_.clear();
    says_ = mending.says;
    for (const auto& [id, error] : mending.refused) {
      refused_[id] = error.code();
      refusals_[id] = error.message();
      std::erase_if(awaited_, [&gone = id](const auto& step) { return step->id == gone; });
    }
    for (const auto& wait : mending.waits) {
      const std::string& id = wait.first;
      const std::optional<std::string>& why = wait.second;
      if (why) {
        waits_ += id + ": " + *why + "; ";
      } else {
        std::erase_if(awaited_, [&](const auto& step) { return step->id == id; });
        dirty_ = true;
      }
    }
    if (mending.again > 0ms) again_ = now_ + mending.again;
    for (const Order& order : mending.orders) {
      Server& server = at(order.instance);
      if (server.work || stepped_.contains(order.instance)) continue;
      orders_.push_back(order);
      times_.push_back(now_);
      const Duration road = 10ms * std::uniform_int_distribution<int>(0, 2)(random_);
      server.work = Work{.order = order, .ends = now_ + road, .deadline = now_ + order.deadline, .slots = {}};
    }
  }
  void Finish(Server& server) {
    server.work.reset();
    dirty_ = true;
  }
  void Progress(Server& server) {
    Work& work = *server.work;
    if (!server.running || now_ >= work.deadline) {
      Finish(server);
      if (server.running && !server.frozen) Tell(server);
      return;
    }
    if (now_ < work.ends || server.frozen) return;
    const bool lost = options_.lossy_orders && !work.begun && Chance(10);
    work.begun = true;
    if (!lost && !Perform(server, work)) return;
    Finish(server);
    if (!options_.lossy_orders || !Chance(10)) Tell(server);
  }
  // Whether it has ended, well or not.
  bool Perform(Server& server, Work& work) {
    const std::string& verb = work.order.verb;
    Known& self = server.self();
    if (verb == "look") return true;
    if (verb == "meet") {
      const std::string nodes = Arg(work, "nodes");
      for (const std::string_view word : redis::Words(nodes)) {
        const std::string seat(word.substr(0, word.rfind('@')));
        EXPECT_TRUE(AtSeat(seat)) << seat;
        const bool known = std::any_of(server.known.begin(), server.known.end(), [&](const auto& one) {
          return one.second.seat == seat && !one.second.failed && !one.second.suspected;
        });
        if (!known) StartHandshake(server, seat);
      }
      return true;
    }
    if (verb == "epoch") {
      if (const std::string least = Arg(work, "least"); !least.empty()) {
        if (self.epoch < std::stoull(least)) self.epoch = ++server.current_epoch;
        return true;
      }
      if (server.known.size() == 1 && self.epoch == 0) {
        self.epoch = std::stoull(Arg(work, "number"));
        server.current_epoch = std::max(server.current_epoch, self.epoch);
      }
      return true;
    }
    if (verb == "own") {
      SlotSet slots = Slots(work);
      const std::string of = Arg(work, "of");
      for (const auto& [id, known] : server.known) {
        if (id != of) slots -= known.slots;
      }
      if (!self.master || slots.empty()) return true;
      if (!of.empty()) {
        EXPECT_TRUE(server.keys.empty()) << server.name << " has keys";
        const Server* const owner = ById(of);
        EXPECT_TRUE(!owner || (owner->gone && silent_.contains(owner->host)))
            << "whose slots they are is still there";
        self.epoch = ++server.current_epoch;
        const auto gone = server.known.find(of);
        if (gone != server.known.end()) gone->second.slots -= slots;
      }
      self.slots |= slots;
      return true;
    }
    if (verb == "follow") {
      const auto master = server.known.find(Arg(work, "node"));
      if (master == server.known.end() || master->second.handshake || !master->second.master) return true;
      if (self.master && (!self.slots.empty() || !server.keys.empty())) return true;
      if (self.primary != master->first) SetPrimary(server, master->first);
      return true;
    }
    if (verb == "take-over") return TakeOver(server, work);
    if (verb == "forget") {
      const std::string nodes = Arg(work, "nodes");
      for (const std::string_view id : redis::Words(nodes)) {
        const std::string node(id);
        if (node == server.id || node == self.primary || !server.known.contains(node)) continue;
        const auto names = [&](const auto& mark) { return mark.second == node; };
        if (std::any_of(server.migrating.begin(), server.migrating.end(), names) ||
            std::any_of(server.importing.begin(), server.importing.end(), names))
          continue;
        server.known.erase(node);
        server.banned[node] = now_;
      }
      return true;
    }
    if (verb == "import") {
      for (const int slot : Slots(work).List()) {
        if (self.master && !self.slots.Has(slot) && server.known.contains(Arg(work, "from")))
          server.importing[slot] = Arg(work, "from");
      }
      return true;
    }
    if (verb == "hand-over") return HandOver(server, work);
    if (verb == "mark") {
      Mark(server, work);
      return true;
    }
    if (verb == "claim") {
      Claim(server, Slots(work), Arg(work, "node"));
      return true;
    }
    if (verb == "stable") {
      for (const int slot : Slots(work).List()) {
        server.migrating.erase(slot);
        server.importing.erase(slot);
      }
      return true;
    }
    if (verb == "reset" || verb == "leave") {
      if (!self.slots.empty() || (self.master && !server.keys.empty())) return true;
      if (server.known.size() == 1 && self.master && self.epoch == 0) return true;
      Fresh(server);
      if (verb == "leave") server.had_keys = false;
      return true;
    }
    ADD_FAILURE() << "no such verb: " << verb;
    return true;
  }
  bool TakeOver(Server& server, Work& work) {
    Known& self = server.self();
    if (self.master && !Arg(work, "slots").empty()) Mark(server, work);
    if (self.master || self.primary != Arg(work, "of")) return true;
    const std::string how = Arg(work, "how");
    Server* master = ById(self.primary);
    const bool lives = master && Reaches(server, *master);
    if (how == "plain" && (!lives || !server.linked)) return true;
    // Its master takes no writes meanwhile, and waits until it has all; it gives up in the end.
    if (how == "plain" && server.lags) return false;
    if (how == "plain") Replicate(server);
    if (Arg(work, "only") == "empty" && !server.keys.empty()) return true;
    // One that has just started again takes no writes for 2 s (CLUSTER_WRITABLE_DELAY).
    if (how != "plain" && lives && now_ - master->started > 2s) {
      // Only while there is nothing to lose.
      EXPECT_TRUE(server.keys.empty()) << "a living master was replaced by " << how;
    }
    if (Elect(server, how != "takeover") && !Arg(work, "slots").empty()) Mark(server, work);
    return true;
  }
  bool HandOver(Server& server, Work& work) {
    Known& self = server.self();
    Server* target = ById(Arg(work, "to"));
    if (!self.master || !target || !target->running || !target->self().master) return true;
    if (work.slots.empty()) {
      const SlotSet slots = Slots(work);
      if (!(slots - self.slots).empty()) return true;
      work.slots = slots.List();
      for (const int slot : work.slots) {
        if (MayBeAtAnother(server, slot, target->id)) return true;
      }
      if (Arg(work, "smallest") == "yes") work.slots = {Smallest(server, work.slots)};
      for (const int slot : work.slots) server.migrating[slot] = target->id;
      std::erase_if(work.slots, [&](int slot) { return server.differing.contains(slot); });
    }
    for (int moved = 0; moved < 40 && !work.slots.empty(); ++moved) {
      const int slot = work.slots.back();
      const auto keys = server.keys.find(slot);
      if (keys != server.keys.end()) {
        if (!target->importing.contains(slot) && !target->self().slots.Has(slot)) return true;  // MOVED
        const int key = keys->second & -keys->second;                                           // one of them
        target->keys[slot] |= key;
        if ((keys->second &= ~key) == 0) server.keys.erase(keys);
        if (server.keys.contains(slot)) return false;
      }
      work.slots.pop_back();
    }
    return work.slots.empty();
  }

  Service service_;
  int last_ordinal_ = 0;
  std::vector<Instance> desired_;
  std::map<std::string, Observed> observed_;
  std::set<std::string> held_, silent_, stepped_;
  std::map<std::string, Time> silent_since_;
  std::vector<std::unique_ptr<Step>> awaited_;
  std::unique_ptr<Mender> mender_ = MakeRedisClusterMender();
  std::vector<Order> orders_;
  std::vector<Time> times_;
  std::vector<int> filled_;
  std::set<int> written_;
  std::string waits_;
  std::vector<std::string> says_;
  std::map<std::string, std::string> refused_, refusals_;
  Time again_{};
  bool dirty_ = true;
};

}  // namespace muster::redis_cluster
