// Real commands on a real loop: what they print, how they end, and that none outlives its Execution.
#include "agent/exec.h"

#include <fcntl.h>
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
                                     .env = {{"PATH", path}, {"GREETING", "hello there"}},
                                     .folder = folder,
                                     .user = {},
                                     .input = has_input};
    Execution::Handlers handlers;
    handlers.on_output = [this](std::string_view stream, std::string data) {
      (stream == "out" ? out : err) += data;
      longest = std::max(longest, data.size());
      if (enough && enough()) loop.Stop();
    };
    handlers.on_end = [this](int how) {
      ++ends;
      status = how;
      loop.Stop();
    };
    handlers.on_taken = [this](size_t bytes, bool closed) {
      taken += bytes;
      input_closed |= closed;
      if (enough && enough()) loop.Stop();
    };
    auto started = Execution::Start(loop, command, std::move(handlers));
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
  bool has_input = false;
  std::string path = "/usr/bin:/bin";
  size_t longest = 0;  // piece of output
  size_t taken = 0;    // bytes of input
  bool input_closed = false;
  std::function<bool()> enough;
};

// --- Failures first.

TEST_F(Exec, SaysThatAProgramIsMissing) {
  for (const char* program : {"no-such-program-here", "/no/such/program", ""}) {
    const Status started = Begin({program});
    ASSERT_FALSE(started.ok()) << program;
    EXPECT_EQ(started.error().code(), "program-missing");
    EXPECT_EQ(started.error().message(), fmt::format("there is no program {} on this host", program));
  }
  EXPECT_EQ(ends, 0);
}

TEST_F(Exec, SaysThatAFileIsNoProgram) {
  for (const char* program : {"/etc/passwd", "/etc"}) {
    const Status started = Begin({program});
    ASSERT_FALSE(started.ok()) << program;
    EXPECT_EQ(started.error().code(), "not-executable");
  }
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

TEST_F(Exec, EndsWith127AndSaysWhyWhereTheInterpreterIsMissing) {
  ASSERT_TRUE(WriteFile(folder + "/script", "#!/no/such/shell\n", {.mode = 0755}).ok());
  ASSERT_TRUE(Begin({"./script"}).ok());
  Wait();
  EXPECT_EQ(status, 127);
  EXPECT_THAT(err, ::testing::EndsWith("/script: its interpreter is missing\n"));
}

TEST_F(Exec, EndsWith126WhereTheFileIsNoProgram) {
  ASSERT_TRUE(WriteFile(folder + "/junk", "\x7f\x45not a program", {.mode = 0755}).ok());
  ASSERT_TRUE(Begin({folder + "/junk"}).ok());
  Wait();
  EXPECT_EQ(status, 126);
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

TEST_F(Exec, LooksForAProgramInTheInstancesPath) {
  ASSERT_TRUE(WriteFile(folder + "/only-here", "#!/bin/sh\necho mine\n", {.mode = 0755}).ok());
  path = folder + ":/usr/bin:/bin";
  ASSERT_TRUE(Begin({"only-here"}).ok());
  Wait();
  EXPECT_EQ(out, "mine\n");
}

TEST_F(Exec, CutsNoCharacterInTwo) {
  ASSERT_EQ(::mkfifo((folder + "/fifo").c_str(), 0600), 0);
  enough = [this] { return out == "a"; };
  ASSERT_TRUE(Shell("printf 'a\\303'; read _ < fifo; printf '\\274\\377'").ok());
  Wait();
  EXPECT_EQ(out, "a");
  const Fd fifo(::open((folder + "/fifo").c_str(), O_WRONLY | O_CLOEXEC));
  ASSERT_EQ(::write(fifo.get(), "\n", 1), 1);
  enough = nullptr;
  Wait();
  EXPECT_EQ(out, "a\u00fc\xff");
}

// --- Back-pressure.

TEST_F(Exec, ReadsNothingWhilePaused) {
  enough = [this] { return !out.empty(); };
  ASSERT_TRUE(Shell("yes | head -c 1000000; echo done > over").ok());
  Wait();
  execution->Pause();
  const size_t before = out.size();
  EXPECT_LT(longest, 128u << 10);
  Turn();
  Turn();
  EXPECT_EQ(out.size(), before);
  EXPECT_FALSE(fs::exists(folder + "/over"));  // the pipe is full, so `head` waits
  enough = nullptr;
  execution->Resume();
  Wait();
  EXPECT_EQ(out.size(), 1'000'000u);
  EXPECT_EQ(ends, 1);
}

TEST_F(Exec, EndsOnlyOnceTheRestIsReadThoughTheCommandEndedWhilePaused) {
  ASSERT_TRUE(Shell("echo one; echo two >&2; echo $$ > pid").ok());
  execution->Pause();
  const auto reaped = [this] {
    const auto pid = ReadFile(folder + "/pid");
    return pid.ok() && pid->ends_with("\n") && ::kill(std::atoi(pid->c_str()), 0) != 0;
  };
  const Time deadline = Now() + 20s;
  while (!reaped() && Now() < deadline) Turn();
  ASSERT_TRUE(reaped());
  Turn();
  EXPECT_EQ(ends, 0);
  EXPECT_EQ(out + err, "");
  execution->Resume();
  Wait();
  EXPECT_EQ(out, "one\n");
  EXPECT_EQ(err, "two\n");
  EXPECT_EQ(ends, 1);
}

// --- Input.

TEST_F(Exec, ReadsWhatIsWrittenUntilItEnds) {
  has_input = true;
  ASSERT_TRUE(Begin({"cat"}).ok());
  execution->Write("one ");
  execution->Write("two");
  execution->EndInput();
  Wait();
  EXPECT_EQ(out, "one two");
  EXPECT_EQ(status, 0);
  EXPECT_EQ(taken, 7u);
}

TEST_F(Exec, HoldsInputThatTheCommandIsNotReadyFor) {
  has_input = true;
  ASSERT_TRUE(Shell("read line; wc -c").ok());
  const std::string much(200'000, 'x');
  execution->Write(much);
  EXPECT_LT(taken, much.size());  // a pipe holds less, and the first line isn't whole
  execution->Write("\nlast");
  execution->EndInput();
  Wait();
  EXPECT_EQ(Trim(out), "4");
  EXPECT_EQ(taken, much.size() + 5);
}

TEST_F(Exec, TellsThatTheCommandReadsNoMore) {
  has_input = true;
  enough = [this] { return out == "closed\n"; };
  ASSERT_TRUE(Shell("exec <&-; echo closed; exec sleep 1000").ok());
  Wait();
  EXPECT_FALSE(input_closed);
  execution->Write("unheard");
  EXPECT_TRUE(input_closed);
  EXPECT_EQ(taken, 7u);
  execution->Write("more");
  EXPECT_EQ(taken, 11u);
  execution->EndInput();
}

TEST_F(Exec, GivesUpInputWhenTheCommandEnds) {
  has_input = true;
  ASSERT_TRUE(Shell("exit 6").ok());
  execution->Write(std::string(1'000'000, 'x'));
  Wait();
  EXPECT_EQ(status, 6);
  EXPECT_TRUE(input_closed);
  EXPECT_EQ(taken, 1'000'000u);
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
  Execution::Handlers handlers;
  handlers.on_output = [](std::string_view, std::string) {};
  handlers.on_end = [this](int) {
    execution.reset();
    loop.Stop();
  };
  auto started = Execution::Start(loop, command, std::move(handlers));
  ASSERT_TRUE(started.ok());
  execution = std::move(*started);
  Wait();
  EXPECT_EQ(execution, nullptr);
}

}  // namespace
}  // namespace muster::agent
