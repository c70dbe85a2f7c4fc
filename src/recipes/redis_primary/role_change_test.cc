#include "recipes/redis_primary/role_change.h"

#include <gmock/gmock.h>

#include "recipes/redis_primary/lease.h"

namespace muster::redis_primary {
namespace {

using ::testing::ElementsAre;

Record PrimaryOfTerm5() {
  return {.term = 5,
          .aim = "primary",
          .follows = "",
          .pid = 7,
          .copy = 5,
          .was = "primary",
          .linked_pid = 7,
          .linked = "10.0.0.2:6379,10.0.0.3:6379"};
}
RoleOrder Order(const char* verb, int64_t term) {
  return {.verb = verb, .term = term, .host = "10.0.0.2", .port = 6379, .copy = "5"};
}

TEST(RedisRoleChange, PausesNoLongerThanUntilTheLeaseWouldBeLetGo) {
  for (const Duration lease : {1000ms, 1500ms, 3000ms, 10000ms, 60000ms}) {
    const Duration pause = PauseFor(lease);
    EXPECT_GE(pause, std::min<Duration>(lease / 2, 4s));
    EXPECT_LE(pause, 4s);
    EXPECT_LT(CatchUpWithin(pause), pause);
    // Heard by the server in the moment in which the pause began.
    const LeaseTerms terms{.lease = lease, .hosts = 3, .peers = {}};
    const Time begin(1000s);
    const LeaseState state{.heard = begin, .majority = Time::min()};
    EXPECT_NE(JudgeLease(terms, state, begin + pause - 1ms), LeaseWork::kFence);
    EXPECT_LT(begin + pause, LeaseOver(lease, begin, begin)) << "while somebody else may be primary";
  }
}

TEST(RedisRoleChange, WritesWaitOnlyOnceTheReplicaIsCloseAndItIsConfirmedAfterTheFence) {
  EXPECT_THAT(
      *ActsOf(Order("hand-over", 6), PrimaryOfTerm5(), 7, "cache-1"),
      ElementsAre(Act::kCatchUp, Act::kPause, Act::kCatchUp, Act::kRemember, Act::kTell, Act::kConfirm));
  EXPECT_EQ(FollowingOf(Order("hand-over", 6)).host, "255.255.255.255");
}

TEST(RedisRoleChange, CountsOnNobodyUntilTheHeirIsKnownToHaveAll) {
  const Record before = RecordBefore(Order("hand-over", 6), PrimaryOfTerm5(), 7);
  EXPECT_EQ(before.aim, "fenced");
  EXPECT_EQ(before.term, 6);
  EXPECT_EQ(before.copy, 5);
  EXPECT_EQ(before.was, "primary");
  EXPECT_EQ(before.linked, "");
  const Record confirmed = RecordConfirmed(Order("hand-over", 6), before);
  EXPECT_EQ(confirmed.linked, "10.0.0.2:6379");
  // The same order once more takes nothing back.
  EXPECT_EQ(RecordBefore(Order("hand-over", 6), confirmed, 7), confirmed);
  EXPECT_THAT(*ActsOf(Order("hand-over", 6), before, 7, "cache-1"),
              ElementsAre(Act::kRemember, Act::kTell, Act::kConfirm));
}

TEST(RedisRoleChange, HasTheNewestDataBeforeItTakesTheFirstWrite) {
  Record replica = PrimaryOfTerm5();
  replica.aim = replica.was = "replica";
  const Record before = RecordBefore(Order("promote", 6), replica, 7);
  EXPECT_EQ(before.copy, 6);
  EXPECT_EQ(before.was, "primary");
  EXPECT_EQ(before.linked, "");
  EXPECT_TRUE(IsOrderedPrimary(before, 7));
  EXPECT_FALSE(IsOrderedPrimary(before, 8)) << "another process has started fenced";
  // The same once more, from who saw its data as it was before.
  EXPECT_TRUE(ActsOf(Order("promote", 6), before, 7, "cache-1").ok());
  EXPECT_EQ(ActsOf(Order("promote", 7), before, 7, "cache-1").error().code(), "copy-differs");
}

TEST(RedisRoleChange, TakesAStrayForWhatNobodyElseHas) {
  Record record = PrimaryOfTerm5();
  record.aim = "fenced";
  const Record stray = RecordOfStray(record, 7);
  EXPECT_EQ(stray.linked, "");
  EXPECT_EQ(stray.aim, "fenced");
  EXPECT_EQ(stray.copy, 5);
  EXPECT_EQ(stray.was, "primary");
}

TEST(RedisRoleChange, RefusesWhatCannotBe) {
  EXPECT_EQ(ActsOf(Order("follow", 5), PrimaryOfTerm5(), 7, "cache-1").error().code(), "old-term");
  EXPECT_EQ(ActsOf(Order("hand-over", 6), PrimaryOfTerm5(), 8, "cache-1").error().code(), "not-primary");
  EXPECT_EQ(ActsOf({.verb = "follow", .term = 6}, {}, 7, "cache-1").error().code(), "bad-args");
}

}  // namespace
}  // namespace muster::redis_primary
