// That slots are given out again only where a person accepts the loss, and nobody can have their keys.
#include <gmock/gmock.h>

#include "recipes/redis_cluster/testing_model.h"

namespace muster::redis_cluster {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::StartsWith;

const std::map<std::string, std::string> kAsk = {{"accept_loss", "ask"}}, kYes = {{"accept_loss", "yes"}};

// The code with which it is refused; "" where it isn't.
std::string Answer(TestingCluster& cluster, const std::map<std::string, std::string>& args) {
  cluster.Await("failover", "cache", args);
  cluster.RunUntil([&] { return !cluster.awaits(); }, 100ms);
  cluster.GiveUp();
  const auto refused = cluster.refused().find("cache.failover");
  return refused == cluster.refused().end() ? "" : refused->second;
}

TEST(RedisClusterLossTest, AShardWithoutKeysIsGivenOutAgainWhenAPersonAcceptsTheLoss) {
  for (unsigned seed = 0; seed < 6; ++seed) {
    TestingCluster cluster({.replicas = seed % 3 == 2 ? 2 : 1, .seed = seed});
    ASSERT_TRUE(cluster.RunUntilGreen());
    cluster.Fill();
    const std::string master = cluster.MasterOf(0);
    std::set<std::string> shard = {master};
    for (auto& [name, server] : cluster.servers()) {
      if (server.self().primary == cluster.at(master).id) shard.insert(name);
    }
    for (const std::string& name : shard) cluster.Wipe(name);
    EXPECT_FALSE(cluster.RunUntil([&] { return !cluster.MasterOf(0).empty(); }, 20s)) << cluster.Picture();
    EXPECT_EQ(Answer(cluster, kAsk), "confirm-name");
    EXPECT_EQ(cluster.MasterOf(0), "");
    if (seed % 2 == 1) cluster.ForgetMender();
    cluster.ClearOrders();
    cluster.Await("failover", "cache", kYes);
    ASSERT_TRUE(cluster.RunUntil([&] { return !cluster.awaits(); }, 30s)) << seed << cluster.Picture();
    EXPECT_TRUE(shard.contains(cluster.MasterOf(0))) << cluster.Picture();
    int owned = 0;
    for (const Order& order : cluster.orders()) {
      EXPECT_NE(order.verb, "take-over") << order.reason;
      owned += order.verb == "own" && order.notable ? 1 : 0;
    }
    EXPECT_EQ(owned, 1) << cluster.Picture();
    ASSERT_TRUE(cluster.RunUntilGreen()) << seed << cluster.Picture();
    EXPECT_EQ(cluster.Masters(), 3);
    for (const int slot : cluster.Lost()) EXPECT_LE(slot, 5460) << cluster.Picture();
    EXPECT_EQ(Answer(cluster, kYes), "primary-is-well");
  }
}

// Who gives slots away, and to whom, once keys have gone to one that has slots of its own as well.
std::pair<std::string, std::string> UnderWay(TestingCluster& cluster, bool first) {
  for (auto& [name, server] : cluster.servers()) {
    for (const auto& [slot, to] : server.migrating) {
      const std::string taker = cluster.NameOf(to);
      if (taker.empty() || cluster.at(taker).self().slots.empty() != first) continue;
      if (cluster.at(taker).self().slots.Has(slot)) continue;  // it hasn't heard yet
      if (cluster.at(taker).keys.contains(slot)) return {name, taker};
    }
  }
  return {};
}

void Grow(TestingCluster& cluster) {
  for (const redis::SlotSet& slots : redis::EvenSlots(3)) cluster.Fill(slots.First(600));
  cluster.Pass(2s);
  cluster.Want(4, 1);
  cluster.Add();
  cluster.Add();
  cluster.Await("settle", "cache-1", {{"slots", "even"}});
}

TEST(RedisClusterLossTest, KeysThatHadGoneToAShardThatIsLostAreNamedBeforeAPersonAcceptsIt) {
  for (unsigned seed = 0; seed < 4; ++seed) {
    TestingCluster cluster({.seed = seed});
    ASSERT_TRUE(cluster.RunUntilGreen());
    Grow(cluster);
    ASSERT_TRUE(cluster.RunUntil([&] { return !UnderWay(cluster, false).first.empty(); }))
        << cluster.Picture();
    const auto under_way = UnderWay(cluster, false);
    const std::string &giver = under_way.first, &taker = under_way.second;
    const std::string replica = cluster.ReplicaOf(taker);
    cluster.Wipe(taker);
    cluster.Wipe(replica);
    cluster.ClearOrders();
    cluster.Pass(20s);
    EXPECT_FALSE(cluster.at(giver).migrating.empty()) << "seed " << seed << "\n" << cluster.Picture();
    cluster.GiveUp();
    EXPECT_EQ(Answer(cluster, kAsk), "confirm-name");
    EXPECT_THAT(cluster.refusals().at("cache.failover"),
                ::testing::HasSubstr("which were on their way there"));
    cluster.Await("failover", "cache", kYes);
    ASSERT_TRUE(cluster.RunUntilGreen(90s)) << "seed " << seed << "\n" << cluster.Picture();
    const bool told = std::any_of(cluster.orders().begin(), cluster.orders().end(), [](const Order& order) {
      return order.verb == "stable" && order.notable && order.reason.find("are lost") != std::string::npos;
    });
    EXPECT_TRUE(told) << "seed " << seed << "\n" << cluster.Picture();
  }
}

// It had no slots of its own, so there is nothing that a person could be asked about.
TEST(RedisClusterLossTest, KeysThatHadGoneToOneWithoutSlotsThatIsLostAreTold) {
  for (unsigned seed = 0; seed < 4; ++seed) {
    TestingCluster cluster({.seed = seed});
    ASSERT_TRUE(cluster.RunUntilGreen());
    Grow(cluster);
    ASSERT_TRUE(cluster.RunUntil([&] { return !UnderWay(cluster, true).first.empty(); }))
        << cluster.Picture();
    const std::string taker = UnderWay(cluster, true).second, replica = cluster.ReplicaOf(taker);
    cluster.Wipe(taker);
    cluster.Wipe(replica);
    cluster.ClearOrders();
    ASSERT_TRUE(cluster.RunUntilGreen(90s)) << "seed " << seed << "\n" << cluster.Picture();
    const bool told = std::any_of(cluster.orders().begin(), cluster.orders().end(), [](const Order& order) {
      return order.verb == "stable" && order.notable && order.reason.find("are lost") != std::string::npos;
    });
    EXPECT_TRUE(told) << "seed " << seed << "\n" << cluster.Picture();
  }
}

TEST(RedisClusterLossTest, WhereAllDataFoldersAreLostTheClusterBeginsAnewOnlyWhenAPersonAcceptsThat) {
  for (unsigned seed = 0; seed < 6; ++seed) {
    TestingCluster cluster(
        {.replicas = static_cast<int>(seed % 3), .seed = seed, .lossy_orders = seed % 2 == 1});
    ASSERT_TRUE(cluster.RunUntilGreen());
    cluster.Fill();
    cluster.RunUntil([] { return false; }, 2s);
    for (auto& [name, server] : cluster.servers()) cluster.Wipe(name);
    const auto formed = [&] { return !cluster.MasterOf(0).empty(); };
    EXPECT_FALSE(cluster.RunUntil(formed, 20s)) << cluster.Picture();
    // Neither a new server nor the next death makes it forget.
    cluster.ForgetMender();
    cluster.Wipe(cluster.servers().begin()->first);
    EXPECT_FALSE(cluster.RunUntil(formed, 20s)) << cluster.Picture();
    EXPECT_EQ(Answer(cluster, kAsk), "confirm-name");
    EXPECT_FALSE(cluster.RunUntil(formed, 5s)) << cluster.Picture();
    cluster.Await("failover", "cache", kYes);
    ASSERT_TRUE(cluster.RunUntil([&] { return !cluster.awaits(); }, 60s)) << seed << cluster.Picture();
    ASSERT_TRUE(cluster.RunUntilGreen(120s)) << seed << cluster.Picture();
    EXPECT_EQ(cluster.Masters(), 3);
  }
}

// Keys may have come to one that served since anybody has looked.
TEST(RedisClusterLossTest, WhereNoKeysWereSeenTheClusterBeginsAnewOnlyWhenAPersonAcceptsThatAsWell) {
  TestingCluster cluster({});
  ASSERT_TRUE(cluster.RunUntilGreen());
  for (auto& [name, server] : cluster.servers()) cluster.Wipe(name);
  EXPECT_FALSE(cluster.RunUntil([&] { return !cluster.MasterOf(0).empty(); }, 20s)) << cluster.Picture();
}

TEST(RedisClusterLossTest, OneThatHasNeverServedBeginsAnewByItself) {
  TestingCluster cluster({});
  ASSERT_TRUE(cluster.RunUntil([&] { return !cluster.MasterOf(0).empty(); }));
  ASSERT_FALSE(std::any_of(cluster.servers().begin(), cluster.servers().end(),
                           [](const auto& server) { return server.second.ok; }));
  for (auto& [name, server] : cluster.servers()) cluster.Wipe(name);
  ASSERT_TRUE(cluster.RunUntilGreen(120s)) << cluster.Picture();
}

TEST(RedisClusterLossTest, WhatIsKeptInMemoryOnlyIsNoLossToAskAbout) {
  TestingCluster cluster({.append_only = false});
  ASSERT_TRUE(cluster.RunUntilGreen());
  cluster.Fill();
  for (auto& [name, server] : cluster.servers()) cluster.Wipe(name);
  ASSERT_TRUE(cluster.RunUntilGreen(120s)) << cluster.Picture();
}

TEST(RedisClusterLossTest, ItIsRefusedAsLongAsAnybodyMayHaveTheKeys) {
  struct Case {
    const char* what;
    std::function<void(TestingCluster&, const std::string&)> away;
    std::function<void(TestingCluster&, const std::string&)> back;
  };
  const std::vector<Case> cases = {
      {"down", [](TestingCluster& cluster, const std::string& name) { cluster.KillForGood(name); },
       [](TestingCluster& cluster, const std::string& name) { cluster.at(name).gone = false; }},
      {"stopped by hand", [](TestingCluster& cluster, const std::string& name) { cluster.Hold(name); },
       [](TestingCluster& cluster, const std::string& name) { cluster.Release(name); }},
      {"silent",
       [](TestingCluster& cluster, const std::string& name) {
         cluster.Silence(cluster.at(name).host, true);
         cluster.KillForGood(name);
       },
       [](TestingCluster& cluster, const std::string& name) {
         cluster.at(name).gone = false;
         cluster.Silence(cluster.at(name).host, false);
       }},
  };
  for (const Case& one : cases) {
    for (const bool master_is_away : {true, false}) {
      SCOPED_TRACE(std::string(one.what) + (master_is_away ? ", the master" : ", the replica"));
      TestingCluster cluster({.hosts = 6});
      ASSERT_TRUE(cluster.RunUntilGreen());
      cluster.Fill();
      const std::string master = cluster.MasterOf(0), replica = cluster.ReplicaOf(master);
      const std::string& away = master_is_away ? master : replica;
      const std::string& wiped = master_is_away ? replica : master;
      cluster.Wipe(wiped);
      one.away(cluster, away);
      cluster.RunUntil([] { return false; }, 5s);
      ASSERT_EQ(cluster.MasterOf(0), "") << cluster.Picture();
      cluster.ClearOrders();
      EXPECT_EQ(Answer(cluster, kYes), "failover-refused") << cluster.Picture();
      for (const Order& order : cluster.orders()) EXPECT_NE(order.verb, "own") << order.reason;
      one.back(cluster, away);
      ASSERT_TRUE(cluster.RunUntilGreen(120s)) << cluster.Picture();
      EXPECT_THAT(cluster.Lost(), IsEmpty()) << cluster.Picture();
    }
  }
}

// What the refusal tells a person to do where the host of the last who may have the keys is gone for good.
TEST(RedisClusterLossTest, ItIsAcceptedOnceWhoMayHaveTheKeysWasTakenOutWithItsHost) {
  for (const bool comes_back : {false, true}) {
    SCOPED_TRACE(comes_back);
    TestingCluster cluster({.hosts = 6});
    ASSERT_TRUE(cluster.RunUntilGreen());
    cluster.Fill();
    const std::string master = cluster.MasterOf(0), replica = cluster.ReplicaOf(master);
    cluster.Wipe(replica);
    cluster.Silence(cluster.at(master).host, true);
    cluster.KillForGood(master);
    cluster.RunUntil([] { return false; }, 5s);
    ASSERT_EQ(Answer(cluster, kYes), "failover-refused") << cluster.Picture();
    cluster.Undesire(master);
    EXPECT_EQ(Answer(cluster, kAsk), "confirm-name") << cluster.Picture();
    cluster.Await("failover", "cache", kYes);
    ASSERT_TRUE(cluster.RunUntil([&] { return !cluster.awaits(); }, 60s)) << cluster.Picture();
    const std::string taker = cluster.MasterOf(0);
    ASSERT_NE(taker, "") << cluster.Picture();
    if (!comes_back) continue;
    // What it has of them isn't taken for theirs any more.
    cluster.at(master).gone = false;
    cluster.Silence(cluster.at(master).host, false);
    cluster.RunUntil([] { return false; }, 30s);
    EXPECT_NE(cluster.MasterOf(0), master) << cluster.Picture();
    EXPECT_NE(cluster.MasterOf(0), "") << cluster.Picture();
  }
}

// Whoever is silent may know whose they are. It mustn't be said that all is well, and there is a way out.
TEST(RedisClusterLossTest, SlotsWithoutAnOwnerWaitForWhoIsSilentUntilThatOneIsTakenOut) {
  TestingCluster cluster({.hosts = 6});
  ASSERT_TRUE(cluster.RunUntilGreen());
  const std::string silent = cluster.ReplicaOf(cluster.MasterOf(16383));
  cluster.Silence(cluster.at(silent).host, true);
  cluster.KillForGood(silent);
  for (auto& [name, server] : cluster.servers()) {
    for (auto& [id, known] : server.known) known.slots -= redis::SlotSet::Range(0, 10);
  }
  cluster.RunUntil([] { return false; }, 15s);
  ASSERT_EQ(cluster.MasterOf(0), "") << cluster.Picture();
  EXPECT_EQ(Answer(cluster, kYes), "failover-refused");
  cluster.Undesire(silent);
  EXPECT_TRUE(cluster.RunUntil([&] { return !cluster.MasterOf(0).empty(); }, 30s)) << cluster.Picture();
}

// Nobody has what the replica lacks: it isn't taken without a word, and there is a way to take it.
TEST(RedisClusterLossTest,
     AReplicaThatLacksWhatItsMasterHadTakesOverWhenAPersonSaysSoOnceThatHasLostItsData) {
  TestingCluster cluster({.node_timeout = 60s});
  ASSERT_TRUE(cluster.RunUntilGreen());
  cluster.Fill();
  const std::string master = cluster.MasterOf(0), replica = cluster.ReplicaOf(master);
  cluster.at(replica).cut = true;
  cluster.Pass(5s);
  cluster.Write(0);
  cluster.Wipe(master);
  EXPECT_FALSE(cluster.RunUntil([&] { return !cluster.MasterOf(0).empty(); }, 5s)) << cluster.Picture();
  ASSERT_EQ(cluster.says().size(), 1u) << cluster.Picture();
  EXPECT_THAT(cluster.says()[0], StartsWith(master + " lost its data, and " + replica +
                                            " was not linked to it any more: slots 0-5460 are out; "));
  cluster.ClearOrders();
  EXPECT_EQ(Answer(cluster, kYes), "failover-refused");
  EXPECT_EQ(Answer(cluster, {}), "failover-refused");
  EXPECT_EQ(cluster.MasterOf(0), "");
  cluster.Await("failover", "cache", {{"force", "yes"}});
  ASSERT_TRUE(cluster.RunUntil([&] { return !cluster.awaits(); }, 3s)) << cluster.Picture();
  EXPECT_EQ(cluster.MasterOf(0), replica);
  for (const Order& order : cluster.orders()) EXPECT_NE(order.verb, "own") << order.reason;
  cluster.at(replica).cut = false;
  ASSERT_TRUE(cluster.RunUntilGreen()) << cluster.Picture();
  EXPECT_THAT(cluster.Lost(), ElementsAre(0)) << cluster.Picture();
}

TEST(RedisClusterLossTest, WhereAllIsWellThereIsNothingToGiveUp) {
  TestingCluster cluster({});
  ASSERT_TRUE(cluster.RunUntilGreen());
  EXPECT_EQ(Answer(cluster, kAsk), "primary-is-well");
  EXPECT_EQ(Answer(cluster, kYes), "primary-is-well");
}

TEST(RedisClusterLossTest, TwoShardsAreGivenOutSideBySideWhileOrdersGetLost) {
  for (unsigned seed = 0; seed < 3; ++seed) {
    TestingCluster cluster({.masters = 5, .seed = seed, .lossy_orders = true});
    ASSERT_TRUE(cluster.RunUntilGreen());
    cluster.Fill();
    for (const int slot : {0, 16383}) {
      const std::string master = cluster.MasterOf(slot), replica = cluster.ReplicaOf(master);
      cluster.Wipe(master);
      cluster.Wipe(replica);
    }
    cluster.RunUntil([] { return false; }, 10s);
    cluster.Await("failover", "cache", kYes);
    ASSERT_TRUE(cluster.RunUntil([&] { return !cluster.awaits(); }, 60s)) << seed << cluster.Picture();
    ASSERT_TRUE(cluster.RunUntilGreen(120s)) << seed << cluster.Picture();
    EXPECT_EQ(cluster.Masters(), 5);
  }
}

}  // namespace
}  // namespace muster::redis_cluster
