// What a real agent does at the edges: ports that are taken elsewhere, logs of earlier runs, leftovers.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>

#include "agent/fake_server_test.h"
#include "base/digest.h"
#include "base/files.h"

namespace muster::agent {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST_F(AgentTest, AnInstanceNeverRunsAsRoot) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  StartAgent();
  const Instance web = Web("web-1");
  MustOrder("start", web);
  const auto status = ReadFile("/proc/" + std::to_string(Observe("web-1").pid) + "/status");
  ASSERT_TRUE(status.ok());
  EXPECT_THAT(*status, Not(HasSubstr("Uid:\t0")));
}

TEST_F(AgentTest, EachOfTheStatesIsToldAtOnce) {
  StartAgent();
  MustOrder("start", Web("web-1"));
  std::vector<InstanceState> states;
  for (const Observed& change : changes_) {
    if (states.empty() || states.back() != change.state) states.push_back(change.state);
  }
  EXPECT_THAT(states, ElementsAre(InstanceState::kStopped, InstanceState::kStarting, InstanceState::kReady));
}

TEST_F(AgentTest, WhatDiedWhileNoAgentLookedIsStartedAndWhatWasStoppedIsNot) {
  StartAgent();
  const Instance web = Web("web-1");
  const Instance idle = Shell("idle-1", "exec sleep 1000\n");
  MustOrder("start", web);
  MustOrder("start", idle);
  MustOrder("stop", idle);
  const int pid = Observe("web-1").pid;
  KillAgent();
  const int ended = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  ::kill(pid, SIGKILL);
  pollfd until_dead{.fd = ended, .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&until_dead, 1, 5000), 1);
  ::close(ended);
  StartAgent();
  UntilState("web-1", InstanceState::kReady);
  EXPECT_NE(Observe("web-1").pid, pid);
  EXPECT_EQ(Observe("idle-1").state, InstanceState::kStopped);
  EXPECT_EQ(Processes().size(), 1u);
}

TEST_F(AgentTest, APortThatIsTakenOnAnotherAddressIsNamedWhenTheStartFails) {
  StartAgent();
  Instance web = Web("web-1");
  const int port = web.ports.at("http").first;
  std::string& script = web.files[0].content;
  script.replace(script.find("'127.0.0.1'"), 11, "'0.0.0.0'");
  const Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(0x7f000005);  // 127.0.0.5: in the way of who wants all addresses
  ASSERT_EQ(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(socket.get(), 1), 0);
  const api::Outcome outcome = Order("start", web);
  ASSERT_TRUE(outcome.error);
  EXPECT_EQ(outcome.error->code(), "port-taken");
  EXPECT_THAT(outcome.error->message(), HasSubstr(std::to_string(port)));
  EXPECT_THAT(outcome.error->message(), HasSubstr(std::to_string(::getpid())));
}

TEST_F(AgentTest, WhatAnEarlierRunLoggedMakesNobodyReady) {
  StartAgent();
  Instance one = Shell("one-1", "echo listening; exec sleep 1000\n");
  one.probe = {.kind = Probe::Kind::kLog, .target = "^listening$"};
  one.probe.every = 50ms;
  MustOrder("start", one);
  MustOrder("stop", one);
  one.files[0].content = "exec sleep 1000\n";
  one.hash = "hash-2";
  one.ready_within = 400ms;
  MustOrder("install", one);
  const api::Outcome outcome = Order("start", one);
  ASSERT_TRUE(outcome.error);
  EXPECT_EQ(outcome.error->code(), "not-ready");
}

TEST_F(AgentTest, WhatWasReadyByItsLogStaysSoWhenTheLogIsGone) {
  StartAgent();
  Instance one = Shell("one-1", "echo listening; exec sleep 1000\n");
  one.probe = {.kind = Probe::Kind::kLog, .target = "^listening$"};
  one.probe.every = 20ms;
  MustOrder("start", one);
  const int pid = Observe("one-1").pid;
  KillAgent();
  ASSERT_EQ(::truncate(InFolder("instances/one-1/logs/current.log").c_str(), 0), 0);
  StartAgent();
  const Time begun = Now();
  Until([&] { return Now() - begun > 300ms; }, "many probes");
  EXPECT_EQ(Observe("one-1").pid, pid);
  EXPECT_EQ(Observe("one-1").state, InstanceState::kReady);
}

TEST_F(AgentTest, ACommandProbeRunsAsTheInstance) {
  StartAgent();
  Instance one = Shell("one-1", "touch {data}/up; exec sleep 1000\n");
  one.probe = {.kind = Probe::Kind::kCommand, .target = "sh -c 'test -e {data}/up && test $COLOR = red'"};
  one.env["COLOR"] = "red";
  MustOrder("start", one);
}

TEST_F(AgentTest, AnArtifactComesOnceAndGoesWithItsLastUser) {
  StartAgent();
  const std::string program = "#!/bin/sh\nexec sleep 1000\n";
  const std::string sha256 = Sha256Hex(program);
  blobs_[sha256] = program;
  Instance one = Shell("one-1", "");
  one.artifact = {.name = "program", .sha256 = sha256, .executable = true};
  one.argv = {"{artifact}"};
  MustOrder("start", one);
  Instance two = one;
  two.name = "two-1";
  MustOrder("start", two);
  EXPECT_EQ(blobs_sent_, 1);
  MustOrder("remove", one);
  EXPECT_TRUE(fs::exists(InFolder("artifacts/" + sha256)));
  MustOrder("remove", two);
  EXPECT_FALSE(fs::exists(InFolder("artifacts/" + sha256)));
}

TEST_F(AgentTest, AFirstInstallThatFailsLeavesNothing) {
  StartAgent();
  Instance one = Shell("one-1", "");
  one.files.push_back({.path = "run.sh/below-a-file", .content = "x"});
  const api::Outcome outcome = Order("install", one);
  ASSERT_TRUE(outcome.error);
  EXPECT_FALSE(fs::exists(InFolder("instances/one-1")));
  EXPECT_FALSE(fs::exists(InFolder("records/one-1")));
}

TEST_F(AgentTest, OrphansOfAnInstanceLeaveNoZombie) {
  StartAgent();
  // One grandchild ends after it has lost its parent, the other goes on; many more lead sessions of their
  // own.
  const Instance one = Shell("one-1",
                             "sh -c '(sleep 0.1; echo) & (exec sleep 600) & '; "
                             "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25; do "
                             "(setsid true &); done; exec sleep 1000\n");
  MustOrder("start", one);
  int children = 0;
  const auto zombies = [&] {
    int count = 0;
    children = 0;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator("/proc", error)) {
      const auto stat = ReadFile(entry.path() / "stat");
      if (!stat.ok()) continue;
      const size_t name_end = stat->rfind(')');
      if (name_end == std::string::npos || std::atoi(stat->c_str() + name_end + 4) != agent_pid_) continue;
      ++children;
      count += (*stat)[name_end + 2] == 'Z';
    }
    return count;
  };
  const Time begun = Now();
  Until([&] { return Now() - begun > 300ms && zombies() == 0; }, "all to be reaped");
  EXPECT_EQ(children, 2);  // the instance, and its orphan, which came to the agent
  MustOrder("stop", one);
  Until([&] { return zombies() == 0 && children == 0; }, "the orphan to go with its instance");
}

}  // namespace
}  // namespace muster::agent
