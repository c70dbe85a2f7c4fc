// Moves of slots that can't come to their end keep no others from theirs, on a model of Redis Cluster.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "recipes/redis_cluster/testing_model.h"

namespace muster::redis_cluster {
namespace {

using ::testing::IsEmpty;

class RedisClusterStuckTest : public ::testing::Test {
 protected:
  void Form(unsigned seed) {
    cluster_ = std::make_unique<TestingCluster>(TestingBus::Options{.masters = 4, .seed = seed});
    ASSERT_TRUE(cluster_->RunUntilGreen());
    cluster_->Fill(64);
  }
  // `slot` is on its way: one of its keys has come, and of the other both have values that aren't the same.
  void Stick(int slot, const std::string& taker) {
    auto &from = cluster_->at(cluster_->MasterOf(slot)), &to = cluster_->at(taker);
    from.migrating[slot] = to.id;
    to.importing[slot] = from.id;
    from.differing.insert(slot);
    from.keys[slot] = 1;
    to.keys[slot] = 3;
  }
  void Resolve() {
    for (auto& [name, server] : cluster_->servers()) server.differing.clear();
  }
  void Leave(const std::vector<std::string>& names) {
    for (const std::string& name : names) {
      cluster_->Undesire(name);
      cluster_->Await("leave", name);
    }
    cluster_->Want(3, 1);
  }
  // Each slot that somebody imports is on its way to him alone.
  void ExpectEachSlotInOneMove() {
    std::map<int, std::string> takers;
    for (auto& [name, server] : cluster_->servers()) {
      for (const auto& [slot, from] : server.importing) {
        if (server.self().slots.Has(slot)) continue;
        const auto [at, is_new] = takers.emplace(slot, name);
        EXPECT_TRUE(is_new) << slot << " goes to " << at->second << " and " << name << "\n"
                            << cluster_->Picture();
      }
    }
  }
  // `member` has one slot of its own left, while no slot is in two moves.
  bool GivesAllButOne(const std::string& member) {
    return cluster_->RunUntil(
        [&] {
          ExpectEachSlotInOneMove();
          return HasFailure() || cluster_->at(member).self().slots.count() == 1;
        },
        180s);
  }

  std::unique_ptr<TestingCluster> cluster_;
};

// With its last slot it would drop the keys that have come.
TEST_F(RedisClusterStuckTest, OneThatLeavesKeepsOneSlotAndLeavesOnceTheMoveHasEnded) {
  for (unsigned seed = 0; seed < 6; ++seed) {
    Form(seed);
    const int slot = 64 * static_cast<int>(seed);
    const std::string giver = cluster_->MasterOf(slot);
    const std::string leaver = cluster_->MasterOf(redis::kSlots - 1), replica = cluster_->ReplicaOf(leaver);
    ASSERT_NE(giver, leaver);
    Stick(slot, leaver);
    Leave({leaver, replica});
    ASSERT_TRUE(GivesAllButOne(leaver)) << "seed " << seed << "\n" << cluster_->Picture();
    cluster_->Pass(10s);
    ExpectEachSlotInOneMove();
    EXPECT_EQ(cluster_->at(leaver).self().slots.count(), 1) << cluster_->Picture();
    EXPECT_EQ(cluster_->at(giver).migrating[slot], cluster_->at(leaver).id) << cluster_->Picture();
    Resolve();
    ASSERT_TRUE(cluster_->RunUntil([&] { return !cluster_->awaits(); }, 90s)) << "seed " << seed << "\n"
                                                                              << cluster_->Picture();
    EXPECT_THAT(cluster_->Lost(), IsEmpty()) << "seed " << seed << "\n" << cluster_->Picture();
  }
}

TEST_F(RedisClusterStuckTest, AGiverOfSuchASlotGivesOthersAllTheSame) {
  for (unsigned seed = 0; seed < 6; ++seed) {
    Form(seed);
    const int slot = redis::kSlots - 64 * static_cast<int>(seed + 1);
    const std::string leaver = cluster_->MasterOf(slot), replica = cluster_->ReplicaOf(leaver);
    Stick(slot, cluster_->MasterOf(0));
    Leave({leaver, replica});
    ASSERT_TRUE(GivesAllButOne(leaver)) << "seed " << seed << "\n" << cluster_->Picture();
    EXPECT_TRUE(cluster_->at(leaver).self().slots.Has(slot));
    Resolve();
    ASSERT_TRUE(cluster_->RunUntil([&] { return !cluster_->awaits(); }, 90s)) << "seed " << seed << "\n"
                                                                              << cluster_->Picture();
    EXPECT_THAT(cluster_->Lost(), IsEmpty()) << "seed " << seed << "\n" << cluster_->Picture();
  }
}

}  // namespace
}  // namespace muster::redis_cluster
