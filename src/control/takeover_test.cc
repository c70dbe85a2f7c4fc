#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "control/outcomes.h"
#include "control/testing_controller.h"

namespace muster::control {
namespace {

using ::testing::Contains;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using TakeOverTest = ControllerTest;

// A release has stopped at web-1, and then a restart of web-2 was interrupted.
TEST_F(TakeOverTest, AnActThatWasInterruptedGoesOnAsThatActAndNotAsTheRelease) {
  BringUpFirst();
  world_.fail.emplace("web-1.start", Error::Unavailable("not-ready", "it never answered"));
  ASSERT_TRUE(Up(File("v2", Mall({Web("run new"), Edge()}))).ok());
  RunUntilFinished(2);
  ASSERT_EQ(server_->finished[1].row.state, "failed");
  world_.hold.insert("web-2.stop");
  const auto restart = Act("restart", {"web-2"});
  ASSERT_TRUE(restart.ok()) << restart.error().Text();
  RunUntilHeld("b");
  KillServer();

  StartNextServer();
  RunUntilHeld("b");
  world_.hold.clear();
  server_->fakes["b"]->Release("web-2.stop");
  RunUntilFinished(1);
  EXPECT_EQ(StoredRun(restart->run).state, "paused");
  world_.orders.clear();

  const auto resumed = server_->loop.RunTask(server_->controller->Resume("ann"));
  ASSERT_TRUE(resumed.ok()) << resumed.error().Text();
  EXPECT_EQ(StoredRun(resumed->run).action, "restart");
  if (!resumed->run.empty()) RunUntilFinished(2);
  EXPECT_EQ(world_.StateOf("web-2"), InstanceState::kReady);
  EXPECT_THAT(world_.Told(), Each(Not(HasSubstr("install"))));
  EXPECT_EQ(OutcomeOf(2, store_->Runs("mall", 10).value()), "failed");
}

// Web's health check changes while it serves: its instances are to pass the new one.
TEST_F(TakeOverTest, AProofThatItsServerLeftIsNotWaitedFor) {
  const std::string run = UpHeldAtItsProof();
  KillServer();

  StartNextServer();
  RunUntilFinished(1);
  EXPECT_EQ(StoredRun(run).state, "paused");
  EXPECT_THAT(world_.Told(), Not(Contains("install web-1")));
  EXPECT_THAT(OpenSteps(run), IsEmpty());
  const auto down = Act("down");
  ASSERT_TRUE(down.ok()) << down.error().Text();
  RunUntilFinished(2);
  EXPECT_EQ(world_.StateOf("web-1"), InstanceState::kAbsent);
}

TEST_F(TakeOverTest, WhoeverIsInTheWayOfWhatIsSettledIsNotSentToACtrlCThatNobodyCanPress) {
  BringUpFirst();
  UpHeldAt("web-1.install");
  KillServer();

  settle_within_ = 0ms;
  StartNextServer();
  RunUntilHeld("a");
  const auto down = Act("down");
  ASSERT_FALSE(down.ok());
  EXPECT_EQ(down.error().code(), "run-active");
  EXPECT_THAT(down.error().hint(), Not(HasSubstr("Ctrl-C")));
  world_.hold.clear();
  server_->fakes["a"]->Release("web-1.install");
  RunUntilFinished(1);
}

// On its port may be a stranger, and nobody tells of what isn't there.
TEST_F(TakeOverTest, AMemberThatItsHostHasNoMoreIsTakenOut) {
  BringUpFirst();
  KillServer();
  world_.hosts["b"].instances.erase("web-2");
  ASSERT_EQ(world_.FactOf("edge-1", "health"), "");

  StartNextServer();
  RunUntil([this] { return world_.FactOf("edge-1", "health") == "web-2"; });
}

}  // namespace
}  // namespace muster::control
