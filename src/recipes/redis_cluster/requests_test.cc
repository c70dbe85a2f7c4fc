#include <gmock/gmock.h>

#include "recipes/redis_cluster/testing_model.h"

namespace muster::redis_cluster {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

std::vector<std::string> Masters(TestingCluster& cluster) {
  std::vector<std::string> masters;
  for (auto& [name, server] : cluster.servers()) {
    if (server.self().master) masters.push_back(name);
  }
  return masters;
}

TEST(RedisClusterRequestsTest, ANamedReplicaBecomesTheMasterWithoutALostKey) {
  TestingCluster cluster({});
  ASSERT_TRUE(cluster.RunUntilGreen());
  cluster.Fill();
  const std::string replica = cluster.ReplicaOf(cluster.MasterOf(0));
  cluster.ClearOrders();
  cluster.Await("switchover", "cache", {{"to", replica}});
  ASSERT_TRUE(cluster.RunUntil([&] { return !cluster.awaits(); }, 5s)) << cluster.Picture();
  EXPECT_THAT(cluster.refused(), IsEmpty());
  EXPECT_EQ(cluster.MasterOf(0), replica);
  ASSERT_EQ(cluster.orders().size(), 1u) << cluster.Picture();
  EXPECT_EQ(cluster.orders()[0].args.at("how"), "plain");
  ASSERT_TRUE(cluster.RunUntilGreen()) << cluster.Picture();
  EXPECT_THAT(cluster.Lost(), IsEmpty());
  // It is so already.
  cluster.ClearOrders();
  cluster.Await("switchover", "cache", {{"to", replica}});
  ASSERT_TRUE(cluster.RunUntil([&] { return !cluster.awaits(); }, 1s));
  EXPECT_THAT(cluster.orders(), IsEmpty());
}

TEST(RedisClusterRequestsTest, ASwitchoverOfTheWholeServiceBringsMastersBackToHostsOfTheirOwn) {
  TestingCluster cluster({.hosts = 3});
  ASSERT_TRUE(cluster.RunUntilGreen());
  cluster.Fill();
  const auto hosts = [&] {
    std::set<std::string> hosts;
    for (const std::string& name : Masters(cluster)) hosts.insert(cluster.at(name).host);
    return hosts.size();
  };
  cluster.Await("switchover", "cache");
  ASSERT_TRUE(cluster.RunUntil([&] { return !cluster.awaits(); }, 20s)) << cluster.Picture();
  ASSERT_TRUE(cluster.RunUntilGreen()) << cluster.Picture();
  ASSERT_EQ(hosts(), 3u) << cluster.Picture();
  const auto before = Masters(cluster);
  cluster.Kill(cluster.MasterOf(0));
  ASSERT_TRUE(cluster.RunUntilGreen()) << cluster.Picture();
  ASSERT_EQ(hosts(), 2u) << cluster.Picture();
  cluster.Await("switchover", "cache");
  ASSERT_TRUE(cluster.RunUntil([&] { return !cluster.awaits(); }, 20s)) << cluster.Picture();
  ASSERT_TRUE(cluster.RunUntilGreen()) << cluster.Picture();
  EXPECT_EQ(Masters(cluster), before) << cluster.Picture();
  EXPECT_THAT(cluster.Lost(), IsEmpty());
  cluster.ClearOrders();
  cluster.Await("switchover", "cache");
  ASSERT_TRUE(cluster.RunUntil([&] { return !cluster.awaits(); }, 1s));
  EXPECT_THAT(cluster.orders(), IsEmpty());
}

TEST(RedisClusterRequestsTest, ASwitchoverWaitsForAReplicaThatIsNotLinkedAndRefusesWhereThereIsNone) {
  TestingCluster cluster({});
  ASSERT_TRUE(cluster.RunUntilGreen());
  const std::string master = cluster.MasterOf(0), replica = cluster.ReplicaOf(master);
  cluster.KillForGood(replica);
  cluster.Await("switchover", "cache", {{"to", replica}});
  EXPECT_FALSE(cluster.RunUntil([&] { return !cluster.awaits(); }, 2s));
  EXPECT_EQ(cluster.MasterOf(0), master);
  cluster.at(replica).gone = false;
  ASSERT_TRUE(cluster.RunUntil([&] { return !cluster.awaits(); }, 20s)) << cluster.Picture();
  EXPECT_EQ(cluster.MasterOf(0), replica);

  TestingCluster alone({.masters = 3, .replicas = 0});
  ASSERT_TRUE(alone.RunUntilGreen());
  alone.Await("switchover", "cache");
  ASSERT_TRUE(alone.RunUntil([&] { return !alone.awaits(); }, 1s));
  EXPECT_THAT(alone.refused(), ElementsAre(Pair("cache.switchover", "no-replica")));
}

TEST(RedisClusterRequestsTest, AFailoverIsRefusedWhereAllMastersAreWell) {
  TestingCluster cluster({});
  ASSERT_TRUE(cluster.RunUntilGreen());
  cluster.Await("failover", "cache", {{"force", "yes"}});
  ASSERT_TRUE(cluster.RunUntil([&] { return !cluster.awaits(); }, 1s));
  EXPECT_THAT(cluster.refused(), ElementsAre(Pair("cache.failover", "primary-is-well")));
}

TEST(RedisClusterRequestsTest, AMasterWhoseHostIsSilentIsReplacedByForceOnly) {
  TestingCluster cluster({.hosts = 6, .node_timeout = 15s});
  ASSERT_TRUE(cluster.RunUntilGreen());
  const std::string master = cluster.MasterOf(0);
  cluster.Silence(cluster.at(master).host, true);
  cluster.KillForGood(master);
  cluster.Pass(200ms);
  cluster.ClearOrders();
  cluster.Await("failover", "cache");
  ASSERT_TRUE(cluster.RunUntil([&] { return !cluster.awaits(); }, 200ms)) << cluster.Picture();
  EXPECT_THAT(cluster.refused(), ElementsAre(Pair("cache.failover", "failover-refused")));
  EXPECT_EQ(cluster.MasterOf(0), "");
  cluster.Await("failover", "cache", {{"force", "yes"}});
  ASSERT_TRUE(cluster.RunUntil([&] { return !cluster.awaits(); }, 3s)) << cluster.Picture();
  EXPECT_NE(cluster.MasterOf(0), "");
}

TEST(RedisClusterRequestsTest, AMasterThatOnlyItsReplicaHearsHandsOverByForceAndLosesNothing) {
  TestingCluster cluster({.hosts = 6, .node_timeout = 15s});
  ASSERT_TRUE(cluster.RunUntilGreen());
  cluster.Fill();
  const std::string master = cluster.MasterOf(0);
  cluster.Silence(cluster.at(master).host, true);
  cluster.ClearOrders();
  cluster.Await("failover", "cache");
  ASSERT_TRUE(cluster.RunUntil([&] { return !cluster.awaits(); }, 1s));
  EXPECT_EQ(cluster.MasterOf(0), master);
  cluster.Await("failover", "cache", {{"force", "yes"}});
  ASSERT_TRUE(cluster.RunUntil([&] { return !cluster.awaits(); }, 3s)) << cluster.Picture();
  EXPECT_NE(cluster.MasterOf(0), master);
  for (const Order& order : cluster.orders()) EXPECT_EQ(order.args.at("how"), "plain") << order.reason;
  EXPECT_THAT(cluster.Lost(), IsEmpty());
}

TEST(RedisClusterReliefTest, AMasterWhoseDiskIsFullHandsOverToAnotherHost) {
  TestingCluster cluster({.hosts = 3});
  ASSERT_TRUE(cluster.RunUntilGreen());
  cluster.Fill();
  const std::string master = cluster.MasterOf(0);
  cluster.ClearOrders();
  cluster.at(master).write = "MISCONF Errors writing to the AOF file: No space left on device";
  ASSERT_TRUE(
      cluster.RunUntil([&] { return !cluster.MasterOf(0).empty() && cluster.MasterOf(0) != master; }, 5s))
      << cluster.Picture();
  EXPECT_NE(cluster.at(cluster.MasterOf(0)).host, cluster.at(master).host);
  ASSERT_EQ(cluster.orders().size(), 1u) << cluster.Picture();
  EXPECT_EQ(cluster.orders()[0].args.at("how"), "plain");
  EXPECT_TRUE(cluster.orders()[0].notable);
  EXPECT_THAT(cluster.orders()[0].reason, HasSubstr("No space left on device"));
  ASSERT_TRUE(cluster.RunUntilGreen()) << cluster.Picture();
  EXPECT_THAT(cluster.Lost(), IsEmpty());
}

TEST(RedisClusterReliefTest, AMasterStaysWhereNoReplicaCouldDoBetter) {
  TestingCluster cluster({.hosts = 3});
  ASSERT_TRUE(cluster.RunUntilGreen());
  cluster.Fill();
  const std::string master = cluster.MasterOf(0);
  cluster.at(master).write = cluster.at(cluster.ReplicaOf(master)).write = "MISCONF No space left on device";
  const std::string other = cluster.MasterOf(16383);
  cluster.at(other).write = "min-replicas-to-write is 2, and 1 are linked";
  cluster.ClearOrders();
  EXPECT_FALSE(cluster.RunUntil(
      [&] { return cluster.MasterOf(0) != master || cluster.MasterOf(16383) != other; }, 5s));
  for (const Order& order : cluster.orders()) EXPECT_NE(order.verb, "take-over") << order.reason;
}

}  // namespace
}  // namespace muster::redis_cluster
