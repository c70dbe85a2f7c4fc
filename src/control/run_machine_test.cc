#include "control/run_machine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace muster::control {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

Step Make(const std::string& instance, const std::string& verb, std::vector<std::string> needs = {}) {
  return {.id = instance + "." + verb,
          .instance = instance,
          .service = "app",
          .host = "h1",
          .verb = verb,
          .needs = std::move(needs)};
}

// Takes app-1 out of edge-1, replaces it, puts it back in.
Plan Roll() {
  Step drain = Make("edge-1", "drain");
  drain.args = {{"member", "app-1"}};
  drain.put_back = "restore";
  Step restore = Make("edge-1", "restore", {"app-1.start"});
  restore.args = {{"member", "app-1"}, {"ready", "yes"}};  // as plans have it
  return {.steps = {drain, Make("app-1", "stop", {"edge-1.drain"}), Make("app-1", "start", {"app-1.stop"}),
                    restore}};
}

std::vector<std::string> Ids(const std::vector<Step>& steps) {
  std::vector<std::string> ids;
  for (const Step& step : steps) ids.push_back(step.id);
  return ids;
}

Error Broken() { return Error::Unavailable("not-ready", "it never became ready"); }

TEST(RunMachine, SendsWhatNothingHoldsBackAndWaitsForTheRest) {
  RunMachine machine(
      {.steps = {Make("a", "install"), Make("b", "install"), Make("a", "start", {"a.install"})}});
  EXPECT_THAT(Ids(machine.Next().send), UnorderedElementsAre("a.install", "b.install"));
  EXPECT_THAT(machine.Next().send, IsEmpty());
  machine.Succeeded("b.install");
  EXPECT_THAT(machine.Next().send, IsEmpty());
  machine.Succeeded("a.install");
  EXPECT_THAT(Ids(machine.Next().send), ElementsAre("a.start"));
  machine.Succeeded("a.start");
  EXPECT_TRUE(machine.Next().finished);
  EXPECT_EQ(machine.state(), RunState::kDone);
  EXPECT_FALSE(machine.Next().finished);
}

TEST(RunMachine, AnAwaitedStepIsNoWorkOfItsInstance) {
  Step settle = Make("a", "settle", {"a.start"});
  settle.awaited = true;
  RunMachine machine({.steps = {Make("a", "start"), settle, Make("b", "start", {"a.settle"})}});
  machine.Next();
  EXPECT_THAT(machine.busy(), ElementsAre("a"));
  machine.Succeeded("a.start");
  EXPECT_THAT(Ids(machine.Next().send), ElementsAre("a.settle"));
  EXPECT_THAT(machine.busy(), IsEmpty());
  EXPECT_FALSE(machine.Concerns("a")) << "its death is nobody's doing";
  EXPECT_THAT(machine.open_steps(), ElementsAre("a.settle"));
  machine.Succeeded("a.settle");
  EXPECT_THAT(Ids(machine.Next().send), ElementsAre("b.start"));
}

// a hands over, is stopped and started; then b is.
Plan HandOverAndRestart() {
  Step step_down = Make("a", "step-down");
  step_down.awaited = true;
  Step stop = Make("a", "stop", {"a.step-down"});
  stop.put_back = "start";
  return {.steps = {step_down, stop, Make("a", "start", {"a.stop"}), Make("b", "stop", {"a.start"})}};
}

Error OwnsAgain() { return Error::Conflict("owns-slots", "a is master of 0-5460 again: it isn't stopped"); }

TEST(RunMachine, GoesBackToTheStepDownOfOneThatHasAgainWhatItHandedOver) {
  RunMachine machine(HandOverAndRestart(), 1);
  EXPECT_THAT(Ids(machine.Next().send), ElementsAre("a.step-down"));
  machine.Succeeded("a.step-down");
  for (int times = 0; times < 2; ++times) {
    RunMachine::Actions stop = machine.Next();
    EXPECT_THAT(Ids(stop.send), ElementsAre("a.stop"));
    EXPECT_THAT(Ids(stop.remember_put_back), ElementsAre("a.stop.put-back"));
    EXPECT_EQ(machine.steps_done(), 1u);
    EXPECT_TRUE(machine.GoesBack("a.stop", OwnsAgain()));
    EXPECT_FALSE(machine.GoesBack("a.stop", Broken()));
    machine.Failed("a.stop", OwnsAgain());
    EXPECT_EQ(machine.times_back("a.stop"), times + 1);
    EXPECT_EQ(machine.steps_done(), 0u);
    EXPECT_THAT(machine.busy(), IsEmpty()) << "its mender may send it orders";
    EXPECT_TRUE(machine.WillGetTo("a"));
    RunMachine::Actions back = machine.Next();
    EXPECT_THAT(Ids(back.send), ElementsAre("a.step-down"));
    EXPECT_THAT(back.forget_put_back, ElementsAre("a.stop.put-back"));
    EXPECT_EQ(machine.state(), RunState::kRunning);
    EXPECT_THAT(machine.Next().send, IsEmpty());
    machine.Succeeded("a.step-down");
  }
  EXPECT_THAT(Ids(machine.Next().send), ElementsAre("a.stop"));
  EXPECT_EQ(machine.times_back("a.step-down"), 0);
  machine.Succeeded("a.stop");
  EXPECT_THAT(Ids(machine.Next().send), ElementsAre("a.start"));
  machine.Succeeded("a.start");
  EXPECT_THAT(Ids(machine.Next().send), ElementsAre("b.stop"));
  machine.Succeeded("b.stop");
  EXPECT_TRUE(machine.Next().finished);
  EXPECT_EQ(machine.state(), RunState::kDone);
  EXPECT_EQ(machine.steps_done(), 4u);
}

TEST(RunMachine, FailsWhereItWouldGoBackAgainAndAgain) {
  RunMachine machine(HandOverAndRestart());
  for (int times = 0; times < 3; ++times) {
    EXPECT_THAT(Ids(machine.Next().send), ElementsAre("a.step-down"));
    machine.Succeeded("a.step-down");
    EXPECT_THAT(Ids(machine.Next().send), ElementsAre("a.stop"));
    machine.Failed("a.stop", OwnsAgain());
  }
  EXPECT_THAT(Ids(machine.Next().send), ElementsAre("a.stop.put-back"));
  machine.Succeeded("a.stop.put-back");
  EXPECT_TRUE(machine.Next().finished);
  EXPECT_EQ(machine.state(), RunState::kFailed);
  EXPECT_EQ(machine.error()->code(), "owns-slots");
}

TEST(RunMachine, DoesNotGoBackOnceItIsEndingOrWhereNothingWasHandedOver) {
  RunMachine cancelled(HandOverAndRestart());
  cancelled.Next();
  cancelled.Succeeded("a.step-down");
  cancelled.Next();
  cancelled.Cancel();
  EXPECT_FALSE(cancelled.GoesBack("a.stop", OwnsAgain()));
  cancelled.Failed("a.stop", OwnsAgain());
  EXPECT_EQ(cancelled.error()->code(), "owns-slots");
  RunMachine plain({.steps = {Make("a", "stop")}});
  plain.Next();
  EXPECT_FALSE(plain.GoesBack("a.stop", OwnsAgain()));
  plain.Failed("a.stop", OwnsAgain());
  EXPECT_TRUE(plain.Next().finished);
  EXPECT_EQ(plain.state(), RunState::kFailed);
}

TEST(RunMachine, AnEmptyPlanIsDoneAtOnce) {
  RunMachine machine({});
  EXPECT_TRUE(machine.Next().finished);
  EXPECT_EQ(machine.state(), RunState::kDone);
}

TEST(RunMachine, KeepsToTheMostThatAHostMayHaveUnderWay) {
  RunMachine machine({.steps = {Make("a", "start"), Make("b", "start"), Make("c", "start")}}, 2);
  EXPECT_THAT(Ids(machine.Next().send), ElementsAre("a.start", "b.start"));
  machine.Succeeded("a.start");
  EXPECT_THAT(Ids(machine.Next().send), ElementsAre("c.start"));
}

TEST(RunMachine, AFailureEndsWhatIsUnderWayAndNothingNewIsSent) {
  RunMachine machine({.steps = {Make("a", "start"), Make("b", "start"), Make("c", "start", {"b.start"})}});
  machine.Next();
  machine.Failed("a.start", Broken());
  EXPECT_FALSE(machine.Next().finished);
  machine.Succeeded("b.start");
  const auto actions = machine.Next();
  EXPECT_THAT(actions.send, IsEmpty());
  EXPECT_TRUE(actions.finished);
  EXPECT_EQ(machine.state(), RunState::kFailed);
  EXPECT_EQ(machine.error()->code(), "not-ready");
}

TEST(RunMachine, ForgetsThePutBackWhenThePlanItselfRestores) {
  RunMachine machine(Roll());
  const auto first = machine.Next();
  EXPECT_THAT(Ids(first.remember_put_back), ElementsAre("edge-1.drain.put-back"));
  for (const char* step : {"edge-1.drain", "app-1.stop", "app-1.start", "edge-1.restore"}) {
    machine.Next();
    machine.Succeeded(step);
  }
  const auto last = machine.Next();
  EXPECT_THAT(last.forget_put_back, ElementsAre("edge-1.drain.put-back"));
  EXPECT_TRUE(last.finished);
}

TEST(RunMachine, CtrlCPutsADrainedMemberThatStillServesBack) {
  RunMachine machine(Roll());
  machine.Next();
  machine.Cancel();
  EXPECT_THAT(machine.Next().send, IsEmpty());  // the drain is under way
  machine.Succeeded("edge-1.drain");
  const auto actions = machine.Next();
  ASSERT_THAT(Ids(actions.send), ElementsAre("edge-1.drain.put-back"));
  EXPECT_EQ(actions.send[0].verb, "restore");
  EXPECT_EQ(machine.state(), RunState::kPuttingBack);
  machine.Succeeded("edge-1.drain.put-back");
  EXPECT_TRUE(machine.Next().finished);
  EXPECT_EQ(machine.state(), RunState::kCancelled);
}

TEST(RunMachine, AFailureHandsTheMemberBackToWhoeverLooksAfterItsHealth) {
  RunMachine machine(Roll());
  for (const char* step : {"edge-1.drain", "app-1.stop"}) {
    machine.Next();
    machine.Succeeded(step);
  }
  machine.Next();
  machine.Failed("app-1.start", Broken());
  EXPECT_THAT(Ids(machine.Next().send), ElementsAre("edge-1.drain.put-back"));
  machine.Succeeded("edge-1.drain.put-back");
  EXPECT_TRUE(machine.Next().finished);
  EXPECT_EQ(machine.state(), RunState::kFailed);
  EXPECT_EQ(machine.error()->code(), "not-ready");
}

TEST(RunMachine, AMemberThatWasStoppedIsStartedAgainBeforeItIsPutBack) {
  Plan plan = Roll();
  plan.steps[1].put_back = "start";
  RunMachine machine(plan);
  machine.Next();
  machine.Succeeded("edge-1.drain");
  machine.Next();
  machine.Cancel();
  machine.Succeeded("app-1.stop");
  EXPECT_THAT(Ids(machine.Next().send), ElementsAre("app-1.stop.put-back", "edge-1.drain.put-back"));
  machine.Succeeded("app-1.stop.put-back");
  machine.Succeeded("edge-1.drain.put-back");
  EXPECT_TRUE(machine.Next().finished);
  EXPECT_EQ(machine.state(), RunState::kCancelled);
}

TEST(RunMachine, AGuestGoesOnlyOnceWhatItStoodInForIsBack) {
  Step install = Make("app-x1", "install");
  install.put_back = "remove";
  Step admit = Make("edge-1", "admit", {"app-x1.install"});
  admit.args = {{"member", "app-x1"}, {"at", "app=h1:81"}};
  admit.put_back = "dismiss";
  Step stop = Make("app-1", "stop", {"edge-1.admit"});
  stop.put_back = "start";
  RunMachine machine({.steps = {install, admit, stop, Make("app-1", "start", {"app-1.stop"})}});
  for (const char* step : {"app-x1.install", "edge-1.admit", "app-1.stop"}) {
    machine.Next();
    machine.Succeeded(step);
  }
  machine.Cancel();
  EXPECT_THAT(Ids(machine.Next().send), ElementsAre("app-1.stop.put-back"));
  machine.Succeeded("app-1.stop.put-back");
  EXPECT_THAT(Ids(machine.Next().send), ElementsAre("edge-1.admit.put-back"));
  machine.Failed("edge-1.admit.put-back", Broken());  // its balancer is away: the guest goes all the same
  const auto last = machine.Next();
  ASSERT_THAT(Ids(last.send), ElementsAre("app-x1.install.put-back"));
  EXPECT_EQ(last.send[0].verb, "remove");
  machine.Succeeded("app-x1.install.put-back");
  EXPECT_TRUE(machine.Next().finished);
}

TEST(RunMachine, AStartThatIsGivenUpByACancelIsNoFailure) {
  RunMachine machine(Roll());
  for (const char* step : {"edge-1.drain", "app-1.stop"}) {
    machine.Next();
    machine.Succeeded(step);
  }
  machine.Next();
  machine.Cancel();
  machine.Failed("app-1.start", Error::Conflict("cancelled", "nobody waits any more"));
  EXPECT_THAT(Ids(machine.Next().send), ElementsAre("edge-1.drain.put-back"));
  machine.Succeeded("edge-1.drain.put-back");
  EXPECT_TRUE(machine.Next().finished);
  EXPECT_EQ(machine.state(), RunState::kCancelled);
}

TEST(RunMachine, APausedServiceWaitsAndGoesOn) {
  RunMachine machine({.steps = {Make("a", "start"), Make("b", "start", {"a.start"})}});
  machine.Next();
  machine.Pause("app", "app-7", "app-7 died");
  machine.Succeeded("a.start");
  EXPECT_THAT(machine.Next().send, IsEmpty());
  EXPECT_EQ(machine.state(), RunState::kPaused);
  EXPECT_EQ(machine.paused().at("app"), "app-7 died");
  machine.Recovers("app-6");
  EXPECT_THAT(machine.Next().send, IsEmpty());
  machine.Recovers("app-7");
  EXPECT_THAT(Ids(machine.Next().send), ElementsAre("b.start"));
}

TEST(RunMachine, APauseLetsWhatIsBegunGoOnAndTheUnwellOneBeCured) {
  Plan plan = Roll();
  plan.steps.push_back(Make("app-7", "stop"));
  plan.steps.push_back(Make("app-8", "stop"));
  RunMachine machine(plan, 1);
  EXPECT_THAT(Ids(machine.Next().send), ElementsAre("edge-1.drain"));
  machine.Pause("app", "app-7", "app-7 does not answer");
  machine.Succeeded("edge-1.drain");
  EXPECT_THAT(Ids(machine.Next().send), ElementsAre("app-1.stop"));
  machine.Succeeded("app-1.stop");
  EXPECT_THAT(Ids(machine.Next().send), ElementsAre("app-1.start"));
  machine.Succeeded("app-1.start");
  EXPECT_THAT(Ids(machine.Next().send), ElementsAre("edge-1.restore"));
  machine.Succeeded("edge-1.restore");
  EXPECT_THAT(Ids(machine.Next().send), ElementsAre("app-7.stop"));
  machine.Succeeded("app-7.stop");
  EXPECT_THAT(machine.Next().send, IsEmpty());  // app-8 is another
}

TEST(RunMachine, ADrainWaitsForTheServiceOfItsMember) {
  Plan plan = Roll();
  plan.steps[0].service = plan.steps[3].service = "edge";
  RunMachine machine(plan);
  machine.Pause("app", "app-2", "app-2 died");
  EXPECT_THAT(machine.Next().send, IsEmpty());
  machine.Recovers("app-2");
  EXPECT_THAT(Ids(machine.Next().send), ElementsAre("edge-1.drain"));
}

TEST(RunMachine, FailsWhereTheUnwellOneNeverRecovers) {
  RunMachine machine({.steps = {Make("a", "start")}});
  machine.Pause("app", "b", "b does not answer");
  machine.Next();
  machine.GiveUpOn("c", Broken());  // nobody is waiting for that one
  EXPECT_FALSE(machine.Next().finished);
  machine.GiveUpOn("b", Broken());
  EXPECT_TRUE(machine.Next().finished);
  EXPECT_EQ(machine.state(), RunState::kFailed);
  EXPECT_EQ(machine.error()->code(), "not-ready");
}

TEST(RunMachine, AnUnwellServiceThatTheRunIsDoneWithFailsNothing) {
  RunMachine machine({.steps = {Make("a", "start")}});
  machine.Next();
  machine.Pause("app", "b", "b does not answer");
  machine.GiveUpOn("b", Broken());
  machine.Succeeded("a.start");
  EXPECT_TRUE(machine.Next().finished);
  EXPECT_EQ(machine.state(), RunState::kDone);
}

// Its only member may be the one that the check, passed once, finds unwell.
TEST(RunMachine, WaitsForWhoWasJustProvenByAnotherHealthCheck) {
  Step proven = Make("a", "install");
  proven.args = {{"prove", "yes"}};
  RunMachine machine({.steps = {proven, Make("b", "install", {"a.install"})}});
  machine.Next();
  machine.Succeeded("a.install");
  EXPECT_TRUE(machine.HasStarted("a"));
  EXPECT_THAT(Ids(machine.Next().send), ElementsAre("b.install"));
  machine.Pause("app", "a", "a does not answer");
  machine.Succeeded("b.install");
  EXPECT_FALSE(machine.HasStarted("b")) << "files are no more than files";
  EXPECT_FALSE(machine.Next().finished);
  machine.GiveUpOn("a", Broken());
  EXPECT_TRUE(machine.Next().finished);
  EXPECT_EQ(machine.state(), RunState::kFailed);
}

// 10,000 instances on 100 hosts, a window of 100, and one that is unwell for a while.
TEST(RunMachine, LooksAtEachOfManyStepsOnlyAFewTimes) {
  constexpr size_t kInstances = 10000, kWindow = 1000;
  Plan plan;
  for (size_t i = 0; i < kInstances; ++i) {
    const std::string name = "app-" + std::to_string(i);
    std::vector<std::string> needs;
    if (i >= kWindow) needs = {"app-" + std::to_string(i - kWindow) + ".start"};
    for (const char* verb : {"stop", "start"}) {
      Step step = Make(name, verb, std::exchange(needs, {name + ".stop"}));
      step.host = "h" + std::to_string(i % 100);
      if (step.verb == "stop") step.put_back = "start";
      plan.steps.push_back(std::move(step));
    }
  }
  RunMachine machine(std::move(plan), 4);
  std::vector<std::string> open;
  size_t events = 0;
  for (bool finished = false; !finished;) {
    const auto actions = machine.Next();
    finished = actions.finished;
    for (const Step& step : actions.send) open.push_back(step.id);
    if (open.empty()) break;
    machine.Succeeded(open.back());
    open.pop_back();
    if (++events == 5000) machine.Pause("app", "app-9999", "app-9999 died");
    if (events == 5100) machine.Recovers("app-9999");
  }
  EXPECT_EQ(machine.state(), RunState::kDone);
  EXPECT_EQ(machine.steps_done(), 2 * kInstances);
  EXPECT_LT(machine.looked_at(), 2 * 2 * kInstances + 4 * kWindow);
}

TEST(RunMachine, GoesOnFromWhatTheJournalSays) {
  RunMachine machine(Roll(), 64, {{"edge-1.drain", true}, {"app-1.stop", true}});
  EXPECT_THAT(Ids(machine.Next().send), ElementsAre("app-1.start"));
  EXPECT_EQ(machine.steps_done(), 2u);
}

TEST(RunMachine, SaysSoWhenNothingLeadsToWhatIsLeft) {
  RunMachine machine({.steps = {Make("a", "start"), Make("b", "start", {"a.start"})}}, 64,
                     {{"a.start", false}});
  EXPECT_TRUE(machine.Next().finished);
  EXPECT_EQ(machine.error()->code(), "run-stuck");
}

TEST(RunMachine, TheSameOutcomeTwiceCountsOnce) {
  RunMachine machine({.steps = {Make("a", "start"), Make("b", "start", {"a.start"})}});
  machine.Next();
  machine.Succeeded("a.start");
  machine.Succeeded("a.start");
  EXPECT_EQ(machine.steps_done(), 1u);
}

}  // namespace
}  // namespace muster::control
