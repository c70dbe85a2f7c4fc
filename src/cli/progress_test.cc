#include "cli/progress.h"

#include <gmock/gmock.h>

namespace muster::cli {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing::StartsWith;

Time At(Duration since_start) { return Time(1000s) + since_start; }

Plan PlanOf(int instances) {
  Plan plan;
  for (int i = 1; i <= instances; ++i) {
    const std::string name = "web-" + std::to_string(i);
    for (const char* verb : {"install", "start"}) {
      Step step;
      step.id = name + "." + verb;
      step.instance = name;
      step.host = "node1";
      step.verb = verb;
      plan.steps.push_back(step);
    }
  }
  return plan;
}

StepEvent Step(const std::string& instance, const std::string& verb, const std::string& state, int done = 0) {
  return {.id = instance + "." + verb,
          .instance = instance,
          .verb = verb,
          .state = state,
          .done = done,
          .total = 0};
}

TEST(Progress, TellsWhatWasDoneAndHowLongItTook) {
  Progress progress(PlanOf(1), At(0s));
  EXPECT_THAT(progress.On(Step("web-1", "install", "sent"), At(0s)), IsEmpty());
  EXPECT_THAT(progress.On(Step("web-1", "install", "done", 1), At(20ms)),
              ElementsAre("[1/2] web-1  installed"));
  progress.On(Step("web-1", "start", "sent"), At(20ms));
  EXPECT_THAT(progress.On(Step("web-1", "start", "done", 2), At(1520ms)),
              ElementsAre("[2/2] web-1  ready after 1.5s"));
}

TEST(Progress, DrawsEachInstanceAndATotal) {
  Progress progress(PlanOf(2), At(0s));
  progress.On(Step("web-1", "install", "sent"), At(0s));
  EXPECT_THAT(progress.Draw(At(300ms), {80, 24}, false),
              ElementsAre("● web-1  node1  writes its files  0.3s", "· web-2  node1  waits",
                          "0 of 4 steps, 1 in motion, 0.3s"));
}

TEST(Progress, TimesEachStepByItself) {
  Progress progress(PlanOf(1), At(0s));
  progress.On(Step("web-1", "install", "sent"), At(0s));
  progress.On(Step("web-1", "install", "done", 1), At(7s));
  progress.On(Step("web-1", "start", "sent"), At(7s));
  progress.On(Step("web-1", "start", "done", 2), At(9s));
  EXPECT_THAT(progress.Draw(At(20s), {80, 24}, false)[0], "✓ web-1  node1  ready  2.0s");
}

TEST(Progress, ShowsAFailureWithItsCause) {
  Progress progress(PlanOf(1), At(0s));
  progress.On(Step("web-1", "start", "sent"), At(0s));
  StepEvent failed = Step("web-1", "start", "failed");
  failed.error = Error::Conflict("port-taken", "port 80 is taken").Evidence({"bind: in use"});
  EXPECT_THAT(progress.On(failed, At(1s)), ElementsAre("[0/2] web-1  failed: port 80 is taken [port-taken]"));
  EXPECT_THAT(progress.Draw(At(1s), {80, 24}, false)[0],
              HasSubstr("✗ web-1  node1  failed: port 80 is taken"));
  ASSERT_THAT(progress.failures(), SizeIs(1));
  EXPECT_THAT(progress.failures()[0].second.evidence(), ElementsAre("bind: in use"));
}

TEST(Progress, PutsWhatMovesFirstWhereTheScreenIsSmall) {
  Progress progress(PlanOf(50), At(0s));
  progress.On(Step("web-40", "install", "sent"), At(0s));
  const auto lines = progress.Draw(At(1s), {40, 6}, false);
  ASSERT_THAT(lines, SizeIs(5));
  EXPECT_THAT(lines[0], StartsWith("● web-40"));
  EXPECT_EQ(lines[3], "… and 47 more");
  EXPECT_THAT(lines[4], StartsWith("0 of 100 steps"));
}

TEST(Progress, IsNeverWiderThanTheTerminal) {
  Progress progress(PlanOf(3), At(0s));
  StepEvent failed = Step("web-1", "start", "failed");
  failed.error = Error::Internal("long", "{}", std::string(300, 'x'));
  progress.On(failed, At(1s));
  progress.On(PausedEvent{"web", std::string(300, 'y')}, At(1s));
  for (const int columns : {1, 2, 3, 10, 20, 40, 200}) {
    for (const int rows : {1, 2, 3, 5, 24}) {
      const auto lines = progress.Draw(At(2s), {columns, rows}, true);
      EXPECT_LE(lines.size(), static_cast<size_t>(std::max(1, rows - 1)));
      for (const std::string& line : lines)
        EXPECT_LE(Width(line), static_cast<size_t>(std::max(1, columns - 1)));
    }
  }
}

TEST(Progress, TellsNothingTwiceWhenTheStreamStartsAnew) {
  Progress progress(PlanOf(1), At(0s));
  EXPECT_THAT(progress.On(Step("web-1", "install", "done", 1), At(1s)), SizeIs(1));
  EXPECT_THAT(progress.On(Step("web-1", "install", "sent"), At(2s)), IsEmpty());
  EXPECT_THAT(progress.On(Step("web-1", "install", "done", 1), At(2s)), IsEmpty());
  EXPECT_THAT(progress.Draw(At(2s), {80, 24}, false)[0], HasSubstr("installed, waits"));
  EXPECT_THAT(progress.On(HostEvent{"node1", false}, At(2s)), ElementsAre("node1 is silent"));
  EXPECT_THAT(progress.On(HostEvent{"node1", false}, At(2s)), IsEmpty());
  EXPECT_THAT(progress.On(HostEvent{"node1", true}, At(3s)), ElementsAre("node1 is reached"));
}

TEST(Progress, SaysWhenAnInstanceIsInTrouble) {
  Progress progress(PlanOf(1), At(0s));
  Observed observed;
  observed.name = "web-1";
  observed.state = InstanceState::kBackoff;
  observed.last_exit = "exit 1";
  EXPECT_THAT(progress.On(observed, At(1s)), ElementsAre("web-1  backoff (exit 1)"));
  EXPECT_THAT(progress.On(observed, At(2s)), IsEmpty());
  observed.state = InstanceState::kReady;
  EXPECT_THAT(progress.On(observed, At(3s)), IsEmpty());
}

TEST(Progress, DoesNotTellHowTheReleaseBeforeEnded) {
  const WallTime begun{Duration(60s)};
  Progress progress(PlanOf(1), At(0s), begun);
  Observed observed;
  observed.name = "web-1";
  observed.state = InstanceState::kFailed;
  observed.last_exit = "exit 1";
  observed.since = begun - 5s;
  EXPECT_THAT(progress.On(observed, At(0s)), IsEmpty());
  progress.On(Step("web-1", "start", "sent"), At(1s));
  observed.since = begun + 2s;
  EXPECT_THAT(progress.On(observed, At(2s)), ElementsAre("web-1  failed (exit 1)"));

  Progress dies(PlanOf(1), At(0s), begun);  // what is yet to be replaced dies in the run: that is news
  EXPECT_THAT(dies.On(observed, At(2s)), ElementsAre("web-1  failed (exit 1)"));
}

TEST(Progress, SaysOnceThatAnInstanceKeepsDyingInTheSameWay) {
  Progress progress(PlanOf(1), At(0s));
  Observed observed;
  observed.name = "web-1";
  std::vector<std::string> said;
  const auto is = [&](InstanceState state, const std::string& last_exit) {
    observed.state = state;
    observed.last_exit = last_exit;
    for (std::string& line : progress.On(observed, At(1s))) said.push_back(std::move(line));
  };
  for (int crash = 0; crash < 4; ++crash) {
    is(InstanceState::kStarting, crash == 0 ? "" : "exit 4");
    is(InstanceState::kBackoff, "exit 4");
  }
  is(InstanceState::kBackoff, "exit 5");
  is(InstanceState::kReady, "exit 5");
  is(InstanceState::kBackoff, "exit 5");  // it had come up in between
  EXPECT_THAT(said,
              ElementsAre("web-1  backoff (exit 4)", "web-1  backoff (exit 5)", "web-1  backoff (exit 5)"));
}

TEST(Progress, NamesTheMemberThatALoadBalancerTakesOut) {
  Plan plan;
  muster::Step drain;
  drain.id = "edge-1.drain.web-3";
  drain.instance = "edge-1";
  drain.verb = "drain";
  drain.args = {{"member", "web-3"}, {"by", "run"}};
  plan.steps.push_back(drain);
  Progress progress(plan, At(0s));
  StepEvent event{.id = drain.id, .instance = "edge-1", .verb = "drain", .state = "sent"};
  progress.On(event, At(0s));
  EXPECT_THAT(progress.Draw(At(0s), {80, 24}, false)[0], HasSubstr("takes web-3 out"));
  event.state = "done";
  event.done = 1;
  EXPECT_THAT(progress.On(event, At(0s)), ElementsAre("[1/1] edge-1  took web-3 out"));
}

TEST(Progress, SaysWhatWasPutBackAndWhatWasNotTouchedOnceItIsOver) {
  Plan plan = PlanOf(2);
  muster::Step drain;
  drain.id = "edge-1.drain.web-1";
  drain.instance = "edge-1";
  drain.verb = "drain";
  drain.args = {{"member", "web-1"}, {"by", "run"}};
  plan.steps.push_back(drain);
  Progress progress(plan, At(0s));
  StepEvent event{.id = drain.id, .instance = "edge-1", .verb = "drain", .state = "done", .done = 1};
  progress.On(event, At(0s));
  progress.On(Step("web-1", "start", "sent"), At(0s));
  event.id += ".put-back";
  event.verb = "restore";
  EXPECT_THAT(progress.On(event, At(1s)), ElementsAre("[1/5] edge-1  sends to web-1 again once it is ready"));
  progress.On(RunEvent{.state = "paused"}, At(1s));
  const auto lines = progress.Draw(At(1s), {80, 24}, false);
  EXPECT_THAT(lines[0], HasSubstr("starts, left at that"));
  EXPECT_THAT(lines[1], HasSubstr("not touched"));
  EXPECT_THAT(lines[2], HasSubstr("sends to web-1 again once it is ready"));
  EXPECT_THAT(lines[2], testing::Not(HasSubstr("waits")));
}

TEST(Progress, TellsWhoIsOnTheNewReleaseWhenTheRunIsCancelled) {
  Plan plan;
  for (const char* name : {"web-1", "web-2", "web-3", "web-4"}) {
    for (const char* verb : {"stop", "install", "start"}) {
      muster::Step step;
      step.id = std::string(name) + "." + verb;
      step.instance = name;
      step.verb = verb;
      plan.steps.push_back(step);
    }
  }
  Progress progress(plan, At(0s));
  for (const char* verb : {"stop", "install", "start"}) progress.On(Step("web-1", verb, "done"), At(1s));
  for (const char* verb : {"stop", "install"}) progress.On(Step("web-2", verb, "done"), At(2s));
  progress.On(Step("web-2", "start", "sent"), At(2s));
  progress.On(Step("web-3", "stop", "done"), At(2s));
  StepEvent given_up = Step("web-2", "start", "failed", 5);
  given_up.error = Error::Conflict("cancelled", "nobody waits any more for web-2 to be ready");
  EXPECT_THAT(progress.On(given_up, At(3s)),
              ElementsAre("[5/12] web-2  not ready yet when the run was cancelled"));
  // It was stopped and nothing new was written yet: it comes back as it was.
  progress.On({StepEvent{.id = "web-3.stop.put-back", .instance = "web-3", .verb = "start", .state = "done"}},
              At(4s));
  const Progress::Reach reach = progress.HowFar();
  EXPECT_THAT(reach.ready, ElementsAre("web-1"));
  EXPECT_THAT(reach.started, ElementsAre("web-2"));
  EXPECT_THAT(reach.not_yet, ElementsAre("web-3", "web-4"));
  EXPECT_THAT(progress.failures(), IsEmpty());
  EXPECT_THAT(progress.Draw(At(5s), {100, 24}, false)[1],
              AllOf(StartsWith("· web-2"), HasSubstr("not ready yet when the run was cancelled")));
}

TEST(Progress, ForgetsAPauseOnceTheServiceGoesOn) {
  Plan plan = PlanOf(2);
  for (muster::Step& step : plan.steps) step.service = "web";
  Progress progress(plan, At(0s));
  progress.On(PausedEvent{"web", "web-9 died"}, At(1s));
  EXPECT_THAT(progress.Draw(At(1s), {80, 24}, false), testing::Contains("web waits: web-9 died"));
  progress.On(Step("web-1", "install", "sent"), At(2s));
  EXPECT_THAT(progress.Draw(At(2s), {80, 24}, false),
              testing::Not(testing::Contains("web waits: web-9 died")));
}

TEST(Progress, TellsWhatALongStepWaitsForNowAndThen) {
  Plan plan;
  muster::Step settle;
  settle.id = "cache-1.settle";
  settle.instance = "cache-1";
  settle.verb = "settle";
  plan.steps.push_back(settle);
  Progress progress(plan, At(0s));
  const auto waiting = [](const std::string& reason) {
    return WaitingEvent{.id = "cache-1.settle", .instance = "cache-1", .verb = "settle", .reason = reason};
  };
  EXPECT_THAT(progress.On(waiting("0 of 4096 slots moved"), At(0s)), IsEmpty());  // of nothing that is open
  progress.On(Step("cache-1", "settle", "sent"), At(0s));
  EXPECT_THAT(progress.On(waiting("512 of 4096 slots moved"), At(1s)), IsEmpty());
  EXPECT_THAT(progress.Draw(At(1s), {80, 24}, false)[0], HasSubstr("settles: 512 of 4096 slots moved  1.0s"));
  EXPECT_THAT(progress.On(waiting("1024 of 4096 slots moved"), At(5s)),
              ElementsAre("[0/1] cache-1  settles: 1024 of 4096 slots moved"));
  EXPECT_THAT(progress.On(waiting("1536 of 4096 slots moved"), At(6s)), IsEmpty());
  EXPECT_THAT(progress.On(waiting("2048 of 4096 slots moved"), At(10s)), SizeIs(1));
  progress.On(Step("cache-1", "settle", "done", 1), At(11s));
  EXPECT_THAT(progress.On(waiting("2048 of 4096 slots moved"), At(17s)), IsEmpty());
  EXPECT_THAT(progress.Draw(At(17s), {80, 24}, false)[0], testing::Not(HasSubstr("slots")));
}

TEST(Redraw, GoesBackOverWhatItDrewAndClearsTheRest) {
  EXPECT_EQ(Redraw(0, {"a"}), "a\x1b[K\n\x1b[J");
  EXPECT_THAT(Redraw(3, {"a", "b"}), AllOf(StartsWith("\x1b[3A\r"), HasSubstr("b\x1b[K\n")));
}

}  // namespace
}  // namespace muster::cli
