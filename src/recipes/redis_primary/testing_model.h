// A model of members and their agents for tests of the mender: what it orders is done at once, or never.
#pragma once

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/text.h"
#include "recipes/redis_primary/layout.h"
#include "recipes/redis_primary/mender.h"

namespace muster::redis_primary {

inline constexpr Duration kLease = 3s;

// One member as it is; what the mender sees of it is in `seen`.
struct Redis {
  std::string name, host, address;
  InstanceState state = InstanceState::kReady;
  int pid = 1;
  bool data = false;  // anything in its folder
  int64_t term = 0, copy = 0;
  std::string aim, was, follows;
  bool synced = false;
  std::set<std::string> linked;
  std::vector<int> writes;      // what it has
  Time followed = Time::min();  // by a majority of the hosts, then or later
  int counts = 0;               // so many hosts, by the terms that it was told
  int64_t offset() const { return static_cast<int64_t>(writes.size()); }
  bool running() const { return state == InstanceState::kReady; }
  bool writable() const { return running() && aim == "primary"; }
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

  // What an agent does with a process that died: it is restarted, and starts fenced.
  void Kill(int number) {
    Redis& redis = (*this)[number];
    redis.state = InstanceState::kBackoff;
  }
  void Restart(int number) {
    Redis& redis = (*this)[number];
    redis.state = InstanceState::kReady;
    ++redis.pid;
    redis.synced = false;
    redis.follows.clear();
    if (redis.aim == "primary" || redis.aim == "replica") redis.aim = "fenced";
    if (!redis.data) {
      redis.copy = 0;
      redis.was.clear();
      redis.linked.clear();
      redis.writes.clear();
    }
  }
  void Wipe(int number) { (*this)[number].data = false; }

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
      const auto since = since_.find(redis.host);
      if (IsFollowed(redis)) redis.followed = now_;
      if (since == since_.end() || hosts_ <= 1 || redis.aim != "primary") continue;
      if (now_ >= std::max(since->second, redis.followed) + kLease) redis.aim = "fenced";
    }
    Replicate();
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
        redis.writes = primary.writes;
        redis.data = true;
        redis.copy = redis.term;
        redis.was = "replica";
        redis.synced = true;
        redis.linked.clear();
        primary.linked.insert(redis.address);
      }
    }
    for (Redis& primary : redis_) {
      if (!primary.writable()) continue;
      std::erase_if(primary.linked, [&](const std::string& address) {
        for (const Redis& one : redis_) {
          if (one.address == address)
            return !one.running() || one.aim != "replica" || one.follows != primary.address || cut(one) ||
                   cut(primary);
        }
        return true;
      });
    }
  }

  // A write, to whoever takes it; also to one that is cut off.
  void Write(int number) {
    int writable = 0;
    for (Redis& redis : redis_) {
      if (!redis.writable()) continue;
      ++writable;
      redis.writes.push_back(number);
      redis.data = true;
    }
    EXPECT_LE(writable, 1) << "two members take writes";
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
    LeaseTerms terms{.lease = kLease, .hosts = redis.counts, .peers = {}};
    for (const Redis& other : redis_) {
      if (&other != &redis) terms.peers.push_back({.host = other.host, .address = other.address});
    }
    facts["lease"] = FormatLeaseTerms(terms);
    if (!redis.running()) return observed;
    facts["role"] = redis.aim == "primary" ? "primary" : redis.aim == "replica" ? "replica" : "fenced";
    if (redis.synced) facts["synced"] = "yes";
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
                        .held = {},
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
      const int64_t term = std::atoll(order.args.at("term").c_str());
      if (term < redis.term) return false;
      if (order.verb == "promote") {
        if (order.args.at("copy") != std::to_string(redis.copy) &&
            !(redis.term == term && redis.aim == "primary"))
          return false;
        const bool inserted = promoted_.emplace(term, redis.name).second;
        EXPECT_TRUE(inserted || promoted_[term] == redis.name) << "two primaries in term " << term;
        for (const Redis& other : redis_) {
          // What one that is cut off took alone is lost with its lease.
          EXPECT_FALSE(!silent(other) && redis.writes.empty() && !other.writes.empty() && !forced_ &&
                       other.copy >= redis.copy && other.data)
              << redis.name << " is empty, " << other.name << " isn't";
        }
        redis.term = redis.copy = term;
        redis.aim = "primary";
        redis.was = "primary";
        redis.data = redis.synced = true;
        redis.linked.clear();
        redis.follows.clear();
      } else if (order.verb == "fence") {
        redis.term = term;
        redis.aim = "fenced";
        redis.follows.clear();
      } else if (order.verb == "follow") {
        if (redis.aim == "primary" && redis.term == term) return false;
        redis.term = term;
        redis.aim = "replica";
        redis.follows = order.args.at("host") + ":" + order.args.at("port");
      } else if (order.verb == "hand-over") {
        if (redis.aim != "primary") return false;
        Replicate();
        redis.term = term;
        redis.aim = "fenced";
      }
      Replicate();
      return true;
    }
    return false;
  }

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
  void Force() { forced_ = true; }
  Time now() const { return now_; }

 private:
  Service service_;
  Cluster cluster_;
  std::vector<Instance> desired_;
  std::vector<Redis> redis_;
  std::map<std::string, Observed> observed_;
  std::map<std::string, Time> since_;  // hosts that the server doesn't hear
  std::set<std::string> cut_;          // those of them that reach nobody
  int hosts_ = 1;
  std::map<int64_t, std::string> promoted_;
  std::unique_ptr<Mender> mender_;
  int64_t epoch_ = 1;
  bool forced_ = false;
  Time now_ = Time(1000s);
};

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
