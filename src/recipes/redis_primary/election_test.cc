// Who is made primary where nobody is known to have all that there was, against a small model of Redis.
#include <gmock/gmock.h>

#include "recipes/redis_primary/testing_model.h"

namespace muster::redis_primary {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Formed, with one write that all have; and then the link of `number` stands, and nothing comes by it.
Model WithOneThatIsStuck(int members, int number) {
  Model model(members);
  model.Settle();
  model.Write(1);
  model.Pass(0ms);
  model.Think();
  model[number].stuck = true;
  return model;
}

void GoOnWriting(Model& model, Duration time) {
  for (Duration passed = 0ms; passed < time; passed += 500ms) {
    model.Write(100 + static_cast<int>(passed.count()));
    model.Pass(500ms);
    model.Think();
  }
}

void LoseData(Model& model, int number) {
  model.Kill(number);
  model.Think();
  model.Wipe(number);
  model.Restart(number);
}

TEST(RedisPrimaryElection, MakesNobodyPrimaryWhoHeardNothingForLongThoughThePrimaryTookItForLinked) {
  Model model = WithOneThatIsStuck(2, 2);
  GoOnWriting(model, 4s);
  model.Kill(1);
  for (const Order& order : model.Think().orders) EXPECT_NE(order.verb, "promote") << order.instance;
  model.Restart(1);
  model.Settle();
  EXPECT_EQ(model.primary(), "cache-1");
  model[2].stuck = false;
  model.Settle();
  EXPECT_EQ(model[2].writes, model.acknowledged());
}

// What it took since is nowhere, and the other may have some of it.
TEST(RedisPrimaryElection, AsksWhereThePrimaryIsBackWithASnapshotAndTheOtherHadLostItsLink) {
  Model model = WithOneThatIsStuck(2, 2);
  model.TakeSnapshots();
  GoOnWriting(model, 4s);
  model.Kill(1);
  model.Think();
  model[1].writes.clear();
  model.Restart(1);
  for (int i = 0; i < 100; ++i) {
    const Mending mending = model.Think();
    for (const Order& order : mending.orders) {
      EXPECT_NE(order.verb, "promote") << order.instance;
      model.Obey(order);
    }
    if (i > 50) {
      EXPECT_THAT(mending.says, Contains(HasSubstr("has started from its last snapshot")));
    }
    model.Pass(100ms);
  }
  model.Force();
  model[2].stuck = false;
  const Step forced = Awaited("failover", "cache", {{"force", "yes"}});
  model.Settle({&forced});
  EXPECT_EQ(model.primary(), "cache-2");
  EXPECT_THAT(model[1].writes, Contains(1));
}

TEST(RedisPrimaryElection, TakesTheOtherReplicaWhereOneHeardNothingForLong) {
  Model model = WithOneThatIsStuck(3, 2);
  GoOnWriting(model, 4s);
  model.Kill(1);
  model.Settle();
  EXPECT_EQ(model.primary(), "cache-3");
  EXPECT_EQ(model[3].writes, model.acknowledged());
}

// It has all data, and a new server doesn't know that before its agent has told.
TEST(RedisPrimaryElection, MakesNoNewcomerPrimaryWhileWhoWasStoppedByHandHasNotTold) {
  Model model(2);
  model.Settle();
  model.Write(1);
  model.Pass(0ms);
  model.Think();
  model.Stop(1);
  model.Replace(2);
  model.NewServer();
  model.Cut(1, false);
  const Mending mending = model.Think();
  EXPECT_THAT(mending.orders, IsEmpty());
  EXPECT_THAT(Join(mending.says, " "), HasSubstr("cache-1 may have"));
  model.Heal(1);
  for (const Order& order : model.Think().orders) EXPECT_NE(order.verb, "promote") << order.instance;
  model.Start(1);
  model.Settle();
  EXPECT_EQ(model.primary(), "cache-1");
  EXPECT_EQ(model[2].writes, std::vector<int>{1});
}

TEST(RedisPrimaryElection, AMomentOfSilenceIsNoReason) {
  Model model = WithOneThatIsStuck(2, 2);
  model.Pass(1500ms);
  model.Think();
  model.Kill(1);
  model.Settle();
  EXPECT_EQ(model.primary(), "cache-2");
}

TEST(RedisPrimaryElection, LeavesAStaleReplicaOfAPrimaryThatLostItsDataToAPerson) {
  for (const bool known_by_link : {false, true}) {
    SCOPED_TRACE(known_by_link);
    Model model = WithOneThatIsStuck(2, 2);
    if (known_by_link) {
      model.Kill(2);
      model.Pass(0ms);
    }
    GoOnWriting(model, 4s);
    if (known_by_link) model.Restart(2);
    LoseData(model, 1);
    Mending mending;
    for (int i = 0; i < 50; ++i) {
      mending = model.Think();
      EXPECT_THAT(mending.orders, IsEmpty());
      model.Pass(500ms);
    }
    ASSERT_EQ(mending.says.size(), 1u);
    EXPECT_THAT(mending.says[0],
                HasSubstr("cache-1, the last primary, has lost its data, and cache-2 lacks writes"));
    EXPECT_THAT(mending.says[0], HasSubstr("muster failover cache --force"));
    model.NewServer();
    EXPECT_THAT(model.Think().orders, IsEmpty()) << "another server knows it as well";
    const Step plain = Awaited("failover", "cache");
    const Error refused = model.Think({&plain}).refused.at(plain.id);
    EXPECT_EQ(refused.code(), "failover-refused");
    EXPECT_THAT(refused.hint(), HasSubstr("--force"));
    const Step asked = Awaited("failover", "cache-a", {{"accept_loss", "ask"}});
    EXPECT_EQ(model.Think({&asked}).refused.at(asked.id).code(), "failover-refused");
    const Step forced = Awaited("failover", "cache-f", {{"force", "yes"}});
    model[2].stuck = false;
    const Mending done = model.Settle({&forced});
    EXPECT_EQ(model.primary(), "cache-2");
    EXPECT_EQ(done.waits.at(forced.id), std::nullopt);
    model.Settle();
    EXPECT_EQ(model[1].writes, std::vector<int>{1});
    EXPECT_EQ(model[1].lost, 0);
  }
}

TEST(RedisPrimaryElection, GoesOnByItselfOnceAReplicaIsBackThatHadAllOfAPrimaryThatLostItsData) {
  Model model = WithOneThatIsStuck(3, 2);
  GoOnWriting(model, 4s);
  model.Kill(3);
  LoseData(model, 1);
  EXPECT_THAT(model.Think().orders, IsEmpty());
  EXPECT_EQ(model.primary(), "");
  model.Restart(3);
  model.Settle();
  EXPECT_EQ(model.primary(), "cache-3");
  EXPECT_EQ(model[3].writes, model.acknowledged());
}

TEST(RedisPrimaryElection, CountsWhatAPrimaryTookThatNobodyFollowedYetAndThatIsLost) {
  Model model = WithOneThatIsStuck(3, 2);
  model[3].stuck = true;
  model.Kill(1);
  for (int i = 0; i < 10 && model.primary().empty(); ++i) {
    for (const Order& order : model.Think().orders) {
      if (order.verb != "follow") model.Obey(order);
    }
  }
  const int heir = model.primary() == "cache-2" ? 2 : 3;
  ASSERT_NE(model.primary(), "");
  model.Write(2);
  model.Pass(0ms);
  model.Think();
  model.Restart(1);
  LoseData(model, heir);
  for (int i = 0; i < 10; ++i) {
    const Mending mending = model.Think();
    for (const Order& order : mending.orders) EXPECT_NE(order.verb, "promote") << order.instance;
    EXPECT_EQ(mending.says.size(), 1u);
    model.Pass(500ms);
  }
}

// One that had all died along with its primary; another is there, and lacks the last write.
Model WithTheBetterOneDead() {
  Model model = WithOneThatIsStuck(3, 3);
  model.Write(2);
  model.Pass(500ms);
  model.Think();
  model.Kill(1);
  model.Kill(2);
  return model;
}

TEST(RedisPrimaryElection, WaitsForABetterReplicaThatDiedAlongWithItsPrimaryAndSaysSo) {
  Model model = WithTheBetterOneDead();
  std::vector<std::string> says;
  for (int i = 0; i < 5; ++i) {
    const Mending mending = model.Think();
    for (const Order& order : mending.orders) {
      EXPECT_NE(order.verb, "promote") << order.instance;
      model.Obey(order);
    }
    says = mending.says;
    EXPECT_GT(mending.again, 0ms);
    model.Pass(500ms);
  }
  ASSERT_EQ(says.size(), 1u);
  EXPECT_THAT(says[0], HasSubstr("cache-2 had more than cache-3"));
  EXPECT_THAT(says[0], HasSubstr("5s at most"));
  model.Restart(2);
  model.Settle();
  EXPECT_EQ(model.primary(), "cache-2");
  EXPECT_EQ(model[2].writes, model.acknowledged());
}

TEST(RedisPrimaryElection, TakesThePrimaryItselfWhereThatIsBackFirst) {
  Model model = WithTheBetterOneDead();
  for (int i = 0; i < 3; ++i) {
    for (const Order& order : model.Think().orders) model.Obey(order);
  }
  model.Restart(1);
  model.Settle();
  EXPECT_EQ(model.primary(), "cache-1");
}

TEST(RedisPrimaryElection, WaitsForABetterReplicaNoLongerThanItMay) {
  Model model = WithTheBetterOneDead();
  const Time dead = model.now();
  while (model.primary().empty() && model.now() < dead + 60s) {
    for (const Order& order : model.Think().orders) model.Obey(order);
    model.Pass(100ms);
  }
  EXPECT_EQ(model.primary(), "cache-3");
  EXPECT_GE(model.now(), dead + 5s);
  EXPECT_LT(model.now(), dead + 6s);
}

TEST(RedisPrimaryElection, WaitsForNobodyWhoHadNoMore) {
  Model model = WithOneThatIsStuck(3, 3);
  model.Kill(1);
  model.Kill(2);
  const auto orders = model.Think().orders;
  ASSERT_EQ(orders.size(), 1u);
  EXPECT_EQ(orders[0].verb, "promote");
  EXPECT_EQ(orders[0].instance, "cache-3");
}

}  // namespace
}  // namespace muster::redis_primary
