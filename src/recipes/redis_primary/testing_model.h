// A model of members and their agents for tests of the mender: what it orders is done at once, or never.
#pragma once

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/text.h"
#include "model/testing_values.h"
#include "recipes/redis/words.h"
#include "recipes/redis_primary/health.h"
#include "recipes/redis_primary/layout.h"
#include "recipes/redis_primary/mender.h"
#include "recipes/redis_primary/role_change.h"

namespace muster::redis_primary {

inline constexpr Duration kLease = 3s;

// One member as it is; what the mender sees of it is in `seen`.
struct Redis {
  std::string name, host, address;
  InstanceState state = InstanceState::kReady;
  int pid = 1;
  bool data = false;  // any keys in its folder
  bool files = true;  // those that it makes at its start, though there be no keys in them
  int64_t term = 0, copy = 0, lost = 0;
  std::string aim, was, follows;  // `aim`: what its Redis is
  std::string ordered;            // what its record says that it is to be
  std::string ordered_follows;
  int ordered_pid = 0;
  Time paused_until = Time::min();
  bool synced = false;
  std::set<std::string> linked;
  std::vector<int> writes;       // what it has
  std::string write = "ok";      // why its disk takes none
  Time followed = Time::min();   // by a majority of the hosts, then or later
  int counts = 0;                // so many hosts, by the terms that it was told
  bool stuck = false;            // its link stands, and nothing comes by it
  std::optional<Time> heard;     // its primary, for the last time
  std::optional<Time> answered;  // as primary, for the last time
  int64_t answered_offset = 0;
  std::map<std::string, int64_t> answered_behind;
  int64_t offset() const { return static_cast<int64_t>(writes.size()); }
  bool running() const { return state == InstanceState::kReady; }
  bool writable() const { return running() && aim == "primary"; }
  bool ordered_primary() const { return ordered == "primary" && ordered_pid == pid; }
};

class Model {
 public:
  explicit Model(int members, std::string extra_host = "", std::string prefer = "") {
    service_.name = "cache";
    service_.kind = "redis";
    service_.settings.type = Value::Type::kMap;
    const auto set = [&](const char* key, const std::string& text) {
      Value::Entry entry;
      entry.key = key;
      entry.value.type = Value::Type::kString;
      entry.value.text = text;
      service_.settings.entries.push_back(entry);
    };
    if (!extra_host.empty()) set("witness", extra_host);
    hosts_ = members + (extra_host.empty() ? 0 : 1);
    if (!prefer.empty()) set("prefer", prefer);
    for (int i = 1; i <= members; ++i) {
      Instance instance;
      instance.name = fmt::format("cache-{}", i);
      instance.service = "cache";
      instance.host = fmt::format("h{}", i);
      instance.address = fmt::format("10.0.0.{}", i);
      instance.ports["port"] = {.first = 6379};
      desired_.push_back(instance);
      redis_.push_back({.name = instance.name, .host = instance.host, .address = instance.address + ":6379"});
    }
    for (Redis& redis : redis_) redis.counts = hosts_;
    mender_ = MakeRedisPrimaryMender();
  }

  Redis& operator[](int number) { return redis_[static_cast<size_t>(number - 1)]; }
  size_t size() const { return redis_.size(); }

  // No append-only file, but a snapshot now and then.
  void TakeSnapshots() {
    const Value taken = Map({{"settings", Map({{"appendonly", Scalar("no")}, {"save", Scalar("3600 1")}})}});
    service_.settings.entries.push_back(taken.entries[0]);
  }

  // What an agent does with a process that died: it is restarted, and starts fenced.
  void Kill(int number) {
    Redis& redis = (*this)[number];
    redis.state = InstanceState::kBackoff;
  }
  void Restart(int number) {
    Redis& redis = (*this)[number];
    redis.state = InstanceState::kReady;
    ++redis.pid;
    redis.paused_until = Time::min();
    redis.synced = false;
    redis.follows.clear();
    if (redis.aim == "primary" || redis.aim == "replica") redis.aim = "fenced";
    if (!redis.data) {
      if (redis.copy > 0) Keep(redis, RecordOfEmptied(RecordOf(redis), !redis.files));
      redis.writes.clear();
    }
    redis.files = true;
  }
  // By hand, until Start.
  void Stop(int number) {
    Redis& redis = (*this)[number];
    redis.state = InstanceState::kStopped;
    held_.insert(redis.name);
  }
  void Start(int number) {
    held_.erase((*this)[number].name);
    Restart(number);
  }
  // Its folder is made anew, as by whom the file didn't name before.
  void Replace(int number) {
    Redis& redis = (*this)[number];
    redis = {.name = redis.name, .host = redis.host, .address = redis.address, .counts = hosts_};
  }
  void Wipe(int number) { (*this)[number].data = (*this)[number].files = false; }

  // From all others, or from the server alone.
  void Cut(int number, bool from_all = true) {
    since_[(*this)[number].host] = now_;
    if (from_all) cut_.insert((*this)[number].host);
  }
  void Heal(int number) {
    since_.erase((*this)[number].host);
    cut_.erase((*this)[number].host);
  }
  bool silent(const Redis& redis) const { return since_.contains(redis.host); }
  bool cut(const Redis& redis) const { return cut_.contains(redis.host); }

  // Members that reach each other: all that aren't cut off. A primary that the server doesn't hear fences
  // itself once its lease is over.
  void Pass(Duration time) {
    now_ += time;
    for (Redis& redis : redis_) {
      if (redis.writable() && !redis.ordered_primary() && !agentless_.contains(redis.name))
        LookAtStray(redis);
      const auto since = since_.find(redis.host);
      if (IsFollowed(redis)) redis.followed = now_;
      if (since == since_.end() || hosts_ <= 1 || redis.aim != "primary") continue;
      if (now_ >= std::max(since->second, redis.followed) + kLease) redis.aim = redis.ordered = "fenced";
    }
    Replicate();
  }

  // As an agent does that finds one that takes writes and wasn't ordered to.
  void LookAtStray(Redis& redis) {
    const Record record = RecordOfStray(RecordOf(redis), redis.pid);
    Keep(redis, record);
    redis.aim = "fenced";
  }

  bool IsFollowed(const Redis& redis) const {
    int hosts = 1;
    for (const Redis& other : redis_) {
      hosts += other.running() && other.aim == "replica" && other.follows == redis.address && !cut(other) &&
               !cut(redis);
    }
    return 2 * hosts > redis.counts;
  }

  void Replicate() {
    for (Redis& redis : redis_) {
      if (!redis.running() || redis.aim != "replica" || cut(redis)) continue;
      for (Redis& primary : redis_) {
        if (primary.address != redis.follows || !primary.writable() || cut(primary)) continue;
        if (redis.stuck) continue;
        redis.writes = primary.writes;
        redis.heard = now_;
        redis.answered.reset();
        redis.data = true;
        if (redis.ordered == "replica" && redis.ordered_follows == redis.follows) {
          redis.copy = redis.term;
          redis.lost = 0;
          redis.was = "replica";
          redis.synced = true;
          redis.linked.clear();
        }
        if (primary.ordered_primary()) primary.linked.insert(redis.address);
      }
    }
    for (Redis& primary : redis_) {
      if (!primary.writable() || !primary.ordered_primary()) continue;
      std::erase_if(primary.linked, [&](const std::string& address) {
        for (const Redis& one : redis_) {
          if (one.address == address)
            return !one.running() || one.aim != "replica" || one.follows != primary.address || cut(one) ||
                   cut(primary);
        }
        return true;
      });
    }
    for (Redis& primary : redis_) {
      if (primary.writable() && primary.ordered_primary()) Answer(primary);
    }
  }

  void Answer(Redis& primary) {
    primary.heard.reset();
    primary.answered = now_;
    primary.answered_offset = primary.offset();
    primary.answered_behind.clear();
    for (const Redis& one : redis_) {
      if (primary.linked.contains(one.address))
        primary.answered_behind[one.address] = primary.offset() - one.offset();
    }
  }

  // A write, to whoever takes it; also to one that is cut off.
  void Write(int number) {
    int writable = 0;
    for (Redis& redis : redis_) {
      if (!redis.writable()) continue;
      ++writable;
      if (now_ < redis.paused_until || redis.write != "ok") continue;
      redis.writes.push_back(number);
      redis.data = true;
      acknowledged_.push_back(number);
    }
    EXPECT_LE(writable, 1) << "two members take writes";
  }

  void SeeAges(const Redis& redis, std::map<std::string, std::string>& facts) const {
    const auto age = [&](Time moment) { return std::to_string((now_ - moment).count()); };
    const Redis* primary = nullptr;
    for (const Redis& other : redis_) {
      if (other.address == redis.follows && other.writable() && !cut(other) && !cut(redis)) primary = &other;
    }
    const bool hears = redis.running() && redis.aim == "replica" && primary && !redis.stuck;
    if (redis.running() && redis.heard && !hears) facts["unheard_ms"] = age(*redis.heard);
    if (!redis.answered || redis.writable()) return;
    facts["answered_ms"] = age(*redis.answered);
    facts["answered_offset"] = std::to_string(redis.answered_offset);
    std::vector<std::string> behind;
    for (const auto& [address, bytes] : redis.answered_behind)
      behind.push_back(fmt::format("{}={}", address, bytes));
    facts["answered_behind"] = Join(behind, ",");
  }

  Observed See(const Redis& redis) const {
    Observed observed{.name = redis.name, .service = "cache", .host = redis.host, .state = redis.state};
    auto& facts = observed.facts;
    facts["term"] = std::to_string(redis.term);
    if (redis.copy > 0) {
      facts["copy"] = std::to_string(redis.copy);
      facts["was"] = redis.was;
      if (redis.was == "primary") {
        std::vector<std::string> linked(redis.linked.begin(), redis.linked.end());
        facts["linked"] = Join(linked, ",");
      }
    }
    if (redis.lost > 0) {
      facts["lost"] = std::to_string(redis.lost);
      facts["lost_as"] = redis.was;
      facts["linked"] = Join(std::vector<std::string>(redis.linked.begin(), redis.linked.end()), ",");
    }
    SeeAges(redis, facts);
    LeaseTerms terms{.lease = kLease, .hosts = redis.counts, .peers = {}};
    for (const Redis& other : redis_) {
      if (&other != &redis) terms.peers.push_back({.host = other.host, .address = other.address});
    }
    facts["lease"] = FormatLeaseTerms(terms);
    if (!redis.running()) return observed;
    facts["role"] = redis.aim == "primary" ? "primary" : redis.aim == "replica" ? "replica" : "fenced";
    if (redis.synced) facts["synced"] = "yes";
    facts["write"] = redis.write;
    if (redis.writes.empty()) facts["empty"] = "yes";
    facts["offset"] = std::to_string(redis.offset());
    if (redis.aim == "replica") {
      facts["primary"] = redis.follows;
      bool up = false;
      for (const Redis& primary : redis_) {
        up = up || (primary.address == redis.follows && primary.writable() && !cut(primary) && !cut(redis));
      }
      facts["link"] = up ? "up" : "down";
    }
    return observed;
  }

  Mending Think(std::vector<const Step*> awaited = {}) {
    for (const Redis& redis : redis_) {
      if (!silent(redis)) observed_[redis.name] = See(redis);
    }
    Mender::Input input{.service = &service_,
                        .cluster = &cluster_,
                        .desired = &desired_,
                        .observed = &observed_,
                        .busy = {},
                        .missing = {},
                        .held = held_,
                        .silent = {},
                        .silent_since = since_,
                        .epoch = epoch_,
                        .awaited = std::move(awaited),
                        .now = now_};
    for (const auto& [host, since] : since_) input.silent.insert(host);
    return mender_->On(input);
  }

  // As the operator carries it out. False: it was refused, or never came.
  bool Obey(const Order& order) {
    for (Redis& redis : redis_) {
      if (redis.name != order.instance) continue;
      if (silent(redis) || !redis.running()) return false;
      const auto arg = [&](const char* name) {
        const auto found = order.args.find(name);
        return found == order.args.end() ? std::string() : found->second;
      };
      const RoleOrder wanted{.verb = order.verb,
                             .term = std::atoll(arg("term").c_str()),
                             .host = arg("host"),
                             .port = std::atoi(arg("port").c_str()),
                             .copy = arg("copy")};
      if (wanted.term < redis.term) return false;
      const auto acts = ActsOf(wanted, RecordOf(redis), redis.pid, redis.name);
      if (!acts.ok()) return false;
      for (const Act act : *acts) {
        if (dies_after_ && (*dies_after_)-- == 0) return false;
        if (!Perform(redis, wanted, act)) {
          if (redis.ordered_primary()) redis.paused_until = Time::min();
          return false;
        }
        if (after_each_act_) after_each_act_();
      }
      Replicate();
      return true;
    }
    return false;
  }

  // Called after each act of an order: the world goes on meanwhile.
  void AfterEachAct(std::function<void()> then) { after_each_act_ = std::move(then); }
  // The agent that performs the act after `acts` more of them dies instead; the next one looks after what it
  // has left once time passes.
  void DieAfter(int acts) { dies_after_ = acts; }
  // Whether one has died.
  bool has_died() const { return dies_after_ && *dies_after_ < 0; }
  void LeaveAgentless(const std::string& member) { agentless_.insert(member); }
  const std::vector<int>& acknowledged() const { return acknowledged_; }

  // Until nothing more is to be done, or `rounds` have passed.
  Mending Settle(std::vector<const Step*> awaited = {}, int rounds = 60) {
    Mending mending;
    for (int i = 0; i < rounds; ++i) {
      mending = Think(awaited);
      for (const Order& order : mending.orders) Obey(order);
      Pass(mending.again > 0ms ? mending.again : 100ms);
      if (mending.orders.empty() && mending.again == 0ms) break;
    }
    return mending;
  }

  std::string primary() const {
    std::string name;
    for (const Redis& redis : redis_) {
      if (redis.writable() && !cut(redis)) name = redis.name;
    }
    return name;
  }

  void NewServer() {
    ++epoch_;
    mender_ = MakeRedisPrimaryMender();
    observed_.clear();
    for (auto& [host, since] : since_) since = now_;
  }
  ServiceHealth HealthNow() const { return HealthOf(desired_, observed_); }
  void Force() { forced_ = true; }
  Time now() const { return now_; }

 private:
  static Record RecordOf(const Redis& redis) {
    std::vector<std::string> linked(redis.linked.begin(), redis.linked.end());
    return {.term = redis.term,
            .aim = redis.ordered,
            .follows = redis.ordered_follows,
            .pid = redis.ordered_pid,
            .copy = redis.copy,
            .was = redis.was,
            .linked_pid = redis.synced ? redis.pid : 0,
            .linked = Join(linked, ","),
            .lost = redis.lost};
  }

  static void Keep(Redis& redis, const Record& record) {
    redis.term = record.term;
    redis.ordered = record.aim;
    redis.ordered_follows = record.follows;
    redis.ordered_pid = record.pid;
    redis.copy = record.copy;
    redis.was = record.was;
    redis.lost = record.lost;
    redis.synced = record.linked_pid == redis.pid;
    redis.linked.clear();
    for (const std::string_view word : redis::Words(record.linked, ",")) redis.linked.emplace(word);
  }

  Redis* At(const std::string& address) {
    for (Redis& redis : redis_) {
      if (redis.address == address) return &redis;
    }
    return nullptr;
  }

  // False: it can't be done.
  bool Perform(Redis& redis, const RoleOrder& order, Act act) {
    const Redis* heir = At(fmt::format("{}:{}", order.host, order.port));
    switch (act) {
      case Act::kCatchUp:
        Replicate();
        return heir && heir->running() && !cut(*heir) && heir->aim == "replica" &&
               heir->follows == redis.address && heir->writes == redis.writes;
      case Act::kConfirm:
        if (!heir || !heir->running() || cut(*heir) || heir->writes != redis.writes) return false;
        Keep(redis, RecordConfirmed(order, RecordOf(redis)));
        return true;
      case Act::kPause:
        redis.paused_until = now_ + PauseFor(kLease);
        return true;
      case Act::kRemember:
        Keep(redis, RecordBefore(order, RecordOf(redis), redis.pid));
        return true;
      case Act::kTell:
        redis.paused_until = Time::min();
        Tell(redis, order);
        return true;
    }
    return false;
  }

  void Tell(Redis& redis, const RoleOrder& order) {
    if (order.verb == "follow") {
      redis.aim = "replica";
      redis.follows = fmt::format("{}:{}", order.host, order.port);
      return;
    }
    redis.follows.clear();
    redis.aim = order.verb == "promote" ? "primary" : "fenced";
    if (order.verb != "promote") return;
    const bool inserted = promoted_.emplace(order.term, redis.name).second;
    EXPECT_TRUE(inserted || promoted_[order.term] == redis.name) << "two primaries in term " << order.term;
    for (const Redis& other : redis_) {
      // What one that is cut off took alone is lost with its lease.
      EXPECT_FALSE(!silent(other) && redis.writes.empty() && !other.writes.empty() && !forced_ &&
                   other.copy >= redis.copy && other.data)
          << redis.name << " is empty, " << other.name << " isn't";
    }
    redis.data = true;
  }

  Service service_;
  Cluster cluster_;
  std::vector<Instance> desired_;
  std::vector<Redis> redis_;
  std::map<std::string, Observed> observed_;
  std::map<std::string, Time> since_;  // hosts that the server doesn't hear
  std::set<std::string> held_;         // members
  std::set<std::string> cut_;          // those of them that reach nobody
  int hosts_ = 1;
  std::map<int64_t, std::string> promoted_;
  std::unique_ptr<Mender> mender_;
  int64_t epoch_ = 1;
  bool forced_ = false;
  std::vector<int> acknowledged_;
  std::optional<int> dies_after_;
  std::function<void()> after_each_act_;
  std::set<std::string> agentless_;
  Time now_ = Time(1000s);
};

// Formed, with one write that all have, and seen so.
inline void BeginWithAWrite(Model& model) {
  model.Settle();
  model.Write(1);
  model.Pass(0ms);
  model.Think();
}

inline Step Awaited(const char* verb, const char* instance, std::map<std::string, std::string> args = {}) {
  Step step;
  step.id = std::string(instance) + "." + verb;
  step.instance = instance;
  step.service = "cache";
  step.verb = verb;
  step.args = std::move(args);
  step.awaited = true;
  return step;
}

}  // namespace muster::redis_primary
