// A whole agent in a process of its own, told what to do over a real channel, killed and started again.
#include "agent/agent.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "agent/records.h"
#include "api/agent_messages.h"
#include "api/json.h"
#include "base/digest.h"
#include "base/files.h"
#include "base/text.h"
#include "net/channel.h"
#include "runtime/process.h"

namespace muster::agent {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// This test is the server.
class WholeAgentTest : public ::testing::Test {
 protected:
  WholeAgentTest() : root("/tmp/mg-" + RandomHex(4)), cluster("t" + RandomHex(4)) {
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);  // what an agent leaves running is reaped here
    fs::create_directories(root);
    folder = root + "/hosts/" + cluster + "/one";
  }
  ~WholeAgentTest() override {
    channel.reset();
    KillAgent();
    for (const std::string& name : RecordedInstances(folder)) {  // some may have been started unreported
      const auto run = ReadFile(PathsOf(folder, name).records + "/run");
      if (run.ok()) pids.push_back(std::atoi(run->c_str()));
    }
    for (const int pid : pids) {
      if (pid <= 0) continue;
      if (::waitpid(pid, nullptr, WNOHANG) != 0) continue;  // it has ended, or never was ours
      ::kill(-pid, SIGKILL);
      ::kill(pid, SIGKILL);
      ::waitpid(pid, nullptr, 0);
    }
    runtime::RemoveCgroups(cluster, "");
    fs::remove_all(root);
  }

  AgentOptions Options() const {
    return {.home = root,
            .cluster = cluster,
            .host = "one",
            .address = "127.0.0.1",
            .socket = root + "/agents.sock"};
  }
  // Before or while the server listens: agents keep dialling.
  void StartAgent() {
    agent = ::fork();
    ASSERT_GE(agent, 0);
    if (agent != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int log = ::open((root + "/agent.out").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    ::dup2(log, 1);
    ::dup2(log, 2);
    const Status ended = RunAgent(Options());
    ::_exit(ended.ok() ? 0 : ended.error().code() == "agent-running" ? 40 : 41);
  }
  void KillAgent() {
    if (agent <= 0) return;
    ::kill(agent, SIGKILL);
    ::waitpid(agent, nullptr, 0);
    agent = 0;
  }
  // Its exit status once it has ended by itself, -1 where it doesn't.
  int AgentsEnd() {
    const Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, agent, 0)));
    bool ended = false;
    const auto watch = loop.WatchReadable(pidfd.get(), [&] {
      ended = true;
      loop.Stop();
    });
    const bool came = Until([&] { return ended; });
    loop.Unwatch(watch);
    if (!came) return -1;
    int status = 0;
    ::waitpid(agent, &status, 0);
    agent = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  void Listen() {
    auto made = net::ChannelListener::Listen(loop, root + "/agents.sock", [this](auto arrived) {
      channel = arrived;
      channel->on_frame = [this](net::Frame frame) {
        auto message = api::DecodeAgentMessage(frame.payload);
        ASSERT_TRUE(message.ok()) << message.error().Text();
        if (const auto* changed = std::get_if<api::Changed>(&*message)) Note(changed->instance);
        received.push_back(std::move(*message));
        loop.Stop();
      };
      channel->on_closed = [this](const Error&) { loop.Stop(); };
      channel->Open();
    });
    ASSERT_TRUE(made.ok()) << made.error().Text();
    listener = std::move(*made);
  }
  // An agent that has been greeted.
  void Begin(int64_t epoch = 1) {
    StartAgent();
    if (!listener) Listen();
    ASSERT_TRUE(Next<api::Hello>().has_value());
    Send(api::Welcome{.epoch = epoch});
  }
  void Note(const Observed& observed) {
    if (observed.pid > 0) pids.push_back(observed.pid);
    states.emplace_back(StateName(observed.state));
  }
  void Send(const api::AgentMessage& message) { channel->Send({'J', api::Encode(message)}); }

  bool Until(const std::function<bool()>& condition) {
    bool late = false;
    const auto deadline = loop.After(20s, [&] {
      late = true;
      loop.Stop();
    });
    while (!condition() && !late) loop.Run();
    loop.Cancel(deadline);
    if (late) {
      const auto said = ReadFile(root + "/agent.out");
      ADD_FAILURE() << "nothing came within 20 s; the agent said:\n" << (said.ok() ? *said : "nothing");
    }
    return !late;
  }
  // The next message of its kind that `fits`; it counts as read then.
  template <class T>
  std::optional<T> Next(std::function<bool(const T&)> fits = [](const T&) { return true; }) {
    std::optional<T> found;
    Until([&] {
      for (auto at = received.begin(); at != received.end(); ++at) {
        const T* message = std::get_if<T>(&*at);
        if (!message || !fits(*message)) continue;
        found = *message;
        received.erase(at);
        return true;
      }
      return false;
    });
    return found;
  }
  template <class T>
  std::optional<T> Answer(const std::string& id) {
    return Next<T>([id](const T& message) { return message.id == id; });
  }
  size_t OutcomesLeft() const {
    size_t count = 0;
    for (const auto& message : received) count += std::holds_alternative<api::Outcome>(message);
    return count;
  }

  static Instance Shell(const std::string& name, const std::string& script) {
    Instance instance;
    instance.name = name;
    instance.service = "web";
    instance.kind = "app";
    instance.host = "one";
    instance.address = "127.0.0.1";
    instance.argv = {"/bin/sh", "-c", script};
    instance.user = "root";
    instance.probe = {.kind = Probe::Kind::kLog, .target = "^up$", .every = 10ms};
    instance.ready_within = 20s;
    instance.hash = "h1";
    return instance;
  }
  static Instance Sleeper() { return Shell("web-1", "echo up; exec sleep 1000"); }
  static api::OrderMessage Order(const std::string& id, const std::string& verb,
                                 std::optional<Instance> instance = {}, int64_t epoch = 1) {
    const std::string name = instance ? instance->name : "web-1";
    return {.id = id,
            .epoch = epoch,
            .step = {.id = name + "." + verb, .instance = name, .verb = verb},
            .instance = std::move(instance)};
  }
  // "" or the code of the error.
  std::string Do(const std::string& id, const std::string& verb, std::optional<Instance> instance = {},
                 int64_t epoch = 1) {
    Send(Order(id, verb, std::move(instance), epoch));
    const auto outcome = Answer<api::Outcome>(id);
    if (!outcome) return "late";
    return outcome->error ? outcome->error->code() : "";
  }
  std::vector<Observed> ObserveAll(bool drift = false) {
    const std::string id = "observe-" + RandomHex(4);
    Send(api::Observe{.id = id, .drift = drift});
    const auto observed = Answer<api::ObservedMessage>(id);
    if (!observed) return {};
    for (const Observed& one : observed->instances) {
      if (one.pid > 0) pids.push_back(one.pid);
    }
    return observed->instances;
  }
  // Lines or output of the stream `id` until its end.
  std::string Stream(const std::string& id, std::optional<api::End>* end = nullptr) {
    std::string text;
    auto ended = Answer<api::End>(id);
    for (const auto& message : received) {
      const auto* chunk = std::get_if<api::Chunk>(&message);
      if (chunk && chunk->id == id) text += chunk->data + (chunk->stream.empty() ? "\n" : "");
    }
    if (end) *end = std::move(ended);
    return text;
  }
  static bool Lives(int pid) {
    const auto stat = ReadFile(fmt::format("/proc/{}/stat", pid));
    return stat.ok() && stat->find(") Z ") == std::string::npos;
  }

  const std::string root, cluster;
  std::string folder;  // the host's
  net::Loop loop;
  std::unique_ptr<net::ChannelListener> listener;
  std::shared_ptr<net::Channel> channel;
  std::vector<api::AgentMessage> received;
  std::vector<std::string> states;  // as they were reported
  std::vector<int> pids;
  pid_t agent = 0;
};

// --- Failures first.

TEST_F(WholeAgentTest, IsTheOnlyOneOfItsHost) {
  Begin();
  const pid_t first = agent;
  StartAgent();
  EXPECT_EQ(AgentsEnd(), 40);
  agent = first;
}

TEST_F(WholeAgentTest, RefusesOrdersOfAnOlderEpoch) {
  Begin(5);
  EXPECT_EQ(Do("1", "install", Sleeper(), 4), "epoch-old");
  EXPECT_THAT(ObserveAll(), IsEmpty());
  EXPECT_EQ(Do("2", "install", Sleeper(), 5), "");
  EXPECT_EQ(Do("3", "start", {}, 7), "");  // a newer one raises it
  EXPECT_EQ(Do("4", "stop", {}, 6), "epoch-old");
  Send(api::ExecMessage{.id = "5", .epoch = 6, .instance = "web-1", .argv = {"true"}});
  const auto end = Answer<api::End>("5");
  ASSERT_TRUE(end && end->error);
  EXPECT_EQ(end->error->code(), "epoch-old");
}

TEST_F(WholeAgentTest, StaysWhenAnOldServerWantsItToLeave) {
  Begin(5);
  ASSERT_EQ(Do("1", "install", Sleeper(), 5), "");
  Send(api::Leave{.epoch = 4});
  EXPECT_THAT(ObserveAll(), SizeIs(1));
}

TEST_F(WholeAgentTest, DialsAgainAfterNonsense) {
  Begin();
  channel->Send({'J', "{\"v\":1,\"type\":\"order\",\"id\":"});
  EXPECT_TRUE(Next<api::Hello>().has_value());
  Send(api::Welcome{.epoch = 1});
  EXPECT_EQ(Do("1", "install", Sleeper()), "");
}

TEST_F(WholeAgentTest, TellsOfAnOrderThatFailedWithItsEvidence) {
  Begin();
  Instance instance = Shell("web-1", "echo no config here; exit 1");
  instance.restart = {.backoff_first = 1ms, .backoff_most = 1ms, .crashes_most = 2};
  Send(Order("1", "start", instance));
  const auto outcome = Answer<api::Outcome>("1");
  ASSERT_TRUE(outcome && outcome->error);
  EXPECT_EQ(outcome->error->code(), "crash-loop");
  EXPECT_THAT(outcome->error->evidence(), Contains(HasSubstr("no config here")));
}

// --- Hello.

TEST_F(WholeAgentTest, SaysWhoItIs) {
  StartAgent();
  Listen();
  const auto hello = Next<api::Hello>();
  ASSERT_TRUE(hello.has_value());
  EXPECT_EQ(hello->cluster, cluster);
  EXPECT_EQ(hello->host, "one");
  EXPECT_EQ(hello->pid, agent);
  EXPECT_EQ(hello->version, MUSTER_VERSION);
  EXPECT_EQ(hello->epoch_seen, 0);
}

TEST_F(WholeAgentTest, ComesBackWithTheEpochItHasSeen) {
  Begin(9);
  ASSERT_THAT(ObserveAll(), IsEmpty());
  channel->Close();
  const auto hello = Next<api::Hello>();
  ASSERT_TRUE(hello.has_value());
  EXPECT_EQ(hello->epoch_seen, 9);
}

// --- Orders.

TEST_F(WholeAgentTest, BringsAnInstanceFromNothingToNothing) {
  Begin();
  EXPECT_EQ(Do("1", "install", Sleeper()), "");
  EXPECT_EQ(Do("2", "start"), "");
  const std::vector<Observed> observed = ObserveAll();
  ASSERT_THAT(observed, SizeIs(1));
  EXPECT_EQ(observed[0].name, "web-1");
  EXPECT_EQ(observed[0].service, "web");
  EXPECT_EQ(observed[0].state, InstanceState::kReady);
  EXPECT_EQ(observed[0].hash, "h1");
  EXPECT_EQ(observed[0].running_hash, "h1");
  EXPECT_TRUE(Lives(observed[0].pid));
  EXPECT_EQ(Do("3", "stop"), "");
  EXPECT_FALSE(Lives(observed[0].pid));
  EXPECT_EQ(Do("4", "remove"), "");
  EXPECT_THAT(ObserveAll(), IsEmpty());
  EXPECT_THAT(states, ElementsAre("stopped", "starting", "ready", "stopping", "stopped", "absent"));
}

TEST_F(WholeAgentTest, AnswersARepeatedOrderOnceWhileItIsUnderWay) {
  Begin();
  Send(Order("1", "start", Sleeper()));
  Send(Order("1", "start", Sleeper()));
  ASSERT_TRUE(Answer<api::Outcome>("1").has_value());
  ASSERT_THAT(ObserveAll(), SizeIs(1));  // whatever was sent before this has arrived
  EXPECT_EQ(OutcomesLeft(), 0u);
}

TEST_F(WholeAgentTest, AnswersARepeatedOrderFromMemoryAndDoesNothing) {
  Begin();
  ASSERT_EQ(Do("1", "start", Sleeper()), "");
  ASSERT_EQ(Do("2", "stop"), "");
  EXPECT_EQ(Do("1", "start", Sleeper()), "");
  const std::vector<Observed> observed = ObserveAll();
  ASSERT_THAT(observed, SizeIs(1));
  EXPECT_EQ(observed[0].state, InstanceState::kStopped);
}

TEST_F(WholeAgentTest, KeepsTheOutcomeForAServerThatComesBack) {
  Begin();
  Send(Order("1", "start", Sleeper()));
  ASSERT_TRUE(Until([&] { return !states.empty() && states.back() == "starting"; }));
  channel->Close();
  ASSERT_TRUE(Next<api::Hello>().has_value());
  Send(api::Welcome{.epoch = 1});
  EXPECT_EQ(Do("1", "start", Sleeper()), "");
  ASSERT_THAT(ObserveAll(), SizeIs(1));
  EXPECT_EQ(OutcomesLeft(), 0u);
}

TEST_F(WholeAgentTest, GivesUpAStartThatIsCancelled) {
  Begin();
  Send(Order("1", "start", Shell("web-1", "exec sleep 1000")));
  ASSERT_TRUE(Until([&] { return !states.empty() && states.back() == "starting"; }));
  Send(api::CancelMessage{.id = "1"});
  const auto outcome = Answer<api::Outcome>("1");
  ASSERT_TRUE(outcome && outcome->error);
  EXPECT_EQ(outcome->error->code(), "cancelled");
  EXPECT_EQ(Do("2", "stop"), "");
}

TEST_F(WholeAgentTest, WorksOnTwoInstancesAtOnce) {
  Begin();
  Send(Order("1", "start",
             Shell("slow-1", "while ! test -e {data}/go; do sleep 0.01; done; echo up; exec sleep 1000")));
  ASSERT_TRUE(Until([&] { return !states.empty() && states.back() == "starting"; }));
  EXPECT_EQ(Do("2", "start", Sleeper()), "");
  EXPECT_EQ(OutcomesLeft(), 0u);
  ASSERT_TRUE(WriteFile(folder + "/instances/slow-1/data/go", "").ok());
  const auto slow = Answer<api::Outcome>("1");
  ASSERT_TRUE(slow.has_value());
  EXPECT_FALSE(slow->error.has_value());
}

TEST_F(WholeAgentTest, ReportsWhatDiesAndComesBackAtOnce) {
  Begin();
  ASSERT_EQ(Do("1", "start", Sleeper()), "");
  const int pid = ObserveAll().at(0).pid;
  states.clear();
  ::kill(pid, SIGKILL);
  ASSERT_TRUE(Until([&] { return !states.empty() && states.back() == "ready"; }));
  EXPECT_THAT(states, ElementsAre("backoff", "starting", "ready"));
}

TEST_F(WholeAgentTest, ReportsDriftOnlyWhenAsked) {
  Begin();
  Instance instance = Sleeper();
  instance.files = {{.path = "a.conf", .content = "ours\n"}};
  ASSERT_EQ(Do("1", "install", instance), "");
  ASSERT_TRUE(WriteFile(folder + "/instances/web-1/a.conf", "theirs\n").ok());
  EXPECT_THAT(ObserveAll(false).at(0).drift, IsEmpty());
  const std::vector<Drift> drift = ObserveAll(true).at(0).drift;
  ASSERT_THAT(drift, SizeIs(1));
  EXPECT_EQ(drift[0].what, "changed");
}

// --- Blobs.

TEST_F(WholeAgentTest, AsksForABlobOnceAndTakesItInPieces) {
  Begin();
  const std::string bytes = std::string(1'500'000, 'x') + "end";
  Instance instance = Sleeper();
  instance.artifact = {.name = "app.jar", .sha256 = Sha256Hex(bytes)};
  Instance other = instance;
  other.name = "web-2";
  Send(Order("1", "install", instance));
  Send(Order("2", "install", other));
  const auto wanted = Next<api::WantBlob>();
  ASSERT_TRUE(wanted.has_value());
  EXPECT_EQ(wanted->sha256, instance.artifact.sha256);
  Send(api::Blob{.sha256 = wanted->sha256, .size = static_cast<int64_t>(bytes.size())});
  channel->Send({'B', bytes.substr(0, 1 << 20)});
  channel->Send({'B', bytes.substr(1 << 20)});
  for (const char* id : {"1", "2"}) {
    const auto outcome = Answer<api::Outcome>(id);
    ASSERT_TRUE(outcome.has_value());
    EXPECT_FALSE(outcome->error) << outcome->error->Text();
  }
  for (const auto& message : received) EXPECT_FALSE(std::holds_alternative<api::WantBlob>(message));
  EXPECT_EQ(ReadFile(folder + "/artifacts/" + wanted->sha256 + "/app.jar").value(), bytes);

  // Nobody else has it: it goes with the last that uses it.
  ASSERT_EQ(Do("3", "remove"), "");
  EXPECT_TRUE(fs::exists(folder + "/artifacts/" + wanted->sha256));
  Send(Order("4", "remove", other));
  ASSERT_TRUE(Answer<api::Outcome>("4").has_value());
  EXPECT_FALSE(fs::exists(folder + "/artifacts/" + wanted->sha256));
}

TEST_F(WholeAgentTest, TakesAnEmptyBlob) {
  Begin();
  Instance instance = Sleeper();
  instance.files = {{.path = "empty", .blob = Sha256Hex("")}};
  Send(Order("1", "install", instance));
  ASSERT_TRUE(Next<api::WantBlob>().has_value());
  Send(api::Blob{.sha256 = Sha256Hex(""), .size = 0});
  const auto outcome = Answer<api::Outcome>("1");
  ASSERT_TRUE(outcome.has_value());
  EXPECT_FALSE(outcome->error.has_value());
  EXPECT_EQ(ReadFile(folder + "/instances/web-1/empty").value(), "");
}

TEST_F(WholeAgentTest, RefusesABlobThatIsNotWhatItAskedFor) {
  Begin();
  Instance instance = Sleeper();
  instance.artifact = {.name = "app.jar", .sha256 = Sha256Hex("jar")};
  Send(Order("1", "install", instance));
  ASSERT_TRUE(Next<api::WantBlob>().has_value());
  Send(api::Blob{.sha256 = Sha256Hex("jar"), .size = 3});
  channel->Send({'B', "rat"});
  const auto outcome = Answer<api::Outcome>("1");
  ASSERT_TRUE(outcome && outcome->error);
  EXPECT_EQ(outcome->error->code(), "digest-differs");
  EXPECT_THAT(ObserveAll(), IsEmpty());
}

TEST_F(WholeAgentTest, HandsOnWhyTheServerHasNoBlob) {
  Begin();
  Instance instance = Sleeper();
  instance.artifact = {.name = "app.jar", .sha256 = Sha256Hex("jar")};
  Send(Order("1", "install", instance));
  ASSERT_TRUE(Next<api::WantBlob>().has_value());
  Send(api::Blob{.sha256 = Sha256Hex("jar"), .error = Error::NotFound("blob-missing", "it is gone")});
  const auto outcome = Answer<api::Outcome>("1");
  ASSERT_TRUE(outcome && outcome->error);
  EXPECT_EQ(outcome->error->code(), "blob-missing");
}

TEST_F(WholeAgentTest, EndsTheInstallOfAServerThatLeftAmidABlob) {
  Begin();
  Instance instance = Sleeper();
  instance.artifact = {.name = "app.jar", .sha256 = Sha256Hex("jar")};
  Send(Order("1", "install", instance));
  ASSERT_TRUE(Next<api::WantBlob>().has_value());
  Send(api::Blob{.sha256 = Sha256Hex("jar"), .size = 3});
  channel->Send({'B', "j"});
  channel->Close();
  ASSERT_TRUE(Next<api::Hello>().has_value());
  Send(api::Welcome{.epoch = 1});
  // A new order starts over, with what is there of the blob forgotten.
  Send(Order("2", "install", instance));
  ASSERT_TRUE(Next<api::WantBlob>().has_value());
  Send(api::Blob{.sha256 = Sha256Hex("jar"), .size = 3});
  channel->Send({'B', "jar"});
  const auto outcome = Answer<api::Outcome>("2");
  ASSERT_TRUE(outcome.has_value());
  EXPECT_FALSE(outcome->error.has_value());
}

// --- Logs and commands.

TEST_F(WholeAgentTest, SendsTheLogsOfSeveralInstances) {
  Begin();
  ASSERT_EQ(Do("1", "start", Shell("web-1", "echo one; echo two; echo up; exec sleep 1000")), "");
  ASSERT_EQ(Do("2", "start", Shell("web-2", "echo three; echo up; exec sleep 1000")), "");
  Send(api::Logs{.id = "3", .instances = {"web-1", "web-2", "never-1"}});
  std::optional<api::End> end;
  EXPECT_EQ(Stream("3", &end), "one\ntwo\nup\nthree\nup\n");
  EXPECT_FALSE(end->error.has_value());
  Send(api::Logs{.id = "4", .instances = {"web-1"}, .tail = 2});
  EXPECT_EQ(Stream("4"), "two\nup\n");
}

TEST_F(WholeAgentTest, FollowsALogUntilCancelled) {
  Begin();
  ASSERT_EQ(Do("1", "start", Sleeper()), "");
  Send(api::Logs{.id = "2", .instances = {"web-1"}, .follow = true});
  const auto first = Answer<api::Chunk>("2");
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(first->data, "up");
  EXPECT_EQ(first->instance, "web-1");
  EXPECT_GT(first->at_ms, 0);
  const auto append = [&](const std::string& text) {
    const Fd log(
        ::open((folder + "/instances/web-1/logs/current.log").c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
    ASSERT_EQ(::write(log.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  };
  append("later\n");
  const auto later = Answer<api::Chunk>("2");
  ASSERT_TRUE(later.has_value());
  EXPECT_EQ(later->data, "later");
  Send(api::CancelMessage{.id = "2"});
  ObserveAll();
  append("unheard\n");
  ObserveAll();
  for (const auto& message : received) EXPECT_FALSE(std::holds_alternative<api::Chunk>(message));
}

TEST_F(WholeAgentTest, RunsACommandInTheInstancesPlace) {
  Begin();
  Instance instance = Sleeper();
  instance.env = {{"WHERE", "{data}"}};
  ASSERT_EQ(Do("1", "install", instance), "");
  Send(api::ExecMessage{
      .id = "2", .epoch = 1, .instance = "web-1", .argv = {"sh", "-c", "pwd; echo $WHERE; exit 7"}});
  std::optional<api::End> end;
  EXPECT_EQ(Stream("2", &end), folder + "/instances/web-1\n" + folder + "/instances/web-1/data\n");
  EXPECT_EQ(end->status, 7);
  EXPECT_FALSE(end->error.has_value());
}

TEST_F(WholeAgentTest, SaysWhyItRunsNoCommand) {
  Begin();
  ASSERT_EQ(Do("1", "install", Sleeper()), "");
  const auto code = [&](const std::string& id, const std::string& instance, std::vector<std::string> argv) {
    Send(api::ExecMessage{.id = id, .epoch = 1, .instance = instance, .argv = std::move(argv)});
    const auto end = Answer<api::End>(id);
    return end && end->error ? end->error->code() : "";
  };
  EXPECT_EQ(code("2", "web-9", {"true"}), "unknown-instance");
  EXPECT_EQ(code("3", "web-1", {}), "no-command");
  EXPECT_EQ(code("4", "web-1", {"no-such-program-here"}), "program-missing");
}

TEST_F(WholeAgentTest, KillsACommandThatIsCancelledOrWhoseServerLeaves) {
  Begin();
  ASSERT_EQ(Do("1", "install", Sleeper()), "");
  const auto begin = [&](const std::string& id) {
    Send(api::ExecMessage{
        .id = id, .epoch = 1, .instance = "web-1", .argv = {"sh", "-c", "echo $$; exec sleep 1000"}});
    const auto chunk = Answer<api::Chunk>(id);
    return chunk ? std::atoi(chunk->data.c_str()) : 0;
  };
  const int cancelled = begin("2");
  ASSERT_GT(cancelled, 1);
  EXPECT_TRUE(Lives(cancelled));
  Send(api::CancelMessage{.id = "2"});
  ObserveAll();
  EXPECT_FALSE(Lives(cancelled));
  const int left = begin("3");
  ASSERT_GT(left, 1);
  channel->Close();
  ASSERT_TRUE(Next<api::Hello>().has_value());
  EXPECT_FALSE(Lives(left));
}

TEST_F(WholeAgentTest, VerifiesItsInstances) {
  Begin();
  Instance instance = Sleeper();
  instance.probe = {};
  ASSERT_EQ(Do("1", "start", instance), "");
  Send(api::VerifyMessage{.id = "2", .instance = "web-1"});
  const auto verified = Answer<api::Verified>("2");
  ASSERT_TRUE(verified.has_value());
  ASSERT_THAT(verified->checks, SizeIs(1));
  EXPECT_TRUE(verified->checks[0].passed);
  Send(api::VerifyMessage{.id = "3", .instance = "web-9"});
  const auto unknown = Answer<api::Verified>("3");
  ASSERT_TRUE(unknown && unknown->error);
  EXPECT_EQ(unknown->error->code(), "unknown-instance");
}

// --- Its end, and what outlives it.

TEST_F(WholeAgentTest, AdoptsWhatRunsAfterItsOwnDeath) {
  Begin(3);
  ASSERT_EQ(Do("1", "start", Sleeper(), 3), "");
  const int pid = ObserveAll().at(0).pid;
  KillAgent();
  channel.reset();
  EXPECT_TRUE(Lives(pid));
  StartAgent();
  const auto hello = Next<api::Hello>();
  ASSERT_TRUE(hello.has_value());
  EXPECT_EQ(hello->epoch_seen, 3);
  const std::vector<Observed> observed = ObserveAll();
  ASSERT_THAT(observed, SizeIs(1));
  EXPECT_EQ(observed[0].pid, pid);
  EXPECT_EQ(observed[0].state, InstanceState::kReady);
  EXPECT_EQ(Do("2", "stop", {}, 3), "");
  EXPECT_FALSE(Lives(pid));
}

TEST_F(WholeAgentTest, LeavesItsInstancesRunningWhenToldToEnd) {
  Begin();
  ASSERT_EQ(Do("1", "start", Sleeper()), "");
  const int pid = ObserveAll().at(0).pid;
  ::kill(agent, SIGTERM);
  EXPECT_EQ(AgentsEnd(), 0);
  EXPECT_TRUE(Lives(pid));
  EXPECT_TRUE(fs::exists(folder + "/records/web-1/desired.json"));
}

TEST_F(WholeAgentTest, RemovesEverythingWhenItLeaves) {
  Begin();
  ASSERT_EQ(Do("1", "start", Sleeper()), "");
  ASSERT_EQ(Do("2", "install", Shell("web-2", "true")), "");
  const int pid = ObserveAll().at(0).pid;
  Send(api::Leave{.epoch = 1});
  EXPECT_EQ(AgentsEnd(), 0);
  EXPECT_FALSE(Lives(pid));
  EXPECT_FALSE(fs::exists(root + "/hosts/" + cluster));
}

TEST_F(WholeAgentTest, KeepsDataWhenItLeaves) {
  Begin();
  ASSERT_EQ(Do("1", "start", Shell("web-1", "echo rows > {data}/rows; echo up; exec sleep 1000")), "");
  Send(api::Leave{.epoch = 1});
  EXPECT_EQ(AgentsEnd(), 0);
  EXPECT_EQ(ReadFile(folder + "/instances/web-1/data/rows").value(), "rows\n");
  EXPECT_FALSE(fs::exists(folder + "/records"));
  EXPECT_FALSE(fs::exists(folder + "/agent.json"));
}

}  // namespace
}  // namespace muster::agent
