// How an instance of several processes ends: asked all together, given its time, and nothing left.
#include "agent/testing_agent.h"
#include "recipes/recipe.h"

namespace muster::agent {
namespace {

class AgentStopTest : public WholeAgentTest {
 protected:
  std::string Log() const {
    const auto text = ReadFile(PathsOf(folder, "web-1").logs + "/current.log");
    return text.ok() ? *text : "";
  }
  static bool LivesAnyThatSleeps(const std::string& seconds) {
    // The program itself, and not a shell that is about to start it.
    const std::string sleeps = "sleep" + std::string(1, '\0') + seconds + std::string(1, '\0');
    std::error_code error;
    for (const auto& entry : fs::directory_iterator("/proc", error)) {
      const auto line = ReadFile(entry.path() / "cmdline");
      if (line.ok() && *line == sleeps) return true;
    }
    return false;
  }
  // What was begun in the background may not have come to its program yet.
  static bool ComesToSleep(const std::string& seconds) {
    for (const Time end = Now() + 10s; !LivesAnyThatSleeps(seconds);) {
      if (Now() > end) return false;
    }
    return true;
  }
  // A number that no other process has in its command.
  static std::string Unique() {
    return std::to_string(100'000 + ::getpid()) + std::to_string(::rand() % 1000);
  }
};

TEST_F(AgentStopTest, AProgramBehindAShellIsAskedTooAndHasItsTime) {
  Begin();
  const Instance one = Shell("web-1",
                             "sh -c 'trap \"echo asked; sleep 0.3; echo saved; exit 0\" TERM; echo up; "
                             "while :; do sleep 0.01; done'; true");
  ASSERT_EQ(Do("1", "start", one), "");
  ASSERT_EQ(Do("2", "stop"), "");
  EXPECT_THAT(Log(), HasSubstr("asked"));
  EXPECT_THAT(Log(), HasSubstr("saved"));
}

TEST_F(AgentStopTest, WhatIsFrozenIsThawedToHearIt) {
  Begin();
  const char* script = "trap 'echo saved; exit 0' TERM; echo $$; echo up; while :; do sleep 0.01; done";
  ASSERT_EQ(Do("1", "start", Shell("web-1", script)), "");
  ASSERT_EQ(::kill(std::stoi(Log()), SIGSTOP), 0);
  ASSERT_EQ(Do("2", "stop"), "");
  EXPECT_THAT(Log(), HasSubstr("saved"));
}

TEST_F(AgentStopTest, WhatIsLeftBehindAShellIsKilledWhenTheTimeIsOver) {
  Begin();
  const std::string seconds = Unique();
  Instance one = Shell("web-1", "sh -c 'trap \"\" TERM; echo up; sleep " + seconds + "'; true");
  one.stop_timeout = 300ms;
  ASSERT_EQ(Do("1", "start", one), "");
  ASSERT_TRUE(ComesToSleep(seconds));
  const Time asked = Now();
  ASSERT_EQ(Do("2", "stop"), "");
  EXPECT_GE(Now() - asked, 300ms);
  EXPECT_FALSE(LivesAnyThatSleeps(seconds));
}

TEST_F(AgentStopTest, WhatALeaderLeavesThatEndsByItselfIsKilledAtOnce) {
  Begin();
  const std::string seconds = Unique();
  Instance one = Shell("web-1", "(trap '' TERM; sleep " + seconds + ") & echo up; sleep 0.2; exit 1");
  one.restart.backoff_first = one.restart.backoff_most = 60s;
  one.stop_timeout = 60s;
  ASSERT_EQ(Do("1", "start", one), "");
  ASSERT_TRUE(Until([&] { return states.back() == "backoff"; }));
  EXPECT_FALSE(LivesAnyThatSleeps(seconds));
}

TEST_F(AgentStopTest, OnlyWhatEndsItsOwnProcessesIsLeftToDoSo) {
  EXPECT_TRUE(FindRecipe("nginx")->stops_its_own);
  EXPECT_FALSE(FindRecipe("app")->stops_its_own);
}

// A pipe where the log was: whoever opened it as a file would wait for a reader for ever.
TEST_F(AgentStopTest, AnInstanceThatPutsAPipeWhereItsLogWasHoldsUpNobody) {
  Begin();
  Instance other = Sleeper();
  other.name = "web-2";
  ASSERT_EQ(Do("1", "start", other), "");
  Instance one =
      Shell("web-1", "echo up; sleep 0.1; rm -f logs/current.log; mkfifo logs/current.log; exit 1");
  one.restart = {.backoff_first = 5ms, .backoff_most = 5ms, .healthy_after = 60s, .crashes_most = 5};
  ASSERT_EQ(Do("2", "start", one), "");
  ASSERT_TRUE(Until([&] { return states.back() == "failed"; }));
  EXPECT_THAT(ObserveAll(), SizeIs(2));
  EXPECT_EQ(Do("3", "stop"), "");
}

TEST_F(AgentStopTest, WhatAProbeAndACommandLeaveInTheBackgroundGoesWithTheInstance) {
  Begin();
  const std::string probed = Unique() + "1", typed = Unique() + "2", stopped = Unique() + "3";
  const auto leaves = [](const std::string& seconds) {
    return "setsid sleep " + seconds + " >/dev/null 2>&1 & exit 0";
  };
  Instance one = Sleeper();
  one.probe = {.kind = Probe::Kind::kCommand, .target = "sh -c '" + leaves(probed) + "'", .every = 60s};
  const std::vector<std::string> typed_in{"sh", "-c", leaves(typed)};
  ASSERT_EQ(Do("1", "start", one), "");
  Send(api::ExecMessage{.id = "2", .epoch = 1, .instance = "web-1", .argv = typed_in});
  Stream("2");
  EXPECT_TRUE(ComesToSleep(probed));
  EXPECT_TRUE(ComesToSleep(typed));
  EXPECT_EQ(Do("3", "stop"), "");
  EXPECT_FALSE(LivesAnyThatSleeps(probed));
  EXPECT_FALSE(LivesAnyThatSleeps(typed));

  const std::vector<std::string> later{"sh", "-c", leaves(stopped)};
  Send(api::ExecMessage{.id = "4", .epoch = 1, .instance = "web-1", .argv = later});
  Stream("4");
  EXPECT_TRUE(ComesToSleep(stopped));
  EXPECT_EQ(Do("5", "remove"), "");
  EXPECT_FALSE(LivesAnyThatSleeps(stopped));
}

TEST_F(AgentStopTest, AProbesCommandHasTheInstancesEnvironmentAndNoOther) {
  ::setenv("MUSTER_TEST_TOKEN", "of-whoever-started-the-agent", 1);
  Begin();
  ::unsetenv("MUSTER_TEST_TOKEN");
  Instance one = Sleeper();
  one.env = {{"ITS_OWN", "yes"}};
  const char* asks = "sh -c 'test \"$ITS_OWN-$MUSTER_INSTANCE-$MUSTER_TEST_TOKEN\" = yes-web-1-'";
  one.probe = {.kind = Probe::Kind::kCommand, .target = asks, .every = 10ms};
  one.ready_within = 2s;
  EXPECT_EQ(Do("1", "start", one), "");
}

}  // namespace
}  // namespace muster::agent
