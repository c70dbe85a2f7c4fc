#include "recipes/redis_primary/last_heard.h"

#include <gmock/gmock.h>

#include "recipes/redis_primary/facts.h"

namespace muster::redis_primary {
namespace {

using As = LastHeard::As;

Time At(Duration since) { return Time(1000s) + since; }

redis::ServerInfo Linked(int64_t last_io_s) {
  redis::ServerInfo info;
  info.replica = info.link_up = true;
  info.last_io_s = last_io_s;
  info.uptime_s = 1000;
  return info;
}
redis::ServerInfo Unlinked(int64_t since_s) {
  redis::ServerInfo info;
  info.replica = true;
  info.link_down_s = since_s;
  info.uptime_s = 1000;
  return info;
}
redis::ServerInfo Primary(int64_t offset) {
  redis::ServerInfo info;
  info.master = true;
  info.offset = offset;
  info.replicas = {{.address = "10.0.0.2", .port = 6379, .state = "online", .offset = 90, .lag_s = 0}};
  return info;
}
Values Told(const LastHeard& last, Duration at, bool is_primary = false) {
  Values measures;
  last.Tell(is_primary, At(at), measures);
  return measures;
}

TEST(RedisPrimaryLastHeard, AReplicaThatHearsItsPrimaryTellsNothing) {
  LastHeard last;
  last.Answered(Linked(1), As::kReplica, At(0s), At(0s));
  EXPECT_EQ(Told(last, 1s), Values());
}

TEST(RedisPrimaryLastHeard, ALinkThatEndsWasHeardUntilItsEnd) {
  LastHeard last;
  last.Answered(Linked(0), As::kReplica, At(0s), At(0s));
  last.Answered(Unlinked(1), As::kReplica, At(5s), At(5s));
  EXPECT_EQ(Told(last, 7s), (Values{{"unheard_ms", "3000"}}));
  last.Answered(Unlinked(0), As::kNeither, At(9s), At(9s));  // it is fenced since
  EXPECT_EQ(Told(last, 10s), (Values{{"unheard_ms", "6000"}}));
}

TEST(RedisPrimaryLastHeard, ALinkByWhichNothingCameForLongWasNotHeardUntilItsEnd) {
  LastHeard last;
  last.Answered(Linked(0), As::kReplica, At(0s), At(0s));
  last.Answered(Linked(4), As::kReplica, At(4500ms), At(4500ms));
  EXPECT_EQ(Told(last, 4500ms), (Values{{"unheard_ms", "4000"}}));
  last.Answered(Unlinked(0), As::kReplica, At(10s), At(10s));
  EXPECT_EQ(Told(last, 10s), (Values{{"unheard_ms", "9500"}}));
  last.Answered(Linked(0), As::kReplica, At(12s), At(12s));
  EXPECT_EQ(Told(last, 12s), Values());
}

TEST(RedisPrimaryLastHeard, APrimaryTellsWhatItHadOnceItIsNone) {
  LastHeard last;
  last.Answered(Primary(100), As::kPrimary, At(0s), At(1s));
  EXPECT_EQ(Told(last, 2s, true), Values());
  const Values ended{
      {"answered_ms", "4000"}, {"answered_offset", "100"}, {"answered_behind", "10.0.0.2:6379=10"}};
  EXPECT_EQ(Told(last, 4s), ended);
  last.Answered(Unlinked(0), As::kNeither, At(4s), At(4s));  // started again, fenced
  EXPECT_EQ(Told(last, 4s), ended);
  last.Answered(Linked(0), As::kReplica, At(5s), At(5s));
  EXPECT_EQ(Told(last, 6s), Values());
}

}  // namespace
}  // namespace muster::redis_primary
