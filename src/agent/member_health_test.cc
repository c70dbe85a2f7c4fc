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

// Asked by what stands in `data`, so that a test can tell how often.
Instance AskedBy(Instance instance, const std::string& file) {
  instance.probe = {.kind = Probe::Kind::kCommand,
                    .target = "sh -c 'echo >> {data}/asked; test -e {data}/" + file + "'",
                    .every = 10ms,
                    .timeout = 10s,
                    .fail_after = 2};
  instance.hash = file;
  return instance;
}

class MemberHealth : public MemberTest {
 protected:
  void SetUp() override {
    ASSERT_EQ(Do("install", AskedBy(Sleeper(), "good")), "");
    Put("good");
    ASSERT_EQ(Do("start"), "");
    pid = Now().pid;
    impact = Impact::kLive;
  }
  void Put(const std::string& file) {
    ASSERT_TRUE(WriteFile(member->paths().data + "/" + file, "", {.mode = 0644}).ok());
  }
  // Until it was asked so often from now on.
  void BeAsked(int times) {
    const std::string asked = member->paths().data + "/asked";
    const auto count = [&] { return fs::exists(asked) ? fs::file_size(asked) : 0; };
    const auto wanted = count() + static_cast<uintmax_t>(times);
    net::Loop::TimerId timer = 0;
    std::function<void()> look = [&] {
      loop.Stop();
      timer = loop.After(5ms, look);
    };
    look();
    EXPECT_TRUE(Until([&] { return count() >= wanted; }));
    loop.Cancel(timer);
  }

  const Values prove{{"prove", "yes"}};
  int pid = 0;
};

// As where an agent of before died over it: its notes don't say that the check is new, the order does.
TEST_F(MemberHealth, LivesThoughTheOrderComesASecondTime) {
  fs::remove(member->paths().data + "/good");
  EXPECT_EQ(Do("install", AskedBy(Sleeper(), "good"), prove), "health-wrong");
  BeAsked(5);
  EXPECT_EQ(Now().pid, pid);
  EXPECT_EQ(State(), "unhealthy");
  Put("good");
  EXPECT_TRUE(UntilState(InstanceState::kReady));
  EXPECT_EQ(Now().restarts, 0);
}

TEST_F(MemberHealth, IsNotProvenByWhatPassesOnlyOnce) {
  Instance instance = AskedBy(Sleeper(), "once");
  instance.probe.target = "sh -c 'echo >> {data}/asked; mkdir {data}/once'";
  EXPECT_EQ(Do("install", instance, prove), "health-wrong");
  BeAsked(5);
  EXPECT_EQ(Now().pid, pid);
  EXPECT_EQ(State(), "unhealthy");
  Put("better");
  EXPECT_EQ(Do("install", AskedBy(Sleeper(), "better"), prove), "");
  EXPECT_EQ(State(), "ready");
  EXPECT_EQ(Now().pid, pid);
}

// The signal is taken up; the check that came with it is what is wrong.
TEST_F(MemberHealth, TellsAWrongCheckThatCameWithAReloadByItsNameAndSoon) {
  ASSERT_EQ(Do("stop"), "");
  ASSERT_EQ(Do("install", AskedBy(Shell("trap : HUP; while :; do sleep 0.01; done"), "good")), "");
  ASSERT_EQ(Do("start"), "");
  pid = Now().pid;
  Instance next = AskedBy(Shell("trap : HUP; while :; do sleep 0.01; done"), "wrong");
  impact = Impact::kReload;
  ASSERT_EQ(Do("install", next), "");
  const auto reloaded = Wait(Begin("reload", {}, prove));
  ASSERT_FALSE(reloaded.ok());
  EXPECT_EQ(reloaded.error().code(), "health-wrong") << reloaded.error().message();
  EXPECT_EQ(State(), "unhealthy");
  BeAsked(5);
  EXPECT_EQ(Now().pid, pid);
  Put("wrong");
  EXPECT_EQ(Do("reload", {}, prove), "");
  EXPECT_EQ(State(), "ready");
  EXPECT_EQ(Now().pid, pid);
}

TEST_F(MemberHealth, NotesThatItsCheckIsUnprovenBeforeTheCheckItself) {
  const std::string desired = member->paths().records + "/desired.json";
  fs::rename(desired, desired + ".was");
  fs::create_directory(desired);  // it can't be written
  EXPECT_NE(Do("install", AskedBy(Sleeper(), "wrong"), prove), "");
  const auto noted = ReadFile(member->paths().records + "/state.json");
  ASSERT_TRUE(noted.ok());
  EXPECT_THAT(*noted, ::testing::HasSubstr("\"unproven\":true"));
  fs::remove(desired);
  fs::rename(desired + ".was", desired);
  BeAsked(5);
  EXPECT_EQ(State(), "ready") << "it is asked as before";
}

}  // namespace
}  // namespace muster::agent
