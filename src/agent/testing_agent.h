// What tests of a whole agent share: one in a child process, and the server that it talks to.
#pragma once

// A whole agent in a process of its own, told what to do over a real channel, killed and started again.
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

#include "agent/agent.h"
#include "agent/records.h"
#include "api/agent_messages.h"
#include "api/json.h"
#include "base/digest.h"
#include "base/files.h"
#include "base/text.h"
#include "net/channel.h"
#include "runtime/process.h"

namespace muster::agent {

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
    const std::string state(StateName(observed.state));  // told again where only its pid is new
    if (states.empty() || states.back() != state) states.push_back(state);
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
    instance.user = "daemon";  // root is refused
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

}  // namespace muster::agent
