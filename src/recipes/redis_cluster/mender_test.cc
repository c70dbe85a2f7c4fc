// What the mender does with a model of Redis Cluster.
#include "recipes/redis_cluster/mender.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "recipes/redis_cluster/testing_model.h"

namespace muster::redis_cluster {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(RedisClusterMenderTest, FormsAClusterTheFastWay) {
  TestingCluster cluster({});
  const Time begin = cluster.now();
  ASSERT_TRUE(cluster.RunUntilGreen(5s)) << cluster.Picture();
  ASSERT_TRUE(cluster.RunUntil(
      [&] {
        return std::all_of(cluster.servers().begin(), cluster.servers().end(),
                           [](auto& one) { return one.second.ok; });
      },
      1s));
  EXPECT_LT(cluster.now() - begin, 1500ms) << cluster.Picture();
  for (const char* name : {"cache-1", "cache-2", "cache-3"})
    EXPECT_TRUE(cluster.at(name).self().master) << name;
}

TEST(RedisClusterMenderTest, FormsAClusterFromAnyHalfDoneState) {
  for (unsigned seed = 0; seed < 20; ++seed) {
    TestingCluster cluster({.seed = seed, .lossy_orders = seed % 2 == 1});
    std::mt19937 random(seed);
    for (int deaths = 0; deaths < 3; ++deaths) {
      for (unsigned ticks = 5 + random() % 25; ticks > 0; --ticks) cluster.Tick();
      const std::string victim = fmt::format("cache-{}", 1 + random() % 6);
      if (random() % 3 == 0) {
        cluster.ForgetMender();
      } else if (random() % 2 || !cluster.at(victim).self().slots.empty()) {
        cluster.Kill(victim);  // a wiped owner of slots whom nobody has copied is another story
      } else {
        cluster.Wipe(victim);
      }
    }
    ASSERT_TRUE(cluster.RunUntilGreen(40s)) << "seed " << seed << "\n" << cluster.Picture();
    EXPECT_EQ(cluster.Masters(), 3) << "seed " << seed << "\n" << cluster.Picture();
  }
}

TEST(RedisClusterMenderTest, ReplacesADeadMasterAtOnce) {
  TestingCluster cluster({.node_timeout = 15s});
  ASSERT_TRUE(cluster.RunUntilGreen());
  cluster.Fill();
  cluster.ClearOrders();
  const Time begin = cluster.now();
  const std::string old = cluster.MasterOf(0);
  cluster.Kill(old);
  ASSERT_TRUE(cluster.RunUntil([&] { return !cluster.MasterOf(0).empty(); }, 1s)) << cluster.Picture();
  EXPECT_LT(cluster.now() - begin, 100ms);
  ASSERT_FALSE(cluster.orders().empty());
  EXPECT_EQ(cluster.orders().front().verb, "take-over");
  EXPECT_EQ(cluster.orders().front().args.at("how"), "force");
  EXPECT_TRUE(cluster.orders().front().notable);
  EXPECT_EQ(cluster.orders().front().reason, old + " died: " + cluster.MasterOf(0) + " takes over 0-5460");
  ASSERT_TRUE(cluster.RunUntilGreen()) << cluster.Picture();
  EXPECT_FALSE(cluster.at(old).self().master);
  EXPECT_THAT(cluster.Lost(), IsEmpty());
}

TEST(RedisClusterMenderTest, ReplacesAMasterThatTheFileHasNoMoreAsAnyOther) {
  TestingCluster cluster({.masters = 4, .node_timeout = 15s});
  ASSERT_TRUE(cluster.RunUntilGreen());
  cluster.Fill();
  const std::string old = cluster.MasterOf(0);
  // As where its slots were to go to the others, and somebody has ended that.
  cluster.Want(3, 1);
  cluster.Undesire(old);
  cluster.Undesire(cluster.ReplicaOf(old));
  cluster.ForgetMender();
  cluster.Tick();
  cluster.KillForGood(old);
  ASSERT_TRUE(cluster.RunUntil([&] { return !cluster.MasterOf(0).empty(); }, 1s)) << cluster.Picture();
  EXPECT_THAT(cluster.Lost(), IsEmpty());
}

TEST(RedisClusterMenderTest, TakesOverWithoutAVoteWhereNoMajorityIsLeft) {
  TestingCluster cluster({.node_timeout = 15s});
  ASSERT_TRUE(cluster.RunUntilGreen());
  cluster.Fill();
  cluster.ClearOrders();
  const std::string first = cluster.MasterOf(0), second = cluster.MasterOf(6000);
  cluster.Kill(first);
  cluster.Kill(second);
  ASSERT_TRUE(
      cluster.RunUntil([&] { return !cluster.MasterOf(0).empty() && !cluster.MasterOf(6000).empty(); }, 1s))
      << cluster.Picture();
  EXPECT_EQ(cluster.orders().front().args.at("how"), "takeover");
  ASSERT_TRUE(cluster.RunUntilGreen()) << cluster.Picture();
  EXPECT_THAT(cluster.Lost(), IsEmpty());
}

TEST(RedisClusterMenderTest, NeverReplacesAMasterWhoseHostIsSilent) {
  TestingCluster cluster({.hosts = 6, .node_timeout = 15s});
  ASSERT_TRUE(cluster.RunUntilGreen());
  cluster.ClearOrders();
  cluster.Silence("h1", true);
  cluster.Kill("cache-1");
  EXPECT_FALSE(cluster.RunUntil([&] { return !cluster.MasterOf(0).empty(); }, 250ms));
  for (const Order& order : cluster.orders()) EXPECT_NE(order.verb, "take-over");
}

TEST(RedisClusterMenderTest, DoesNotPaperOverAShardThatIsGone) {
  TestingCluster cluster({});
  ASSERT_TRUE(cluster.RunUntilGreen());
  cluster.Fill();
  const std::string master = cluster.MasterOf(0);
  std::string replica;
  for (auto& [name, server] : cluster.servers()) {
    if (server.self().primary == cluster.at(master).id) replica = name;
  }
  cluster.KillForGood(master);
  cluster.KillForGood(replica);
  cluster.ClearOrders();
  EXPECT_FALSE(cluster.RunUntil([&] { return !cluster.MasterOf(0).empty(); }, 20s));
  for (const Order& order : cluster.orders()) EXPECT_EQ(order.verb, "look") << order.reason;
  cluster.at(master).gone = false;
  cluster.at(replica).gone = false;
  ASSERT_TRUE(cluster.RunUntilGreen()) << cluster.Picture();
  EXPECT_THAT(cluster.Lost(), IsEmpty());
}

std::vector<std::string> SlotCounts(TestingCluster& cluster) {
  std::vector<std::string> counts;
  for (auto& [name, server] : cluster.servers()) {
    if (server.self().master) counts.push_back(std::to_string(server.self().slots.count()));
  }
  std::sort(counts.begin(), counts.end());
  return counts;
}

TEST(RedisClusterMenderTest, RebuildsAWipedMember) {
  for (unsigned seed = 0; seed < 6; ++seed) {
    TestingCluster cluster({.seed = seed});
    ASSERT_TRUE(cluster.RunUntilGreen());
    cluster.Fill();
    cluster.Wipe(fmt::format("cache-{}", seed % 6 + 1));
    ASSERT_TRUE(cluster.RunUntilGreen(40s)) << "seed " << seed << "\n" << cluster.Picture();
    EXPECT_THAT(cluster.Lost(), IsEmpty()) << "seed " << seed;
    EXPECT_EQ(cluster.Masters(), 3) << "seed " << seed;
  }
}

TEST(RedisClusterMenderTest, AMasterStepsDownAndIsToldApartFromOneThatHas) {
  TestingCluster cluster({});
  ASSERT_TRUE(cluster.RunUntilGreen());
  cluster.Fill();
  const std::string master = cluster.MasterOf(0);
  cluster.ClearOrders();
  cluster.Await("step-down", master);
  ASSERT_TRUE(cluster.RunUntil([&] { return !cluster.awaits(); }, 1s)) << cluster.Picture();
  EXPECT_FALSE(cluster.at(master).self().master);
  ASSERT_EQ(cluster.orders().size(), 1u) << cluster.Picture();
  EXPECT_EQ(cluster.orders()[0].args.at("how"), "plain");
  cluster.ClearOrders();
  cluster.Await("step-down", master);
  ASSERT_TRUE(cluster.RunUntil([&] { return !cluster.awaits(); }, 100ms));
  EXPECT_THAT(cluster.orders(), IsEmpty());
}

TEST(RedisClusterMenderTest, AFourthMasterGetsItsShare) {
  for (unsigned seed = 0; seed < 4; ++seed) {
    TestingCluster cluster({.seed = seed, .lossy_orders = seed % 2 == 1});
    ASSERT_TRUE(cluster.RunUntilGreen());
    cluster.Fill(16);
    cluster.Want(4, 1);
    cluster.Add();
    cluster.Add();
    ASSERT_TRUE(cluster.RunUntilGreen()) << cluster.Picture();
    cluster.Await("settle", "cache-1", {{"slots", "even"}});
    ASSERT_TRUE(cluster.RunUntilGreen(60s)) << "seed " << seed << "\n" << cluster.Picture();
    EXPECT_THAT(SlotCounts(cluster), ElementsAre("4096", "4096", "4096", "4096"));
    EXPECT_THAT(cluster.Lost(), IsEmpty()) << "seed " << seed;
  }
}

TEST(RedisClusterMenderTest, SaysHowManySlotsAreMovedOfHowMany) {
  TestingCluster cluster({});
  ASSERT_TRUE(cluster.RunUntilGreen());
  cluster.Want(4, 1);
  cluster.Add();
  cluster.Add();
  ASSERT_TRUE(cluster.RunUntilGreen()) << cluster.Picture();
  cluster.Await("settle", "cache-1", {{"slots", "even"}});
  std::vector<int> moved;
  const auto look = [&] {
    const size_t at = cluster.waits().find(" of 4096 slots moved: ");
    if (at != std::string::npos) {
      const size_t start = cluster.waits().rfind(' ', at - 1) + 1;
      const int now = std::stoi(cluster.waits().substr(start, at - start));
      if (moved.empty() || now != moved.back()) moved.push_back(now);
    }
    return !cluster.awaits();
  };
  ASSERT_TRUE(cluster.RunUntil(look, 60s)) << cluster.Picture();
  ASSERT_GE(moved.size(), 5u);
  EXPECT_EQ(moved.front(), 0);
  EXPECT_TRUE(std::is_sorted(moved.begin(), moved.end()));
  // The next run counts anew.
  cluster.Want(3, 1);
  for (const char* name : {"cache-7", "cache-8"}) {
    cluster.Undesire(name);
    cluster.Await("leave", name);
  }
  ASSERT_TRUE(cluster.RunUntil(
      [&] { return cluster.waits().find(" of its 4096 slots moved") != std::string::npos; }, 10s))
      << cluster.Picture();
  EXPECT_THAT(cluster.waits(), HasSubstr("0 of its 4096 slots moved"));
  ASSERT_TRUE(cluster.RunUntil([&] { return !cluster.awaits(); }, 60s)) << cluster.Picture();
}

TEST(RedisClusterMenderTest, MastersTooManyBecomeReplicas) {
  for (unsigned seed = 0; seed < 4; ++seed) {
    const bool six = seed / 2 == 1;  // 6 of 1 + 1 to 4 of 1 + 2; 4 of 1 + 1 and another to 3 of 1 + 2
    const int masters = six ? 4 : 3;
    TestingCluster cluster(
        {.masters = six ? 6 : 4, .hosts = six ? 6 : 3, .seed = seed, .lossy_orders = seed % 2 == 1});
    ASSERT_TRUE(cluster.RunUntilGreen());
    cluster.Fill(16);
    cluster.Want(masters, 2);
    if (!six) cluster.Add();
    cluster.Await("settle", "cache-1", {{"slots", "even"}});
    ASSERT_TRUE(cluster.RunUntilGreen(90s)) << "seed " << seed << "\n" << cluster.Picture();
    EXPECT_FALSE(cluster.awaits());
    if (six) {
      EXPECT_THAT(SlotCounts(cluster), ElementsAre("4096", "4096", "4096", "4096")) << cluster.Picture();
    } else {
      EXPECT_THAT(SlotCounts(cluster), ElementsAre("5461", "5461", "5462")) << cluster.Picture();
    }
    std::map<std::string, int> followers;
    for (auto& [name, server] : cluster.servers()) {
      if (!server.self().master) ++followers[server.self().primary];
    }
    EXPECT_EQ(static_cast<int>(followers.size()), masters) << cluster.Picture();
    for (const auto& [id, number] : followers) EXPECT_EQ(number, 2) << cluster.Picture();
    EXPECT_THAT(cluster.Lost(), IsEmpty()) << "seed " << seed;
  }
}

TEST(RedisClusterMenderTest, MembersLeaveWithAllTheirSlots) {
  for (unsigned seed = 0; seed < 6; ++seed) {
    TestingCluster cluster({.masters = 4, .seed = seed, .lossy_orders = seed % 2 == 1});
    ASSERT_TRUE(cluster.RunUntilGreen());
    cluster.Fill(16);
    if (seed % 3 == 1) {  // roles aren't where they were at first
      cluster.Await("step-down", cluster.MasterOf(0));
      cluster.Await("step-down", cluster.MasterOf(16383));
      ASSERT_TRUE(cluster.RunUntilGreen()) << cluster.Picture();
    }
    cluster.Want(3, 1);
    for (const char* name : {"cache-7", "cache-8"}) {
      cluster.Undesire(name);
      cluster.Await("leave", name);
    }
    ASSERT_TRUE(cluster.RunUntil([&] { return !cluster.awaits(); }, 60s)) << "seed " << seed << "\n"
                                                                          << cluster.Picture();
    cluster.Remove("cache-7");
    cluster.Remove("cache-8");
    cluster.Await("settle", "cache-1", {{"slots", "even"}});
    ASSERT_TRUE(cluster.RunUntilGreen(60s)) << "seed " << seed << "\n" << cluster.Picture();
    EXPECT_THAT(SlotCounts(cluster), ElementsAre("5461", "5461", "5462")) << "seed " << seed;
    EXPECT_THAT(cluster.Lost(), IsEmpty()) << "seed " << seed;
  }
}

// An agent that dies while others are told to forget who left.
TEST(RedisClusterMenderTest, ALeaveWaitsForAgentsThatAreAboutToComeBackButNotForHostsThatAreGone) {
  for (const Duration away : {3s, 30s}) {
    TestingCluster cluster({.masters = 4});
    ASSERT_TRUE(cluster.RunUntilGreen());
    const std::set<std::string> left{cluster.at("cache-7").id, cluster.at("cache-8").id};
    const auto knows = [&](const std::string& name) {
      const auto& known = cluster.at(name).known;
      return std::any_of(left.begin(), left.end(), [&](const std::string& id) { return known.contains(id); });
    };
    cluster.Want(3, 1);
    for (const char* name : {"cache-7", "cache-8"}) {
      cluster.Undesire(name);
      cluster.Await("leave", name);
    }
    ASSERT_TRUE(cluster.RunUntil([&] {
      return cluster.at("cache-7").self().slots.empty() && cluster.at("cache-8").self().slots.empty();
    })) << cluster.Picture();
    cluster.Silence("h3", true);
    const Time silent = cluster.now();
    EXPECT_FALSE(cluster.RunUntil([&] { return !cluster.awaits(); }, 3s)) << cluster.Picture();
    EXPECT_THAT(cluster.waits(), HasSubstr("h3 is silent"));
    EXPECT_TRUE(knows("cache-3"));
    if (away > 3s) {
      ASSERT_TRUE(cluster.RunUntil([&] { return !cluster.awaits(); }, 10s)) << cluster.Picture();
      EXPECT_GT(cluster.now() - silent, 9s);
      EXPECT_TRUE(knows("cache-3"));
    } else {
      cluster.Silence("h3", false);
      ASSERT_TRUE(cluster.RunUntil([&] { return !cluster.awaits(); }, 5s)) << cluster.Picture();
      EXPECT_FALSE(knows("cache-3") || knows("cache-6"));
    }
    cluster.TakeAway("cache-7");
    cluster.TakeAway("cache-8");
    cluster.Silence("h3", false);
    cluster.Await("settle", "cache-1", {{"slots", "even"}});
    ASSERT_TRUE(cluster.RunUntilGreen(30s)) << cluster.Picture();
    EXPECT_FALSE(knows("cache-3") || knows("cache-6"));
  }
}

TEST(RedisClusterMenderTest, AReplicaOfAMasterThatLeavesStaysUntilThatHasGivenAllAway) {
  TestingCluster cluster({.masters = 4});
  ASSERT_TRUE(cluster.RunUntilGreen());
  cluster.Fill(16);
  const std::string master = cluster.MasterOf(0), replica = cluster.ReplicaOf(master);
  const std::string id = cluster.at(replica).id;
  cluster.Want(3, 1);
  for (const std::string& name : {master, replica}) {
    cluster.Undesire(name);
    cluster.Await("leave", name);
  }
  ASSERT_TRUE(cluster.RunUntil([&] { return cluster.at(replica).id != id; })) << cluster.Picture();
  EXPECT_THAT(cluster.at(master).self().slots.Text(), IsEmpty());
  EXPECT_THAT(cluster.Lost(), IsEmpty());
}

TEST(RedisClusterMenderTest, SettlesWhenAllAgreeAndSaysWhyNotBefore) {
  TestingCluster cluster({});
  cluster.Await("settle", "cache-1");
  cluster.Tick();
  EXPECT_THAT(cluster.waits(), HasSubstr("is not ready"));
  ASSERT_TRUE(cluster.RunUntil([&] { return !cluster.awaits(); }, 10s)) << cluster.Picture();
  EXPECT_EQ(cluster.Why(), "");
  cluster.at("cache-6").gone = true;
  cluster.Kill("cache-6");
  cluster.Await("settle", "cache-1");
  EXPECT_FALSE(cluster.RunUntil([&] { return !cluster.awaits(); }, 3s));
  EXPECT_THAT(cluster.waits(), HasSubstr("cache-6 is not ready"));
}

TEST(RedisClusterMenderTest, ARunWaitsForReplicasThatChangePlaces) {
  for (unsigned seed = 1; seed <= 4; ++seed) {
    TestingCluster cluster({.seed = seed});
    ASSERT_TRUE(cluster.RunUntilGreen()) << cluster.Picture();
    const auto at_the_side_of_their_masters = [&] {
      int number = 0;
      for (auto& [name, server] : cluster.servers()) {
        const std::string& primary = server.self().primary;
        for (auto& [other, master] : cluster.servers()) {
          number += master.id == primary && master.host == server.host ? 1 : 0;
        }
      }
      return number;
    };
    ASSERT_EQ(at_the_side_of_their_masters(), 0) << cluster.Picture();
    for (auto& [name, server] : cluster.servers()) {
      if (server.self().master) continue;
      for (auto& [other, master] : cluster.servers()) {
        if (master.self().master && master.host == server.host) cluster.Follow(name, other);
      }
    }
    ASSERT_GT(at_the_side_of_their_masters(), 0) << cluster.Picture();
    // What is told of it lags behind.
    for (const Time told = cluster.now() + 1s; !cluster.awaits() || cluster.now() < told; cluster.Tick()) {
      if (!cluster.awaits()) cluster.Await("settle", "cache-1");
    }
    ASSERT_TRUE(cluster.RunUntil([&] { return !cluster.awaits(); }, 60s)) << cluster.Picture();
    EXPECT_EQ(at_the_side_of_their_masters(), 0) << cluster.Picture();
    EXPECT_EQ(cluster.Why(), "");
  }
}

TEST(RedisClusterMenderTest, AMasterWithTooManyReplicasKeepsTheOneThatIsOfUse) {
  for (const bool first_is_away : {true, false}) {
    TestingCluster cluster({});
    ASSERT_TRUE(cluster.RunUntilGreen()) << cluster.Picture();
    cluster.Add();
    ASSERT_TRUE(cluster.RunUntilGreen()) << cluster.Picture();
    const auto replicas_of = [&](const std::string& master) {
      std::vector<std::string> names;
      for (auto& [name, server] : cluster.servers()) {
        if (server.self().primary == cluster.at(master).id) names.push_back(name);
      }
      return names;
    };
    std::string rich, poor;
    for (const int slot : {0, 6000, 16383}) {
      const std::string master = cluster.MasterOf(slot);
      (replicas_of(master).size() > 1 ? rich : poor) = master;
    }
    const std::vector<std::string> two = replicas_of(rich);
    ASSERT_EQ(two.size(), 2u) << cluster.Picture();
    const std::string &away = two[first_is_away ? 0 : 1], &stays = two[first_is_away ? 1 : 0];
    cluster.KillForGood(away);
    cluster.Pass(3s);
    cluster.TakeAway(replicas_of(poor).at(0));
    cluster.Pass(10s);
    EXPECT_THAT(replicas_of(rich), Contains(stays)) << cluster.Picture();
    EXPECT_TRUE(cluster.at(stays).linked);
    EXPECT_THAT(replicas_of(poor), IsEmpty());
    // Once it is back one of them goes.
    cluster.at(away).gone = false;
    ASSERT_TRUE(cluster.RunUntilGreen()) << cluster.Picture();
    EXPECT_EQ(replicas_of(poor).size(), 1u) << cluster.Picture();
  }
}

TEST(RedisClusterMenderTest, DoesNotWaitForWhoWasStoppedByHand) {
  TestingCluster cluster({});
  ASSERT_TRUE(cluster.RunUntilGreen());
  cluster.Hold("cache-6");
  cluster.Await("settle", "cache-1");
  ASSERT_TRUE(cluster.RunUntil([&] { return !cluster.awaits(); }, 10s)) << cluster.Picture();
}

TEST(RedisClusterMenderTest, HasNothingToDoOnceAllIsWell) {
  TestingCluster cluster({.masters = 3, .replicas = 2});
  ASSERT_TRUE(cluster.RunUntilGreen()) << cluster.Picture();
  ASSERT_TRUE(cluster.RunUntil([&] { return cluster.now() > Time(1000s) + 10s; }));
  cluster.ClearOrders();
  cluster.Pass(5s);
  EXPECT_THAT(cluster.orders(), IsEmpty()) << cluster.Picture();
}

// Kills members and the mender's memory again and again, never two of a shard at once, until `what` is so.
void Harass(TestingCluster& cluster, unsigned seed, Duration most) {
  std::mt19937 random(seed);
  for (const Time end = cluster.now() + most; cluster.now() < end && cluster.awaits();) {
    for (unsigned ticks = 20 + random() % 150; ticks > 0; --ticks) cluster.Tick();
    if (random() % 4 == 0) cluster.ForgetMender();
    const auto victim = std::next(cluster.servers().begin(), random() % cluster.servers().size());
    const bool safe = std::all_of(cluster.servers().begin(), cluster.servers().end(), [](auto& one) {
      return one.second.running && (one.second.self().master || one.second.linked);
    });
    if (safe) cluster.Kill(victim->first);
  }
}

TEST(RedisClusterMenderTest, ScalesAndLosesNoKeyWhileMembersDie) {
  const unsigned seeds = std::getenv("MUSTER_SEEDS") ? std::stoul(std::getenv("MUSTER_SEEDS")) : 8;
  for (unsigned seed = 0; seed < seeds; ++seed) {
    TestingCluster cluster({.seed = seed, .lossy_orders = seed % 2 == 1});
    ASSERT_TRUE(cluster.RunUntilGreen());
    cluster.Fill(64);
    cluster.Want(4, 1);
    cluster.Add();
    cluster.Add();
    cluster.Await("settle", "cache-1", {{"slots", "even"}});
    Harass(cluster, seed, 20s);
    ASSERT_TRUE(cluster.RunUntilGreen(90s)) << "seed " << seed << "\n" << cluster.Picture();
    EXPECT_THAT(SlotCounts(cluster), ElementsAre("4096", "4096", "4096", "4096")) << "seed " << seed;
    EXPECT_THAT(cluster.Lost(), IsEmpty()) << "seed " << seed << "\n" << cluster.Picture();
    cluster.Want(3, 1);
    for (const char* name : {"cache-3", "cache-6"}) {
      cluster.Undesire(name);
      cluster.Await("leave", name);
    }
    Harass(cluster, seed + 1000, 20s);
    ASSERT_TRUE(cluster.RunUntil([&] { return !cluster.awaits(); }, 90s)) << "seed " << seed << "\n"
                                                                          << cluster.Picture();
    cluster.Remove("cache-3");
    cluster.Remove("cache-6");
    cluster.Await("settle", "cache-1", {{"slots", "even"}});
    ASSERT_TRUE(cluster.RunUntilGreen(90s)) << "seed " << seed << "\n" << cluster.Picture();
    EXPECT_EQ(cluster.Masters(), 3) << "seed " << seed;
    EXPECT_THAT(cluster.Lost(), IsEmpty()) << "seed " << seed << "\n" << cluster.Picture();
  }
}

}  // namespace
}  // namespace muster::redis_cluster
