// Bad nights, replayed in a millisecond: every event in every state that matters.
#include "agent/supervisor.h"

#include <gtest/gtest.h>

#include "base/text.h"

namespace muster::agent {
namespace {

using Actions = std::vector<Action>;

Time At(Duration since_start) { return Time(1'000'000ms + since_start); }

// How actions read in a failed test, and in the tests themselves: "start report settled:not-ready".
std::string Words(const Actions& actions) {
  std::vector<std::string> words;
  for (const Action& action : actions) {
    if (std::holds_alternative<StartProcess>(action)) words.push_back("start");
    if (std::holds_alternative<AskToStop>(action)) words.push_back("ask");
    if (std::holds_alternative<KillProcess>(action)) words.push_back("kill");
    if (std::holds_alternative<ReportState>(action)) words.push_back("report");
    if (std::holds_alternative<StopSettled>(action)) words.push_back("stopped");
    if (const auto* settled = std::get_if<StartSettled>(&action)) {
      words.push_back("settled:" + (settled->error ? settled->error->code() : "ok"));
    }
  }
  return Join(words, " ");
}

std::optional<Error> SettledError(const Actions& actions) {
  for (const Action& action : actions) {
    if (const auto* settled = std::get_if<StartSettled>(&action)) return settled->error;
  }
  return {};
}

constexpr SupervisorPolicy kProbed{
    .restart = {.backoff_first = 1s, .backoff_most = 30s, .healthy_after = 10s, .crashes_most = 5},
    .ready_within = 60s,
    .stop_timeout = 10s,
    .probed = true,
    .fail_after = 3,
    .kill_when_hung = true};

SupervisorPolicy Unprobed() {
  SupervisorPolicy policy = kProbed;
  policy.probed = false;
  return policy;
}

// One supervised process and its night: what happens, when, and what is answered.
class SupervisorTest : public ::testing::Test {
 protected:
  void Use(const SupervisorPolicy& policy) { supervisor = Supervisor("db-1", policy); }
  Actions Raw(const Event& event, Duration at) { return supervisor.On(event, At(at)); }
  std::string On(const Event& event, Duration at) { return Words(Raw(event, at)); }
  std::string Restore(const Supervisor::Memory& memory, bool running, Duration at = 0s) {
    return Words(supervisor.Restore(memory, running, At(at)));
  }
  // The state with the time it wakes at: "ready", "backoff until 1s".
  std::string State() const {
    std::string text(StateName(supervisor.state()));
    if (supervisor.wake()) text += " until " + FormatDuration(*supervisor.wake() - At(0s));
    return text;
  }
  const Supervisor::Memory& memory() const { return supervisor.memory(); }
  // Wanted at 0s, running at 0s, ready at 1s.
  void BeReady() {
    On(StartWanted{}, 0s);
    On(Started{}, 0s);
    ASSERT_EQ(On(ProbeOk{}, 1s), "report settled:ok");
    ASSERT_EQ(State(), "ready");
  }
  void BeStopping() {
    BeReady();
    ASSERT_EQ(On(StopWanted{}, 20s), "report ask");
    ASSERT_EQ(State(), "stopping until 30s");
  }
  // Unhealthy at 4s with a policy that lets it live.
  void BeUnhealthy() {
    SupervisorPolicy patient = kProbed;
    patient.kill_when_hung = false;
    Use(patient);
    BeReady();
    On(ProbeFailed{"silent"}, 2s);
    On(ProbeFailed{"silent"}, 3s);
    ASSERT_EQ(On(ProbeFailed{"silent"}, 4s), "report");
    ASSERT_EQ(State(), "unhealthy");
  }
  void BeInBackoff() {
    On(StartWanted{}, 0s);
    On(Started{}, 0s);
    ASSERT_EQ(On(Exited{.how = "exit 1"}, 0s), "report");
    ASSERT_EQ(State(), "backoff until 1s");
  }
  void BeFailed() {
    On(StartWanted{}, 0s);
    ASSERT_EQ(On(StartFailed{Missing()}, 0s), "report settled:program-missing");
    ASSERT_EQ(State(), "failed");
  }
  static Error Missing() { return Error::NotFound("program-missing", "there is no redis-server"); }

  Supervisor supervisor{"db-1", kProbed};
};

// --- The policy.

TEST(SupervisorPolicy, IsTakenFromTheInstance) {
  Instance instance;
  EXPECT_FALSE(SupervisorPolicy::Of(instance).probed);
  instance.probe = {.kind = Probe::Kind::kTcp, .fail_after = 4, .kill_when_hung = false};
  instance.ready_within = 7s;
  instance.stop_timeout = 3s;
  instance.restart = {.backoff_first = 5ms, .backoff_most = 6ms, .healthy_after = 7ms, .crashes_most = 8};
  const SupervisorPolicy expected{.restart = instance.restart,
                                  .ready_within = 7s,
                                  .stop_timeout = 3s,
                                  .probed = true,
                                  .fail_after = 4,
                                  .kill_when_hung = false};
  EXPECT_EQ(SupervisorPolicy::Of(instance), expected);
}

TEST(SupervisorPolicy, NeverFindsAProcessHungBeforeAProbeHasFailed) {
  Instance instance;
  instance.probe.fail_after = 0;
  EXPECT_EQ(SupervisorPolicy::Of(instance).fail_after, 1);
}

// --- Failures first: crashes.

TEST_F(SupervisorTest, WaitsTwiceAsLongAfterEachCrashUpToTheMost) {
  SupervisorPolicy stubborn = kProbed;
  stubborn.restart.crashes_most = 100;
  stubborn.restart.backoff_most = 5s;
  Use(stubborn);
  On(StartWanted{}, 0s);
  Duration now = 0s;
  for (const Duration wait : std::vector<Duration>{1s, 2s, 4s, 5s, 5s, 5s}) {
    On(Started{}, now);
    EXPECT_EQ(On(Exited{.how = "exit 1"}, now), "report");
    EXPECT_EQ(State(), "backoff until " + FormatDuration(now + wait));
    now += wait;
    EXPECT_EQ(On(TimeReached{}, now), "report start");
    EXPECT_EQ(supervisor.state(), InstanceState::kStarting);
  }
  EXPECT_EQ(memory().restarts, 6);
  EXPECT_EQ(memory().crash_count, 6);
}

TEST_F(SupervisorTest, WaitsNoLongerThanTheMostFromTheFirstCrashOn) {
  SupervisorPolicy odd = kProbed;
  odd.restart.backoff_first = 10s;
  odd.restart.backoff_most = 2s;
  Use(odd);
  On(StartWanted{}, 0s);
  On(Exited{.how = "exit 1"}, 0s);
  EXPECT_EQ(State(), "backoff until 2s");
}

TEST_F(SupervisorTest, DoesNotStartBeforeItsTime) {
  BeInBackoff();
  EXPECT_EQ(On(TimeReached{}, 999ms), "");
  EXPECT_EQ(State(), "backoff until 1s");
  EXPECT_EQ(On(TimeReached{}, 1s), "report start");
}

TEST_F(SupervisorTest, GivesUpAfterSoManyCrashesInARowAndTellsWhoeverWaits) {
  On(StartWanted{}, 0s);
  Duration now = 0s;
  for (int crash = 1; crash < 5; ++crash) {
    On(Started{}, now);
    EXPECT_EQ(On(Exited{.how = "exit 1"}, now), "report") << crash;
    now = *supervisor.wake() - At(0s);
    On(TimeReached{}, now);
  }
  On(Started{}, now);
  const Actions last = Raw(Exited{.how = "signal 11"}, now);
  EXPECT_EQ(Words(last), "report settled:crash-loop");
  EXPECT_EQ(State(), "failed");
  const Error error = SettledError(last).value();
  EXPECT_EQ(error.kind(), ErrorKind::kUnavailable);
  EXPECT_EQ(error.message(), "db-1 died 5 times in a row, the last time with signal 11");
  EXPECT_EQ(error.hint(), "its log tells why: muster logs db-1");
  EXPECT_EQ(memory().last_exit, "signal 11");
  EXPECT_TRUE(memory().wanted);
  EXPECT_EQ(memory().restarts, 4);
}

TEST_F(SupervisorTest, FailsAtTheFirstCrashWhereOneIsTheMost) {
  SupervisorPolicy strict = kProbed;
  strict.restart.crashes_most = 1;
  Use(strict);
  BeReady();
  EXPECT_EQ(On(Exited{.how = "exit 2"}, 2s), "report");
  EXPECT_EQ(State(), "failed");
}

TEST_F(SupervisorTest, CountsAnewOnceItHasBeenUpLongEnough) {
  BeReady();
  On(Exited{.how = "exit 1"}, 2s);
  EXPECT_EQ(memory().crash_count, 1);
  On(TimeReached{}, 3s);
  On(Started{}, 3s);
  On(ProbeOk{}, 4s);
  EXPECT_EQ(On(Exited{.how = "exit 1"}, 13s), "report");  // up for exactly `healthy_after`
  EXPECT_EQ(memory().crash_count, 1);
  EXPECT_EQ(State(), "backoff until 14s");
  EXPECT_EQ(memory().restarts, 1);
}

TEST_F(SupervisorTest, CountsOnWhereItDiedAMomentTooEarly) {
  BeReady();
  On(Exited{.how = "exit 1"}, 9999ms);
  On(TimeReached{}, 11s);
  On(Started{}, 11s);
  On(ProbeOk{}, 11s);
  On(Exited{.how = "exit 1"}, 20999ms);
  EXPECT_EQ(memory().crash_count, 2);
}

TEST_F(SupervisorTest, CountsOnWhereItWasUpForLongButNeverReady) {
  On(StartWanted{}, 0s);
  On(Started{}, 0s);
  On(Exited{.how = "exit 1"}, 30s);
  On(TimeReached{}, 31s);
  On(Started{}, 31s);
  On(Exited{.how = "exit 1"}, 80s);
  EXPECT_EQ(memory().crash_count, 2);
}

TEST_F(SupervisorTest, ReportsACrashOfAReadyProcessAndBringsItBack) {
  BeReady();
  EXPECT_EQ(On(Exited{.how = "signal 9"}, 2s), "report");
  EXPECT_EQ(State(), "backoff until 3s");
  EXPECT_EQ(memory().last_exit, "signal 9");
  EXPECT_EQ(On(TimeReached{}, 3s), "report start");
  EXPECT_EQ(memory().restarts, 1);
  EXPECT_EQ(On(Started{}, 3s), "");
  EXPECT_EQ(On(ProbeOk{}, 4s), "report");  // nobody waits for this one
  EXPECT_EQ(State(), "ready");
}

TEST_F(SupervisorTest, TreatsAnExitWithStatusZeroAsACrash) {
  BeReady();
  EXPECT_EQ(On(Exited{.how = "exit 0"}, 2s), "report");
  EXPECT_EQ(State(), "backoff until 3s");
}

// --- Causes that trying again won't change.

TEST_F(SupervisorTest, GivesUpAtOnceForALastingCauseWhileSomebodyWaits) {
  On(StartWanted{}, 0s);
  const Actions actions = Raw(StartFailed{Missing()}, 0s);
  EXPECT_EQ(Words(actions), "report settled:program-missing");
  EXPECT_EQ(SettledError(actions), Missing());
  EXPECT_EQ(State(), "failed");
  EXPECT_EQ(memory().last_exit, "");  // there was no process
}

TEST_F(SupervisorTest, GivesUpAtOnceForAnExitWithAKnownCauseWhileSomebodyWaits) {
  On(StartWanted{}, 0s);
  On(Started{}, 0s);
  EXPECT_EQ(On(Exited{.how = "exit 127", .cause = Missing()}, 0s), "report settled:program-missing");
  EXPECT_EQ(State(), "failed");
  EXPECT_EQ(memory().last_exit, "exit 127");
}

TEST_F(SupervisorTest, TriesAgainForALastingCauseAtNightWhenNobodyWaits) {
  BeReady();
  On(Exited{.how = "exit 1"}, 2s);
  On(TimeReached{}, 3s);
  const Error taken = Error::Conflict("port-taken", "port 6379 is taken by pid 7");
  EXPECT_EQ(On(StartFailed{taken}, 3s), "report");
  EXPECT_EQ(State(), "backoff until 5s");
  EXPECT_EQ(memory().last_exit, "exit 1");  // the last that was a process
}

TEST_F(SupervisorTest, GivesUpWhereItCannotBeStartedAgainAndAgain) {
  SupervisorPolicy brief = kProbed;
  brief.restart.crashes_most = 2;
  Use(brief);
  BeReady();
  On(Exited{.how = "exit 1"}, 2s);
  On(TimeReached{}, 3s);
  EXPECT_EQ(On(StartFailed{Missing()}, 3s), "report");
  EXPECT_EQ(State(), "failed");
}

TEST_F(SupervisorTest, HealsWhenAPersonStartsAFailedOneWithCountersAnew) {
  BeFailed();
  EXPECT_EQ(memory().crash_count, 1);
  EXPECT_EQ(On(StartWanted{}, 5s), "report start");
  EXPECT_EQ(supervisor.state(), InstanceState::kStarting);
  EXPECT_EQ(memory().crash_count, 0);
  EXPECT_EQ(memory().restarts, 0);
  EXPECT_EQ(memory().last_exit, "");
}

// --- Not ready in time.

TEST_F(SupervisorTest, SaysWhyItWasNotReadyInTimeAndLetsItRun) {
  On(StartWanted{}, 0s);
  On(Started{}, 1s);
  EXPECT_EQ(State(), "starting until 1m");  // since somebody waits
  EXPECT_EQ(On(ProbeFailed{"connection refused"}, 2s), "");
  EXPECT_EQ(On(TimeReached{}, 59s), "");
  const Actions actions = Raw(TimeReached{}, 60s);
  EXPECT_EQ(Words(actions), "settled:not-ready");
  const Error error = SettledError(actions).value();
  EXPECT_EQ(error.kind(), ErrorKind::kTimeout);
  EXPECT_EQ(error.message(), "db-1 was not ready within 1m: connection refused");
  EXPECT_EQ(State(), "starting");
  EXPECT_EQ(On(ProbeOk{}, 90s), "report");  // late, but there
  EXPECT_EQ(State(), "ready");
}

TEST_F(SupervisorTest, WaitsNoLongerThanWhoeverAsked) {
  On(StartWanted{.within = 5s}, 0s);
  On(Started{}, 0s);
  EXPECT_EQ(State(), "starting until 5s");
  const Error error = SettledError(Raw(TimeReached{}, 5s)).value();
  EXPECT_EQ(error.message(), "db-1 was not ready within 5s");
}

TEST_F(SupervisorTest, WaitsNoLongerThanThePolicyHoweverLongWasAskedFor) {
  On(StartWanted{.within = 600s}, 0s);
  On(Started{}, 0s);
  EXPECT_EQ(State(), "starting until 1m");
}

TEST_F(SupervisorTest, ForgivesAnyNumberOfFailedProbesUntilTheDeadline) {
  On(StartWanted{}, 0s);
  On(Started{}, 0s);
  for (int probe = 0; probe < 100; ++probe) EXPECT_EQ(On(ProbeFailed{"not yet"}, 100ms * probe), "");
  EXPECT_EQ(State(), "starting until 1m");
}

TEST_F(SupervisorTest, LetsWhoeverComesLaterWaitAnewForWhatIsStarting) {
  On(StartWanted{.within = 5s}, 0s);
  On(Started{}, 0s);
  EXPECT_EQ(On(TimeReached{}, 5s), "settled:not-ready");
  EXPECT_EQ(On(StartWanted{.within = 3s}, 10s), "");  // no second process
  EXPECT_EQ(State(), "starting until 13s");
  EXPECT_EQ(On(TimeReached{}, 13s), "settled:not-ready");
  EXPECT_EQ(On(StartWanted{.within = 3s}, 20s), "");
  EXPECT_EQ(On(ProbeOk{}, 21s), "report settled:ok");
}

TEST_F(SupervisorTest, AnswersTwoAskersOfOneStartOnce) {
  On(StartWanted{}, 0s);
  On(Started{}, 0s);
  EXPECT_EQ(On(StartWanted{}, 1s), "");
  EXPECT_EQ(On(ProbeOk{}, 2s), "report settled:ok");
  EXPECT_EQ(On(ProbeOk{}, 3s), "");
}

TEST_F(SupervisorTest, KillsWhatCameBackByItselfAndHangsBeforeItIsReady) {
  BeReady();
  On(Exited{.how = "exit 1"}, 2s);
  On(TimeReached{}, 3s);
  On(Started{}, 3s);
  EXPECT_EQ(State(), "starting until 1m3s");  // the policy's time: nobody waits
  EXPECT_EQ(On(TimeReached{}, 63s), "kill");
  EXPECT_EQ(On(ProbeOk{}, 63s), "");  // a probe that was under way says nothing any more
  EXPECT_EQ(On(Exited{.how = "signal 9"}, 64s), "report");
  EXPECT_EQ(supervisor.state(), InstanceState::kBackoff);
}

TEST_F(SupervisorTest, LetsWhatHangsBeforeItIsReadyLiveWhereThePolicySaysSo) {
  SupervisorPolicy patient = kProbed;
  patient.kill_when_hung = false;
  Use(patient);
  BeReady();
  On(Exited{.how = "exit 1"}, 2s);
  On(TimeReached{}, 3s);
  On(Started{}, 3s);
  EXPECT_EQ(On(TimeReached{}, 63s), "");
  EXPECT_EQ(State(), "starting");
}

// --- Hung.

TEST_F(SupervisorTest, KillsAHungProcessAfterSoManyFailedProbesInARow) {
  BeReady();
  EXPECT_EQ(On(ProbeFailed{"silent"}, 20s), "");
  EXPECT_EQ(On(ProbeFailed{"silent"}, 22s), "");
  EXPECT_EQ(On(ProbeFailed{"silent"}, 24s), "report kill");
  EXPECT_EQ(State(), "unhealthy");
  EXPECT_EQ(On(ProbeFailed{"silent"}, 26s), "");  // once is enough
  EXPECT_EQ(On(ProbeOk{}, 26s), "");              // too late
  EXPECT_EQ(On(Exited{.how = "signal 9"}, 26s), "report");
  EXPECT_EQ(State(), "backoff until 27s");
  EXPECT_EQ(memory().crash_count, 1);
}

TEST_F(SupervisorTest, StartsTheCountOfFailedProbesAnewWithEachGoodOne) {
  BeReady();
  On(ProbeFailed{"silent"}, 2s);
  On(ProbeFailed{"silent"}, 3s);
  EXPECT_EQ(On(ProbeOk{}, 4s), "");
  On(ProbeFailed{"silent"}, 5s);
  EXPECT_EQ(On(ProbeFailed{"silent"}, 6s), "");
  EXPECT_EQ(State(), "ready");
}

TEST_F(SupervisorTest, CallsWhatDoesNotAnswerUnhealthyAndReadyAgainWhereItMayLive) {
  BeUnhealthy();
  EXPECT_EQ(On(ProbeFailed{"silent"}, 5s), "");
  EXPECT_EQ(On(ProbeOk{}, 6s), "report");
  EXPECT_EQ(State(), "ready");
  EXPECT_EQ(memory().restarts, 0);
}

TEST_F(SupervisorTest, LetsAPersonWaitForWhatIsUnhealthy) {
  BeUnhealthy();
  EXPECT_EQ(On(StartWanted{.within = 5s}, 10s), "");
  EXPECT_EQ(State(), "unhealthy until 15s");
  EXPECT_EQ(On(TimeReached{}, 15s), "settled:not-ready");
  EXPECT_EQ(State(), "unhealthy");
  On(StartWanted{}, 20s);
  EXPECT_EQ(On(ProbeOk{}, 21s), "report settled:ok");
}

// What hangs only after it is ready would else be killed and brought back every few seconds for ever.
TEST_F(SupervisorTest, CountsAHungProcessThatWasUpForTooShort) {
  BeReady();
  for (const Duration at : {2s, 3s, 4s}) On(ProbeFailed{"silent"}, at);
  On(Exited{.how = "signal 9"}, 4s);
  On(TimeReached{}, 5s);
  On(Started{}, 5s);
  On(ProbeOk{}, 5s);
  for (const Duration at : {6s, 7s, 8s}) On(ProbeFailed{"silent"}, at);
  On(Exited{.how = "signal 9"}, 8s);
  EXPECT_EQ(memory().crash_count, 2);
}

// --- Without a probe.

TEST_F(SupervisorTest, FindsWhatHasNoProbeReadyOnceItHasOutlivedTheGrace) {
  Use(Unprobed());
  On(StartWanted{}, 0s);
  EXPECT_EQ(On(Started{}, 0s), "");
  EXPECT_EQ(State(), "starting until 100ms");
  EXPECT_EQ(On(TimeReached{}, 99ms), "");
  EXPECT_EQ(On(TimeReached{}, 100ms), "report settled:ok");
  EXPECT_EQ(State(), "ready");
}

TEST_F(SupervisorTest, NoticesWhatDiesWithinTheGrace) {
  Use(Unprobed());
  On(StartWanted{}, 0s);
  On(Started{}, 0s);
  EXPECT_EQ(On(Exited{.how = "exit 3"}, 50ms), "report");
  EXPECT_EQ(State(), "backoff until 1s50ms");
}

TEST_F(SupervisorTest, IgnoresATimeOfBeforeTheCrash) {
  Use(Unprobed());
  On(StartWanted{}, 0s);
  On(Started{}, 0s);
  On(Exited{.how = "exit 3"}, 50ms);
  EXPECT_EQ(On(TimeReached{}, 100ms), "");
  EXPECT_EQ(supervisor.state(), InstanceState::kBackoff);
}

// --- Starting.

TEST_F(SupervisorTest, StartsWhatIsStoppedAndSettlesOnceItIsReady) {
  EXPECT_EQ(State(), "stopped");
  EXPECT_EQ(On(StartWanted{}, 0s), "report start");
  EXPECT_TRUE(memory().wanted);
  EXPECT_EQ(State(), "starting until 1m");
  EXPECT_EQ(On(Started{}, 1s), "");
  EXPECT_EQ(On(ProbeOk{}, 2s), "report settled:ok");
  EXPECT_EQ(State(), "ready");
}

TEST_F(SupervisorTest, AnswersAtOnceWhereItIsReadyAlready) {
  BeReady();
  EXPECT_EQ(On(StartWanted{}, 5s), "settled:ok");
  EXPECT_EQ(State(), "ready");
}

TEST_F(SupervisorTest, DoesNotWaitOutTheBackoffWhenAPersonStartsIt) {
  BeReady();
  On(Exited{.how = "exit 1"}, 2s);
  EXPECT_EQ(On(StartWanted{}, 2s), "report start");
  EXPECT_EQ(State(), "starting until 1m2s");
  EXPECT_EQ(memory().crash_count, 0);
  EXPECT_EQ(On(TimeReached{}, 3s), "");  // of the backoff: no second process
}

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
  EXPECT_EQ(State(), "starting until 100ms");
  EXPECT_EQ(On(TimeReached{}, 100ms), "report");
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
      switch (dice(7)) {
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
