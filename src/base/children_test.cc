#include "base/children.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>
#include <vector>

#include "base/subprocess.h"

namespace muster {
namespace {

pid_t EndedChild(bool awaited, int status) {
  const pid_t pid = awaited ? ForkAwaited() : ::fork();
  if (pid == 0) {
    ::setsid();
    ::_exit(status);
  }
  siginfo_t ended{};
  ::waitid(P_PID, static_cast<id_t>(pid), &ended, WEXITED | WNOWAIT);
  return pid;
}

bool IsThere(pid_t pid) { return ::kill(pid, 0) == 0; }

TEST(Children, AllThatNobodyWaitsForAreTakenAtOnceThoughTheyLeadGroups) {
  std::vector<pid_t> orphans;
  for (int i = 0; i < 20; ++i) orphans.push_back(EndedChild(false, 0));
  ReapOthers();
  for (const pid_t pid : orphans) EXPECT_FALSE(IsThere(pid)) << pid;
}

TEST(Children, WhatIsAwaitedStaysAndHidesNoOther) {
  const pid_t first = EndedChild(true, 3);
  const pid_t orphan = EndedChild(false, 0);
  const pid_t second = EndedChild(true, 4);
  ReapOthers();
  EXPECT_FALSE(IsThere(orphan));
  int status = 0;
  EXPECT_EQ(AwaitChild(first, &status), first);
  EXPECT_EQ(WEXITSTATUS(status), 3);
  EXPECT_EQ(AwaitChild(second, &status), second);
  EXPECT_EQ(WEXITSTATUS(status), 4);
  EXPECT_EQ(AwaitChild(second, &status), -1);
}

TEST(Children, WhatIsGivenUpIsTakenWithTheOthers) {
  const pid_t child = EndedChild(true, 0);
  GiveUpChild(child);
  ReapOthers();
  EXPECT_FALSE(IsThere(child));
}

TEST(Children, TheStatusOfACommandIsNeverTakenByWhoReapsMeanwhile) {
  std::jthread reaper([](const std::stop_token& stop) {
    while (!stop.stop_requested()) ReapOthers();
  });
  for (int i = 0; i < 50; ++i) {
    Exec exec;
    exec.argv = {"sh", "-c", "exit 7"};
    const auto output = RunCommand(exec, 20s);
    ASSERT_TRUE(output.ok()) << output.error().Text();
    EXPECT_EQ(output->status, 7);
  }
}

}  // namespace
}  // namespace muster
