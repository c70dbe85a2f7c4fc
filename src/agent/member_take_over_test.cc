// Instances whose process was there before muster.
#include <netinet/in.h>
#include <sys/socket.h>

#include "agent/take_over.h"
#include "agent/testing_member.h"

namespace muster::agent {
namespace {

class TakeOverTest : public MemberTest {
 protected:
  TakeOverTest() {
    data_ = root + "/before";
    fs::create_directories(data_);
    fs::permissions(root, fs::perms(0755));
  }
  ~TakeOverTest() override {
    for (const int pid : strangers_) {
      ::kill(pid, SIGKILL);
      ::waitpid(pid, nullptr, 0);
    }
  }

  // Listens, in `folder`, as whom instances run as; in the session of this test.
  int StartStranger(const std::string& folder) {
    const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(listener, 8), 0);
    socklen_t size = sizeof address;
    ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    const int pid = StartOther(folder);
    ::close(listener);
    return pid;
  }
  int StartOther(const std::string& folder) {
    const int pid = ::fork();
    if (pid == 0) {
      if (::geteuid() == 0 && (::setgid(1) != 0 || ::setuid(1) != 0)) ::_exit(1);  // daemon
      if (::chdir(folder.c_str()) != 0) ::_exit(1);
      ::execl("/bin/sleep", "sleep", "1000", nullptr);
      ::_exit(127);
    }
    strangers_.push_back(pid);
    EXPECT_TRUE(Until([&] {
      loop.After(2ms, [this] { loop.Stop(); });
      const auto name = ReadFile("/proc/" + std::to_string(pid) + "/comm");
      return name.ok() && *name == "sleep\n";
    }));
    return pid;
  }
  Instance Wanted() const {
    Instance instance = Shell("echo up; exec sleep 1000");
    instance.ports["main"] = {.first = port_};
    instance.probe = {.kind = Probe::Kind::kTcp, .port = port_, .every = 10ms};
    instance.probe.kill_when_hung = false;
    instance.extra[kDataElsewhere] = data_;
    return instance;
  }

  std::string data_;
  int port_ = 0;
  std::vector<int> strangers_;
};

TEST_F(TakeOverTest, WhoListensInItsDataFolderIsTakenOverAsItRuns) {
  const int stranger = StartStranger(data_);
  ASSERT_EQ(Do("install", Wanted()), "");

  ASSERT_EQ(Do("start"), "");

  EXPECT_EQ(Now().pid, stranger);
  EXPECT_EQ(Now().running_hash, "h1");
  EXPECT_EQ(State(), "ready");
  EXPECT_EQ(Now().facts.at(kDataElsewhere), data_);
}

TEST_F(TakeOverTest, TheNextAgentKnowsIt) {
  const int stranger = StartStranger(data_);
  ASSERT_EQ(Do("install", Wanted()), "");
  ASSERT_EQ(Do("start"), "");

  ReplaceAgent();

  EXPECT_EQ(Now().pid, stranger);
  EXPECT_TRUE(UntilState(InstanceState::kReady));
}

TEST_F(TakeOverTest, OthersOfItsSessionLiveOn) {
  const int stranger = StartStranger(data_);
  const int other = StartOther("/");
  ASSERT_EQ(Do("install", Wanted()), "");
  ASSERT_EQ(Do("start"), "");
  ReplaceAgent();

  // The test is its parent: until it is waited for it would be a zombie, which is dead.
  ASSERT_EQ(Do("stop"), "");

  EXPECT_EQ(::waitpid(stranger, nullptr, WNOHANG) != 0, true);
  EXPECT_TRUE(Lives(other));
  std::erase(strangers_, stranger);
}

TEST_F(TakeOverTest, OneThatHasEndedIsStartedByMuster) {
  const int stranger = StartStranger(data_);
  Instance wanted = Wanted();
  ASSERT_EQ(Do("install", wanted), "");
  ASSERT_EQ(Do("start"), "");

  ::kill(stranger, SIGKILL);
  ASSERT_TRUE(Until([&] { return Now().pid > 0 && Now().pid != stranger; }));

  EXPECT_GE(Now().restarts, 1);
  EXPECT_TRUE(Lives(Now().pid));
}

TEST_F(TakeOverTest, WhoWorksElsewhereIsNotTakenOver) {
  const int stranger = StartStranger("/");
  ASSERT_EQ(Do("install", Wanted()), "");

  EXPECT_EQ(Do("start"), "port-taken");

  EXPECT_EQ(Now().pid, 0);
  EXPECT_TRUE(Lives(stranger));
  EXPECT_EQ(Do("stop"), "");
  EXPECT_TRUE(Lives(stranger));
}

TEST_F(TakeOverTest, WithoutItsDataNothingIsStarted) {
  StartStranger(data_);
  Instance wanted = Wanted();
  wanted.extra[kDataElsewhere] = root + "/none";
  ASSERT_EQ(Do("install", wanted), "");

  EXPECT_EQ(Do("start"), "data-missing");
}

TEST_F(TakeOverTest, WhereNobodyListensMusterStartsIt) {
  StartStranger(data_);
  const auto taken = FindToTakeOver(Wanted(), {});
  ::kill(strangers_.back(), SIGKILL);
  ::waitpid(strangers_.back(), nullptr, 0);
  strangers_.clear();
  Instance wanted = Wanted();
  wanted.probe = {.kind = Probe::Kind::kLog, .target = "^up$", .every = 10ms};
  ASSERT_EQ(Do("install", wanted), "");

  EXPECT_EQ(Do("start"), "");

  EXPECT_GT(Now().pid, 0);
}

TEST_F(TakeOverTest, AnotherUsersProcessIsRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root has processes of several users";
  StartStranger(data_);
  const User bin{.uid = 2, .gid = 2, .name = "bin"};

  const auto found = FindToTakeOver(Wanted(), bin);

  ASSERT_FALSE(found.ok());
  EXPECT_EQ(found.error().code(), "take-over-denied");
  EXPECT_NE(found.error().hint().find("user: daemon"), std::string::npos);
}

}  // namespace
}  // namespace muster::agent
