// Rehearsed hosts with real network namespaces: who reaches whom, and that nothing is left.
#include "agent/hosts_network.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <thread>

#include "base/files.h"
#include "base/subprocess.h"
#include "base/time.h"

namespace muster::agent {
namespace {

sockaddr_in Socket(const std::string& address, int port) {
  sockaddr_in socket{};
  socket.sin_family = AF_INET;
  socket.sin_port = htons(static_cast<uint16_t>(port));
  inet_pton(AF_INET, address.c_str(), &socket.sin_addr);
  return socket;
}

Fd Listen(const std::string& address, int port) {
  Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in own = Socket(address, port);
  const int on = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&own), sizeof own) != 0 || listen(fd.get(), 8) != 0)
    fd.Reset();
  return fd;
}

// Free in the machine's own namespace, and surely in new ones.
int FreePort() {
  const Fd fd = Listen("0.0.0.0", 0);
  sockaddr_in own{};
  socklen_t size = sizeof own;
  getsockname(fd.get(), reinterpret_cast<sockaddr*>(&own), &size);
  return ntohs(own.sin_port);
}

std::string AskOnce(const std::string& address, int port) {
  const Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const sockaddr_in other = Socket(address, port);
  (void)connect(fd.get(), reinterpret_cast<const sockaddr*>(&other), sizeof other);
  pollfd polled{fd.get(), POLLIN, 0};
  if (poll(&polled, 1, 1000) != 1) return "";
  char text[128];
  const ssize_t got = read(fd.get(), text, sizeof text);
  return got > 0 ? std::string(text, static_cast<size_t>(got)) : "";
}

// Connects and reads what the listener says; "" where nobody does. A busy machine may need some time, and a
// link that has just come up one round of ARP.
std::string Ask(const std::string& address, int port) {
  const Time end = Now() + 20s;
  std::string answer = AskOnce(address, port);
  while (answer.empty() && Now() < end) answer = AskOnce(address, port);
  return answer;
}

// Answers each connection with its own name and the address the other came from, until killed.
[[noreturn]] void Serve(Fd listener, const std::string& name) {
  while (true) {
    sockaddr_in peer{};
    socklen_t size = sizeof peer;
    const Fd fd(accept(listener.get(), reinterpret_cast<sockaddr*>(&peer), &size));
    char from[64] = "";
    inet_ntop(AF_INET, &peer.sin_addr, from, sizeof from);
    const std::string text = name + " sees " + from;
    if (write(fd.get(), text.data(), text.size()) < 0) _exit(1);
  }
}

class RehearsedHosts : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    const NetworkMeans means = ProbeNetwork().value();
    if (!means.namespaces) GTEST_SKIP() << means.reason;
  }
  void TearDown() override {
    for (const pid_t pid : children) {
      kill(pid, SIGKILL);
      waitpid(pid, nullptr, 0);
    }
    for (int host = 1; host <= 4; ++host) EXPECT_TRUE(TearDownHost(block, host).ok());
    EXPECT_EQ(if_nametoindex(("muster-" + std::to_string(block)).c_str()), 0u);
    for (int host = 1; host <= 4; ++host) {
      EXPECT_EQ(if_nametoindex(HostNamespace(block, host).c_str()), 0u);
      EXPECT_FALSE(fs::exists("/run/netns/" + HostNamespace(block, host)));
    }
  }
  // A child inside `host` (0: outside) that listens on `address` and tells who asks.
  void StartServer(int host, const std::string& address, int port, const std::string& name) {
    int ready[2];
    ASSERT_EQ(pipe(ready), 0);
    const pid_t pid = fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) {
      if (host > 0 && !EnterHost(block, host).ok()) _exit(3);
      Fd listener = Listen(address, port);
      if (!listener.valid()) _exit(4);
      if (write(ready[1], "x", 1) != 1) _exit(5);
      Serve(std::move(listener), name);
    }
    children.push_back(pid);
    close(ready[1]);
    char byte;
    ASSERT_EQ(read(ready[0], &byte, 1), 1) << name << " could not listen on " << address;
    close(ready[0]);
  }
  std::string AskFrom(int host, const std::string& address, int port) {
    std::string answer;
    std::thread([&] {
      if (EnterHost(block, host).ok()) answer = Ask(address, port);
    }).join();
    return answer;
  }

  const int block = 200 + getpid() % 50;
  const int port = FreePort();
  std::vector<pid_t> children;
};

TEST_F(RehearsedHosts, ReachEachOtherAndTheMachineByTheirOwnAddresses) {
  const Time begin = Now();
  ASSERT_TRUE(SetUpHost(block, 1).ok());
  ASSERT_TRUE(SetUpHost(block, 2).ok());
  RecordProperty("set_up_ms", static_cast<int>((Now() - begin).count()));
  EXPECT_LT(Now() - begin, 10s);
  StartServer(1, "0.0.0.0", port, "one");
  StartServer(2, "0.0.0.0", port, "two");  // The same port, bound to everything: each sees only its own.
  const std::string machine = "127.77." + std::to_string(block) + ".254";
  StartServer(0, machine, port, "machine");

  const std::string one = HostAddress(block, 1), two = HostAddress(block, 2);
  EXPECT_EQ(Ask(one, port), "one sees " + machine);
  EXPECT_EQ(Ask(two, port), "two sees " + machine);
  EXPECT_EQ(AskFrom(1, two, port), "two sees " + one);
  EXPECT_EQ(AskFrom(2, one, port), "one sees " + two);
  EXPECT_EQ(AskFrom(1, one, port), "one sees " + one);
  EXPECT_EQ(AskFrom(1, "127.0.0.1", port), "one sees 127.0.0.1");
  EXPECT_EQ(AskFrom(2, "127.0.1.1", port).substr(0, 8), "two sees");
  EXPECT_EQ(AskFrom(2, machine, port), "machine sees " + two);
}

TEST_F(RehearsedHosts, CanBeCutOffAndHealed) {
  ASSERT_TRUE(CutHost(block, 1, true).ok()) << "there is nothing to cut yet";
  ASSERT_TRUE(SetUpHost(block, 1).ok());
  StartServer(1, "0.0.0.0", port, "one");
  EXPECT_NE(Ask(HostAddress(block, 1), port), "");
  ASSERT_TRUE(CutHost(block, 1, true).ok());
  ASSERT_TRUE(CutHost(block, 1, true).ok()) << "twice is fine";
  EXPECT_EQ(AskOnce(HostAddress(block, 1), port), "");
  ASSERT_TRUE(CutHost(block, 1, false).ok());
  EXPECT_NE(Ask(HostAddress(block, 1), port), "");
  ASSERT_TRUE(CutHost(block, 1, true).ok());
  EXPECT_EQ(AskOnce(HostAddress(block, 1), port), "");
  ASSERT_TRUE(SetUpHost(block, 1).ok()) << "set up again, it is whole again";
  EXPECT_NE(Ask(HostAddress(block, 1), port), "");
}

TEST_F(RehearsedHosts, AreSetUpByManyAtOnce) {
  std::vector<std::thread> threads;
  std::vector<std::string> problems(12);
  for (size_t i = 0; i < problems.size(); ++i) {
    threads.emplace_back([&, i] {
      const Status status = SetUpHost(block, static_cast<int>(i % 4) + 1);
      if (!status.ok()) problems[i] = status.error().Text();
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& problem : problems) EXPECT_EQ(problem, "");
  StartServer(4, "0.0.0.0", port, "four");
  EXPECT_EQ(AskFrom(3, HostAddress(block, 4), port), "four sees " + HostAddress(block, 3));
  ASSERT_TRUE(TearDownHost(block, 1).ok());
  ASSERT_TRUE(TearDownHost(block, 1).ok()) << "twice is fine";
  EXPECT_NE(Ask(HostAddress(block, 4), port), "") << "the bridge stays for the others";
}

TEST_F(RehearsedHosts, AreCompletedWhereTheirSetUpWasKilled) {
  const std::string name = HostNamespace(block, 1);
  // Killed between making the file and mounting on it, and later between namespace and link.
  ASSERT_TRUE(SetUpHost(block, 2).ok());
  ASSERT_TRUE(WriteFile("/run/netns/" + name, "").ok());
  EXPECT_EQ(EnterHost(block, 1).error().code(), "host-network-missing");
  ASSERT_TRUE(SetUpHost(block, 1).ok());
  const Exec unlink{.argv = {"ip", "link", "del", name}};
  ASSERT_EQ(RunCommand(unlink, 5s).value().status, 0);
  ASSERT_TRUE(SetUpHost(block, 1).ok());
  StartServer(1, "0.0.0.0", port, "one");
  EXPECT_EQ(AskFrom(2, HostAddress(block, 1), port), "one sees " + HostAddress(block, 2));
}

TEST_F(RehearsedHosts, AreNotCutByAFirewallThatForwardsNothing) {
  const std::string bridge = "muster-" + std::to_string(block);
  const auto rule = [&](const std::string& verb) {
    const Exec exec{.argv = {"iptables", "-w", verb, "FORWARD", "-i", bridge, "-j", "DROP"}};
    const Result<Output> output = RunCommand(exec, 5s);
    return output.ok() && output->status == 0;
  };
  if (!rule("-A")) GTEST_SKIP() << "no iptables here";
  const Status first = SetUpHost(block, 1), second = SetUpHost(block, 2);
  StartServer(1, "0.0.0.0", port, "one");
  const std::string answer = AskFrom(2, HostAddress(block, 1), port);
  const Status gone = TearDownHost(block, 1), gone_too = TearDownHost(block, 2);
  rule("-D");
  EXPECT_EQ(answer, "one sees " + HostAddress(block, 2));
  const Exec list{.argv = {"iptables", "-w", "-S", "FORWARD"}};
  EXPECT_EQ(RunCommand(list, 5s).value().out.find(bridge), std::string::npos);
}

TEST(HostNumbers, AreCheckedAndNamed) {
  EXPECT_EQ(SetUpHost(0, 1).error().code(), "host-number");
  EXPECT_EQ(SetUpHost(3, 254).error().code(), "host-number");
  EXPECT_EQ(HostAddress(3, 2), "127.77.3.2");
  EXPECT_EQ(HostNamespace(3, 2), "muster-3-2");
  EXPECT_TRUE(TearDownHost(199, 250).ok()) << "absent is fine";
}

}  // namespace
}  // namespace muster::agent
