// The mender against a small model of Redis: members that die, start, are cut off and come back in any order.
#include "recipes/redis_primary/mender.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <random>

#include "base/text.h"
#include "recipes/redis_primary/layout.h"
#include "recipes/redis_primary/lease.h"

namespace muster::redis_primary {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr Duration kLease = 3s;

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

Step Awaited(const char* verb, const char* instance, std::map<std::string, std::string> args = {}) {
  Step step;
  step.id = std::string(instance) + "." + verb;
  step.instance = instance;
  step.service = "cache";
  step.verb = verb;
  step.args = std::move(args);
  step.awaited = true;
  return step;
}

TEST(RedisPrimaryMender, MakesTheFirstMemberThePrimaryAndTheOthersFollow) {
  Model model(3);
  model.Settle();
  EXPECT_EQ(model.primary(), "cache-1");
  EXPECT_EQ(model[2].follows, "10.0.0.1:6379");
  EXPECT_EQ(model[3].follows, "10.0.0.1:6379");
  EXPECT_THAT(model.Think().orders, IsEmpty());
}

TEST(RedisPrimaryMender, BeginsOnTheHostThatThePersonPrefers) {
  Model model(3, "", "h2");
  model.Settle();
  EXPECT_EQ(model.primary(), "cache-2");
}

TEST(RedisPrimaryMender, PromotesTheOnlyReplicaOfADeadPrimaryWithOneOrder) {
  Model model(2);
  model.Settle();
  model.Write(1);
  model.Pass(0ms);
  model.Think();
  model.Kill(1);
  const Mending mending = model.Think();
  ASSERT_EQ(mending.orders.size(), 1u);
  EXPECT_EQ(mending.orders[0].instance, "cache-2");
  EXPECT_EQ(mending.orders[0].verb, "promote");
}

TEST(RedisPrimaryMender, ChoosesTheReplicaThatHasMost) {
  Model model(3);
  model.Settle();
  model.Write(1);
  model.Pass(0ms);
  model.Think();
  model[2].writes.clear();
  model.Kill(1);
  model.Settle();
  EXPECT_EQ(model.primary(), "cache-3");
}

TEST(RedisPrimaryMender, WaitsForAPrimaryWhoseReplicaWasNotLinked) {
  Model model(2);
  model.Settle();
  model.Kill(2);
  model.Pass(0ms);
  model.Think();
  model.Write(1);
  model.Kill(1);
  model.Restart(2);
  for (const Order& order : model.Think().orders) EXPECT_NE(order.verb, "promote") << order.instance;
  model.Restart(1);
  model.Settle();
  EXPECT_EQ(model.primary(), "cache-1");
  EXPECT_EQ(model[2].writes, std::vector<int>{1});
}

TEST(RedisPrimaryMender, NeverPromotesAMemberWithoutDataOverOneThatHasSome) {
  Model model(2);
  model.Settle();
  model.Write(1);
  model.Pass(0ms);
  model.Think();
  model.Kill(1);
  model.Wipe(1);
  model.Restart(1);
  model.Settle();
  EXPECT_EQ(model.primary(), "cache-2");
  EXPECT_EQ(model[1].writes, std::vector<int>{1});
}

TEST(RedisPrimaryMender, ReplacesASilentPrimaryOnlyAfterItsLease) {
  Model model(3);
  model.Settle();
  model.Think();
  model.Cut(1);
  const Time cut = model.now();
  while (model.primary().empty() && model.now() < cut + 60s) {
    const Mending mending = model.Think();
    for (const Order& order : mending.orders) {
      if (order.verb == "promote") {
        EXPECT_GE(model.now(), cut + kLease) << "too early";
      }
      model.Obey(order);
    }
    model.Write(1);
    model.Pass(50ms);
  }
  EXPECT_NE(model.primary(), "");
  EXPECT_LT(model.now(), cut + 3 * kLease);
  model.Heal(1);
  model.Settle();
  EXPECT_EQ(model[1].aim, "replica");
}

TEST(RedisPrimaryMender, LeavesItToAPersonWhereThereIsNoMajority) {
  Model model(2);
  model.Settle();
  model.Cut(1);
  Mending mending;
  for (int i = 0; i < 200; ++i) {
    mending = model.Think();
    EXPECT_THAT(mending.orders, IsEmpty());
    model.Pass(100ms);
  }
  ASSERT_EQ(mending.says.size(), 1u);
  EXPECT_THAT(mending.says[0], HasSubstr("muster failover cache --force"));
  const Step asked = Awaited("failover", "cache");
  EXPECT_TRUE(model.Think({&asked}).refused.contains(asked.id));
  const Step forced = Awaited("failover", "cache-f", {{"force", "yes"}});
  model.Force();
  const Mending done = model.Settle({&forced});
  EXPECT_EQ(model.primary(), "cache-2");
  EXPECT_EQ(done.waits.at(forced.id), std::nullopt);
}

TEST(RedisPrimaryMender, LeavesASilentPrimaryThatItsReplicasHear) {
  Model model(3);
  model.Settle();
  model.Think();
  model.Cut(1, false);
  for (int i = 0; i < 200; ++i) {
    EXPECT_THAT(model.Think().orders, IsEmpty());
    model.Pass(100ms);
    model.Write(i);
  }
  EXPECT_TRUE(model[1].writable());
}

// It and one that follows it are a majority of the hosts that it counts, though not of those in the file.
TEST(RedisPrimaryMender, ReplacesNobodyWhoMayHaveAMajorityByTheTermsThatItWasTold) {
  for (const int counts : {3, 5}) {
    Model model(5);
    model[1].counts = counts;
    model.Settle();
    model.Think();
    model.Cut(1, false);
    model.Cut(2, false);
    model[3].follows = model[4].follows = model[5].follows = "elsewhere";
    for (int i = 0; i < 200; ++i) {
      for (const Order& order : model.Think().orders) model.Obey(order);
      model.Pass(100ms);
      model.Write(i);
    }
    EXPECT_EQ(model[1].writable(), counts == 3);
    EXPECT_EQ(model.primary() == "cache-1", counts == 3) << model.primary();
  }
}

// It may have taken writes since, though nobody has told so.
TEST(RedisPrimaryMender, PromotesNobodyBesideAFirstPrimaryThatFellSilent) {
  Model model(3);
  for (const Order& order : model.Think().orders) model.Obey(order);
  model.Cut(1);
  for (int i = 0; i < 100; ++i) {
    const Mending mending = model.Think();
    EXPECT_THAT(mending.orders, IsEmpty());
    ASSERT_EQ(mending.says.size(), 1u);
    EXPECT_THAT(mending.says[0], HasSubstr("cache-1 may have"));
    model.Pass(50ms);
  }
  model.Force();
  const Step forced = Awaited("failover", "cache", {{"force", "yes"}});
  const Time begin = model.now();
  for (int i = 0; i < 200 && model.primary().empty(); ++i) {
    for (const Order& order : model.Think({&forced}).orders) model.Obey(order);
    model.Pass(50ms);
  }
  EXPECT_EQ(model.primary(), "cache-2");
  EXPECT_GE(model.now(), begin + kLease);
}

TEST(RedisPrimaryMender, CountsAWitnessForTheMajority) {
  Model model(2, "h9");
  model.Settle();
  model.Cut(1);
  for (int i = 0; i < 100; ++i) {
    for (const Order& order : model.Think().orders) model.Obey(order);
    model.Pass(100ms);
  }
  EXPECT_EQ(model.primary(), "cache-2");
}

TEST(RedisPrimaryMender, HandsOverToWhomAPersonNames) {
  Model model(3);
  model.Settle();
  model.Write(1);
  model.Pass(0ms);
  const Step step = Awaited("switchover", "cache", {{"to", "cache-3"}});
  const Mending mending = model.Settle({&step});
  EXPECT_EQ(model.primary(), "cache-3");
  EXPECT_EQ(mending.waits.at(step.id), std::nullopt);
  EXPECT_EQ(model[1].follows, "10.0.0.3:6379");
}

// It couldn't be elected, and the primary would be it again, and hand over again.
TEST(RedisPrimaryMender, HandsOverToNobodyWhoseDataIsOfATermBefore) {
  Model model(2);
  model.Settle();
  model[1].term = model[1].copy = model[1].term + 1;
  const Step step = Awaited("switchover", "cache");
  for (const Order& order : model.Think({&step}).orders) EXPECT_NE(order.verb, "hand-over");
  const Mending mending = model.Settle({&step});
  EXPECT_EQ(model.primary(), "cache-2");
  EXPECT_EQ(mending.waits.at(step.id), std::nullopt);
}

TEST(RedisPrimaryMender, StepsDownAndSettles) {
  Model model(2);
  model.Settle();
  const Step down = Awaited("step-down", "cache-1");
  const Mending stepped = model.Settle({&down});
  EXPECT_EQ(stepped.waits.at(down.id), std::nullopt);
  EXPECT_EQ(model.primary(), "cache-2");
  const Step settle = Awaited("settle", "cache-1");
  EXPECT_EQ(model.Settle({&settle}).waits.at(settle.id), std::nullopt);
  model.Kill(1);
  EXPECT_NE(model.Think({&settle}).waits.at(settle.id), std::nullopt);
}

TEST(RedisPrimaryMender, StepsDownAtOnceWhereNobodyElseIsThere) {
  Model model(1);
  model.Settle();
  const Step down = Awaited("step-down", "cache-1");
  EXPECT_EQ(model.Think({&down}).waits.at(down.id), std::nullopt);
}

TEST(RedisPrimaryMender, ComesToTheSameFromAnyStateThatAnotherServerLeft) {
  for (int orders_done = 0; orders_done < 6; ++orders_done) {
    Model model(3);
    model.Settle();
    model.Write(1);
    model.Pass(0ms);
    model.Think();
    model.Kill(1);
    int done = 0;
    for (int i = 0; i < 4; ++i) {
      for (const Order& order : model.Think().orders) {
        if (done++ < orders_done) model.Obey(order);
      }
    }
    model.NewServer();
    model.Restart(1);
    model.Settle();
    EXPECT_NE(model.primary(), "") << orders_done;
    for (int number = 1; number <= 3; ++number) EXPECT_EQ(model[number].writes, std::vector<int>{1});
  }
}

// Never two that take writes, never two in one term, never an empty one over one that has data; and in the
// end, when all are back, one primary that all follow.
TEST(RedisPrimaryMender, KeepsItsPromisesWhateverHappens) {
  for (unsigned seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const auto choose = [&](int most) { return static_cast<int>(random() % static_cast<unsigned>(most)); };
    const int members = 1 + choose(4);
    Model model(members, choose(2) ? "h9" : "");
    const Step down = Awaited("step-down", "cache-1");
    const Step over = Awaited("switchover", "cache");
    for (int i = 0; i < 150; ++i) {
      const int number = 1 + choose(members);
      switch (choose(12)) {
        case 0:
          model.Kill(number);
          break;
        case 1:
        case 2:
          if (!model[number].running()) model.Restart(number);
          break;
        case 3:
          if (!model.silent(model[number])) model.Cut(number, choose(2) == 0);
          break;
        case 4:
        case 5:
          if (model.silent(model[number])) model.Heal(number);
          break;
        case 6:
          if (choose(4) == 0) model.NewServer();
          break;
        default:
          break;
      }
      std::vector<const Step*> awaited;
      if (i % 40 > 25) awaited.push_back(i % 80 > 40 ? &down : &over);
      const Mending mending = model.Think(awaited);
      for (const Order& order : mending.orders) {
        if (choose(5) > 0) model.Obey(order);
        if (choose(10) == 0) model.Kill(1 + choose(members));
      }
      model.Write(i);
      model.Pass(Duration(choose(1500)));
      if (::testing::Test::HasFailure()) return;
    }
    for (int number = 1; number <= members; ++number) {
      if (model.silent(model[number])) model.Heal(number);
      if (!model[number].running()) model.Restart(number);
    }
    model.Settle();
    ASSERT_NE(model.primary(), "");
    for (int number = 1; number <= members; ++number) {
      const bool primary = model[number].name == model.primary();
      EXPECT_EQ(model[number].aim, primary ? "primary" : "replica") << model[number].name;
    }
  }
}

TEST(RedisPrimaryLease, IsLetGoBeforeItRunsOut) {
  LeaseTerms terms{.lease = 3s, .hosts = 3, .peers = {}};
  const Time begin(1000s);
  LeaseState state{.heard = begin, .majority = Time::min()};
  EXPECT_EQ(JudgeLease(terms, state, begin), LeaseWork::kKeep);
  EXPECT_EQ(JudgeLease(terms, state, begin + 1s), LeaseWork::kAsk);
  EXPECT_EQ(JudgeLease(terms, state, begin + 3s - 2 * LeaseStep(3s)), LeaseWork::kFence);
  state.majority = begin + 1500ms;
  EXPECT_EQ(JudgeLease(terms, state, begin + 2500ms), LeaseWork::kAsk);
  EXPECT_EQ(JudgeLease(terms, LeaseState{}, begin), LeaseWork::kFence);
  EXPECT_GT(LeaseOver(3s, begin, begin - 1s), begin + 3s);
  terms.hosts = 1;
  EXPECT_EQ(JudgeLease(terms, LeaseState{}, begin), LeaseWork::kKeep);
}

TEST(RedisPrimaryLease, WantsMoreThanHalfOfTheHosts) {
  LeaseTerms terms{.hosts = 4};
  EXPECT_FALSE(IsMajority(terms, {"a", "b"}));
  EXPECT_TRUE(IsMajority(terms, {"a", "b", "c"}));
}

}  // namespace
}  // namespace muster::redis_primary
