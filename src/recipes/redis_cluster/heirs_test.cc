// Which of several replicas takes over, on a model of Redis Cluster.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "recipes/redis_cluster/mender.h"
#include "recipes/redis_cluster/testing_model.h"

namespace muster::redis_cluster {
namespace {

using ::testing::IsEmpty;

class RedisClusterHeirsTest : public ::testing::Test {
 protected:
  // A shard of a master and two replicas, of which the second comes to have less from here on.
  void Form(unsigned seed) {
    cluster_ = std::make_unique<TestingCluster>(
        TestingBus::Options{.masters = 3, .replicas = 2, .hosts = 9, .seed = seed, .node_timeout = 60s});
    ASSERT_TRUE(cluster_->RunUntilGreen());
    cluster_->Fill();
    master_ = cluster_->MasterOf(0);
    std::vector<std::string> replicas;
    for (auto& [name, server] : cluster_->servers()) {
      if (server.self().primary == cluster_->at(master_).id) replicas.push_back(name);
    }
    ASSERT_EQ(replicas.size(), 2u);
    more_ = replicas[seed % 2];
    less_ = replicas[1 - seed % 2];
  }
  // Its host is lost, and its members with it.
  void Vanish() {
    cluster_->Silence(cluster_->at(master_).host, true);
    cluster_->KillForGood(master_);
  }
  // Told to by a person, after it has been silent for a while.
  void ExpectForced(const std::string& heir) {
    cluster_->Pass(1s);
    cluster_->Await("failover", "cache", {{"force", "yes"}});
    ASSERT_TRUE(cluster_->RunUntil([&] { return !cluster_->MasterOf(0).empty(); }, 2s))
        << cluster_->Picture();
    EXPECT_EQ(cluster_->MasterOf(0), heir) << cluster_->Picture();
  }

  std::unique_ptr<TestingCluster> cluster_;
  std::string master_, more_, less_;
};

// What it had told before is more than the other has.
TEST_F(RedisClusterHeirsTest, AReplicaThatIsFrozenIsPassedOverForOneThatAnswers) {
  for (unsigned seed = 0; seed < 4; ++seed) {
    Form(seed);
    cluster_->at(less_).lags = true;
    cluster_->Pass(2s);
    cluster_->at(more_).frozen = true;
    cluster_->KillForGood(master_);
    EXPECT_TRUE(cluster_->RunUntil([&] { return cluster_->MasterOf(0) == less_; }, 500ms))
        << cluster_->Picture();
    cluster_->at(less_).lags = cluster_->at(more_).frozen = cluster_->at(master_).gone = false;
    ASSERT_TRUE(cluster_->RunUntilGreen()) << cluster_->Picture();
    EXPECT_THAT(cluster_->Lost(), IsEmpty()) << cluster_->Picture();
  }
}

TEST_F(RedisClusterHeirsTest, WhereNobodyAnswersTheyAreAskedAgainAndNoneTakesOverUnasked) {
  for (unsigned seed = 0; seed < 4; ++seed) {
    Form(seed);
    cluster_->at(less_).lags = true;
    cluster_->Pass(2s);
    // What was told of it last is what it had long ago; it has what was written since.
    cluster_->at(more_).looked = cluster_->now() + 1h;
    cluster_->at(less_).lags = false;
    cluster_->Pass(2s);
    cluster_->at(less_).lags = true;
    cluster_->Pass(500ms);
    cluster_->Write(0);
    cluster_->Pass(100ms);
    cluster_->at(more_).frozen = cluster_->at(less_).frozen = true;
    cluster_->ClearOrders();
    cluster_->KillForGood(master_);
    EXPECT_FALSE(cluster_->RunUntil([&] { return !cluster_->MasterOf(0).empty(); }, 5s))
        << cluster_->Picture();
    for (const Order& order : cluster_->orders()) EXPECT_EQ(order.verb, "look") << order.reason;
    EXPECT_GT(cluster_->orders().size(), 4u) << "they are asked again";
    cluster_->at(more_).frozen = cluster_->at(less_).frozen = false;
    ASSERT_TRUE(cluster_->RunUntil([&] { return !cluster_->MasterOf(0).empty(); }, 3s))
        << cluster_->Picture();
    EXPECT_EQ(cluster_->MasterOf(0), more_) << cluster_->Picture();
    cluster_->at(less_).lags = cluster_->at(master_).gone = false;
    ASSERT_TRUE(cluster_->RunUntilGreen()) << cluster_->Picture();
    EXPECT_THAT(cluster_->Lost(), IsEmpty()) << cluster_->Picture();
  }
}

TEST_F(RedisClusterHeirsTest, ForcedIsTheOneThatHasMostWhenItIsAskedNotWhenItLastTold) {
  for (unsigned seed = 0; seed < 4; ++seed) {
    Form(seed);
    cluster_->at(more_).looked = cluster_->now() + 1h;
    cluster_->Pass(2s);
    cluster_->at(less_).lags = true;
    cluster_->Pass(2s);
    cluster_->Write(0);
    cluster_->Pass(100ms);
    Vanish();
    ExpectForced(more_);
  }
}

// It was another's replica before, say, and has yet to be linked.
TEST_F(RedisClusterHeirsTest, ForcedIsNotTheOneWhoseOffsetIsOfAnotherHistory) {
  for (unsigned seed = 0; seed < 4; ++seed) {
    Form(seed);
    cluster_->at(less_).cut = true;
    cluster_->at(less_).history = "another";
    cluster_->at(less_).offset = 1'000'000'000;
    cluster_->Pass(2s);
    cluster_->Write(0);
    cluster_->Pass(1s);
    Vanish();
    ExpectForced(more_);
  }
}

}  // namespace
}  // namespace muster::redis_cluster
