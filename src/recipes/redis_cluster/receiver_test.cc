// What becomes of slots on their way when the master that they go to dies, on a model of Redis Cluster.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "recipes/redis_cluster/mender.h"
#include "recipes/redis_cluster/testing_model.h"

namespace muster::redis_cluster {
namespace {

using ::testing::IsEmpty;

// The first slots of each master: as many as are on their way at once, so that none without keys is among
// them.
constexpr int kFull = 600;

void Grow(TestingCluster& cluster) {
  for (const redis::SlotSet& slots : redis::EvenSlots(3)) cluster.Fill(slots.First(kFull));
  cluster.Pass(2s);
  cluster.Want(4, 1);
  cluster.Add();
  cluster.Add();
  cluster.Await("settle", "cache-1", {{"slots", "even"}});
}

// Whoever has keys, and no slots yet; "": nobody.
std::string Receiver(TestingCluster& cluster) {
  for (auto& [name, server] : cluster.servers()) {
    if (server.running && server.self().master && server.self().slots.empty() && !server.keys.empty())
      return name;
  }
  return "";
}

TEST(RedisClusterReceiverTest, NothingComesToAMasterBeforeItsReplicaIsLinked) {
  for (unsigned seed = 0; seed < 4; ++seed) {
    TestingCluster cluster({.seed = seed});
    ASSERT_TRUE(cluster.RunUntilGreen());
    Grow(cluster);
    cluster.at("cache-7").cut = cluster.at("cache-8").cut = true;
    const auto has_come = [&] {
      return !Receiver(cluster).empty() || !cluster.at("cache-7").self().slots.empty() ||
             !cluster.at("cache-8").self().slots.empty();
    };
    EXPECT_FALSE(cluster.RunUntil(has_come, 15s)) << "seed " << seed << "\n" << cluster.Picture();
    cluster.at("cache-7").cut = cluster.at("cache-8").cut = false;
    ASSERT_TRUE(cluster.RunUntilGreen(90s)) << "seed " << seed << "\n" << cluster.Picture();
    EXPECT_THAT(cluster.Lost(), IsEmpty()) << "seed " << seed;
  }
}

TEST(RedisClusterReceiverTest, AMasterWithoutSlotsGetsOneFirstThatWithTheFewestKeys) {
  TestingCluster cluster({});
  ASSERT_TRUE(cluster.RunUntilGreen());
  cluster.Fill();
  cluster.Want(4, 1);
  cluster.Add();
  cluster.Add();
  cluster.Await("settle", "cache-1", {{"slots", "even"}});
  bool ever = false;
  ASSERT_TRUE(cluster.RunUntil([&] {
    ever = ever || !Receiver(cluster).empty();
    return !cluster.awaits();
  })) << cluster.Picture();
  EXPECT_FALSE(ever) << "it had keys before it was a master that is replaced";
  EXPECT_THAT(cluster.Lost(), IsEmpty());
}

// Nobody is elected in its place, and what has come to it is nowhere else but with its replica.
TEST(RedisClusterReceiverTest, OneThatDiesBeforeItOwnsASlotIsWaitedForAndNothingIsLost) {
  for (unsigned seed = 0; seed < 6; ++seed) {
    TestingCluster cluster({.seed = seed});
    ASSERT_TRUE(cluster.RunUntilGreen());
    Grow(cluster);
    ASSERT_TRUE(cluster.RunUntil([&] { return !Receiver(cluster).empty(); })) << cluster.Picture();
    const std::string receiver = Receiver(cluster), replica = cluster.ReplicaOf(receiver);
    ASSERT_NE(replica, "");
    cluster.at(receiver).gone = true;  // for now
    cluster.Kill(receiver);
    cluster.ClearOrders();
    for (int i = 0; i < 1500; ++i) {
      cluster.Tick();
      if (seed % 2 == 1 && i % 400 == 0) cluster.ForgetMender();
    }
    EXPECT_EQ(cluster.at(replica).self().primary, cluster.at(receiver).id) << cluster.Picture();
    EXPECT_FALSE(cluster.at(replica).keys.empty());
    for (const Order& order : cluster.orders()) {
      EXPECT_NE(order.verb, "stable") << order.reason;
      EXPECT_NE(order.verb, "take-over") << order.reason;
    }
    cluster.at(receiver).gone = false;
    ASSERT_TRUE(cluster.RunUntilGreen(90s)) << "seed " << seed << "\n" << cluster.Picture();
    EXPECT_THAT(cluster.Lost(), IsEmpty()) << "seed " << seed << "\n" << cluster.Picture();
    EXPECT_EQ(cluster.Masters(), 4);
  }
}

TEST(RedisClusterReceiverTest, OneThatNeverComesBackIsReplacedThoughItOwnedNoSlot) {
  for (unsigned seed = 0; seed < 8; ++seed) {
    TestingCluster cluster({.seed = seed, .lossy_orders = seed % 4 == 3});
    ASSERT_TRUE(cluster.RunUntilGreen());
    Grow(cluster);
    ASSERT_TRUE(cluster.RunUntil([&] { return !Receiver(cluster).empty(); })) << cluster.Picture();
    const std::string receiver = Receiver(cluster), replica = cluster.ReplicaOf(receiver);
    ASSERT_NE(replica, "");
    const auto replaced = [&] { return cluster.at(replica).self().master; };
    cluster.Wipe(receiver);  // it is another node from now on
    ASSERT_TRUE(cluster.RunUntil(replaced, 20s)) << "seed " << seed << "\n" << cluster.Picture();
    if (seed % 2 == 1) cluster.ForgetMender();
    ASSERT_TRUE(cluster.RunUntilGreen(90s)) << "seed " << seed << "\n" << cluster.Picture();
    EXPECT_THAT(cluster.Lost(), IsEmpty()) << "seed " << seed << "\n" << cluster.Picture();
  }
}

TEST(RedisClusterReceiverTest, OneThatOwnsASlotIsReplacedAsAnyOtherAndTheMoveGoesOn) {
  for (unsigned seed = 0; seed < 4; ++seed) {
    TestingCluster cluster({.seed = seed, .node_timeout = 60s});
    ASSERT_TRUE(cluster.RunUntilGreen());
    Grow(cluster);
    const auto owns = [&] {
      return cluster.at("cache-7").self().slots.count() + cluster.at("cache-8").self().slots.count() > 0;
    };
    ASSERT_TRUE(cluster.RunUntil(owns)) << cluster.Picture();
    const std::string receiver = cluster.at("cache-7").self().slots.empty() ? "cache-8" : "cache-7";
    const std::string replica = cluster.ReplicaOf(receiver);
    for (unsigned i = 0; i < 10 + 20 * seed; ++i) cluster.Tick();
    cluster.KillForGood(receiver);
    ASSERT_TRUE(cluster.RunUntil([&] { return cluster.at(replica).self().master; }, 3s)) << cluster.Picture();
    cluster.at(receiver).gone = false;
    ASSERT_TRUE(cluster.RunUntilGreen(90s)) << "seed " << seed << "\n" << cluster.Picture();
    EXPECT_THAT(cluster.Lost(), IsEmpty()) << "seed " << seed << "\n" << cluster.Picture();
  }
}

}  // namespace
}  // namespace muster::redis_cluster
