#include "push/registry/registry.h"

#include <gtest/gtest.h>

#include <deque>
#include <random>
#include <set>

#include "push/registry/message_ids.h"
#include "push/registry/presence.h"

namespace muster::push {
namespace {

TEST(Registry, KeepsRoomsOnlyWhileSomebodyIsIn) {
  Registry registry;
  Member a, b;
  EXPECT_TRUE(registry.Join(a, "g:1"));
  EXPECT_FALSE(registry.Join(a, "g:1"));
  EXPECT_TRUE(registry.Join(b, "g:1"));
  EXPECT_EQ(registry.FindRoom("g:1")->members.size(), 2u);
  EXPECT_TRUE(registry.Leave(a, "g:1"));
  EXPECT_FALSE(registry.Leave(a, "g:1"));
  EXPECT_TRUE(registry.IsIn(b, "g:1"));
  registry.LeaveAll(b);
  EXPECT_EQ(registry.FindRoom("g:1"), nullptr);
  EXPECT_EQ(registry.rooms(), 0u);
}

TEST(Registry, KnowsAUsersMembers) {
  Registry registry;
  Member phone, laptop;
  registry.Bind(phone, "7", "Ann");
  registry.Bind(laptop, "7", "");
  ASSERT_NE(registry.FindUser("7"), nullptr);
  EXPECT_EQ(registry.FindUser("7")->first, &laptop);
  EXPECT_EQ(laptop.next_of_user, &phone);
  ASSERT_NE(registry.FindUser("7")->name, nullptr);
  EXPECT_EQ(*registry.FindUser("7")->name, "Ann");
  registry.LeaveAll(phone);
  EXPECT_EQ(registry.FindUser("7")->first, &laptop);
  EXPECT_EQ(laptop.next_of_user, nullptr);
  registry.LeaveAll(laptop);
  EXPECT_EQ(registry.FindUser("7"), nullptr);
}

TEST(Registry, StaysRightThroughManyMoves) {
  Registry registry;
  std::deque<Member> members(50);
  std::vector<std::set<int>> expected(members.size());
  std::mt19937 random(3);
  for (int step = 0; step < 20000; ++step) {
    const size_t who = random() % members.size();
    const int room = static_cast<int>(random() % 10);
    const std::string key = "g:" + std::to_string(room);
    if (random() % 50 == 0) {
      registry.LeaveAll(members[who]);
      expected[who].clear();
    } else if (random() % 2 == 0) {
      EXPECT_EQ(registry.Join(members[who], key), expected[who].insert(room).second);
    } else {
      EXPECT_EQ(registry.Leave(members[who], key), expected[who].erase(room) == 1);
    }
  }
  for (size_t who = 0; who < members.size(); ++who) {
    EXPECT_EQ(members[who].rooms.size(), expected[who].size());
    for (const Member::Place& place : members[who].rooms)
      EXPECT_EQ(place.room->members[place.index], &members[who]);
    registry.LeaveAll(members[who]);
  }
  EXPECT_EQ(registry.rooms(), 0u);
}

TEST(MessageIds, IncreaseWhateverTheClockDoes) {
  MessageIds ids(5);
  uint64_t last = 0;
  for (const uint64_t now : {1000, 1000, 999, 500, 2000}) {
    for (int i = 0; i < 5000; ++i) {  // more than a millisecond has
      const uint64_t next = ids.Next(now);
      EXPECT_GT(next, last);
      EXPECT_EQ(next >> 12 & 1023, 5u);
      last = next;
    }
  }
}

TEST(Presence, TellsTheFirstAndTheLast) {
  PresenceTable table;
  EXPECT_TRUE(table.Enter("g", "u"));
  EXPECT_FALSE(table.Enter("g", "u"));
  EXPECT_TRUE(table.Enter("h", "u"));
  EXPECT_FALSE(table.Leave("g", "u"));
  EXPECT_TRUE(table.Leave("g", "u"));
  EXPECT_FALSE(table.Leave("g", "u"));
}

}  // namespace
}  // namespace muster::push
