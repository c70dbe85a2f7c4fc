// Rolls in which guests stand in for the members that are replaced.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "control/testing_controller.h"

namespace muster::control {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class SurgeTest : public ControllerTest {
 protected:
  static Cluster Surging(const std::string& command) {
    Service web = Web(command);
    web.update.max_unavailable = {0, false};
    web.update.max_surge = {1, false};
    return Mall({web, Edge()});
  }
  void BringUpOld() {
    BringUp("v1", Surging("run old"));
    world_.orders.clear();
  }
  StartedRun StartRoll() {
    auto started = Up(File("v2", Surging("run new")));
    EXPECT_TRUE(started.ok()) << started.error().Text();
    return started.ok() ? *started : StartedRun{};
  }
  void ExpectNoGuest() {
    EXPECT_EQ(world_.StateOf("web-x1"), InstanceState::kAbsent);
    EXPECT_EQ(world_.FactOf("edge-1", "guests"), "");
    EXPECT_EQ(world_.FactOf("edge-1", "run"), "");
  }
};

TEST_F(SurgeTest, AGuestStandsInWhileEachMemberIsReplaced) {
  BringUpOld();
  BringUp("v2", Surging("run new"));
  EXPECT_THAT(world_.Told(),
              ElementsAre("install web-x1", "start web-x1", "admit edge-1 web-x1", "drain edge-1 web-1",
                          "stop web-1", "install web-1", "start web-1", "restore edge-1 web-1",
                          "drain edge-1 web-2", "stop web-2", "install web-2", "start web-2",
                          "restore edge-1 web-2", "dismiss edge-1 web-x1", "stop web-x1", "remove web-x1"));
  for (const auto& [host, order] : world_.orders) {
    if (order.step.id != "web-x1.install") continue;
    EXPECT_THAT(order.instance->argv, Contains("new"));
  }
  ExpectNoGuest();
  EXPECT_THAT(store_->PutBacks(server_->finished.back().row.id).value(), IsEmpty());
  EXPECT_THAT(StoredCluster().placement, Not(HasSubstr("web-x1")));
  const auto again = Up(File("v2", files_["v2"]));
  ASSERT_TRUE(again.ok());
  EXPECT_TRUE(again->plan.empty());
}

TEST_F(SurgeTest, AReleaseThatNeverGetsReadyTouchesNoneThatServes) {
  BringUpOld();
  world_.fail.emplace("web-x1.start", Error::Timeout("not-ready", "web-x1 was not ready in time"));
  StartRoll();
  RunUntilFinished(2);
  EXPECT_THAT(world_.Told(), ElementsAre("install web-x1", "start web-x1", "remove web-x1"));
  EXPECT_EQ(server_->finished.back().row.state, "failed");
  ExpectNoGuest();
}

TEST_F(SurgeTest, AFailureInTheMiddleKeepsTheGuestUntilTheOthersAreBack) {
  BringUpOld();
  world_.fail.emplace("web-2.install", Error::Internal("disk-full", "no room"));
  const StartedRun started = StartRoll();
  RunUntilFinished(2);
  const Lines told = world_.Told();
  ASSERT_GE(told.size(), 4u);
  EXPECT_THAT(Lines(told.end() - 4, told.end()),
              ElementsAre("restore edge-1 web-2", "start web-2", "dismiss edge-1 web-x1", "remove web-x1"));
  EXPECT_EQ(world_.StateOf("web-2"), InstanceState::kReady);
  ExpectNoGuest();
  EXPECT_THAT(store_->PutBacks(started.run).value(), IsEmpty());
}

TEST_F(SurgeTest, CtrlCRemovesTheGuestThatIsOnItsWayUp) {
  BringUpOld();
  world_.hold = {"web-x1.start"};
  const StartedRun started = StartRoll();
  RunUntilHeld("a");
  ASSERT_TRUE(server_->controller->Cancel(started.run).ok());
  RunUntilFinished(2);
  EXPECT_EQ(server_->finished.back().row.state, "cancelled");
  ExpectNoGuest();
  EXPECT_EQ(world_.StateOf("web-1"), InstanceState::kReady);
}

TEST_F(SurgeTest, NoGuestIsLeftOfARollThatItsServerLeft) {
  BringUpOld();
  world_.hold = {"web-1.install"};
  const StartedRun started = StartRoll();
  RunUntilHeld("a");
  EXPECT_EQ(world_.FactOf("edge-1", "guests"), "web-x1");
  KillServer();
  world_.hold.clear();
  StartNextServer();
  RunUntilFinished(1);
  const Lines told = world_.Told();
  const auto at = [&](const std::string& line) { return std::find(told.begin(), told.end(), line); };
  EXPECT_LT(at("start web-1"), at("dismiss edge-1 web-x1"));
  EXPECT_LT(at("dismiss edge-1 web-x1"), at("remove web-x1"));
  EXPECT_NE(at("remove web-x1"), told.end());
  ExpectNoGuest();
  EXPECT_THAT(OpenSteps(started.run), IsEmpty());

  const auto resumed = server_->loop.RunTask(server_->controller->Resume("ann"));
  ASSERT_TRUE(resumed.ok()) << resumed.error().Text();
  RunUntilFinished(2);
  EXPECT_EQ(server_->finished.back().row.state, "done");
  ExpectNoGuest();
  EXPECT_TRUE(Up(File("v2", files_["v2"]))->plan.empty());
}

TEST_F(SurgeTest, DownTakesAGuestAwayLikeAllElse) {
  BringUpOld();
  world_.hold = {"web-1.start"};
  StartRoll();
  RunUntilHeld("a");
  world_.hold.clear();
  const auto down = Act("down");
  ASSERT_TRUE(down.ok()) << down.error().Text();
  RunUntilFinished(3);
  for (const char* name : {"web-x1", "web-1", "web-2", "edge-1"}) {
    EXPECT_EQ(world_.StateOf(name), InstanceState::kAbsent) << name;
  }
}

}  // namespace
}  // namespace muster::control
