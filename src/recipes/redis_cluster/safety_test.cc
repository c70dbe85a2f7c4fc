// That no acknowledged write is lost by what the mender does, on a model of Redis Cluster.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "recipes/redis_cluster/mender.h"
#include "recipes/redis_cluster/testing_model.h"

namespace muster::redis_cluster {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::StartsWith;

// By their epochs one of them would be master of all, and the keys of the other lost.
TEST(RedisClusterSafetyTest, MembersOfTwoClustersWithSlotsAreNotBroughtTogether) {
  TestingCluster cluster({.masters = 3});
  ASSERT_TRUE(cluster.RunUntilGreen());
  cluster.Fill();
  cluster.ClearOrders();
  auto& stranger = cluster.Add();
  cluster.RunUntil([&] { return stranger.running && !stranger.id.empty(); }, 1s);
  stranger.self().slots = redis::SlotSet::All();
  stranger.keys[7] = 1;
  cluster.Await("settle", "cache-1");
  cluster.Pass(10s);
  EXPECT_THAT(cluster.waits(), HasSubstr("is of another cluster than"));
  for (const Order& order : cluster.orders()) EXPECT_NE(order.verb, "meet") << order.reason;
  EXPECT_EQ(stranger.keys[7], 1);
  EXPECT_EQ(stranger.known.size(), 1u);
  EXPECT_THAT(cluster.Lost(), IsEmpty()) << cluster.Picture();
}

// As Redis leaves it where they came up again at each other's addresses, or at such as nobody was told.
TEST(RedisClusterSafetyTest, MembersThatLostTheWayToEachOtherAreIntroducedAnew) {
  for (unsigned seed = 0; seed < 6; ++seed) {
    TestingCluster cluster({.seed = seed});
    ASSERT_TRUE(cluster.RunUntilGreen());
    cluster.Fill();
    cluster.ClearOrders();
    for (auto& [name, server] : cluster.servers()) {
      for (auto& [id, known] : server.known) {
        if (id == server.id) continue;
        if (seed % 2 == 0) known.seat.clear();
        if (seed % 2 == 1)
          known = {.seat = "10.0.0.99:7001",
                   .master = known.master,
                   .primary = known.primary,
                   .slots = known.slots,
                   .suspected = true};
      }
    }
    const auto all_meet = [&] {
      return std::all_of(cluster.servers().begin(), cluster.servers().end(), [&](const auto& one) {
        const auto& known = one.second.known;
        return known.size() == cluster.servers().size() &&
               std::none_of(known.begin(), known.end(), [](const auto& other) {
                 return other.second.seat.empty() || other.second.handshake || other.second.suspected;
               });
      });
    };
    ASSERT_TRUE(cluster.RunUntil(all_meet, 20s)) << "seed " << seed << "\n" << cluster.Picture();
    ASSERT_TRUE(cluster.RunUntilGreen()) << "seed " << seed << "\n" << cluster.Picture();
    EXPECT_THAT(cluster.Lost(), IsEmpty()) << cluster.Picture();
  }
}

TEST(RedisClusterSafetyTest, AMasterThatIsTakenForNewerThanItIsBecomesThat) {
  TestingCluster cluster({.masters = 3});
  ASSERT_TRUE(cluster.RunUntilGreen());
  cluster.Fill();
  const std::string master = cluster.MasterOf(0), other = cluster.MasterOf(16383);
  const uint64_t wrong = cluster.at(master).self().epoch + 3;
  for (auto& [name, server] : cluster.servers()) server.current_epoch += 3;
  cluster.at(other).known.at(cluster.at(master).id).epoch = wrong;
  cluster.RunUntil([&] { return cluster.at(master).self().epoch > wrong; }, 10s);
  EXPECT_GT(cluster.at(master).self().epoch, wrong) << cluster.Picture();
  ASSERT_TRUE(cluster.RunUntilGreen());
  cluster.ClearOrders();
  cluster.Pass(10s);
  for (const Order& order : cluster.orders()) EXPECT_NE(order.verb, "epoch") << order.reason;
}

// By the file, another's seat is where it still is.
TEST(RedisClusterSafetyTest, WhoIsDownWhileThePortsAreToMoveIsWhoItWas) {
  for (unsigned seed = 0; seed < 6; ++seed) {
    TestingCluster cluster({.seed = seed});
    ASSERT_TRUE(cluster.RunUntilGreen());
    cluster.Fill();
    cluster.ClearOrders();
    cluster.ShiftPorts(seed % 2 == 0 ? 1 : -1);
    const std::string replica = cluster.ReplicaOf(cluster.MasterOf(16383)), master = cluster.MasterOf(0);
    cluster.KillForGood(replica);
    cluster.Pass(500ms);
    if (seed % 3 == 2) cluster.ForgetMender();
    cluster.Pass(10s);
    for (const Order& order : cluster.orders()) EXPECT_NE(order.verb, "forget") << order.reason;
    cluster.Kill(master);
    ASSERT_TRUE(
        cluster.RunUntil([&] { return !cluster.MasterOf(0).empty() && cluster.MasterOf(0) != master; }, 1s))
        << cluster.Picture();
    EXPECT_THAT(cluster.Lost(), IsEmpty()) << cluster.Picture();
  }
}

// After a loss of power, say, with a server that was started since.
TEST(RedisClusterSafetyTest, WhoHasSlotsDoesNotLeaveWhileNobodyTellsWhoItIs) {
  for (unsigned seed = 0; seed < 4; ++seed) {
    TestingCluster cluster({.masters = 4, .seed = seed});
    ASSERT_TRUE(cluster.RunUntilGreen());
    cluster.Fill();
    const std::string master = cluster.MasterOf(0), replica = cluster.ReplicaOf(master);
    for (const std::string& name : {master, replica}) {
      cluster.Undesire(name);
      cluster.Await("leave", name);
    }
    cluster.Want(3, 1);
    for (auto& [name, server] : cluster.servers()) cluster.KillForGood(name);
    if (seed % 2 == 0) cluster.ForgetMender();
    EXPECT_FALSE(cluster.RunUntil([&] { return !cluster.awaits(master + ".leave"); }, 15s));
    for (auto& [name, server] : cluster.servers()) server.gone = false;
    ASSERT_TRUE(cluster.RunUntil([&] { return !cluster.awaits(); }, 120s)) << cluster.Picture();
    EXPECT_TRUE(cluster.at(master).self().slots.empty());
    EXPECT_THAT(cluster.Lost(), IsEmpty()) << cluster.Picture();
  }
}

// Redis lets it ask for votes only some time after it last did. Meanwhile it looks for its master's data
// where that has begun anew, and would take whatever is given there.
TEST(RedisClusterSafetyTest, AReplicaThatCannotBeElectedYetKeepsItsKeysWhereItsMasterBeganAnew) {
  for (unsigned seed = 0; seed < 6; ++seed) {
    TestingCluster cluster({.seed = seed, .node_timeout = 5s});
    ASSERT_TRUE(cluster.RunUntilGreen());
    cluster.Fill();
    const std::string master = cluster.MasterOf(0), replica = cluster.ReplicaOf(master);
    cluster.Kill(master);
    ASSERT_TRUE(cluster.RunUntil([&] { return cluster.MasterOf(0) == replica; }, 3s)) << cluster.Picture();
    ASSERT_TRUE(cluster.RunUntilGreen());
    cluster.Await("switchover", "cache", {{"to", master}});
    ASSERT_TRUE(cluster.RunUntil([&] { return !cluster.awaits(); }, 5s)) << cluster.Picture();
    cluster.Pass(12s);
    cluster.ClearOrders();
    if (seed % 2 == 1) cluster.ForgetMender();
    cluster.Wipe(master);
    ASSERT_TRUE(cluster.RunUntil([&] { return cluster.MasterOf(0) == replica; }, 10s))
        << "seed " << seed << "\n"
        << cluster.Picture();
    ASSERT_TRUE(cluster.RunUntilGreen()) << "seed " << seed << "\n" << cluster.Picture();
    EXPECT_THAT(cluster.Lost(), IsEmpty()) << "seed " << seed << "\n" << cluster.Picture();
  }
}

// A person is to decide whether it takes over with what it has. Until then its master, which has begun anew,
// is given no part in the cluster.
TEST(RedisClusterSafetyTest, AReplicaThatNobodyPromotesKeepsItsKeysWhereItsMasterBeganAnew) {
  for (unsigned seed = 0; seed < 6; ++seed) {
    TestingCluster cluster({.replicas = 1 + static_cast<int>(seed % 2), .seed = seed});
    ASSERT_TRUE(cluster.RunUntilGreen());
    cluster.Fill();
    const std::string master = cluster.MasterOf(0);
    std::vector<std::string> replicas;
    for (auto& [name, server] : cluster.servers()) {
      if (server.self().primary == cluster.at(master).id) replicas.push_back(name);
    }
    for (const std::string& replica : replicas) cluster.at(replica).cut = true;
    cluster.Pass(25s);
    cluster.Write(0);
    cluster.Wipe(master);
    for (const std::string& replica : replicas) cluster.at(replica).cut = false;
    cluster.Pass(30s);
    EXPECT_EQ(cluster.MasterOf(0), "") << cluster.Picture();
    EXPECT_TRUE(cluster.at(master).running && cluster.at(master).self().master) << cluster.Picture();
    cluster.Await("failover", "cache", {{"force", "yes"}});
    ASSERT_TRUE(cluster.RunUntil([&] { return !cluster.awaits(); }, 10s)) << cluster.Picture();
    ASSERT_TRUE(cluster.RunUntilGreen()) << cluster.Picture();
    EXPECT_THAT(cluster.Lost(), ElementsAre(0)) << cluster.Picture();
  }
}

TEST(RedisClusterSafetyTest, AMasterWhoseReplicaLagsWaitsForItAndLosesNothing) {
  for (unsigned seed = 0; seed < 2; ++seed) {
    TestingCluster cluster({.seed = seed});
    ASSERT_TRUE(cluster.RunUntilGreen());
    cluster.Fill();
    const std::string master = cluster.MasterOf(0), replica = cluster.ReplicaOf(master);
    cluster.at(replica).lags = true;
    cluster.Write(0);
    cluster.ClearOrders();
    cluster.Await("step-down", master);
    EXPECT_FALSE(cluster.RunUntil([&] { return !cluster.awaits() || cluster.MasterOf(0) != master; }, 25s))
        << cluster.Picture();
    for (const Order& order : cluster.orders()) {
      EXPECT_EQ(order.verb, "take-over") << order.reason;
      EXPECT_EQ(order.args.at("how"), "plain") << order.reason;
    }
    EXPECT_GT(cluster.orders().size(), 1u) << "it is tried again";
    EXPECT_THAT(cluster.waits(), HasSubstr(master));
    cluster.at(replica).lags = false;
    ASSERT_TRUE(cluster.RunUntil([&] { return !cluster.awaits(); }, 20s)) << cluster.Picture();
    EXPECT_EQ(cluster.MasterOf(0), replica);
    ASSERT_TRUE(cluster.RunUntilGreen()) << cluster.Picture();
    EXPECT_THAT(cluster.Lost(), IsEmpty()) << cluster.Picture();
  }
}

TEST(RedisClusterSafetyTest, AMasterWithSeveralReplicasHandsOverToTheOneThatDoesNotLag) {
  TestingCluster cluster({.masters = 3, .replicas = 2});
  ASSERT_TRUE(cluster.RunUntilGreen());
  cluster.Fill();
  const std::string master = cluster.MasterOf(0), replica = cluster.ReplicaOf(master);
  cluster.at(replica).lags = true;
  cluster.Pass(2s);
  cluster.Write(0);
  cluster.Await("step-down", master);
  ASSERT_TRUE(cluster.RunUntil([&] { return !cluster.awaits(); }, 5s)) << cluster.Picture();
  EXPECT_NE(cluster.MasterOf(0), replica);
  cluster.at(replica).lags = false;
  ASSERT_TRUE(cluster.RunUntilGreen()) << cluster.Picture();
  EXPECT_THAT(cluster.Lost(), IsEmpty()) << cluster.Picture();
}

// What agents told of both is some seconds old, and says the opposite of what is so.
TEST(RedisClusterSafetyTest, OfSeveralReplicasTheOneThatHasMostWhenTheMasterIsDeadTakesOver) {
  for (unsigned seed = 0; seed < 8; ++seed) {
    TestingCluster cluster({.masters = 3, .replicas = 2, .seed = seed, .node_timeout = 60s});
    ASSERT_TRUE(cluster.RunUntilGreen());
    cluster.Fill();
    const std::string master = cluster.MasterOf(0);
    std::vector<std::string> replicas;
    for (auto& [name, server] : cluster.servers()) {
      if (server.self().primary == cluster.at(master).id) replicas.push_back(name);
    }
    ASSERT_EQ(replicas.size(), 2u);
    const std::string &whole = replicas[seed % 2], &lagging = replicas[1 - seed % 2];
    cluster.at(whole).looked = cluster.now() + 1h;  // nothing is told of it any more
    cluster.Pass(2s);
    cluster.at(lagging).lags = true;
    cluster.Pass(2s);
    cluster.Write(0);
    cluster.Tick();
    cluster.KillForGood(master);
    cluster.ClearOrders();
    ASSERT_TRUE(cluster.RunUntil([&] { return !cluster.MasterOf(0).empty(); }, 1s)) << cluster.Picture();
    EXPECT_EQ(cluster.MasterOf(0), whole) << cluster.Picture();
    cluster.at(lagging).lags = cluster.at(master).gone = false;
    cluster.at(whole).looked = cluster.now();
    ASSERT_TRUE(cluster.RunUntilGreen()) << cluster.Picture();
    EXPECT_THAT(cluster.Lost(), IsEmpty()) << cluster.Picture();
  }
}

// It has come from elsewhere, say, with an offset of its own.
TEST(RedisClusterSafetyTest, AReplicaThatHasYetToBeLinkedIsNotComparedWithOneThatWas) {
  TestingCluster cluster({.masters = 3, .replicas = 2, .node_timeout = 60s});
  ASSERT_TRUE(cluster.RunUntilGreen());
  cluster.Fill();
  const std::string master = cluster.MasterOf(0), strange = cluster.ReplicaOf(master);
  cluster.at(strange).cut = true;
  cluster.at(strange).offset = 1'000'000'000;
  cluster.Pass(1500ms);
  cluster.ForgetMender();
  cluster.Pass(1500ms);
  cluster.Write(0);
  cluster.Tick();
  cluster.KillForGood(master);
  ASSERT_TRUE(cluster.RunUntil([&] { return !cluster.MasterOf(0).empty(); }, 1s)) << cluster.Picture();
  EXPECT_NE(cluster.MasterOf(0), strange) << cluster.Picture();
  cluster.at(master).gone = cluster.at(strange).cut = false;
  ASSERT_TRUE(cluster.RunUntilGreen()) << cluster.Picture();
  EXPECT_THAT(cluster.Lost(), IsEmpty()) << cluster.Picture();
}

TEST(RedisClusterSafetyTest, AReplicaThatDoesNotAnswerIsWaitedForAMomentOnlyAndOneAloneIsNotAsked) {
  TestingCluster cluster({.masters = 3, .replicas = 2, .node_timeout = 60s});
  ASSERT_TRUE(cluster.RunUntilGreen());
  cluster.Fill();
  const std::string master = cluster.MasterOf(0);
  cluster.KillForGood(master);
  cluster.ClearOrders();
  cluster.Tick();
  ASSERT_EQ(cluster.orders().size(), 2u) << cluster.Picture();
  for (const Order& order : cluster.orders()) EXPECT_EQ(order.verb, "look");
  cluster.at(cluster.orders()[1].instance).work->ends = cluster.now() + 1h;
  EXPECT_TRUE(cluster.RunUntil([&] { return !cluster.MasterOf(0).empty(); }, 400ms)) << cluster.Picture();

  TestingCluster pairs({.node_timeout = 60s});
  ASSERT_TRUE(pairs.RunUntilGreen());
  pairs.Fill();
  const std::string other = pairs.MasterOf(0);
  pairs.at(other).gone = true;
  pairs.Kill(other);
  pairs.ClearOrders();
  ASSERT_TRUE(pairs.RunUntil([&] { return !pairs.MasterOf(0).empty(); }, 100ms)) << pairs.Picture();
  EXPECT_EQ(pairs.orders().front().verb, "take-over");
}

// A master dies whose replica hasn't had its link for some time.
TEST(RedisClusterSafetyTest, AReplicaThatLostItsLinkBeforeItsMasterDiedIsNotPromoted) {
  for (unsigned seed = 0; seed < 2; ++seed) {
    TestingCluster cluster({.seed = seed, .node_timeout = 60s});
    ASSERT_TRUE(cluster.RunUntilGreen());
    cluster.Fill();
    const std::string master = cluster.MasterOf(0), replica = cluster.ReplicaOf(master);
    cluster.at(replica).cut = true;
    cluster.Pass(5s);
    cluster.Write(0);
    cluster.at(master).gone = true;  // for now
    cluster.Kill(master);
    cluster.ClearOrders();
    cluster.Await("settle", master);
    EXPECT_FALSE(cluster.RunUntil([&] { return !cluster.MasterOf(0).empty(); }, 20s)) << cluster.Picture();
    for (const Order& order : cluster.orders()) EXPECT_NE(order.verb, "take-over") << order.reason;
    cluster.at(master).gone = false;
    ASSERT_TRUE(cluster.RunUntil([&] { return cluster.MasterOf(0) == master; }, 5s)) << cluster.Picture();
    cluster.at(replica).cut = false;
    ASSERT_TRUE(cluster.RunUntilGreen()) << cluster.Picture();
    EXPECT_THAT(cluster.Lost(), IsEmpty()) << cluster.Picture();
  }
}

TEST(RedisClusterSafetyTest, SaysForWhomTheSlotsOfSuchAMasterWaitAndGivesTheWritesUpOnlyWhenTold) {
  TestingCluster cluster({.node_timeout = 60s});
  ASSERT_TRUE(cluster.RunUntilGreen());
  const std::string master = cluster.MasterOf(0), replica = cluster.ReplicaOf(master);
  cluster.at(replica).cut = true;
  cluster.Pass(5s);
  EXPECT_THAT(cluster.says(), IsEmpty());
  cluster.KillForGood(master);
  cluster.Pass(500ms);
  ASSERT_EQ(cluster.says().size(), 1u);
  EXPECT_THAT(cluster.says()[0],
              StartsWith(master + " is down, and " + replica + " was not linked to it any more, "));
  EXPECT_THAT(cluster.says()[0], EndsWith(" B behind: slots 0-5460 wait for " + master +
                                          ", which has what was written since; muster failover cache --force "
                                          "gives that up"));
  cluster.Await("failover", "cache");
  ASSERT_TRUE(cluster.RunUntil([&] { return !cluster.awaits(); }, 1s));
  EXPECT_THAT(cluster.refused(), ElementsAre(Pair("cache.failover", "failover-refused")));
  EXPECT_EQ(cluster.MasterOf(0), "");
  cluster.Await("failover", "cache", {{"force", "yes"}});
  ASSERT_TRUE(cluster.RunUntil([&] { return !cluster.awaits(); }, 3s)) << cluster.Picture();
  EXPECT_EQ(cluster.MasterOf(0), replica);
  cluster.at(master).gone = cluster.at(replica).cut = false;
  ASSERT_TRUE(cluster.RunUntilGreen()) << cluster.Picture();
  EXPECT_THAT(cluster.says(), IsEmpty());
}

TEST(RedisClusterSafetyTest, AReplicaWhoseLinkEndedWithItsMasterIsPromotedAtOnce) {
  TestingCluster cluster({.node_timeout = 60s});
  ASSERT_TRUE(cluster.RunUntilGreen());
  cluster.Fill();
  const std::string master = cluster.MasterOf(0), replica = cluster.ReplicaOf(master);
  // Once it has been without, and it has caught up since.
  cluster.at(replica).cut = true;
  cluster.Pass(5s);
  cluster.Write(0);
  cluster.at(replica).cut = false;
  ASSERT_TRUE(cluster.RunUntilGreen()) << cluster.Picture();
  cluster.Pass(2s);
  cluster.KillForGood(master);
  ASSERT_TRUE(cluster.RunUntil([&] { return cluster.MasterOf(0) == replica; }, 1s)) << cluster.Picture();
  cluster.at(master).gone = false;
  ASSERT_TRUE(cluster.RunUntilGreen()) << cluster.Picture();
  EXPECT_THAT(cluster.Lost(), IsEmpty()) << cluster.Picture();
}

TEST(RedisClusterSafetyTest, AServerThatHasJustBeenStartedWaitsForAMasterThatMayComeBackWithMore) {
  for (unsigned seed = 0; seed < 2; ++seed) {
    TestingCluster cluster({.seed = seed, .node_timeout = 5s});
    ASSERT_TRUE(cluster.RunUntilGreen());
    cluster.Fill();
    const std::string master = cluster.MasterOf(0), replica = cluster.ReplicaOf(master);
    cluster.at(replica).cut = true;
    cluster.Pass(5s);
    cluster.Write(0);
    cluster.ClearOrders();
    cluster.Kill(master);
    cluster.ForgetMender();
    ASSERT_TRUE(cluster.RunUntil([&] { return cluster.MasterOf(0) == master; }, 2s)) << cluster.Picture();
    for (const Order& order : cluster.orders()) EXPECT_NE(order.verb, "take-over") << order.reason;
    cluster.at(replica).cut = false;
    ASSERT_TRUE(cluster.RunUntilGreen()) << cluster.Picture();
    EXPECT_THAT(cluster.Lost(), IsEmpty()) << cluster.Picture();
    // One that doesn't is replaced all the same.
    cluster.KillForGood(master);
    cluster.ForgetMender();
    ASSERT_TRUE(cluster.RunUntil([&] { return cluster.MasterOf(0) == replica; }, 11s)) << cluster.Picture();
  }
}

// Its snapshot may have more than a replica that has been without it.
TEST(RedisClusterSafetyTest, AMasterThatComesBackWithItsSnapshotIsWaitedForWhereItsReplicaIsStale) {
  TestingCluster cluster({.node_timeout = 60s, .append_only = false, .save = "60 1"});
  ASSERT_TRUE(cluster.RunUntilGreen());
  cluster.Fill();
  const std::string master = cluster.MasterOf(0), replica = cluster.ReplicaOf(master);
  cluster.at(replica).cut = true;
  cluster.Pass(5s);
  cluster.at(replica).cut = false;
  cluster.at(master).gone = true;
  cluster.ClearOrders();
  cluster.Kill(master);
  cluster.Pass(2s);
  EXPECT_NE(cluster.MasterOf(0), replica) << cluster.Picture();
  for (const Order& order : cluster.orders()) EXPECT_NE(order.verb, "take-over") << order.reason;
}

// What has neither append-only file nor snapshots comes back without anything: any replica has more than
// that.
TEST(RedisClusterSafetyTest, AMasterThatComesBackEmptyIsNotWaitedFor) {
  for (const bool new_server : {false, true}) {
    TestingCluster cluster({.node_timeout = 60s, .append_only = false});
    ASSERT_TRUE(cluster.RunUntilGreen());
    cluster.Fill();
    const std::string master = cluster.MasterOf(0), replica = cluster.ReplicaOf(master);
    cluster.at(replica).cut = true;
    cluster.Pass(5s);
    cluster.at(replica).cut = false;
    cluster.KillForGood(master);
    if (new_server) cluster.ForgetMender();
    ASSERT_TRUE(cluster.RunUntil([&] { return cluster.MasterOf(0) == replica; }, 1s)) << cluster.Picture();
  }
}

// Long enough that Redis itself makes the replica no master either.
TEST(RedisClusterSafetyTest, ServersThatHaveJustBeenStartedKnowAsWellThatAReplicaHadLostItsLink) {
  for (unsigned seed = 0; seed < 2; ++seed) {
    TestingCluster cluster({.seed = seed, .node_timeout = 1s});
    ASSERT_TRUE(cluster.RunUntilGreen());
    cluster.Fill();
    const std::string master = cluster.MasterOf(0), replica = cluster.ReplicaOf(master);
    cluster.at(replica).cut = true;
    cluster.Pass(25s);
    cluster.Write(0);
    cluster.KillForGood(master);
    cluster.ForgetMender();
    cluster.ClearOrders();
    for (int servers = 0; servers < 4; ++servers) {
      cluster.Pass(7s);
      ASSERT_EQ(cluster.MasterOf(0), "") << cluster.Picture();
      ASSERT_EQ(cluster.says().size(), 1u);
      EXPECT_THAT(cluster.says()[0], HasSubstr(replica + " was not linked to it any more"));
      cluster.ForgetMender();
    }
    for (const Order& order : cluster.orders()) EXPECT_NE(order.verb, "take-over") << order.reason;
    cluster.Await("failover", "cache", {{"force", "yes"}});
    ASSERT_TRUE(cluster.RunUntil([&] { return !cluster.awaits(); }, 3s)) << cluster.Picture();
    EXPECT_EQ(cluster.MasterOf(0), replica);
  }
}

TEST(RedisClusterSafetyTest, OfTwoThatHadLostTheirLinkTheOneWithMoreIsForced) {
  TestingCluster cluster({.replicas = 2, .node_timeout = 60s});
  ASSERT_TRUE(cluster.RunUntilGreen());
  const std::string master = cluster.MasterOf(0), first = cluster.ReplicaOf(master);
  cluster.at(first).cut = true;
  cluster.Pass(5s);
  std::string second;
  for (auto& [name, server] : cluster.servers()) {
    if (name != first && server.self().primary == cluster.at(master).id) second = name;
  }
  cluster.at(second).cut = true;
  cluster.Pass(5s);
  cluster.KillForGood(master);
  cluster.Pass(2s);
  EXPECT_EQ(cluster.MasterOf(0), "");
  cluster.Await("failover", "cache", {{"force", "yes"}});
  ASSERT_TRUE(cluster.RunUntil([&] { return !cluster.awaits(); }, 3s)) << cluster.Picture();
  EXPECT_EQ(cluster.MasterOf(0), second);
}

// Less than the three seconds that a server needs which only sees that a link is gone.
TEST(RedisClusterSafetyTest, AReplicaThatLostItsLinkShortlyBeforeAndIsBehindIsNotPromoted) {
  for (unsigned seed = 0; seed < 4; ++seed) {
    TestingCluster cluster({.seed = seed, .node_timeout = 60s});
    ASSERT_TRUE(cluster.RunUntilGreen());
    cluster.Fill();
    const std::string master = cluster.MasterOf(0), replica = cluster.ReplicaOf(master);
    cluster.at(replica).cut = true;
    for (unsigned i = 0; i < 260 + 7 * seed; ++i) cluster.Tick();
    cluster.Write(0);
    cluster.KillForGood(master);
    EXPECT_FALSE(cluster.RunUntil([&] { return !cluster.MasterOf(0).empty(); }, 20s)) << cluster.Picture();
    cluster.at(master).gone = cluster.at(replica).cut = false;
    ASSERT_TRUE(cluster.RunUntilGreen()) << cluster.Picture();
    EXPECT_EQ(cluster.MasterOf(0), master);
    EXPECT_THAT(cluster.Lost(), IsEmpty()) << cluster.Picture();
  }
}

TEST(RedisClusterSafetyTest, AReplicaThatWasStartedAnewWithoutItsMasterIsNotPromoted) {
  TestingCluster cluster({.node_timeout = 60s});
  ASSERT_TRUE(cluster.RunUntilGreen());
  cluster.Fill();
  const std::string master = cluster.MasterOf(0), replica = cluster.ReplicaOf(master);
  cluster.at(replica).cut = true;
  cluster.Kill(replica);
  cluster.Pass(2500ms);
  cluster.Write(0);
  cluster.KillForGood(master);
  EXPECT_FALSE(cluster.RunUntil([&] { return !cluster.MasterOf(0).empty(); }, 20s)) << cluster.Picture();
}

TEST(RedisClusterSafetyTest, AReplicaThatWasLinkedToTheEndIsPromotedAtOnceHoweverFarItLags) {
  for (const char* when : {"at once", "later", "later, and by another server"}) {
    TestingCluster cluster({.node_timeout = 60s});
    ASSERT_TRUE(cluster.RunUntilGreen());
    const std::string master = cluster.MasterOf(0), replica = cluster.ReplicaOf(master);
    cluster.at(replica).lags = true;
    cluster.Pass(10s);
    cluster.at(master).gone = true;
    const std::string host = cluster.at(replica).host;
    cluster.Silence(host, when != std::string("at once"));
    cluster.Kill(master);
    for (int i = 0; i < (when == std::string("at once") ? 0 : 500); ++i) cluster.Tick();
    if (when == std::string("later, and by another server")) cluster.ForgetMender();
    cluster.Silence(host, false);
    ASSERT_TRUE(cluster.RunUntil([&] { return cluster.MasterOf(0) == replica; }, 1500ms))
        << when << "\n"
        << cluster.Picture();
  }
}

// A node of the cluster that is no member of the service, such as one somebody has added by hand.
TEST(RedisClusterSafetyTest, OneMembersDoubtMakesNobodyDead) {
  TestingCluster cluster({});
  ASSERT_TRUE(cluster.RunUntilGreen());
  cluster.Fill();
  const std::string master = cluster.MasterOf(0), replica = cluster.ReplicaOf(cluster.MasterOf(6000));
  cluster.Disown(master);
  cluster.Disown(replica);
  cluster.ClearOrders();
  for (auto& [name, server] : cluster.servers()) {
    if (server.foreign) continue;
    server.doubts = {cluster.at(master).id, cluster.at(replica).id};
    break;
  }
  cluster.Pass(10s);
  for (const Order& order : cluster.orders()) {
    EXPECT_NE(order.verb, "take-over") << order.reason;
    EXPECT_NE(order.verb, "forget") << order.reason;
  }
  EXPECT_EQ(cluster.MasterOf(0), master);
  EXPECT_THAT(cluster.Lost(), IsEmpty());
}

TEST(RedisClusterSafetyTest, AMasterThatIsNoMemberIsReplacedByVoteOnly) {
  for (unsigned seed = 0; seed < 6; ++seed) {
    TestingCluster cluster({.seed = seed});
    ASSERT_TRUE(cluster.RunUntilGreen());
    const std::string master = cluster.MasterOf(0);
    cluster.Disown(master);
    cluster.at(master).gone = true;
    cluster.ClearOrders();
    cluster.Kill(master);
    ASSERT_TRUE(cluster.RunUntil([&] { return !cluster.MasterOf(0).empty(); }, 20s)) << cluster.Picture();
    for (const Order& order : cluster.orders()) {
      if (order.verb != "take-over") continue;
      EXPECT_EQ(order.args.at("how"), "force") << order.reason;
    }
  }
}

TEST(RedisClusterSafetyTest, AMasterThatIsNoMemberStaysWhereNoMajorityCanTellThatItIsGone) {
  TestingCluster cluster({});
  ASSERT_TRUE(cluster.RunUntilGreen());
  const std::string master = cluster.MasterOf(0), other = cluster.MasterOf(6000);
  const std::string heir = cluster.ReplicaOf(master), stands_in = cluster.ReplicaOf(other);
  cluster.Disown(master);
  cluster.KillForGood(stands_in);
  cluster.KillForGood(other);
  cluster.ClearOrders();
  cluster.KillForGood(master);
  EXPECT_FALSE(cluster.RunUntil([&] { return !cluster.MasterOf(0).empty(); }, 20s)) << cluster.Picture();
  for (const Order& order : cluster.orders()) EXPECT_NE(order.verb, "take-over") << order.reason;
}

}  // namespace
}  // namespace muster::redis_cluster
