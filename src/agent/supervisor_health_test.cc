// Bad nights of what a health check was changed for while it ran.
#include <gmock/gmock.h>

#include "agent/testing_supervisor.h"

namespace muster::agent {
namespace {

TEST_F(SupervisorTest, NeverKillsForAProbeThatWasChangedAndHasNotPassedSince) {
  BeReady();
  EXPECT_EQ(On(ProbeFailed{"silent"}, 2s), "");
  EXPECT_EQ(On(ProbeChanged{}, 3s), "");  // those of the earlier rule don't count
  EXPECT_EQ(On(ProbeFailed{"status 200"}, 4s), "");
  EXPECT_EQ(On(ProbeFailed{"status 200"}, 5s), "");
  EXPECT_EQ(On(ProbeFailed{"status 200"}, 6s), "report");
  EXPECT_EQ(State(), "unhealthy");
  for (const Duration at : {7s, 8s, 900s}) EXPECT_EQ(On(ProbeFailed{"status 200"}, at), "");
  // Nor after a start of the agent.
  const Supervisor::Memory before = memory();
  Use(kProbed);
  EXPECT_EQ(Restore(before, true, 901s), "");
  EXPECT_EQ(On(ProbeFailed{"status 200"}, 902s), "report");  // what the agent tells is as new as it is
  for (const Duration at : {903s, 904s}) EXPECT_EQ(On(ProbeFailed{"status 200"}, at), "");
  EXPECT_EQ(State(), "unhealthy");
  // Once it has passed often enough, it is as good as any.
  EXPECT_EQ(On(ProbeOk{}, 905s), "report");
  for (int i = 0; i < 3; ++i) On(ProbeOk{}, 905s);
  EXPECT_EQ(On(ProbeFailed{"silent"}, 906s), "");
  EXPECT_EQ(On(ProbeFailed{"silent"}, 907s), "");
  EXPECT_EQ(On(ProbeFailed{"silent"}, 908s), "report kill");
}

TEST_F(SupervisorTest, TellsWhoeverWaitsThatAChangedProbeDoesNotPass) {
  BeReady();
  On(ProbeChanged{}, 3s);
  for (const Duration at : {4s, 5s, 6s}) On(ProbeFailed{"status 200"}, at);
  EXPECT_EQ(On(StartWanted{}, 10s), "");
  EXPECT_EQ(On(ProbeFailed{"status 200"}, 11s), "");
  EXPECT_EQ(On(ProbeFailed{"status 200"}, 12s), "");
  const Error error = SettledError(Raw(ProbeFailed{"status 200"}, 13s)).value();
  EXPECT_EQ(error.code(), "health-wrong");
  EXPECT_THAT(error.message(), ::testing::EndsWith("since that was changed: status 200"));
}

TEST_F(SupervisorTest, LetsWhatHasComeBackByItselfLiveWhereItsChangedProbeNeverPassed) {
  BeReady();
  On(ProbeChanged{}, 3s);
  On(Exited{.how = "exit 1"}, 4s);
  On(TimeReached{}, 5s);
  On(Started{}, 5s);
  EXPECT_EQ(On(TimeReached{}, 65s), "report");
  EXPECT_EQ(State(), "unhealthy");
}

TEST_F(SupervisorTest, IsReadyAgainWhereItsProbeIsTakenAway) {
  BeUnhealthy();
  supervisor.set_policy(Unprobed());
  EXPECT_EQ(On(ProbeChanged{}, 5s), "report");
  EXPECT_EQ(State(), "ready");
}

// One pass may have been luck: a lock that nobody held yet, a session that had not run out.
TEST_F(SupervisorTest, KillsForAChangedProbeOnlyOnceThatHasPassedAsOftenInARowAsItWouldHaveToFail) {
  BeReady();
  On(ProbeChanged{}, 2s);
  for (Duration night = 10s; night < 200s; night += 60s) {
    for (const Duration at : {1s, 2s, 3s}) On(ProbeOk{}, night + at);
    EXPECT_TRUE(memory().unproven);
    for (const Duration at : {4s, 5s}) EXPECT_EQ(On(ProbeFailed{"status 200"}, night + at), "");
    EXPECT_EQ(On(ProbeFailed{"status 200"}, night + 6s), "report");
    EXPECT_EQ(State(), "unhealthy");
  }
  for (const Duration at : {301s, 302s, 303s, 304s}) On(ProbeOk{}, at);
  EXPECT_FALSE(memory().unproven);
  for (const Duration at : {305s, 306s}) On(ProbeFailed{"silent"}, at);
  EXPECT_EQ(On(ProbeFailed{"silent"}, 307s), "report kill");
}

// An agent may die between the two, and what it finds then is the new rule.
TEST_F(SupervisorTest, KillsForNoRuleThatIsJustAboutToBeWrittenDown) {
  BeReady();
  On(ProbeFailed{"silent"}, 2s);
  EXPECT_EQ(On(ProbeChanging{}, 3s), "");
  EXPECT_TRUE(memory().unproven);
  EXPECT_EQ(On(ProbeOk{.of_before = true}, 4s), "") << "by the earlier rule: it serves, no more is known";
  EXPECT_TRUE(memory().unproven);
  const Supervisor::Memory before = memory();
  Use(kProbed);
  Restore(before, true, 10s);
  for (const Duration at : {11s, 12s}) EXPECT_EQ(On(ProbeFailed{"status 200"}, at), "");
  EXPECT_EQ(On(ProbeFailed{"status 200"}, 13s), "report");
  EXPECT_EQ(State(), "unhealthy");
}

TEST_F(SupervisorTest, IsUnhealthyAsSoonAsItsChangedProbeIsGivenUpOn) {
  BeReady();
  On(ProbeChanged{}, 3s);
  EXPECT_EQ(On(ProofFailed{"status 200"}, 4s), "report");
  EXPECT_EQ(State(), "unhealthy");
  EXPECT_EQ(supervisor.probe_failure(), "status 200");
  for (const Duration at : {5s, 6s, 7s, 8s}) EXPECT_EQ(On(ProbeFailed{"status 200"}, at), "") << "nor killed";
  On(StartWanted{}, 10s);
  for (const Duration at : {11s, 12s}) EXPECT_EQ(On(ProbeFailed{"status 200"}, at), "");
  EXPECT_EQ(On(ProbeFailed{"status 200"}, 13s), "settled:health-wrong");
}

TEST_F(SupervisorTest, IsNoLessThanStartingWhereWhoAskedItGivesUp) {
  On(StartWanted{}, 0s);
  EXPECT_EQ(On(ProofFailed{"status 200"}, 0s), "") << "it has died meanwhile, and comes back";
  EXPECT_EQ(State(), "starting until 1m");
  On(StopWanted{}, 1s);
  EXPECT_EQ(On(ProofFailed{"status 200"}, 2s), "");
  EXPECT_FALSE(memory().unproven);
}

}  // namespace
}  // namespace muster::agent
