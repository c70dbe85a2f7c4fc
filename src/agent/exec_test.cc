// Real commands on a real loop: what they print, how they end, and that none outlives its Execution.
#include "agent/exec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/files.h"
#include "base/text.h"
#include "base/time.h"

namespace muster::agent {
namespace {

class Exec : public ::testing::Test {
 protected:
  Exec() : folder("/tmp/mx-" + RandomHex(4)) { fs::create_directories(folder); }
  ~Exec() override {
    execution.reset();
    fs::remove_all(folder);
  }

  Status Begin(std::vector<std::string> argv) {
    const Execution::Command command{.argv = std::move(argv),
                                     .env = {{"PATH", "/usr/bin:/bin"}, {"GREETING", "hello there"}},
                                     .folder = folder,
                                     .user = {}};
    auto started = Execution::Start(
        loop, command,
        [this](std::string_view stream, std::string data) {
          (stream == "out" ? out : err) += data;
          if (enough && enough()) loop.Stop();
        },
        [this](int how) {
          ++ends;
          status = how;
          loop.Stop();
        });
    if (!started.ok()) return started.error();
    execution = std::move(*started);
    return Done();
  }
  Status Shell(const std::string& script) { return Begin({"sh", "-c", script}); }
  // Until the command has ended or `enough` is true.
  void Wait() {
    const auto deadline = loop.After(20s, [this] {
      ADD_FAILURE() << "nothing came within 20 s";
      loop.Stop();
    });
    loop.Run();
    loop.Cancel(deadline);
  }
  // Lets everything that is posted already run.
  void Turn() {
    loop.Post([this] { loop.Stop(); });
    loop.Run();
  }
  static bool Lives(int pid) {
    if (::kill(pid, 0) != 0) return false;
    const auto stat = ReadFile(fmt::format("/proc/{}/stat", pid));
    return stat.ok() && stat->find(") Z ") == std::string::npos;  // a zombie that init has yet to reap
  }
  // Killing is quick, but not at once for what isn't our child.
  static bool Dies(int pid) {
    const Time deadline = Now() + 10s;
    while (Lives(pid) && Now() < deadline) ::sched_yield();
    return !Lives(pid);
  }

  const std::string folder;
  net::Loop loop;
  std::shared_ptr<Execution> execution;
  std::string out, err;
  int ends = 0;
  int status = -1;
  std::function<bool()> enough;
};

// --- Failures first.

TEST_F(Exec, SaysThatAProgramIsMissing) {
  for (const char* program : {"no-such-program-here", "/no/such/program", "/etc/passwd"}) {
    const Status started = Begin({program});
    ASSERT_FALSE(started.ok()) << program;
    EXPECT_EQ(started.error().code(), "program-missing");
    EXPECT_EQ(started.error().message(), fmt::format("there is no program {} on this host", program));
  }
  EXPECT_EQ(ends, 0);
}

TEST_F(Exec, HandsOnTheStatusOfWhatFailed) {
  ASSERT_TRUE(Shell("echo oh no >&2; exit 3").ok());
  Wait();
  EXPECT_EQ(status, 3);
  EXPECT_EQ(err, "oh no\n");
  EXPECT_EQ(out, "");
}

TEST_F(Exec, TellsASignalAsAShellDoes) {
  ASSERT_TRUE(Shell("kill -9 $$").ok());
  Wait();
  EXPECT_EQ(status, 128 + SIGKILL);
}

TEST_F(Exec, EndsWith126WhereTheFolderIsGone) {
  fs::remove_all(folder);
  ASSERT_TRUE(Begin({"true"}).ok());
  Wait();
  EXPECT_EQ(status, 126);
}

TEST_F(Exec, EndsWith127WhereTheFileIsNoProgram) {
  ASSERT_TRUE(WriteFile(folder + "/junk", "\x7f\x45not a program", {.mode = 0755}).ok());
  ASSERT_TRUE(Begin({folder + "/junk"}).ok());
  Wait();
  EXPECT_EQ(status, 127);
}

// --- Running.

TEST_F(Exec, HandsOnBothStreamsAndEndsOnce) {
  ASSERT_TRUE(Shell("echo one; echo two >&2; printf three").ok());
  Wait();
  EXPECT_EQ(out, "one\nthree");
  EXPECT_EQ(err, "two\n");
  EXPECT_EQ(status, 0);
  Turn();
  EXPECT_EQ(ends, 1);
}

TEST_F(Exec, HandsOnOutputBeforeTheEnd) {
  enough = [this] { return out == "ready\n"; };
  ASSERT_TRUE(Shell("echo ready; exec sleep 1000").ok());
  Wait();
  EXPECT_EQ(ends, 0);
}

TEST_F(Exec, RunsInTheInstancesFolderWithItsEnvironmentAndNoOther) {
  ASSERT_TRUE(Shell("pwd; echo $GREETING; env | grep -c .").ok());
  ::setenv("AGENT_ONLY", "x", 1);
  Wait();
  ::unsetenv("AGENT_ONLY");
  EXPECT_THAT(out, ::testing::StartsWith(folder + "\nhello there\n"));
  EXPECT_THAT(out, ::testing::Not(::testing::HasSubstr("AGENT_ONLY")));
}

TEST_F(Exec, KeepsWordsAsTheyAre) {
  ASSERT_TRUE(Begin({"printf", "%s|", "a b", "$HOME", "", "*", "'"}).ok());
  Wait();
  EXPECT_EQ(out, "a b|$HOME||*|'|");
}

TEST_F(Exec, HasNothingToReadFrom) {
  ASSERT_TRUE(Begin({"cat"}).ok());
  Wait();
  EXPECT_EQ(status, 0);
}

TEST_F(Exec, LosesNothingOfAMegabyte) {
  ASSERT_TRUE(
      Shell("head -c 1000000 /dev/zero | tr '\\0' x; head -c 300000 /dev/zero | tr '\\0' y >&2").ok());
  Wait();
  EXPECT_EQ(out, std::string(1'000'000, 'x'));
  EXPECT_EQ(err, std::string(300'000, 'y'));
}

TEST_F(Exec, GoesOnWhereTheCommandClosesItsOutputsFirst) {
  ASSERT_TRUE(Shell("echo said; exec >&- 2>&-; exit 4").ok());
  Wait();
  EXPECT_EQ(out, "said\n");
  EXPECT_EQ(status, 4);
}

TEST_F(Exec, DoesNotWaitForWhatTheCommandLeftInTheBackground) {
  ASSERT_TRUE(Shell("sleep 1000 & echo $!; exit 5").ok());
  Wait();
  EXPECT_EQ(status, 5);
  const int left = std::atoi(out.c_str());
  ASSERT_GT(left, 1);
  EXPECT_TRUE(Lives(left));
  ::kill(left, SIGKILL);
}

TEST_F(Exec, StandsAloneSoThatASignalToTheAgentsGroupDoesNotReachIt) {
  ASSERT_TRUE(Shell("echo $$; ps -o pgid= -p $$; ps -o sid= -p $$").ok());
  Wait();
  const std::vector<std::string> lines = Split(out, '\n');
  ASSERT_GE(lines.size(), 3u);
  EXPECT_EQ(Trim(lines[0]), Trim(lines[1]));
  EXPECT_EQ(Trim(lines[0]), Trim(lines[2]));
}

TEST_F(Exec, IgnoresNoSignalThatTheAgentIgnores) {
  const auto before = ::signal(SIGPIPE, SIG_IGN);
  ASSERT_TRUE(Shell("kill -PIPE $$; echo survived").ok());
  Wait();
  ::signal(SIGPIPE, before);
  EXPECT_EQ(status, 128 + SIGPIPE);
  EXPECT_EQ(out, "");
}

TEST_F(Exec, FindsAProgramByItsPathInTheInstancesFolder) {
  ASSERT_TRUE(WriteFile(folder + "/hello", "#!/bin/sh\necho hello\n", {.mode = 0755}).ok());
  ASSERT_TRUE(Begin({"./hello"}).ok());
  Wait();
  EXPECT_EQ(out, "hello\n");
}

// --- Killing.

TEST_F(Exec, KillsTheCommandAndWhatItStartedWhenDestroyed) {
  enough = [this] { return out.ends_with("\n"); };
  ASSERT_TRUE(Shell("sleep 1000 & echo $$ $!; wait").ok());
  Wait();
  int shell = 0, child = 0;
  ASSERT_EQ(std::sscanf(out.c_str(), "%d %d", &shell, &child), 2);
  ASSERT_TRUE(Lives(shell));
  ASSERT_TRUE(Lives(child));
  execution.reset();
  EXPECT_FALSE(Lives(shell));
  EXPECT_TRUE(Dies(child));
  Turn();
  EXPECT_EQ(ends, 0);  // whoever destroyed it knows
}

TEST_F(Exec, EndsWithTheSignalWhenKilled) {
  enough = [this] { return out == "ready\n"; };
  ASSERT_TRUE(Shell("trap '' TERM; echo ready; while :; do sleep 1000; done").ok());
  Wait();
  enough = nullptr;
  execution->Kill();
  Wait();
  EXPECT_EQ(status, 128 + SIGKILL);
  execution->Kill();  // harmless
}

TEST_F(Exec, MayBeDestroyedByItsOwnEnd) {
  const Execution::Command command{.argv = {"true"}, .env = {}, .folder = folder, .user = {}};
  auto started = Execution::Start(
      loop, command, [](std::string_view, std::string) {},
      [this](int) {
        execution.reset();
        loop.Stop();
      });
  ASSERT_TRUE(started.ok());
  execution = std::move(*started);
  Wait();
  EXPECT_EQ(execution, nullptr);
}

}  // namespace
}  // namespace muster::agent
