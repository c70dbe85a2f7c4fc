#include "agent/fake_server_test.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "base/files.h"
#include "runtime/process.h"

namespace muster::agent {

void AgentTest::SetUp() {
  std::string made = "/tmp/muster-agent-XXXXXX";
  ASSERT_NE(::mkdtemp(made.data()), nullptr);
  home_ = made;
  ::chmod(home_.c_str(), 0711);
  host_folder_ = home_ + "/hosts/test/h1";
  auto listener = net::ChannelListener::Listen(loop_, home_ + "/agents.sock", [this](auto channel) {
    channel->on_frame = [this, weak = std::weak_ptr(channel)](net::Frame frame) {
      const auto message = api::DecodeAgentMessage(frame.payload);
      ASSERT_TRUE(message.ok()) << message.error().Text();
      if (const auto* hello = std::get_if<api::Hello>(&*message)) {
        channel_ = weak.lock();
        hello_ = *hello;
        ++hellos_;
        Send(api::Welcome{.epoch = epoch_});
      } else if (const auto* outcome = std::get_if<api::Outcome>(&*message)) {
        outcomes_[outcome->id].push_back(*outcome);
      } else if (const auto* observed = std::get_if<api::ObservedMessage>(&*message)) {
        observed_[observed->id] = observed->instances;
      } else if (const auto* changed = std::get_if<api::Changed>(&*message)) {
        changes_.push_back(changed->instance);
      } else if (const auto* chunk = std::get_if<api::Chunk>(&*message)) {
        chunks_.push_back(*chunk);
      } else if (const auto* end = std::get_if<api::End>(&*message)) {
        ends_[end->id] = *end;
      } else if (const auto* want = std::get_if<api::WantBlob>(&*message)) {
        ++blobs_sent_;
        const std::string& bytes = blobs_[want->sha256];
        Send(api::Blob{.sha256 = want->sha256, .size = static_cast<int64_t>(bytes.size()), .error = {}});
        channel_->Send({'B', bytes.substr(0, bytes.size() / 2)});
        channel_->Send({'B', bytes.substr(bytes.size() / 2)});
      }
      loop_.Stop();
    };
    channel->on_closed = [this, raw = channel.get()](const Error&) {
      if (channel_.get() == raw) channel_.reset();
      loop_.Stop();
    };
    channel->Open();
  });
  ASSERT_TRUE(listener.ok()) << listener.error().Text();
  listener_ = std::move(*listener);
}

void AgentTest::TearDown() {
  if (agent_pid_ > 0) KillAgent();
  // Until nobody is left: what was just forked may not be told by its folder yet, and a killed one takes a
  // moment.
  const Time end = Now() + kPatience;
  for (std::vector<int> left = Left(); !left.empty() && Now() < end; left = Left()) {
    for (const int pid : left) ::kill(pid, SIGKILL);
  }
  EXPECT_TRUE(Left().empty());
  listener_.reset();
  runtime::RemoveCgroups("test", "");
  (void)RemoveTree(home_);
}

void AgentTest::StartAgent() {
  const int hellos = hellos_;
  agent_pid_ = ::fork();
  ASSERT_GE(agent_pid_, 0);
  if (agent_pid_ == 0) {
    // The server's end belongs to the parent alone.
    ::close_range(3, ~0u, 0);
    const AgentOptions options{.home = home_,
                               .cluster = "test",
                               .host = "h1",
                               .address = "127.0.0.1",
                               .socket = home_ + "/agents.sock"};
    const Status status = RunAgent(options);
    ::_exit(status.ok() ? 0 : 1);
  }
  Until([&] { return hellos_ > hellos && channel_; }, "the agent's hello");
}

int AgentTest::WaitForAgentsEnd() {
  int status = -1, ended = 0;
  Until(
      [&] {
        if (ended == 0) ended = ::waitpid(agent_pid_, &status, WNOHANG);
        return ended != 0;
      },
      "the agent to end");
  agent_pid_ = 0;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void AgentTest::KillAgent() {
  ::kill(agent_pid_, SIGKILL);
  ::waitpid(agent_pid_, nullptr, 0);
  agent_pid_ = 0;
}

int AgentTest::TerminateAgent() {
  ::kill(agent_pid_, SIGTERM);
  return WaitForAgentsEnd();
}

void AgentTest::Until(const std::function<bool()>& condition, const std::string& what) {
  const Time end = Now() + kPatience;
  while (!condition()) {
    ASSERT_LT(Now(), end) << "waited for " << what;
    const auto timer = loop_.After(20ms, [this] { loop_.Stop(); });  // for what no message tells
    loop_.Run();
    loop_.Cancel(timer);
  }
}

void AgentTest::Send(const api::AgentMessage& message) {
  ASSERT_TRUE(channel_);
  channel_->Send({'J', api::Encode(message)});
}

std::string AgentTest::SendOrder(const std::string& verb, const Instance& instance, Duration deadline,
                                 std::map<std::string, std::string> args) {
  api::OrderMessage order{.id = "order-" + std::to_string(++orders_), .epoch = epoch_};
  order.step = {.id = instance.name + "." + verb, .instance = instance.name, .host = "h1", .verb = verb};
  order.step.args = std::move(args);
  order.step.deadline = deadline;
  if (verb == "install" || verb == "start" || verb == "reload") order.instance = instance;
  Send(order);
  return order.id;
}

api::Outcome AgentTest::WaitForOutcome(const std::string& id) {
  Until([&] { return outcomes_.contains(id); }, "the outcome of " + id);
  return outcomes_.contains(id) ? outcomes_[id].back() : api::Outcome{};
}

api::Outcome AgentTest::Order(const std::string& verb, const Instance& instance, Duration deadline,
                              std::map<std::string, std::string> args) {
  return WaitForOutcome(SendOrder(verb, instance, deadline, std::move(args)));
}

void AgentTest::MustOrder(const std::string& verb, const Instance& instance) {
  const api::Outcome outcome = Order(verb, instance);
  ASSERT_FALSE(outcome.error) << verb << ": " << outcome.error->Text();
}

Observed AgentTest::Observe(const std::string& instance, bool drift) {
  const std::string id = "observe-" + std::to_string(++orders_);
  Send(api::Observe{.id = id, .drift = drift, .fresh = false});
  Until([&] { return observed_.contains(id); }, "what is observed");
  for (const Observed& one : observed_[id]) {
    if (one.name == instance) return one;
  }
  return Observed{.name = instance};
}

void AgentTest::UntilState(const std::string& instance, InstanceState state) {
  Until([&] { return Observe(instance).state == state; },
        instance + " to be " + std::string(StateName(state)));
}

Instance AgentTest::Shell(const std::string& name, const std::string& script) const {
  Instance instance;
  instance.name = name;
  instance.service = "app";
  instance.kind = "none";  // no recipe's operator
  instance.host = "h1";
  instance.address = "127.0.0.1";
  instance.argv = {"sh", "{folder}/run.sh"};
  instance.files = {{.path = "run.sh", .content = script, .mode = 0640}};
  instance.user = ::geteuid() == 0 ? "nobody" : "";
  instance.hash = "hash-1";
  instance.restart = {.backoff_first = 20ms, .backoff_most = 100ms, .healthy_after = 60s, .crashes_most = 4};
  instance.stop_timeout = 5s;
  return instance;
}

Instance AgentTest::Web(const std::string& name) const {
  Instance instance = Shell(name, "");
  const int port = FreePort();
  instance.ports["http"] = {.first = port};
  instance.argv = {"/usr/bin/python3", "{folder}/serve.py", std::to_string(port)};
  instance.files = {{.path = "serve.py",
                     .content =
                         "import http.server, sys, time\n"
                         "print('begins', flush=True)\n"
                         "time.sleep(0.1)\n"
                         "class H(http.server.BaseHTTPRequestHandler):\n"
                         "    def do_GET(self):\n"
                         "        self.send_response(200 if self.path == '/health' else 404)\n"
                         "        self.end_headers()\n"
                         "    def log_message(self, *args): pass\n"
                         "http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), H).serve_forever()\n",
                     .mode = 0640}};
  instance.probe = {.kind = Probe::Kind::kHttp, .target = "/health", .port = port};
  instance.probe.every = 100ms;
  instance.probe.timeout = 300ms;
  return instance;
}

int AgentTest::FreePort() {
  const Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{
      .sin_family = AF_INET, .sin_port = 0, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
  socklen_t size = sizeof address;
  EXPECT_EQ(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  return ntohs(address.sin_port);
}

std::vector<int> AgentTest::Processes() const {
  std::vector<int> pids;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    const int pid = std::atoi(entry.path().filename().c_str());
    if (pid <= 0 || pid == ::getpid() || pid == agent_pid_) continue;
    const auto command = ReadFile(entry.path() / "cmdline");
    if (command.ok() && command->find(home_) != std::string::npos) pids.push_back(pid);
  }
  return pids;
}

std::vector<int> AgentTest::Left() const {
  std::vector<int> pids;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    const int pid = std::atoi(entry.path().filename().c_str());
    if (pid <= 0 || pid == ::getpid()) continue;
    // What has exec'd something else names the folder in its environment or works in it; the dead have
    // neither.
    const auto command = ReadFile(entry.path() / "cmdline");
    const auto environment = ReadFile(entry.path() / "environ");
    std::error_code unknown;
    const std::string where = fs::read_symlink(entry.path() / "cwd", unknown).string();
    if ((command.ok() && command->find(home_) != std::string::npos) ||
        (environment.ok() && environment->find(home_) != std::string::npos) || where.starts_with(home_)) {
      pids.push_back(pid);
    }
  }
  return pids;
}

}  // namespace muster::agent
