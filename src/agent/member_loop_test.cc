// The loop of an agent goes on while one instance's files are many, or a command takes its time: what waits
// for neither are its other instances' probes, restarts and logs.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "agent/member.h"
#include "base/digest.h"
#include "base/files.h"

namespace muster::agent {
namespace {

class MemberLoop : public ::testing::Test {
 protected:
  MemberLoop() : root("/tmp/ml-" + RandomHex(4)), path(::getenv("PATH")) {
    fs::create_directories(root + "/bin");
    host.loop = &loop;
    host.cluster = "t" + RandomHex(4);
    host.host = "h1";
    host.folder = root + "/host";
    host.changed = [](const Observed&) {};
    host.clean_artifacts = [] {};
    member = std::make_shared<Member>(&host, "web-1");
  }
  ~MemberLoop() override {
    ::setenv("PATH", path.c_str(), 1);
    member.reset();
    loop.EndTasks();
    fs::remove_all(root);
  }

  static Instance Of(const std::string& user) {
    Instance instance;
    instance.name = "web-1";
    instance.service = "web";
    instance.kind = "app";
    instance.host = "one";
    instance.argv = {"/bin/true"};
    instance.user = user;
    instance.hash = "h1";
    return instance;
  }
  // "" or the code of the error. Ticks all the while.
  std::string Do(const std::string& verb, std::optional<Instance> instance, const Values& args = {}) {
    std::optional<Result<Values>> done;
    const Step step{.id = "1", .instance = "web-1", .verb = verb, .args = args};
    longest = 0ms;
    last = begun = Now();
    Tick();
    net::SpawnThen(member->Perform(step, std::move(instance)), [&](Result<Values> outcome) {
      done = std::move(outcome);
      took = Now() - begun;
      loop.Stop();
    });
    if (!done) loop.Run();
    loop.Cancel(timer);
    return done->ok() ? "" : done->error().code();
  }
  void Tick() {
    longest = std::max(longest, Now() - last);
    last = Now();
    if (on_tick) on_tick();
    timer = loop.After(1ms, [this] { Tick(); });
  }

  // A program of this name waits until somebody on the loop has opened its gate.
  void PutInItsPlace(const std::string& name) {
    const std::string gate = root + "/gate";
    ASSERT_EQ(::mkfifo(gate.c_str(), 0600), 0);
    const std::string script = "#!/bin/sh\nread line < " + gate + "\n";
    ASSERT_TRUE(WriteFile(root + "/bin/" + name, script, {.mode = 0755}).ok());
    ::setenv("PATH", (root + "/bin:" + path).c_str(), 1);
    on_tick = [this, gate] {
      const Fd opened(::open(gate.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
      if (opened.valid()) passed += ::write(opened.get(), "go\n", 3) == 3;
    };
  }

  const std::string root, path;
  net::Loop loop;
  HostContext host;
  std::shared_ptr<Member> member;
  net::Loop::TimerId timer = 0;
  std::function<void()> on_tick;
  int passed = 0;
  Time begun{}, last{};
  Duration longest{}, took{};
};

TEST_F(MemberLoop, GoesOnWhileManyFilesAreRemoved) {
  ASSERT_EQ(Do("install", Of("daemon")), "");
  const std::string data = member->paths().data;
  for (int i = 0; i < 8'000; ++i) {
    const Fd file(::open(fmt::format("{}/{}", data, i).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    ASSERT_TRUE(file.valid());
  }
  ASSERT_EQ(Do("remove", std::nullopt, {{"delete_data", "yes"}}), "");
  EXPECT_FALSE(fs::exists(member->paths().folder));
  EXPECT_FALSE(member->installed());
  EXPECT_LT(longest, took / 2) << "it took " << took.count() << " ms";
}

TEST_F(MemberLoop, GoesOnWhileAnotherUserTakesTheFilesOver) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  ASSERT_EQ(Do("install", Of("daemon")), "");
  PutInItsPlace("chown");
  ASSERT_EQ(Do("install", Of("nobody")), "");
  EXPECT_GE(passed, 1) << "the loop stood still until chown was given up";
  EXPECT_LT(took, 20s);
}

TEST_F(MemberLoop, GoesOnWhileAUserIsMade) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  PutInItsPlace("useradd");
  EXPECT_EQ(Do("install", Of("")), "os-error") << "this useradd makes none";
  EXPECT_GE(passed, 1);
  EXPECT_LT(took, 20s);
}

TEST_F(MemberLoop, ProvesAChangedProbeAndLetsWhatServesLiveWhereItIsWrong) {
  Instance instance = Of("");
  instance.argv = {"/bin/sleep", "1000"};
  instance.probe = {
      .kind = Probe::Kind::kCommand, .target = "true", .every = 10ms, .timeout = 10s, .fail_after = 2};
  ASSERT_EQ(Do("start", instance), "");
  const int pid = member->Observe(false).pid;
  Instance next = instance;
  next.hash = "h2";
  next.probe.target = "false";
  const Values prove{{"prove", "yes"}};
  EXPECT_EQ(Do("install", next, prove), "health-wrong");
  EXPECT_EQ(member->Observe(false).state, InstanceState::kUnhealthy) << "whoever looks now is to see it";
  EXPECT_EQ(Do("install", next, prove), "health-wrong") << "though nothing is new in it";
  EXPECT_EQ(Do("install", instance, prove), "");
  EXPECT_EQ(member->Observe(false).state, InstanceState::kReady);
  EXPECT_EQ(member->Observe(false).pid, pid);
  EXPECT_EQ(Do("stop", {}), "");
}

}  // namespace
}  // namespace muster::agent
