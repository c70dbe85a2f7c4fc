// One instance with real processes on a real loop: installed, started, killed, adopted, removed.
#include "agent/member.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/testing_member.h"

namespace muster::agent {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// --- Failures first.

TEST_F(MemberTest, SaysThatItIsNotInstalled) {
  EXPECT_EQ(Do("start"), "not-installed");
  EXPECT_EQ(Do("install"), "not-installed");
  EXPECT_EQ(Do("reload"), "not-installed");
  EXPECT_EQ(Do("drain"), "not-installed");
  EXPECT_EQ(State(), "absent");
}

TEST_F(MemberTest, StopsAndRemovesWhatIsNotThere) {
  EXPECT_EQ(Do("stop"), "");
  EXPECT_EQ(Do("remove"), "");
  // Where it was is told all the same: the server plans by it.
  EXPECT_THAT(states, ElementsAre("absent"));
  EXPECT_THAT(hosts, ElementsAre("h1"));
}

TEST_F(MemberTest, SaysAtOnceThatTheProgramIsMissing) {
  Instance instance = Sleeper();
  instance.argv = {"/no/such/program"};
  EXPECT_EQ(Do("start", instance), "program-missing");
  EXPECT_EQ(State(), "failed");
}

TEST_F(MemberTest, SaysAtOnceThatItsPortIsTaken) {
  const Fd taken(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof name;
  ASSERT_EQ(::bind(taken.get(), reinterpret_cast<sockaddr*>(&name), size), 0);
  ASSERT_EQ(::listen(taken.get(), 1), 0);
  ASSERT_EQ(::getsockname(taken.get(), reinterpret_cast<sockaddr*>(&name), &size), 0);
  Instance instance = Sleeper();
  instance.ports = {{"http", {.first = ntohs(name.sin_port)}}};
  EXPECT_EQ(Do("start", instance), "port-taken");
  EXPECT_EQ(State(), "failed");
}

TEST_F(MemberTest, ShowsTheEndOfTheLogOfWhatKeepsDying) {
  Instance instance = Shell("echo cannot read my config; exit 3");
  instance.restart.crashes_most = 3;
  const Result<Values> started = Wait(Begin("start", instance));
  ASSERT_FALSE(started.ok());
  EXPECT_EQ(started.error().code(), "crash-loop");
  EXPECT_THAT(started.error().message(), HasSubstr("the last time with exit 3"));
  EXPECT_THAT(started.error().evidence(), Contains(HasSubstr("cannot read my config")));
  EXPECT_EQ(Now().last_exit, "exit 3");
  EXPECT_THAT(Now().evidence, Contains(HasSubstr("cannot read my config")));
  EXPECT_EQ(Now().restarts, 2);
}

TEST_F(MemberTest, LetsWhatIsNotReadyInTimeRunOn) {
  Instance instance = Shell("echo still loading; exec sleep 1000");
  instance.ready_within = 100ms;
  EXPECT_EQ(Do("start", instance), "not-ready");
  EXPECT_EQ(State(), "starting");
  EXPECT_GT(Now().pid, 0);
  EXPECT_EQ(Do("stop"), "");
  EXPECT_EQ(State(), "stopped");
}

TEST_F(MemberTest, TakesNoneForReadyThatDiesSoonAfter) {
  host.changed = [this](const Observed& observed) {
    if (observed.pid > 0) pids.push_back(observed.pid);
    if (observed.state == InstanceState::kReady) ::kill(observed.pid, SIGKILL);
  };
  EXPECT_EQ(Do("start", Sleeper(), {{"min_ready_ms", "200"}}), "not-ready");
}

TEST_F(MemberTest, IsAsItWasAfterAnInstallThatFailed) {
  Instance before = Sleeper();
  before.files = {{.path = "a.conf", .content = "old"}};
  ASSERT_EQ(Do("install", before), "");
  Instance after = before;
  after.hash = "h2";
  after.files = {{.path = "a.conf", .content = "new"}, {.path = "../b.conf", .content = "out"}};
  EXPECT_EQ(Do("install", after), "bad-path");
  EXPECT_EQ(ReadFile(Of("a.conf")).value(), "old");
  EXPECT_EQ(Now().hash, "h1");
  EXPECT_THAT(member->Observe(true).drift, IsEmpty());
}

TEST_F(MemberTest, IsNotInstalledWithoutItsBlobs) {
  Instance instance = Sleeper();
  instance.artifact = {.name = "app.jar", .sha256 = std::string(64, 'a')};
  EXPECT_EQ(Do("install", instance), "server-gone");
  EXPECT_FALSE(member->installed());
  EXPECT_FALSE(fs::exists(member->paths().folder));
}

TEST_F(MemberTest, GivesUpWaitingWhenTold) {
  const Outcome start = Begin("start", Shell("exec sleep 1000"));
  ASSERT_TRUE(UntilState(InstanceState::kStarting));
  member->GiveUpStart();
  EXPECT_EQ(CodeOf(Wait(start)), "cancelled");
  EXPECT_EQ(State(), "starting");  // it goes on as it can
  EXPECT_EQ(Do("stop"), "");
}

TEST_F(MemberTest, RefusesVerbsThatItsKindDoesNotKnow) {
  ASSERT_EQ(Do("install", Sleeper()), "");
  EXPECT_EQ(Do("fly"), "unknown-verb");
}

TEST_F(MemberTest, ThatIsBrokenOnPurposeIsStartedAgainAsAfterAnyDeath) {
  EXPECT_EQ(Do("break", {}, {{"how", "kill"}}), "not-running");
  ASSERT_EQ(Do("install", Sleeper()), "");
  ASSERT_EQ(Do("start"), "");
  EXPECT_EQ(Do("break", {}, {{"how", "burn"}}), "unknown-break");
  const int pid = Now().pid;
  states.clear();
  ASSERT_EQ(Do("break", {}, {{"how", "kill"}}), "");
  EXPECT_TRUE(Until([&] { return State() == "ready" && Now().pid != pid; }));
  EXPECT_THAT(states, ::testing::Contains("backoff"));
  EXPECT_EQ(Now().last_exit, "signal 9");
}

TEST_F(MemberTest, ThatIsFrozenOnPurposeCanBeThawed) {
  ASSERT_EQ(Do("install", Sleeper()), "");
  ASSERT_EQ(Do("start"), "");
  const std::string stat = "/proc/" + std::to_string(Now().pid) + "/stat";
  // The kernel takes a moment.
  const auto comes_to = [&](const std::string& state) {
    for (const Time end = muster::Now() + 10s; muster::Now() < end;) {
      if (ReadFile(stat)->find(") " + state + " ") != std::string::npos) return true;
    }
    return false;
  };
  ASSERT_EQ(Do("break", {}, {{"how", "freeze"}}), "");
  EXPECT_TRUE(comes_to("T"));
  ASSERT_EQ(Do("break", {}, {{"how", "thaw"}}), "");
  EXPECT_TRUE(comes_to("S"));
}

TEST_F(MemberTest, CannotReloadWhatDoesNotRun) {
  ASSERT_EQ(Do("install", Sleeper()), "");
  EXPECT_EQ(Do("reload"), "not-running");
}

// --- From nothing to nothing.

TEST_F(MemberTest, IsInstalledStartedStoppedAndRemoved) {
  Instance instance = Sleeper();
  instance.files = {{.path = "a.conf", .content = "in {folder}"}};
  ASSERT_EQ(Do("install", instance), "");
  EXPECT_EQ(State(), "stopped");
  EXPECT_EQ(ReadFile(Of("a.conf")).value(), "in " + member->paths().folder);
  EXPECT_EQ(Now().hash, "h1");
  EXPECT_EQ(Now().running_hash, "");

  ASSERT_EQ(Do("start"), "");
  const Observed ready = Now();
  EXPECT_EQ(ready.state, InstanceState::kReady);
  EXPECT_TRUE(Lives(ready.pid));
  EXPECT_EQ(ready.running_hash, "h1");
  EXPECT_EQ(ready.restarts, 0);

  ASSERT_EQ(Do("start"), "");  // a second time changes nothing
  EXPECT_EQ(Now().pid, ready.pid);

  ASSERT_EQ(Do("stop"), "");
  EXPECT_EQ(State(), "stopped");
  EXPECT_FALSE(Lives(ready.pid));
  EXPECT_EQ(Now().last_exit, "signal 15");
  EXPECT_EQ(Now().pid, 0);

  ASSERT_EQ(Do("remove", {}, {{"delete_data", "yes"}}), "");
  EXPECT_EQ(State(), "absent");
  EXPECT_FALSE(member->installed());
  EXPECT_FALSE(fs::exists(member->paths().folder));
  EXPECT_FALSE(fs::exists(member->paths().records));
  EXPECT_THAT(states, ElementsAre("stopped", "starting", "ready", "stopping", "stopped", "absent"));
  EXPECT_TRUE(told_while_starting);
}

TEST_F(MemberTest, StopsBeforeItIsRemovedAndKeepsItsData) {
  ASSERT_EQ(Do("start", Shell("echo rows > {data}/rows; echo up; exec sleep 1000")), "");
  const int pid = Now().pid;
  ASSERT_EQ(Do("remove", {}, {{"delete_data", "no"}}), "");
  EXPECT_FALSE(Lives(pid));
  EXPECT_EQ(ReadFile(member->paths().data + "/rows").value(), "rows\n");
  EXPECT_FALSE(fs::exists(member->paths().logs));
}

TEST_F(MemberTest, RunsWithItsOwnEnvironmentInItsOwnFolder) {
  Instance instance = Shell("pwd; echo $MUSTER_SERVICE $MUSTER_INSTANCE $WHERE; echo up; exec sleep 1000");
  instance.env = {{"WHERE", "{data}"}};
  ASSERT_EQ(Do("start", instance), "");
  EXPECT_EQ(LastLogLines(member->paths().logs),
            (std::vector<std::string>{member->paths().folder, "web web-1 " + member->paths().data, "up"}));
  EXPECT_EQ(member->Environment().at("MUSTER_CLUSTER"), host.cluster);
  instance.working_folder = "{data}";
  ASSERT_EQ(Do("install", instance), "");
  EXPECT_EQ(member->working_folder(), member->paths().data);
}

TEST_F(MemberTest, KillsWhatDoesNotStopWithAllItsChildren) {
  Instance instance =
      Shell("trap '' TERM; sleep 1000 & echo $! > {data}/child; echo up; while :; do sleep 1000; done");
  instance.stop_timeout = 50ms;
  ASSERT_EQ(Do("start", instance), "");
  const int pid = Now().pid;
  const int child = std::atoi(ReadFile(member->paths().data + "/child").value().c_str());
  ASSERT_TRUE(Lives(child));
  ASSERT_EQ(Do("stop"), "");
  EXPECT_EQ(Now().last_exit, "signal 9");
  EXPECT_FALSE(Lives(pid));
  const auto stat = ReadFile(fmt::format("/proc/{}/stat", child));
  EXPECT_TRUE(!stat.ok() || stat->find(") Z ") != std::string::npos);
}

TEST_F(MemberTest, UsesTheStopSignalOfTheInstance) {
  Instance instance = Sleeper();
  instance.stop_signal = SIGINT;
  ASSERT_EQ(Do("start", instance), "");
  ASSERT_EQ(Do("stop"), "");
  EXPECT_EQ(Now().last_exit, "signal 2");
}

TEST_F(MemberTest, PerformsStepsOneAfterTheOther) {
  const Outcome start = Begin("start", Sleeper());
  const Outcome stop = Begin("stop");
  const Outcome again = Begin("start");
  EXPECT_EQ(CodeOf(Wait(again)), "");
  ASSERT_TRUE(start->has_value() && stop->has_value());
  EXPECT_EQ(CodeOf(**start), "cancelled");  // nobody waits for what is to be stopped
  EXPECT_EQ(CodeOf(**stop), "");
  EXPECT_THAT(states, ElementsAre("stopped", "starting", "stopping", "stopped", "starting", "ready"));
}

TEST_F(MemberTest, TakesAReloadForWhatIsRunning) {
  ASSERT_EQ(Do("start", Sleeper()), "");
  Instance next = Sleeper();
  next.hash = "h2";
  ASSERT_EQ(Do("install", next), "");
  EXPECT_EQ(Now().hash, "h2");
  EXPECT_EQ(Now().running_hash, "h1");
  ASSERT_EQ(Do("reload"), "");
  EXPECT_EQ(Now().running_hash, "h2");
}

TEST_F(MemberTest, LooksAtItsFilesOnlyWhenAsked) {
  Instance instance = Sleeper();
  instance.files = {{.path = "a.conf", .content = "ours"}};
  ASSERT_EQ(Do("install", instance), "");
  ASSERT_TRUE(WriteFile(Of("a.conf"), "theirs").ok());
  EXPECT_THAT(member->Observe(false).drift, IsEmpty());
  const std::vector<Drift> drift = member->Observe(true).drift;
  ASSERT_EQ(drift.size(), 1u);
  EXPECT_EQ(drift[0].path, "a.conf");
}

// --- Dying and hanging.

TEST_F(MemberTest, BringsBackWhatWasKilled) {
  ASSERT_EQ(Do("start", Sleeper()), "");
  const int pid = Now().pid;
  ::kill(pid, SIGKILL);
  ASSERT_TRUE(Until([&] { return Now().state == InstanceState::kReady && Now().pid != pid; }));
  EXPECT_EQ(Now().restarts, 1);
  EXPECT_EQ(Now().last_exit, "signal 9");
  EXPECT_THAT(states, ElementsAre("stopped", "starting", "ready", "backoff", "starting", "ready"));
}

TEST_F(MemberTest, KillsWhatHangsAndBringsItBack) {
  Instance instance = Sleeper();
  instance.probe = {.kind = Probe::Kind::kCommand,
                    .target = "test ! -e {data}/hang",
                    .every = 10ms,
                    .timeout = 10s,
                    .fail_after = 2};
  ASSERT_EQ(Do("start", instance), "");
  const int pid = Now().pid;
  ASSERT_TRUE(WriteFile(member->paths().data + "/hang", "").ok());
  ASSERT_TRUE(Until([&] { return Now().state == InstanceState::kStarting; }));
  EXPECT_FALSE(Lives(pid));
  EXPECT_TRUE(Now().last_exit.starts_with("killed as hung: ")) << Now().last_exit;
  fs::remove(member->paths().data + "/hang");
  ASSERT_TRUE(UntilState(InstanceState::kReady));
  EXPECT_EQ(Now().restarts, 1);
  EXPECT_THAT(states, Contains("unhealthy"));
}

TEST_F(MemberTest, StopsWhatKeepsDying) {
  Instance instance = Shell("echo up; exit 1");
  instance.probe = {};
  instance.restart = {.backoff_first = 60s, .backoff_most = 60s, .healthy_after = 60s, .crashes_most = 5};
  const Outcome start = Begin("start", instance);
  ASSERT_TRUE(UntilState(InstanceState::kBackoff));
  member->GiveUpStart();
  EXPECT_EQ(CodeOf(Wait(start)), "cancelled");
  EXPECT_EQ(Do("stop"), "");
  EXPECT_EQ(State(), "stopped");
}

// What the process before it said says nothing about this one.
TEST_F(MemberTest, DoesNotTakeTheLastProcesssLogForReadiness) {
  Instance instance = Shell("test -e {data}/second || echo up; exec sleep 1000");
  ASSERT_EQ(Do("start", instance), "");
  ASSERT_EQ(Do("stop"), "");
  ASSERT_TRUE(WriteFile(member->paths().data + "/second", "").ok());
  instance.ready_within = 300ms;
  ASSERT_EQ(Do("install", instance), "");
  EXPECT_EQ(Do("start"), "not-ready");
}

// --- After the death of the agent.

TEST_F(MemberTest, AdoptsWhatRunsOn) {
  ASSERT_EQ(Do("start", Sleeper()), "");
  const int pid = Now().pid;
  states.clear();
  ReplaceAgent();
  EXPECT_TRUE(member->installed());
  EXPECT_EQ(Now().pid, pid);
  EXPECT_EQ(State(), "ready");
  EXPECT_EQ(Now().running_hash, "h1");
  EXPECT_EQ(Now().restarts, 0);
  EXPECT_EQ(Do("start"), "");
  EXPECT_EQ(Now().pid, pid);
  EXPECT_EQ(Do("stop"), "");
  EXPECT_EQ(Now().pid, 0);
  EXPECT_THAT(states, ElementsAre("stopping", "stopped"));
}

TEST_F(MemberTest, NoticesTheEndOfWhatItAdopted) {
  ASSERT_EQ(Do("start", Sleeper()), "");
  const int pid = Now().pid;
  ReplaceAgent();
  ::kill(pid, SIGKILL);
  ASSERT_TRUE(Until([&] { return Now().state == InstanceState::kReady && Now().pid != pid; }));
  EXPECT_EQ(Now().restarts, 1);
}

TEST_F(MemberTest, StartsAnewWhatDiedWhileNoAgentLooked) {
  ASSERT_EQ(Do("start", Sleeper()), "");
  const int pid = Now().pid;
  member.reset();
  ::kill(pid, SIGKILL);
  ASSERT_EQ(::waitpid(pid, nullptr, 0), pid);
  ReplaceAgent();
  ASSERT_TRUE(UntilState(InstanceState::kReady));
  EXPECT_NE(Now().pid, pid);
  EXPECT_EQ(Now().restarts, 1);
  EXPECT_EQ(Now().last_exit, "unknown");
}

TEST_F(MemberTest, StartsAnewWhatLeftOnlyAChild) {
  ASSERT_EQ(Do("start", Shell("sleep 1000 & echo up; wait")), "");
  const int pid = Now().pid;
  member.reset();
  ::kill(pid, SIGKILL);
  ASSERT_EQ(::waitpid(pid, nullptr, 0), pid);
  ReplaceAgent();
  ASSERT_TRUE(UntilState(InstanceState::kReady));
  EXPECT_EQ(Now().restarts, 1);
}

TEST_F(MemberTest, LeavesWhatWasStoppedAlone) {
  ASSERT_EQ(Do("start", Sleeper()), "");
  ASSERT_EQ(Do("stop"), "");
  states.clear();
  ReplaceAgent();
  EXPECT_EQ(State(), "stopped");
  EXPECT_EQ(Now().hash, "h1");
  EXPECT_THAT(states, IsEmpty());
}

// As after a server's death, when the next one orders what the last one's start still waits for.
TEST_F(MemberTest, AStartGivesWayToTheOrderAfterIt) {
  Instance instance = Shell("exec sleep 1000");
  instance.probe = {.kind = Probe::Kind::kLog, .target = "never", .every = 10ms};
  instance.ready_within = 600s;
  const Outcome first = Begin("start", instance);
  ASSERT_TRUE(UntilState(InstanceState::kStarting));
  const Outcome second = Begin("start", instance);
  EXPECT_EQ(CodeOf(Wait(first)), "cancelled");
  EXPECT_FALSE(second->has_value());
  EXPECT_EQ(State(), "starting");
  EXPECT_EQ(Do("stop"), "");
  EXPECT_EQ(CodeOf(Wait(second)), "cancelled");
  EXPECT_EQ(State(), "stopped");
}

TEST_F(MemberTest, AStartThatWasGivenUpBeforeItsTurnDoesNotBegin) {
  const auto given_up = std::make_shared<bool>(true);
  const Step step{.id = "web-1.start", .instance = "web-1", .verb = "start"};
  const auto done = loop.RunTask(member->Perform(step, Shell("exec sleep 1000"), given_up));
  EXPECT_EQ(CodeOf(done), "cancelled");
  EXPECT_EQ(State(), "stopped");
}

// Somebody else answers in its place.
TEST_F(MemberTest, IsNotReadyWhereAStrangerListens) {
  const Fd stranger(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof name;
  ASSERT_EQ(::bind(stranger.get(), reinterpret_cast<sockaddr*>(&name), size), 0);
  ASSERT_EQ(::listen(stranger.get(), 100), 0);
  ASSERT_EQ(::getsockname(stranger.get(), reinterpret_cast<sockaddr*>(&name), &size), 0);
  Instance instance = Shell("exec sleep 1000");
  // Not among its `ports`, which are looked at before it is started.
  instance.probe = {.kind = Probe::Kind::kTcp, .port = ntohs(name.sin_port), .every = 10ms};
  const Result<Values> taken = Wait(Begin("start", instance));
  ASSERT_EQ(CodeOf(taken), "port-taken");
  EXPECT_THAT(taken.error().message(), HasSubstr(fmt::format("is taken by pid {} (", ::getpid())));
  EXPECT_EQ(State(), "starting");
}

TEST_F(MemberTest, ShowsNothingOfEarlierLives) {
  ASSERT_EQ(Do("start", Shell("echo up; echo from a good life; exec sleep 1000")), "");
  ASSERT_EQ(Do("stop"), "");
  Instance broken = Shell("echo no database; exit 3");
  broken.restart.crashes_most = 4;
  ASSERT_EQ(Do("install", broken), "");
  const Result<Values> failed = Wait(Begin("start"));
  ASSERT_EQ(CodeOf(failed), "crash-loop");
  EXPECT_THAT(failed.error().evidence(), ElementsAre("no database (4 times)"));
  EXPECT_THAT(Now().evidence, ElementsAre("no database (4 times)"));
  ReplaceAgent();
  EXPECT_THAT(Now().evidence, ElementsAre("no database (4 times)"));
}

// It would be started as the agent itself, which is root.
TEST_F(MemberTest, IsNotStartedAgainWhereItsUserIsNoMore) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  ASSERT_EQ(Do("start", Sleeper()), "");
  const int pid = Now().pid;
  const uid_t uid = member->user().uid;
  Instance changed = *member->desired();
  changed.user = "gone-" + RandomHex(6);
  ASSERT_TRUE(WriteDesired(member->paths(), changed).ok());
  ReplaceAgent();
  EXPECT_EQ(State(), "ready");
  EXPECT_EQ(Now().pid, pid);
  EXPECT_EQ(member->user().uid, uid);  // commands and probes go on as whose its files are
  ::kill(pid, SIGKILL);
  ASSERT_TRUE(UntilState(InstanceState::kFailed));
  EXPECT_EQ(Now().last_exit, "unknown-user");
  EXPECT_THAT(Now().evidence,
              ElementsAre("there is no user " + changed.user, "fix: adduser --system " + changed.user));
  EXPECT_EQ(Do("start"), "unknown-user");
  EXPECT_EQ(Now().pid, 0);
}

TEST_F(MemberTest, IsNotStartedAgainAsRoot) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  Instance rooted = Sleeper();
  rooted.user = "root";
  EXPECT_EQ(Do("start", rooted), "user-root");
  ASSERT_EQ(Do("start", Sleeper()), "");
  const int pid = Now().pid;
  ASSERT_TRUE(WriteDesired(member->paths(), rooted).ok());  // as an earlier release took it
  member.reset();
  ::kill(pid, SIGKILL);
  ASSERT_EQ(::waitpid(pid, nullptr, 0), pid);
  ReplaceAgent();
  ASSERT_TRUE(UntilState(InstanceState::kFailed));
  EXPECT_EQ(Now().last_exit, "user-root");
  EXPECT_THAT(Now().evidence, Contains("root is root, and an instance never runs as root"));
  EXPECT_FALSE(Now().pid > 0);
  EXPECT_EQ(Do("install", Sleeper()), "");  // another one mends it
  EXPECT_EQ(Do("start"), "");
}

TEST_F(MemberTest, IsAbsentWhereItsRecordIsTorn) {
  ASSERT_EQ(Do("install", Sleeper()), "");
  ASSERT_TRUE(WriteFile(member->paths().records + "/desired.json", "{\"name\":\"web").ok());
  ReplaceAgent();
  EXPECT_FALSE(member->installed());
  EXPECT_EQ(Do("start", Sleeper()), "");  // and can be installed over it
}

// A stop may come between the decision to start a process and the process.
TEST_F(MemberTest, StopsWhatWasAboutToBeStarted) {
  ASSERT_EQ(Do("start", Sleeper()), "");
  const int pid = Now().pid;
  member.reset();
  ::kill(pid, SIGKILL);
  ASSERT_EQ(::waitpid(pid, nullptr, 0), pid);
  ReplaceAgent();  // wants it started in the loop's next turn
  EXPECT_EQ(Do("stop"), "");
  EXPECT_EQ(State(), "stopped");
}

TEST_F(MemberTest, StopsWhatRunsThoughItsNotesAreTorn) {
  ASSERT_EQ(Do("start", Sleeper()), "");
  const int pid = Now().pid;
  ASSERT_TRUE(WriteFile(member->paths().records + "/state.json", "{\"wan").ok());
  ReplaceAgent();
  EXPECT_EQ(Do("remove", {}, {{"delete_data", "yes"}}), "");
  EXPECT_FALSE(Lives(pid));
}

// --- Checks.

TEST_F(MemberTest, VerifiesThatItRuns) {
  Instance instance = Sleeper();
  instance.probe = {};
  ASSERT_EQ(Do("start", instance), "");
  std::optional<Result<std::vector<Check>>> checks;
  net::SpawnThen(member->Verify({}), [&](Result<std::vector<Check>> done) {
    checks = std::move(done);
    loop.Stop();
  });
  ASSERT_TRUE(Until([&] { return checks.has_value(); }));
  ASSERT_TRUE(checks->ok());
  ASSERT_EQ((*checks)->size(), 1u);
  EXPECT_TRUE((**checks)[0].passed);
}

}  // namespace
}  // namespace muster::agent
