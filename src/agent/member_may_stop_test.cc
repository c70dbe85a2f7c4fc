// One that has handed over what it had is stopped only while that is so: a real redis-server under an agent's
// member.
#include "agent/testing_member.h"
#include "recipes/redis/testing_redis.h"

namespace muster::agent {
namespace {

class MemberMayStop : public MemberTest {
 protected:
  static Instance Redis() {
    Instance instance = Shell("");
    const int port = redis::FreeRedisPort();
    instance.kind = "redis-cluster";
    instance.argv = {FindProgram("redis-server"),
                     "--port",
                     std::to_string(port),
                     "--bind",
                     "127.0.0.1",
                     "--cluster-enabled",
                     "yes",
                     "--save",
                     "",
                     "--dir",
                     "{data}"};
    instance.ports["port"] = {.first = port};
    instance.data_folders = {"data"};
    instance.probe = {.kind = Probe::Kind::kOperator, .port = port, .every = 100ms, .timeout = 5s};
    return instance;
  }
};

TEST_F(MemberMayStop, IsNotStoppedWhereItHasAgainWhatItHadHandedOver) {
  if (FindProgram("redis-server").empty()) GTEST_SKIP() << "needs redis-server";
  const Values handed_over{{"only", "handed-over"}};
  ASSERT_EQ(Do("start", Redis()), "");
  // It has nothing.
  EXPECT_EQ(Do("stop", {}, handed_over), "");
  EXPECT_EQ(State(), "stopped");
  EXPECT_EQ(Do("stop", {}, handed_over), "") << "nor is anything lost where it doesn't run";
  ASSERT_EQ(Do("start"), "");
  ASSERT_EQ(Do("own", {}, {{"slots", "0-5460"}}), "");
  const int pid = Now().pid;
  EXPECT_EQ(Do("stop", {}, handed_over), "owns-slots");
  EXPECT_EQ(State(), "ready");
  EXPECT_EQ(Now().pid, pid);
  EXPECT_TRUE(Lives(pid));
  // Who says nothing of handing over means it.
  EXPECT_EQ(Do("stop", {}, {{"only", "anything else"}}), "");
  EXPECT_EQ(State(), "stopped");
  ASSERT_EQ(Do("start"), "");
  EXPECT_EQ(Do("stop"), "");
  EXPECT_EQ(State(), "stopped");
}

TEST_F(MemberMayStop, IsStoppedWhereItsKindHandsNothingOver) {
  ASSERT_EQ(Do("start", Sleeper()), "");
  EXPECT_EQ(Do("stop", {}, {{"only", "handed-over"}}), "");
  EXPECT_EQ(State(), "stopped");
}

}  // namespace
}  // namespace muster::agent
