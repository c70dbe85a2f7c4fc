#include "agent/testing_supervisor.h"

namespace muster::agent {
namespace {

TEST_F(SupervisorTest, KeepsWhoeverAskedWaitingThroughABackoff) {
  BeInBackoff();
  EXPECT_EQ(On(TimeReached{}, 1s), "report start");
  On(Started{}, 1s);
  EXPECT_EQ(On(ProbeOk{}, 2s), "report settled:ok");
}

// --- Stopping.

TEST_F(SupervisorTest, AsksThenKillsWhatDoesNotStopInTime) {
  BeStopping();
  EXPECT_FALSE(memory().wanted);
  EXPECT_EQ(On(TimeReached{}, 29s), "");
  EXPECT_EQ(On(TimeReached{}, 30s), "kill");
  EXPECT_EQ(On(TimeReached{}, 40s), "");
  EXPECT_EQ(On(Exited{.how = "signal 9"}, 41s), "report stopped");
  EXPECT_EQ(State(), "stopped");
  EXPECT_EQ(memory().last_exit, "signal 9");
}

TEST_F(SupervisorTest, AsksAgainWhatForgetsThatItWasAskedUntilItsTimeIsOver) {
  SupervisorPolicy forgetful = kProbed;
  forgetful.asks_again = 4s;
  Use(forgetful);
  BeReady();
  EXPECT_EQ(On(StopWanted{}, 20s), "report ask");
  EXPECT_EQ(State(), "stopping until 24s");
  EXPECT_EQ(On(TimeReached{}, 23s), "");
  EXPECT_EQ(On(TimeReached{}, 24s), "ask");
  EXPECT_EQ(On(StopWanted{}, 25s), "");
  EXPECT_EQ(On(TimeReached{}, 28s), "ask");
  EXPECT_EQ(State(), "stopping until 30s");
  EXPECT_EQ(On(TimeReached{}, 30s), "kill");
  EXPECT_EQ(On(TimeReached{}, 34s), "");
  EXPECT_EQ(On(Exited{.how = "signal 9"}, 35s), "report stopped");
}

TEST_F(SupervisorTest, IsNoCrashWhenAStoppedProcessEnds) {
  BeStopping();
  EXPECT_EQ(On(Exited{.how = "exit 143"}, 21s), "report stopped");
  EXPECT_EQ(State(), "stopped");
  EXPECT_EQ(memory().crash_count, 0);
  EXPECT_EQ(memory().restarts, 0);
  EXPECT_EQ(On(TimeReached{}, 60s), "");
}

TEST_F(SupervisorTest, AnswersAStopAtOnceWhereNothingRuns) {
  EXPECT_EQ(On(StopWanted{}, 0s), "stopped");
  EXPECT_EQ(State(), "stopped");
}

TEST_F(SupervisorTest, AnswersASecondStopOnceWithTheFirst) {
  BeStopping();
  EXPECT_EQ(On(StopWanted{}, 25s), "");
  EXPECT_EQ(State(), "stopping until 30s");  // the clock isn't wound up anew
  EXPECT_EQ(On(Exited{.how = "exit 0"}, 26s), "report stopped");
}

TEST_F(SupervisorTest, IgnoresProbesWhileItStops) {
  BeStopping();
  EXPECT_EQ(On(ProbeOk{}, 21s), "");
  for (int probe = 0; probe < 5; ++probe) EXPECT_EQ(On(ProbeFailed{"closed"}, 22s), "");
  EXPECT_EQ(State(), "stopping until 30s");
}

TEST_F(SupervisorTest, EndsABackoffWithAStop) {
  BeInBackoff();
  EXPECT_EQ(On(StopWanted{}, 500ms), "settled:stopped report stopped");
  EXPECT_EQ(State(), "stopped");
  EXPECT_EQ(On(TimeReached{}, 1s), "");
}

TEST_F(SupervisorTest, ForgetsAFailureWithAStop) {
  BeFailed();
  EXPECT_EQ(On(StopWanted{}, 5s), "report stopped");
  EXPECT_EQ(State(), "stopped");
}

TEST_F(SupervisorTest, StopsWhatIsUnhealthy) {
  BeUnhealthy();
  EXPECT_EQ(On(StopWanted{}, 5s), "report ask");
  EXPECT_EQ(State(), "stopping until 15s");
}

TEST_F(SupervisorTest, StopsAHungProcessThatHasBeenKilledWithoutBringingItBack) {
  BeReady();
  for (const Duration at : {2s, 3s, 4s}) On(ProbeFailed{"silent"}, at);
  EXPECT_EQ(On(StopWanted{}, 4s), "report ask");
  EXPECT_EQ(On(Exited{.how = "signal 9"}, 4s), "report stopped");
  EXPECT_EQ(State(), "stopped");
}

// --- Stop and start across each other.

TEST_F(SupervisorTest, TellsWhoeverWaitsForAStartThatItWasStopped) {
  On(StartWanted{}, 0s);
  On(Started{}, 0s);
  const Actions actions = Raw(StopWanted{}, 1s);
  EXPECT_EQ(Words(actions), "settled:stopped report ask");
  EXPECT_EQ(SettledError(actions)->message(), "db-1 was stopped before it was ready");
  EXPECT_EQ(State(), "stopping until 11s");
  EXPECT_EQ(On(Exited{.how = "signal 15"}, 2s), "report stopped");
}

TEST_F(SupervisorTest, StopsBetweenTheOrderToStartAndTheProcess) {
  On(StartWanted{}, 0s);
  EXPECT_EQ(On(StopWanted{}, 0s), "settled:stopped report ask");
  EXPECT_EQ(On(StartFailed{Missing()}, 1s), "report stopped");  // there never was one
  EXPECT_EQ(State(), "stopped");
}

TEST_F(SupervisorTest, StartsAgainOnceTheStopIsThroughWhereBothWereWanted) {
  BeStopping();
  EXPECT_EQ(On(StartWanted{.within = 7s}, 21s), "");
  EXPECT_TRUE(memory().wanted);
  EXPECT_EQ(On(Exited{.how = "exit 0"}, 22s), "report stopped report start");
  On(Started{}, 23s);
  EXPECT_EQ(On(ProbeOk{}, 24s), "report settled:ok");
}

TEST_F(SupervisorTest, WaitsForAStartThatCameDuringAStopNoLongerThanWasAsked) {
  BeStopping();
  On(StartWanted{.within = 5s}, 21s);
  EXPECT_EQ(On(Exited{.how = "exit 0"}, 24s), "report stopped report start");
  EXPECT_EQ(State(), "starting until 26s");
}

TEST_F(SupervisorTest, AnswersOnceThoughTheTimeIsUpBeforeTheStopIsThrough) {
  BeStopping();
  On(StartWanted{.within = 5s}, 21s);
  EXPECT_EQ(On(TimeReached{}, 26s), "settled:not-ready");
  EXPECT_EQ(On(Exited{.how = "exit 0"}, 27s), "report stopped report start");  // it is wanted still
  On(Started{}, 27s);
  EXPECT_EQ(State(), "starting until 1m27s");
  EXPECT_EQ(On(ProbeOk{}, 28s), "report");
}

TEST_F(SupervisorTest, AnswersWhoeverWaitsInTimeThroughABackoff) {
  SupervisorPolicy slow = kProbed;
  slow.restart.backoff_first = 20s;
  Use(slow);
  On(StartWanted{.within = 5s}, 0s);
  On(Started{}, 0s);
  On(Exited{.how = "exit 1"}, 1s);
  EXPECT_EQ(State(), "backoff until 5s");
  EXPECT_EQ(On(TimeReached{}, 5s), "settled:not-ready");
  EXPECT_EQ(State(), "backoff until 21s");  // and goes on, for it is wanted
  EXPECT_EQ(On(TimeReached{}, 21s), "report start");
}

TEST_F(SupervisorTest, LetsTheLastWordWinWhileItStops) {
  BeStopping();
  EXPECT_EQ(On(StartWanted{}, 21s), "");
  EXPECT_EQ(On(StopWanted{}, 22s), "settled:stopped");
  EXPECT_FALSE(memory().wanted);
  EXPECT_EQ(On(Exited{.how = "exit 0"}, 23s), "report stopped");
  EXPECT_EQ(State(), "stopped");
}

TEST_F(SupervisorTest, KillsInTimeThoughAStartIsWantedMeanwhile) {
  BeStopping();
  On(StartWanted{}, 21s);
  EXPECT_EQ(On(TimeReached{}, 30s), "kill");
  EXPECT_EQ(On(Exited{.how = "signal 9"}, 31s), "report stopped report start");
}

// --- After the death of the agent.

TEST_F(SupervisorTest, GoesOnWithAReadyProcessWithoutAWord) {
  const Supervisor::Memory ready{
      .state = InstanceState::kReady, .wanted = true, .crash_count = 2, .restarts = 3, .last_exit = "exit 1"};
  EXPECT_EQ(Restore(ready, true), "");
  EXPECT_EQ(State(), "ready");
  EXPECT_EQ(memory(), ready);
}

TEST_F(SupervisorTest, GoesOnWithAnUnhealthyProcess) {
  EXPECT_EQ(Restore({.state = InstanceState::kUnhealthy, .wanted = true}, true), "");
  EXPECT_EQ(State(), "unhealthy");
  EXPECT_EQ(On(ProbeOk{}, 1s), "report");
}

TEST_F(SupervisorTest, GivesAnAdoptedProcessThatWasNotReadyThePolicysTime) {
  Restore({.state = InstanceState::kStarting, .wanted = true}, true, 5s);
  EXPECT_EQ(State(), "starting until 1m5s");
  EXPECT_EQ(On(ProbeOk{}, 6s), "report");
  EXPECT_EQ(State(), "ready");
}

// The agent died between the start and its note of it.
TEST_F(SupervisorTest, AdoptsAProcessThatItsNotesDoNotKnowYet) {
  Restore({.state = InstanceState::kBackoff, .wanted = true, .crash_count = 1}, true);
  EXPECT_EQ(State(), "starting until 1m");
}

TEST_F(SupervisorTest, AsksNoMoreOfAReadyProcessWithoutAProbe) {
  Use(Unprobed());
  EXPECT_EQ(Restore({.state = InstanceState::kReady, .wanted = true}, true), "");
  EXPECT_EQ(State(), "ready");
}

TEST_F(SupervisorTest, GivesAnAdoptedProcessWithoutAProbeItsGrace) {
  Use(Unprobed());
  Restore({.state = InstanceState::kStarting, .wanted = true}, true);
  EXPECT_EQ(State(), "starting until 1s");
  EXPECT_EQ(On(TimeReached{}, 1s), "report");
  EXPECT_EQ(State(), "ready");
}

TEST_F(SupervisorTest, FinishesAStopThatTheAgentDidNotSurvive) {
  EXPECT_EQ(Restore({.state = InstanceState::kStopping, .wanted = false}, true, 5s), "report ask");
  EXPECT_EQ(State(), "stopping until 15s");
  EXPECT_EQ(On(TimeReached{}, 15s), "kill");
  EXPECT_EQ(On(Exited{.how = "unknown"}, 16s), "report stopped");
}

// Its notes were lost, or a full disk kept them from being written.
TEST_F(SupervisorTest, StopsWhatRunsThoughNobodyWantsIt) {
  EXPECT_EQ(Restore({.state = InstanceState::kStopped, .wanted = false}, true), "report ask");
  EXPECT_EQ(State(), "stopping until 10s");
  EXPECT_EQ(On(Exited{.how = "unknown"}, 1s), "report stopped");
}

TEST_F(SupervisorTest, BringsBackWhatDiedWhileNoAgentLooked) {
  for (const InstanceState was : {InstanceState::kStarting, InstanceState::kReady, InstanceState::kUnhealthy,
                                  InstanceState::kStopping}) {
    Use(kProbed);
    const std::string words = Restore({.state = was, .wanted = true, .crash_count = 1, .restarts = 2}, false);
    EXPECT_TRUE(words.ends_with("start")) << StateName(was) << ": " << words;
    EXPECT_EQ(State(), "starting") << StateName(was);
    EXPECT_EQ(memory().last_exit, "unknown");
    EXPECT_EQ(memory().restarts, 3);
    EXPECT_EQ(memory().crash_count, 1) << "nobody knows how it died";
  }
}

TEST_F(SupervisorTest, GoesOnWithABackoffByStartingAtOnce) {
  const Supervisor::Memory was{.state = InstanceState::kBackoff,
                               .wanted = true,
                               .crash_count = 3,
                               .restarts = 3,
                               .last_exit = "exit 1"};
  EXPECT_EQ(Restore(was, false), "report start");
  EXPECT_EQ(memory().crash_count, 3);
  EXPECT_EQ(memory().last_exit, "exit 1");
  On(Started{}, 0s);
  On(Exited{.how = "exit 1"}, 0s);
  EXPECT_EQ(State(), "backoff until 8s");  // the ladder goes on where it was
}

TEST_F(SupervisorTest, StartsWhatWasWantedAndNeverRan) {
  EXPECT_EQ(Restore({.state = InstanceState::kStopped, .wanted = true}, false), "report start");
  EXPECT_EQ(memory().restarts, 0);
  EXPECT_EQ(memory().last_exit, "");
}

TEST_F(SupervisorTest, LeavesWhatHasFailedAlone) {
  const Supervisor::Memory failed{
      .state = InstanceState::kFailed, .wanted = true, .crash_count = 5, .last_exit = "exit 1"};
  EXPECT_EQ(Restore(failed, false), "");
  EXPECT_EQ(State(), "failed");
  EXPECT_EQ(memory(), failed);
}

TEST_F(SupervisorTest, TakesForStoppedWhatNobodyWantsAndDoesNotRun) {
  EXPECT_EQ(Restore({.state = InstanceState::kStopping, .wanted = false}, false), "");
  EXPECT_EQ(State(), "stopped");
}

// --- What cannot be, but may arrive.

TEST_F(SupervisorTest, IgnoresProbesWhereNothingRuns) {
  EXPECT_EQ(On(ProbeOk{}, 0s), "");
  EXPECT_EQ(On(ProbeFailed{"closed"}, 0s), "");
  EXPECT_EQ(State(), "stopped");
  BeInBackoff();
  EXPECT_EQ(On(ProbeOk{}, 500ms), "");
  EXPECT_EQ(State(), "backoff until 1s");
}

TEST_F(SupervisorTest, IgnoresATimeItDidNotAskFor) {
  EXPECT_EQ(On(TimeReached{}, 0s), "");
  BeReady();
  EXPECT_EQ(On(TimeReached{}, 100s), "");
  EXPECT_EQ(State(), "ready");
}

TEST_F(SupervisorTest, TakesANewPolicyUpFromThenOn) {
  BeReady();
  SupervisorPolicy hurried = kProbed;
  hurried.stop_timeout = 2s;
  supervisor.set_policy(hurried);
  EXPECT_EQ(On(StopWanted{}, 5s), "report ask");
  EXPECT_EQ(State(), "stopping until 7s");
}

// --- Two rules that no order of events may break.

// At most one process: "start" comes only while none has been started and not ended. And each start that was
// asked for is answered once.
TEST_F(SupervisorTest, NeverHasTwoProcessesNorOwesAnAnswerInTenThousandNights) {
  uint64_t random = 42;
  const auto dice = [&](uint64_t sides) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    return (random >> 33) % sides;
  };
  for (int night = 0; night < 10'000; ++night) {
    Use(dice(2) ? kProbed : Unprobed());
    enum { kNone, kOrdered, kRunning } process = kNone;
    bool start_owed = false, stop_owed = false;
    Duration now = 0s;
    std::string story;
    for (int hour = 0; hour < 40; ++hour) {
      now += 1ms * dice(20'000);
      Event event = TimeReached{};
      switch (dice(10)) {
        case 0:
          event = StartWanted{.within = 1s * dice(3)};
          start_owed = true;
          break;
        case 1:
          event = StopWanted{};
          stop_owed = true;
          break;
        case 2:
          if (process == kOrdered) event = Started{};
          break;
        case 3:
          if (process == kRunning) event = Exited{.how = "exit 1"};
          if (process == kOrdered) event = StartFailed{Missing()};
          break;
        case 4:
          if (process == kRunning) event = ProbeOk{};
          break;
        case 5:
          if (process == kRunning) event = ProbeFailed{"silent"};
          break;
        case 6:
          if (process == kRunning) event = ProbeChanging{};
          break;
        case 7:
          if (process == kRunning) event = ProbeChanged{};
          break;
        case 8:
          if (process == kRunning) event = ProofFailed{"silent"};
          break;
        default:
          break;
      }
      if (std::holds_alternative<Started>(event)) process = kRunning;
      if (std::holds_alternative<Exited>(event)) process = kNone;
      if (std::holds_alternative<StartFailed>(event)) process = kNone;
      const Actions actions = Raw(event, now);
      story += fmt::format("{}: event {} -> {} [{}]\n", FormatDuration(now), event.index(), Words(actions),
                           State());
      for (const Action& action : actions) {
        if (std::holds_alternative<StartProcess>(action)) {
          ASSERT_EQ(process, kNone) << "night " << night << "\n" << story;
          process = kOrdered;
        }
        if (std::holds_alternative<StartSettled>(action)) {
          ASSERT_TRUE(start_owed) << "night " << night << "\n" << story;
          start_owed = false;
        }
        if (std::holds_alternative<StopSettled>(action)) {
          ASSERT_TRUE(stop_owed) << "night " << night << "\n" << story;
          stop_owed = false;
        }
      }
    }
    // Morning: a stop settles everything.
    if (process == kOrdered) {
      Raw(Started{}, now);
      process = kRunning;
    }
    std::string last = On(StopWanted{}, now);
    if (process == kRunning) last += " " + On(Exited{.how = "exit 0"}, now + 1s);
    story += last;
    ASSERT_EQ(State(), "stopped") << "night " << night << "\n" << story;
    ASSERT_TRUE(last.ends_with("stopped")) << "night " << night << "\n" << story;
    ASSERT_EQ(last.find("settled:") != std::string::npos, start_owed) << "night " << night << "\n" << story;
  }
}

}  // namespace
}  // namespace muster::agent
