// How many slots each master should have, and who starts as what.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "recipes/redis_cluster/parts.h"

namespace muster::redis_cluster::mending {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(SlotCountsTest, AClusterJustFormedIsEven) {
  EXPECT_THAT(EvenCounts({5461, 5462, 5461}), ElementsAre(5461, 5462, 5461));
}

TEST(SlotCountsTest, ANewMasterGetsItsShareOfAll) {
  EXPECT_THAT(EvenCounts({5461, 5462, 5461, 0}), ElementsAre(4096, 4096, 4096, 4096));
}

TEST(SlotCountsTest, WhatALeavingMasterHasIsGivenOut) {
  EXPECT_THAT(EvenCounts({4096, 4096, 4096}, 4096), ElementsAre(5462, 5461, 5461));
  EXPECT_THAT(EvenCounts({}, 5), IsEmpty());
}

TEST(SlotCountsTest, WithoutSpreadingNobodyGivesAnyAway) {
  EXPECT_THAT(FilledCounts({10000, 100, 200}, 50), ElementsAre(10000, 150, 200));
  EXPECT_THAT(FilledCounts({10000, 100, 200}, 301), ElementsAre(10000, 301, 300));
  EXPECT_THAT(FilledCounts({1, 1}, 0), ElementsAre(1, 1));
  EXPECT_THAT(FilledCounts({}, 3), IsEmpty());
}

std::vector<Member> MembersOn(const std::vector<std::string>& hosts) {
  std::vector<Member> members;
  for (const std::string& host : hosts) {
    const int rank = static_cast<int>(members.size());
    members.push_back({.name = "cache-" + std::to_string(rank + 1), .host = host, .rank = rank});
  }
  return members;
}

Shape ShapeOn(const std::vector<Member>& members, int masters) {
  std::vector<const Member*> pointers;
  for (const Member& member : members) pointers.push_back(&member);
  return ShapeOf(pointers, masters);
}

TEST(ShapeTest, MastersAreSpreadAndNoReplicaIsOnItsMastersHost) {
  const std::vector<std::vector<std::string>> all = {
      {"a", "b", "c", "a", "b", "c"},
      {"a", "a", "b", "b", "c", "c"},
      {"a", "b", "a", "b", "a", "b"},
      {"a", "b", "c", "d", "e", "f"},
      {"a", "b", "c", "a", "b", "c", "a", "b", "c"},
  };
  for (const auto& hosts : all) {
    const std::vector<Member> members = MembersOn(hosts);
    const Shape shape = ShapeOn(members, 3);
    ASSERT_EQ(shape.shards.size(), 3u);
    SlotSet slots;
    std::map<std::string, int> masters;
    for (const Shape::Shard& shard : shape.shards) {
      slots |= shard.slots;
      ++masters[shard.master->host];
      EXPECT_EQ(shard.replicas.size(), members.size() / 3 - 1);
      for (const Member* replica : shard.replicas) EXPECT_NE(replica->host, shard.master->host);
    }
    EXPECT_TRUE(slots.all());
    const std::set<std::string> different(hosts.begin(), hosts.end());
    EXPECT_EQ(masters.size(), std::min<size_t>(3, different.size()));
  }
}

TEST(ShapeTest, OneHostIsEnough) {
  const std::vector<Member> members = MembersOn({"a", "a", "a", "a", "a", "a"});
  for (const Shape::Shard& shard : ShapeOn(members, 3).shards) EXPECT_EQ(shard.replicas.size(), 1u);
}

}  // namespace
}  // namespace muster::redis_cluster::mending
