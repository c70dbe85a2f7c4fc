// The mender against a small model of Redis: members that die, start, are cut off and come back in any order.
#include "recipes/redis_primary/mender.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <random>

#include "recipes/redis_primary/lease.h"
#include "recipes/redis_primary/testing_model.h"

namespace muster::redis_primary {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Model WithAWrite(int members) {
  Model model(members);
  BeginWithAWrite(model);
  return model;
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
  Model model = WithAWrite(2);
  model.Kill(1);
  const Mending mending = model.Think();
  ASSERT_EQ(mending.orders.size(), 1u);
  EXPECT_EQ(mending.orders[0].instance, "cache-2");
  EXPECT_EQ(mending.orders[0].verb, "promote");
}

TEST(RedisPrimaryMender, ChoosesTheReplicaThatHasMost) {
  Model model = WithAWrite(3);
  model[2].writes.clear();
  model.Kill(1);
  model.Settle();
  EXPECT_EQ(model.primary(), "cache-3");
}

// It has been linked again, and nobody has told so yet.
TEST(RedisPrimaryMender, ChoosesTheReplicaThatHasMostThoughThePrimaryHadNotToldOfItYet) {
  Model model = WithAWrite(3);
  model[1].linked.erase(model[3].address);
  model[2].writes.clear();
  model.Kill(1);
  model.Settle();
  EXPECT_EQ(model.primary(), "cache-3");
  EXPECT_THAT(model[2].writes, ElementsAre(1));
}

TEST(RedisPrimaryMender, ChoosesTheReplicaThatHasMostThoughItIsToLeave) {
  Model model = WithAWrite(3);
  model[2].writes.clear();
  model.Kill(1);
  const Step leave = Awaited("leave", "cache-3");
  EXPECT_EQ(model.Settle({&leave}).waits.at(leave.id), std::nullopt);
  EXPECT_EQ(model.primary(), "cache-2");
  EXPECT_THAT(model[2].writes, ElementsAre(1));
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
  Model model = WithAWrite(2);
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
  const Step forced = Awaited("failover", "cache", {{"force", "yes"}});
  EXPECT_THAT(model.Think({&forced}).refused.at(forced.id).hint(), HasSubstr("--accept-loss"));
  model.Force();
  const Step accepted = Awaited("failover", "cache", {{"accept_loss", "yes"}});
  const Time begin = model.now();
  for (int i = 0; i < 200 && model.primary().empty(); ++i) {
    for (const Order& order : model.Think({&accepted}).orders) model.Obey(order);
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
  Model model = WithAWrite(3);
  const Step step = Awaited("switchover", "cache", {{"to", "cache-3"}});
  const Mending mending = model.Settle({&step});
  EXPECT_EQ(model.primary(), "cache-3");
  EXPECT_EQ(mending.waits.at(step.id), std::nullopt);
  EXPECT_EQ(model[1].follows, "10.0.0.3:6379");
}

TEST(RedisPrimaryMender, HandsOverToThePreferredHostAndDoesNothingWhereThatHasThePrimary) {
  Model model(3, "", "h2");
  model.Settle();
  model.Write(1);
  model.Pass(0ms);
  ASSERT_EQ(model.primary(), "cache-2");
  const Step back = Awaited("switchover", "cache");
  const Mending idle = model.Think({&back});
  EXPECT_THAT(idle.orders, IsEmpty());
  EXPECT_EQ(idle.waits.at(back.id), std::nullopt);
  Step away = Awaited("switchover", "cache", {{"to", "cache-3"}});
  away.id += "/away";
  model.Settle({&away});
  ASSERT_EQ(model.primary(), "cache-3");
  Step again = Awaited("switchover", "cache");
  again.id += "/again";
  EXPECT_EQ(model.Settle({&again}).waits.at(again.id), std::nullopt);
  EXPECT_EQ(model.primary(), "cache-2");
}

// It couldn't be elected, and the primary would be it again, and hand over again.
TEST(RedisPrimaryMender, HandsOverToNobodyWhoseDataIsOfATermBefore) {
  Model model(2);
  model.Settle();
  model[1].term = model[1].copy = model[1].term + 1;
  const Step step = Awaited("switchover", "cache");
  const Mending first = model.Think({&step});
  for (const Order& order : first.orders) EXPECT_NE(order.verb, "hand-over");
  EXPECT_GT(first.again, 0ms) << "nobody may tell of anything new";
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
    Model model = WithAWrite(3);
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

// What `model` is after a client has written without pause, and all are back: one primary, all follow, and it
// has all that was acknowledged.
void ExpectNothingLost(Model& model) {
  model.AfterEachAct(nullptr);
  model.Settle();
  ASSERT_NE(model.primary(), "");
  for (size_t i = 1; i <= model.size(); ++i) {
    const Redis& redis = model[static_cast<int>(i)];
    EXPECT_EQ(redis.aim, redis.name == model.primary() ? "primary" : "replica") << redis.name;
    EXPECT_EQ(redis.aim, redis.ordered) << redis.name;
    EXPECT_EQ(redis.writes, model.acknowledged()) << redis.name;
  }
}

// Who dies along with an agent, and is back before time goes on.
enum class AlsoDies { kNobody, kItsRedis, kTheServer, kBoth };

// Carries `awaited` out while a client writes between any two acts; the agent dies after `acts` of them.
// Whether one has died: else there are no more acts.
bool DieDuring(Model& model, std::vector<const Step*> awaited, int acts, AlsoDies also) {
  const bool redis_dies = also == AlsoDies::kItsRedis || also == AlsoDies::kBoth;
  const bool server_dies = also == AlsoDies::kTheServer || also == AlsoDies::kBoth;
  int number = 1000;
  const auto write = [&] {
    model.Write(++number);
    // What was on its way to the replicas may well be lost with a Redis.
    if (redis_dies) model.Replicate();
  };
  model.AfterEachAct(write);
  model.DieAfter(acts);
  for (int i = 0; i < 60 && !model.has_died(); ++i) {
    const Mending mending = model.Think(awaited);
    if (mending.orders.empty() && mending.again == 0ms) break;
    for (const Order& order : mending.orders) {
      model.Obey(order);
      write();
      if (!model.has_died()) continue;
      const int victim = order.instance.back() - '0';
      if (redis_dies) {
        model.Kill(victim);
        model.Restart(victim);
      }
      if (server_dies) model.NewServer();
      break;
    }
    if (!model.has_died()) model.Pass(std::max<Duration>(mending.again, 50ms));
  }
  return model.has_died();
}

// Runs `story` with a death after each of the acts that it takes; what it gives tells whether one has died.
void DieEverywhere(const std::function<bool(Model& model, int acts, AlsoDies also)>& story, int acts_least) {
  for (const AlsoDies also :
       {AlsoDies::kNobody, AlsoDies::kItsRedis, AlsoDies::kTheServer, AlsoDies::kBoth}) {
    int acts = 0;
    for (bool died = true; died && acts < 100; ++acts) {
      SCOPED_TRACE(fmt::format("a death after {} acts, along {}", acts, static_cast<int>(also)));
      Model model(3);
      died = story(model, acts, also);
      ExpectNothingLost(model);
      if (::testing::Test::HasFailure()) return;
    }
    EXPECT_GE(acts, acts_least);
  }
}

TEST(RedisPrimaryMender, LosesNothingWhereverAnAgentDiesWhileItForms) {
  DieEverywhere([](Model& model, int acts, AlsoDies also) { return DieDuring(model, {}, acts, also); }, 6);
}

TEST(RedisPrimaryMender, LosesNothingWhereverAnAgentDiesWhileRolesAreHandedOver) {
  const Step over = Awaited("switchover", "cache", {{"to", "cache-2"}});
  DieEverywhere(
      [&](Model& model, int acts, AlsoDies also) {
        BeginWithAWrite(model);
        return DieDuring(model, {&over}, acts, also);
      },
      12);
}

TEST(RedisPrimaryMender, LosesNothingWhereverAnAgentDiesWhileADeadPrimaryIsReplaced) {
  DieEverywhere(
      [](Model& model, int acts, AlsoDies also) {
        BeginWithAWrite(model);
        model.Kill(1);
        const bool died = DieDuring(model, {}, acts, also);
        model.Restart(1);
        return died;
      },
      6);
}

TEST(RedisPrimaryMender, LosesNothingWhereTheDiskIsSlowerThanThePause) {
  const Step over = Awaited("switchover", "cache", {{"to", "cache-2"}});
  for (int slow = 0; slow < 12; ++slow) {
    SCOPED_TRACE(slow);
    Model model = WithAWrite(3);
    int act = 0, number = 1;
    model.AfterEachAct([&] {
      if (act++ == slow) model.Pass(kLease);
      model.Write(++number);
    });
    model.Settle({&over});
    EXPECT_EQ(model.primary(), "cache-2");
    ExpectNothingLost(model);
  }
}

TEST(RedisPrimaryMender, EndsAPauseByItselfWhereNobodyIsLeftToEndIt) {
  const Step over = Awaited("switchover", "cache", {{"to", "cache-2"}});
  Model model = WithAWrite(3);
  model.LeaveAgentless("cache-1");
  model.DieAfter(2);  // caught up, paused
  for (const Order& order : model.Think({&over}).orders) model.Obey(order);
  ASSERT_TRUE(model.has_died());
  const Time paused = model.now();
  model.Write(2);
  EXPECT_EQ(model.acknowledged(), std::vector<int>{1});
  while (model.acknowledged().size() == 1 && model.now() < paused + 60s) {
    model.Pass(50ms);
    model.Write(3);
  }
  EXPECT_LT(model.now(), paused + kLease);
  ExpectNothingLost(model);
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
