#include "recipes/redis/slots.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace muster::redis {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

TEST(SlotSet, ReadsAndWritesRangesAsRedisDoes) {
  const auto slots = SlotSet::Parse("5462 0-5460,7");
  ASSERT_TRUE(slots.ok());
  EXPECT_EQ(slots->count(), 5462);
  EXPECT_EQ(slots->Text(), "0-5460,5462");
  EXPECT_THAT(slots->Ranges(), ElementsAre(Pair(0, 5460), Pair(5462, 5462)));
  EXPECT_EQ(SlotSet::Parse("")->Text(), "");
  EXPECT_EQ(SlotSet::All().Text(), "0-16383");
  EXPECT_TRUE(SlotSet::Parse("0-16383")->all());
  for (const char* wrong : {"16384", "-1", "3-2", "1-", "a", "1-2-3", "1-16384"}) {
    const auto refused = SlotSet::Parse(wrong);
    ASSERT_FALSE(refused.ok()) << wrong;
    EXPECT_EQ(refused.error().code(), "bad-answer");
  }
}

TEST(SlotSet, IsUnitedSubtractedAndTakenFrom) {
  const SlotSet low = SlotSet::Range(0, 9), high = SlotSet::Range(5, 14);
  EXPECT_EQ((low | high).Text(), "0-14");
  EXPECT_EQ((low & high).Text(), "5-9");
  EXPECT_EQ((low - high).Text(), "0-4");
  EXPECT_EQ(high.First(3).Text(), "5-7");
  EXPECT_EQ(high.First(100), high);
  EXPECT_TRUE(high.First(0).empty());
  EXPECT_THAT(high.First(2).List(), ElementsAre(5, 6));
  SlotSet some = low;
  some.Remove(3);
  some.Remove(-1);
  some.Add(16384);
  EXPECT_EQ(some.Text(), "0-2,4-9");
  EXPECT_FALSE(some.Has(-1));
  EXPECT_FALSE(some.Has(16384));
}

TEST(EvenSlots, CutsWhereRedisCliCuts) {
  const auto three = EvenSlots(3);
  ASSERT_EQ(three.size(), 3u);
  EXPECT_EQ(three[0].Text(), "0-5460");
  EXPECT_EQ(three[1].Text(), "5461-10922");
  EXPECT_EQ(three[2].Text(), "10923-16383");
}

TEST(EvenSlots, LeavesNoSlotOutAndNoShardMoreThanOneAhead) {
  for (const int shards : {1, 2, 3, 4, 5, 6, 7, 9, 11, 13, 48, 99, 1000, 16384}) {
    SlotSet all;
    int least = kSlots, most = 0, sum = 0;
    for (const SlotSet& slots : EvenSlots(shards)) {
      all |= slots;
      sum += slots.count();
      least = std::min(least, slots.count());
      most = std::max(most, slots.count());
    }
    EXPECT_TRUE(all.all()) << shards;
    EXPECT_EQ(sum, kSlots) << shards;
    EXPECT_LE(most - least, 1) << shards;
  }
}

TEST(KeySlot, IsTheOneThatRedisComputes) {
  EXPECT_EQ(KeySlot("123456789"), 0x31c3);  // the check value of CRC-16/XMODEM
  // As CLUSTER KEYSLOT of Redis 7.0.15 says.
  EXPECT_EQ(KeySlot("a"), 15495);
  EXPECT_EQ(KeySlot("foo"), 12182);
  EXPECT_EQ(KeySlot("x{ab}y"), 13567);
  EXPECT_EQ(KeySlot(""), 0);
  EXPECT_EQ(KeySlot("x{ab}y"), KeySlot("ab"));
  EXPECT_EQ(KeySlot("{a}{b}"), KeySlot("a"));
  EXPECT_EQ(KeySlot("{{a}}"), KeySlot("{a"));
  EXPECT_NE(KeySlot("{}a"), KeySlot(""));
  EXPECT_EQ(KeySlot("a}b{c}"), KeySlot("c"));
  EXPECT_NE(KeySlot("{abc"), KeySlot("abc"));
}

TEST(SlotTags, LeadToEachSlot) {
  const auto& tags = SlotTags();
  ASSERT_EQ(tags.size(), 16384u);
  for (int slot = 0; slot < kSlots; ++slot) {
    ASSERT_EQ(KeySlot("muster:{" + tags[static_cast<size_t>(slot)] + "}:x"), slot);
  }
}

TEST(Redirect, IsReadFromMovedAndAsk) {
  EXPECT_EQ(ParseRedirect("MOVED 12 10.0.0.1:7001"),
            (Redirect{.ask = false, .slot = 12, .host = "10.0.0.1", .port = 7001}));
  EXPECT_EQ(ParseRedirect("ASK 16383 db-1.example:7001"),
            (Redirect{.ask = true, .slot = 16383, .host = "db-1.example", .port = 7001}));
  EXPECT_EQ(ParseRedirect("MOVED 1 ::1:7001")->host, "::1");
  EXPECT_EQ(ParseRedirect("MOVED 1 :7001")->host, "");
  EXPECT_EQ(ParseRedirect("MOVED 1 ?:7001")->host, "");
  for (const char* other : {"", "ERR MOVED 1 h:1", "MOVED 16384 h:1", "MOVED 1 h", "MOVED 1 h:0",
                            "MOVED 1 h:x", "CLUSTERDOWN The cluster is down", "MOVED 1 h:1 more"}) {
    EXPECT_EQ(ParseRedirect(other), std::nullopt) << other;
  }
}

}  // namespace
}  // namespace muster::redis
