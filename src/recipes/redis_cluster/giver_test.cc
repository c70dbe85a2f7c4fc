// What becomes of slots on their way when the master that they are taken from goes, on a model of Redis
// Cluster.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "recipes/redis_cluster/testing_model.h"

namespace muster::redis_cluster {
namespace {

using ::testing::IsEmpty;

constexpr int kFull = 600;  // slots of each master that have keys: more than are on their way at once

void Grow(TestingCluster& cluster) {
  for (const redis::SlotSet& slots : redis::EvenSlots(3)) cluster.Fill(slots.First(kFull));
  cluster.Pass(2s);
  cluster.Want(4, 1);
  cluster.Add();
  cluster.Add();
  cluster.Await("settle", "cache-1", {{"slots", "even"}});
}

// Who gives slots to one that has some already, and has given keys of them; "": nobody.
std::string Giver(TestingCluster& cluster) {
  for (auto& [name, server] : cluster.servers()) {
    if (!server.running || !server.self().master) continue;
    for (const auto& [slot, to] : server.migrating) {
      const std::string taker = cluster.NameOf(to);
      if (taker.empty() || cluster.at(taker).self().slots.empty()) continue;
      if (cluster.at(taker).self().slots.Has(slot)) continue;  // it hasn't heard yet
      if (cluster.at(taker).keys.contains(slot)) return name;
    }
  }
  return "";
}

// Slots of its own that another imports from one before it, and that it doesn't give to anybody.
redis::SlotSet Unmarked(TestingCluster& cluster, const std::string& owner) {
  redis::SlotSet slots;
  for (auto& [name, server] : cluster.servers()) {
    for (const auto& [slot, from] : server.importing) {
      const bool marked = cluster.at(owner).migrating.contains(slot);
      if (cluster.at(owner).self().slots.Has(slot) && !marked && from != cluster.at(owner).id)
        slots.Add(slot);
    }
  }
  return slots;
}

TEST(RedisClusterGiverTest, WhoTakesItsPlaceMarksWhatWasOnItsWayBeforeAnythingElse) {
  for (unsigned seed = 0; seed < 6; ++seed) {
    TestingCluster cluster({.seed = seed, .node_timeout = 60s});
    ASSERT_TRUE(cluster.RunUntilGreen());
    Grow(cluster);
    ASSERT_TRUE(cluster.RunUntil([&] { return !Giver(cluster).empty(); })) << cluster.Picture();
    const std::string giver = Giver(cluster), heir = cluster.ReplicaOf(giver);
    ASSERT_NE(heir, "");
    cluster.KillForGood(giver);
    ASSERT_TRUE(cluster.RunUntil([&] { return cluster.at(heir).self().master; }, 3s)) << cluster.Picture();
    EXPECT_FALSE(cluster.at(heir).migrating.empty()) << "seed " << seed << "\n" << cluster.Picture();
    EXPECT_EQ(Unmarked(cluster, heir).Text(), "") << "seed " << seed << "\n" << cluster.Picture();
    cluster.at(giver).gone = false;
    ASSERT_TRUE(cluster.RunUntilGreen(90s)) << "seed " << seed << "\n" << cluster.Picture();
    EXPECT_THAT(cluster.Lost(), IsEmpty()) << "seed " << seed << "\n" << cluster.Picture();
  }
}

// Redis' own vote names no slots to it.
TEST(RedisClusterGiverTest, WhoTookItsPlaceByItselfIsToldOfThemFirst) {
  int marked = 0;
  for (unsigned seed = 0; seed < 6; ++seed) {
    TestingCluster cluster({.seed = seed, .lossy_orders = seed % 3 == 2});
    ASSERT_TRUE(cluster.RunUntilGreen());
    Grow(cluster);
    ASSERT_TRUE(cluster.RunUntil([&] { return !Giver(cluster).empty(); })) << cluster.Picture();
    const std::string giver = Giver(cluster), heir = cluster.ReplicaOf(giver);
    ASSERT_NE(heir, "");
    cluster.Silence(cluster.at(heir).host, true);
    cluster.KillForGood(giver);
    ASSERT_TRUE(cluster.RunUntil([&] { return cluster.at(heir).self().master; }, 20s)) << cluster.Picture();
    ASSERT_NE(Unmarked(cluster, heir).Text(), "") << "seed " << seed << "\n" << cluster.Picture();
    if (seed % 2 == 1) cluster.ForgetMender();
    cluster.ClearOrders();
    cluster.Silence(cluster.at(heir).host, false);
    const auto goes_on = [&] {
      return std::any_of(cluster.orders().begin(), cluster.orders().end(), [&](const Order& order) {
        return order.instance == heir && order.verb == "hand-over";
      });
    };
    ASSERT_TRUE(cluster.RunUntil(goes_on, 10s)) << cluster.Picture();
    marked += std::any_of(cluster.orders().begin(), cluster.orders().end(),
                          [](const Order& order) { return order.verb == "mark"; });
    EXPECT_EQ(Unmarked(cluster, heir).Text(), "") << "seed " << seed << "\n" << cluster.Picture();
    cluster.at(giver).gone = false;
    ASSERT_TRUE(cluster.RunUntilGreen(90s)) << "seed " << seed << "\n" << cluster.Picture();
    EXPECT_THAT(cluster.Lost(), IsEmpty()) << "seed " << seed << "\n" << cluster.Picture();
  }
  EXPECT_GE(marked, 3);  // the others are told by a take-over that finds it a master
}

TEST(RedisClusterGiverTest, OneThatIsToStepDownDoesSoOnceWhatItGivesHasGone) {
  for (unsigned seed = 0; seed < 4; ++seed) {
    TestingCluster cluster({.seed = seed});
    ASSERT_TRUE(cluster.RunUntilGreen());
    Grow(cluster);
    ASSERT_TRUE(cluster.RunUntil([&] { return !Giver(cluster).empty(); })) << cluster.Picture();
    const std::string giver = Giver(cluster), heir = cluster.ReplicaOf(giver);
    if (seed % 2 == 0) cluster.GiveUp();
    cluster.Await("step-down", giver);
    bool gives = true;
    ASSERT_TRUE(cluster.RunUntil([&] {
      if (!cluster.at(heir).self().master) gives = !cluster.at(giver).migrating.empty();
      return cluster.at(heir).self().master;
    })) << cluster.Picture();
    EXPECT_FALSE(gives) << "seed " << seed << "\n" << cluster.Picture();
    ASSERT_TRUE(cluster.RunUntilGreen(90s)) << "seed " << seed << "\n" << cluster.Picture();
    EXPECT_THAT(cluster.Lost(), IsEmpty()) << "seed " << seed << "\n" << cluster.Picture();
  }
}

TEST(RedisClusterGiverTest, OneThatCannotWriteIsRelievedAtOnceAndItsHeirMarksWhatWasOnItsWay) {
  for (unsigned seed = 0; seed < 4; ++seed) {
    TestingCluster cluster({.seed = seed});
    ASSERT_TRUE(cluster.RunUntilGreen());
    Grow(cluster);
    ASSERT_TRUE(cluster.RunUntil([&] { return !Giver(cluster).empty(); })) << cluster.Picture();
    const std::string giver = Giver(cluster), heir = cluster.ReplicaOf(giver);
    cluster.at(giver).write = "MISCONF No space left on device";
    ASSERT_TRUE(cluster.RunUntil([&] { return cluster.at(heir).self().master; }, 10s)) << cluster.Picture();
    EXPECT_EQ(Unmarked(cluster, heir).Text(), "") << "seed " << seed << "\n" << cluster.Picture();
    cluster.at(giver).write = "ok";
    ASSERT_TRUE(cluster.RunUntilGreen(90s)) << "seed " << seed << "\n" << cluster.Picture();
    EXPECT_THAT(cluster.Lost(), IsEmpty()) << "seed " << seed << "\n" << cluster.Picture();
  }
}

}  // namespace
}  // namespace muster::redis_cluster
