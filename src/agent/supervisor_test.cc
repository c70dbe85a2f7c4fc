#include <gmock/gmock.h>

#include "agent/testing_supervisor.h"

namespace muster::agent {
namespace {

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

TEST_F(SupervisorTest, GivesUpAtOnceOnWhatNoTryChanges) {
  const Error root = Error::Refused("user-root", "toor is root");
  BeReady();
  On(Exited{.how = "exit 1"}, 5s);
  On(TimeReached{}, 6s);
  EXPECT_EQ(On(StartFailed{.error = root, .for_good = true}, 6s), "report");  // nobody waits
  EXPECT_EQ(State(), "failed");
  EXPECT_EQ(memory().last_exit, "user-root");
  EXPECT_TRUE(memory().wanted);
  EXPECT_EQ(On(StartWanted{}, 7s), "report start");
  EXPECT_EQ(On(StartFailed{.error = root, .for_good = true}, 7s), "report settled:user-root");
  // After a start of the agent it is left at that.
  const Supervisor::Memory before = memory();
  Use(kProbed);
  EXPECT_EQ(Restore(before, false), "");
  EXPECT_EQ(State(), "failed");
}

TEST_F(SupervisorTest, TellsAtOnceWhatWaitingWontChange) {
  const Error taken = Error::Conflict("port-taken", "pid 7 has it");
  On(StartWanted{}, 0s);
  On(Started{}, 0s);
  EXPECT_EQ(On(ProbeFailed{.why = "refused"}, 1s), "report");
  EXPECT_EQ(On(ProbeFailed{.why = "taken", .cause = taken}, 2s), "report");
  EXPECT_EQ(On(ProbeFailed{.why = "taken", .cause = taken}, 3s), "");
  EXPECT_EQ(On(ProbeFailed{.why = "taken", .cause = taken}, 4s), "settled:port-taken");
  EXPECT_EQ(supervisor.state(), InstanceState::kStarting);  // it may get the port yet
  EXPECT_EQ(On(ProbeOk{}, 5s), "report");
}

TEST_F(SupervisorTest, WaitsForRoomOnTheDiskHoweverLongAndCallsItNoCrash) {
  const Error full = Error::Unavailable("disk-full", "no space left for current.log");
  On(StartWanted{}, 0s);
  EXPECT_EQ(On(StartFailed{full}, 0s), "report settled:disk-full");
  for (int i = 1; i <= 20; ++i) {
    EXPECT_EQ(State(), "backoff until " + FormatDuration(5s * i));
    EXPECT_EQ(On(TimeReached{}, 5s * i), "report start");
    EXPECT_EQ(On(StartFailed{full}, 5s * i), "report");
  }
  EXPECT_EQ(memory().last_exit, "disk-full");
  EXPECT_EQ(memory().restarts, 0);
  EXPECT_EQ(memory().crash_count, 0);
  On(TimeReached{}, 105s);
  On(Started{}, 105s);
  EXPECT_EQ(On(ProbeOk{}, 106s), "report");
  EXPECT_EQ(On(Exited{.how = "exit 1"}, 107s), "report");  // a crash counts as ever
  EXPECT_EQ(On(TimeReached{}, 108s), "report start");
  EXPECT_EQ(memory().restarts, 1);
  EXPECT_EQ(memory().crash_count, 1);
}

TEST_F(SupervisorTest, TellsWhatToDoWhereMemoryIsTooLittle) {
  SupervisorPolicy policy = kProbed;
  policy.restart.crashes_most = 1;
  Use(policy);
  On(StartWanted{}, 0s);
  On(Started{}, 0s);
  const Error error = SettledError(Raw(Exited{.how = "killed at its memory limit of 40m"}, 1s)).value();
  EXPECT_EQ(error.message(), "db-1 died 1 times in a row, the last time killed at its memory limit of 40m");
  EXPECT_EQ(error.hint(), "raise `limits: memory` of its service, or let it use less");
}

TEST_F(SupervisorTest, IsStoppedWhateverBecameOfItsStart) {
  BeReady();
  On(StopWanted{}, 2s);
  On(StartWanted{}, 3s);
  const Error root = Error::Refused("user-root", "toor is root");
  EXPECT_EQ(On(StartFailed{.error = root, .for_good = true}, 4s), "report stopped report start");
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
  EXPECT_EQ(memory().last_exit, "program-missing");  // there was no process, but a cause
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
  EXPECT_EQ(On(ProbeFailed{"connection refused"}, 2s), "report");
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
  for (int probe = 0; probe < 100; ++probe) {
    EXPECT_EQ(On(ProbeFailed{"not yet"}, 100ms * probe), probe == 10 ? "report" : "") << probe;
  }
  EXPECT_EQ(State(), "starting until 1m");
}

TEST_F(SupervisorTest, TellsWhatProbesMeetWhileItIsNotReady) {
  On(StartWanted{}, 0s);
  On(Started{}, 0s);
  EXPECT_EQ(On(ProbeFailed{"refused"}, 100ms), "");  // of what starts in no time nobody wants to know
  EXPECT_EQ(supervisor.probe_failure(), "refused");
  EXPECT_EQ(On(ProbeFailed{"status 503 after 1 ms"}, 1s), "report");
  EXPECT_EQ(On(ProbeFailed{"status 503 after 2 ms"}, 1900ms), "");  // not with every probe
  EXPECT_EQ(On(ProbeFailed{"status 503 after 1 ms"}, 2s), "");
  EXPECT_EQ(On(ProbeFailed{"status 503 after 3 ms"}, 3s), "report");
  EXPECT_EQ(On(ProbeOk{}, 4s), "report settled:ok");
  EXPECT_EQ(supervisor.probe_failure(), "");
  for (const Duration at : {10s, 11s}) EXPECT_EQ(On(ProbeFailed{"silent"}, at), "");
  EXPECT_EQ(supervisor.probe_failure(), "");  // it is still taken for ready
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
  EXPECT_EQ(memory().last_exit, "killed as hung: silent");
}

TEST_F(SupervisorTest, TellsAKillForMemoryFromOneForBeingHung) {
  BeReady();
  for (const Duration at : {20s, 22s, 24s}) On(ProbeFailed{"silent"}, at);
  On(Exited{.how = "killed at its memory limit of 40m"}, 26s);
  EXPECT_EQ(memory().last_exit, "killed at its memory limit of 40m");
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
  EXPECT_EQ(State(), "starting until 1s");
  EXPECT_EQ(On(TimeReached{}, 999ms), "");
  EXPECT_EQ(On(TimeReached{}, 1s), "report settled:ok");
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
  EXPECT_EQ(On(TimeReached{}, 1s), "");
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

}  // namespace
}  // namespace muster::agent
