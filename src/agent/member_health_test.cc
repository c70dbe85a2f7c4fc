// What an instance's health check says while it, or what it asks about, is changed.
#include "agent/testing_member.h"

namespace muster::agent {
namespace {

// Ready once it is told to say so.
constexpr std::string_view kWaitsForGo =
    "echo begun; while ! test -e data/go; do sleep 0.01; done; echo up; exec sleep 1000";

TEST_F(MemberTest, IsNotMadeReadyByALiveChangeWhereItsLineWasNeverWritten) {
  Instance instance = Shell(std::string(kWaitsForGo));
  instance.ready_within = 100ms;
  ASSERT_EQ(Do("start", instance), "not-ready");
  instance.hash = "h2";
  instance.ready_within = 200ms;
  impact = Impact::kLive;
  EXPECT_EQ(Do("install", instance), "");
  EXPECT_EQ(Do("start"), "not-ready");
  EXPECT_EQ(State(), "starting");
  ASSERT_TRUE(WriteFile(member->paths().data + "/go", "").ok());
  EXPECT_TRUE(UntilState(InstanceState::kReady)) << "it is still looked for";
}

}  // namespace
}  // namespace muster::agent
