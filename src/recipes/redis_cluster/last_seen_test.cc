#include "recipes/redis_cluster/last_seen.h"

#include <gtest/gtest.h>

namespace muster::redis_cluster {
namespace {

using Values = std::map<std::string, std::string>;

Time At(Duration since) { return Time(1000s) + since; }

Answers Master(int64_t offset, bool takes_writes = true) {
  Answers answers;
  answers.info.master = true;
  answers.info.offset = offset;
  answers.info.replication_id = "cafe";
  answers.takes_writes = takes_writes;
  return answers;
}

Answers Linked() {
  Answers answers;
  answers.info.replica = answers.info.link_up = true;
  return answers;
}

Answers Unlinked(int64_t seconds, int64_t uptime_s = 1000) {
  Answers answers;
  answers.info.replica = true;
  answers.info.link_down_s = seconds;
  answers.info.uptime_s = uptime_s;
  return answers;
}

Values Running(const LastSeen& last, Time now) {
  Values told;
  last.Tell(true, true, now, told);
  return told;
}

Values Ended(const LastSeen& last, Time now) {
  Values told;
  last.Tell(false, false, now, told);
  return told;
}

TEST(RedisLastSeen, TellsOfALinkThatItWasLostAsLateAsItMayHaveBeen) {
  LastSeen last;
  last.Answered(Linked(), At(9900ms), At(10s));
  EXPECT_EQ(Running(last, At(10s)), Values());
  last.Answered(Unlinked(0), At(10900ms), At(11s));
  EXPECT_EQ(Running(last, At(11s)), (Values{{"unlinked_ms", "0"}}));
  // Redis counts seconds: it was before 10.5 s, and not before it was seen linked.
  last.Answered(Unlinked(2), At(12400ms), At(12500ms));
  EXPECT_EQ(Running(last, At(13s)), (Values{{"unlinked_ms", "2500"}}));
  last.Answered(Unlinked(9), At(18s), At(18s));
  EXPECT_EQ(Running(last, At(18s)), (Values{{"unlinked_ms", "8100"}}));
  last.Answered(Linked(), At(19s), At(19s));
  EXPECT_EQ(Running(last, At(20s)), Values());
}

TEST(RedisLastSeen, IsToldByRedisWhereTheAgentIsNew) {
  LastSeen last;
  last.Answered(Unlinked(60), At(100s), At(100s));
  EXPECT_EQ(Running(last, At(100s)), (Values{{"unlinked_ms", "60000"}}));
  // It was linked in between, though nobody saw it.
  last.Answered(Unlinked(1), At(110s), At(110s));
  EXPECT_EQ(Running(last, At(110s)), (Values{{"unlinked_ms", "1000"}}));
  // Never since it was started: not linked then, at the latest.
  for (const int64_t never : {int64_t{-1}, int64_t{1'700'000'000}}) {
    LastSeen another;
    another.Answered(Unlinked(never, 30), At(100s), At(100s));
    EXPECT_EQ(Running(another, At(100s)), (Values{{"unlinked_ms", "30000"}})) << never;
  }
}

TEST(RedisLastSeen, AReplicaThatWasStartedAnewHasLostItsLinkWithTheProcessBefore) {
  LastSeen last;
  last.Answered(Linked(), At(10s), At(10s));
  last.Ended(At(11s));
  EXPECT_EQ(Ended(last, At(12s)), Values());
  last.Answered(Unlinked(-1, 1), At(31s), At(31s));
  EXPECT_EQ(Running(last, At(31s)), (Values{{"unlinked_ms", "20000"}}));
  // … or before, where it was without it already.
  last.Ended(At(40s));
  last.Answered(Unlinked(-1, 1), At(50s), At(50s));
  EXPECT_EQ(Running(last, At(50s)), (Values{{"unlinked_ms", "39000"}}));
}

TEST(RedisLastSeen, OneThatWasMasterHadAllUntilThen) {
  LastSeen last;
  last.Answered(Master(100), At(10s), At(10s));
  // Redis may still count from when it last was a replica.
  last.Answered(Unlinked(500), At(11s), At(11s));
  EXPECT_EQ(Running(last, At(11s)), (Values{{"unlinked_ms", "1000"}}));
  LastSeen never;
  never.Answered(Master(100), At(10s), At(10s));
  never.Answered(Unlinked(-1), At(11s), At(11s));
  EXPECT_EQ(Running(never, At(11s)), (Values{{"unlinked_ms", "0"}}));
}

TEST(RedisLastSeen, TellsOfADeadMasterUntilWhenItTookWritesAtLeast) {
  LastSeen last;
  last.Answered(Master(100), At(9s), At(10s));
  EXPECT_EQ(Running(last, At(10s)), Values());
  last.Answered(Master(150, false), At(11s), At(11s));  // nobody was acknowledged anything meanwhile
  last.Ended(At(12s));
  const Values told{{"answered_ms", "4000"}, {"history", "cafe"}, {"offset", "100"}};
  EXPECT_EQ(Ended(last, At(13s)), told);
  // Nor is it any other while it loads.
  Answers loading = Master(0, false);
  loading.loading = true;
  last.Answered(loading, At(13s), At(13s));
  Values loads;
  last.Tell(true, false, At(13s), loads);
  loads.erase("unlinked_ms");
  EXPECT_EQ(loads, told);
  // A replica's end says nothing of that.
  last.Answered(Linked(), At(14s), At(14s));
  last.Ended(At(15s));
  EXPECT_EQ(Ended(last, At(15s)), Values());
}

constexpr WallTime kDay{1'700'000'000'000ms};

// Written 2 s after it was seen.
std::string Recorded(const std::string& boot) {
  LastSeen last;
  EXPECT_EQ(last.Record(At(0s), {kDay, boot, 900s}), "");
  last.Answered(Master(100), At(10s), At(10s));
  return last.Record(At(12s), {kDay, boot, 900s});
}

// What an agent that reads it at `moment` tells.
Values Read(const std::string& record, const Moment& moment) {
  LastSeen next;
  next.Restore(record, At(500s), moment);
  return Ended(next, At(500s));
}

Values Seen(const std::string& ms_ago) {
  return {{"answered_ms", ms_ago}, {"history", "cafe"}, {"offset", "100"}};
}

TEST(RedisLastSeen, IsReadByTheNextAgentWhateverTheCalendarWasSetTo) {
  const std::string record = Recorded("one");
  for (const Duration step : {0h, 1h, -1h}) {
    EXPECT_EQ(Read(record, {kDay + 3s + step, "one", 903s}), Seen("5000")) << step.count();
  }
}

TEST(RedisLastSeen, IsReadAfterAnotherBootByTheCalendar) {
  const std::string record = Recorded("one");
  EXPECT_EQ(Read(record, {kDay + 60s, "two", 20s}), Seen("62000"));
  EXPECT_EQ(Read(record, {kDay + 3s, "two", 20s}), Seen("20000")) << "it was before this boot";
  EXPECT_EQ(Read(record, {kDay - 1h, "two", 20s}), Values());
}

TEST(RedisLastSeen, IsReadWhereNoBootIsKnown) {
  const std::string before = "1699999998000 100 cafe";  // as agents wrote it once
  EXPECT_EQ(Recorded(""), before);
  EXPECT_EQ(Read(before, {kDay + 3s, "one", 903s}), Seen("5000"));
  EXPECT_EQ(Read(before, {kDay - 1h, "one", 903s}), Values());
  EXPECT_EQ(Read(Recorded("one"), {kDay + 3s, "", 0s}), Seen("5000"));
}

TEST(RedisLastSeen, PassesOverARecordThatItCannotRead) {
  const std::string record = Recorded("one");
  const Moment moment{kDay + 3s, "one", 903s};
  for (const std::string& wrong : {std::string(), std::string("x y z"), std::string("1"), record + " more",
                                   record + "x", "x" + record, record.substr(0, record.rfind(' '))}) {
    EXPECT_EQ(Read(wrong, moment), Values()) << wrong;
  }
}

TEST(RedisLastSeen, ARecordNeedsNoHistory) {
  Answers master = Master(100);
  master.info.replication_id = "";
  LastSeen last;
  last.Answered(master, At(10s), At(10s));
  for (const char* boot : {"one", ""}) {
    const std::string record = last.Record(At(12s), {kDay, boot, 900s});
    EXPECT_EQ(Read(record, {kDay, boot, 900s}), (Values{{"answered_ms", "2000"}})) << record;
  }
}

}  // namespace
}  // namespace muster::redis_cluster
