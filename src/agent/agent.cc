#include "agent/agent.h"

#include <fcntl.h>
#include <sched.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <csignal>
#include <deque>
#include <nlohmann/json.hpp>

#include "agent/hosts_network.h"
#include "agent/member.h"
#include "agent/orphans.h"
#include "agent/streams.h"
#include "api/agent_messages.h"
#include "api/json.h"
#include "base/fault.h"
#include "base/file_error.h"
#include "base/memory.h"
#include "net/channel.h"

namespace muster::agent {
namespace {

constexpr Duration kDialFirst = 20ms;
constexpr Duration kDialMost = 1s;
constexpr std::string_view kServerGone = "server-gone";
constexpr size_t kOutcomesRemembered = 1000;
constexpr size_t kQuestionsMost = 200;                // to a server that stands still
constexpr uint64_t kTrimTicks = 60, kTrimFirst = 10;  // seconds

class Agent {
 public:
  Agent(net::Loop& loop, const AgentOptions& options, std::string folder)
      : loop_(loop), options_(options), folder_(std::move(folder)), streams_(loop_, folder_, log_waker_) {
    host_.loop = &loop_;
    host_.log_waker = log_waker_;
    host_.cluster = options_.cluster;
    host_.host = options_.host;
    host_.folder = folder_;
    host_.changed = [this](const Observed& observed) { Send(api::Changed{.instance = observed}); };
    host_.fetch_blob = [this](std::string sha256) { return FetchBlob(std::move(sha256)); };
    host_.clean_artifacts = [this] { CleanArtifacts(); };
    host_.ask_server = [this] { AskServer(std::nullopt); };
    host_.heard = [this] { return heard_; };
    host_.connection = [this] { return connection_; };
    host_.answers = [this](uint64_t connection, std::string order) {
      return Answers(connection, std::move(order));
    };
  }

  void Begin() {
    ReadEpoch();
    for (const std::string& name : RecordedInstances(folder_)) {
      auto member = std::make_shared<Member>(&host_, name);
      member->Restore();
      if (member->installed()) members_[name] = member;
    }
    net::Spawn(Dial());
    Tick();
  }

 private:
  // --- The channel to the server.

  net::Task<void> Dial() {
    while (!leaving_) {
      auto connected = co_await net::ConnectChannel(loop_, options_.socket, 2s);
      if (!connected.ok()) {
        co_await loop_.Sleep(NextDialWait());
        continue;
      }
      channel_ = *connected;
      ++connection_;
      server_rules_ = false;
      const net::Promised<bool> closed;
      channel_->on_frame = [this](net::Frame frame) { OnFrame(std::move(frame)); };
      channel_->on_closed = [closed](const Error&) { closed.Set(true); };
      api::Hello hello{.cluster = options_.cluster, .host = options_.host, .version = MUSTER_VERSION};
      hello.pid = ::getpid();
      hello.epoch_seen = epoch_;
      hello.streams = api::kStreams;
      hello.pings = true;
      Send(hello);
      streams_.Connect(channel_);
      channel_->Open();
      co_await closed;
      channel_.reset();
      for (const Question& question : std::exchange(questions_, {})) {
        if (question.answered) question.answered->Set(false);
      }
      streams_.Disconnect();
      FailBlobs();
      // Let a server that has just been replaced open its socket.
      co_await loop_.Sleep(NextDialWait());
    }
  }

  // Longer each time until a server has welcomed it: one that is cut off on purpose is let in by nobody.
  Duration NextDialWait() {
    const Duration wait = dial_wait_;
    dial_wait_ = std::min(dial_wait_ * 2, kDialMost);
    return wait;
  }

  void Send(const api::AgentMessage& message) {
    if (channel_) channel_->Send({'J', api::Encode(message)});
  }

  void OnFrame(net::Frame frame) {
    if (frame.kind == 'B') {
      OnBlobBytes(frame.payload);
      return;
    }
    const auto message = api::DecodeAgentMessage(frame.payload);
    if (!message.ok()) {
      spdlog::error("from the server: {}", message.error().Text());
      channel_->Close();
      return;
    }
    if (const auto* welcome = std::get_if<api::Welcome>(&*message)) {
      dial_wait_ = kDialFirst;
      server_rules_ = welcome->epoch >= epoch_;
      if (!server_rules_) {
        spdlog::warn("a server of epoch {} has been dialled, and {} has been seen: it is not obeyed",
                     welcome->epoch, epoch_);
      }
      SeeEpoch(welcome->epoch);
    } else if (const auto* order = std::get_if<api::OrderMessage>(&*message)) {
      OnOrder(*order);
    } else if (const auto* observe = std::get_if<api::Observe>(&*message)) {
      net::Spawn(OnObserve(*observe));
    } else if (const auto* blob = std::get_if<api::Blob>(&*message)) {
      OnBlob(*blob);
    } else if (const auto* logs = std::get_if<api::Logs>(&*message)) {
      streams_.Start(*logs);
    } else if (const auto* exec = std::get_if<api::ExecMessage>(&*message)) {
      OnExec(*exec);
    } else if (const auto* verify = std::get_if<api::VerifyMessage>(&*message)) {
      net::Spawn(OnVerify(*verify));
    } else if (const auto* cancel = std::get_if<api::CancelMessage>(&*message)) {
      if (const auto order = under_way_.find(cancel->id); order != under_way_.end()) {
        *order->second.given_up = true;
        const auto member = members_.find(order->second.instance);
        if (member != members_.end()) member->second->GiveUpStart();
        return;
      }
      streams_.Cancel(cancel->id);
    } else if (const auto* more = std::get_if<api::More>(&*message)) {
      streams_.On(*more);
    } else if (const auto* input = std::get_if<api::Input>(&*message)) {
      streams_.On(*input);
    } else if (std::holds_alternative<api::Ping>(*message)) {
      Send(api::Pong{});
    } else if (const auto* pong = std::get_if<api::Pong>(&*message)) {
      OnAnswer(pong->wanted);
    } else if (const auto* leave = std::get_if<api::Leave>(&*message)) {
      if (leave->epoch >= epoch_ && !leaving_) net::Spawn(Leave());
    }
  }

  // --- Whether the server takes this host for present: it answers as long as it does.

  void AskServer(std::optional<net::Promised<bool>> answered, std::string order = "") {
    if (!channel_ || questions_.size() >= kQuestionsMost) {
      if (answered) answered->Set(false);
      return;
    }
    questions_.push_back({.asked = Now(), .answered = std::move(answered)});
    Send(api::Ping{.order = std::move(order)});
  }

  // Answers come in the order of the questions. Those of a server that another has replaced say nothing: the
  // newer one may take this host for gone.
  void OnAnswer(bool wanted) {
    if (questions_.empty()) return;
    const Question question = std::move(questions_.front());
    questions_.pop_front();
    wanted = wanted && server_rules_;
    if (server_rules_) heard_ = question.asked;
    if (question.answered) {
      loop_.Post([answered = *question.answered, wanted] { answered.Set(wanted); });
    }
  }

  net::Task<bool> Answers(uint64_t connection, std::string order) {
    if (connection != connection_) co_return false;
    const net::Promised<bool> answered;
    AskServer(answered, std::move(order));
    const bool yes = co_await answered;
    co_return yes&& connection == connection_;
  }

  // --- Epochs.

  void ReadEpoch() {
    const auto text = ReadFile(folder_ + "/agent.json");
    if (!text.ok()) return;
    const auto json = api::ParseJson(*text);
    if (json.ok() && json->is_object() && json->contains("epoch") && (*json)["epoch"].is_number_integer()) {
      epoch_ = (*json)["epoch"].get<int64_t>();
    }
  }

  void SeeEpoch(int64_t epoch) {
    if (epoch <= epoch_) return;
    epoch_ = epoch;
    const Status written = WriteFile(folder_ + "/agent.json", api::Json{{"v", 1}, {"epoch", epoch_}}.dump(),
                                     {.mode = 0600, .durable = true});
    if (!written.ok()) spdlog::error("{}", written.error().Text());
  }

  Error Old(int64_t epoch) const {
    return Error::Conflict("epoch-old", "the order is of epoch {}, and {} has been seen", epoch, epoch_)
        .Hint("another server has taken the cluster over");
  }

  // --- Orders.

  void OnOrder(const api::OrderMessage& order) {
    if (const auto known = outcomes_.find(order.id); known != outcomes_.end()) {
      if (channel_) channel_->Send({'J', known->second});
      return;
    }
    const UnderWay under_way{.instance = order.step.instance, .given_up = std::make_shared<bool>(false)};
    if (!under_way_.emplace(order.id, under_way).second) return;  // its outcome will be sent
    net::Spawn(Obey(order, under_way.given_up));
  }

  net::Task<void> Obey(api::OrderMessage order, std::shared_ptr<const bool> given_up) {
    api::Outcome outcome{.id = order.id, .error = std::nullopt, .values = {}};
    if (order.epoch < epoch_) {
      outcome.error = Old(order.epoch);
      spdlog::warn("{}: {}", order.id, outcome.error->Text());
    } else {
      SeeEpoch(order.epoch);
      const std::string name = order.step.instance;
      std::shared_ptr<Member>& slot = members_[name];
      if (!slot) slot = std::make_shared<Member>(&host_, name);
      const std::shared_ptr<Member> member = slot;
      auto done = co_await member->Perform(order.step, std::move(order.instance), given_up, order.id);
      if (done.ok()) {
        outcome.values = std::move(*done);
      } else {
        outcome.error = done.error();
      }
      const auto still = members_.find(name);
      if (still != members_.end() && still->second == member && !member->installed() &&
          order.step.verb == "remove") {
        members_.erase(still);
      }
    }
    MUSTER_FAULT("agent.outcome");
    under_way_.erase(order.id);
    // Nobody was there to hear it: a server that is back and sends the order again wants it done.
    if (outcome.error && outcome.error->code() == kServerGone) {
      Send(outcome);
      co_return;
    }
    Remember(order.id, api::Encode(outcome));
  }

  void Remember(const std::string& id, std::string outcome) {
    if (channel_) channel_->Send({'J', outcome});
    outcomes_[id] = std::move(outcome);
    outcome_order_.push_back(id);
    while (outcome_order_.size() > kOutcomesRemembered) {
      outcomes_.erase(outcome_order_.front());
      outcome_order_.pop_front();
    }
  }

  net::Task<void> OnObserve(api::Observe observe) {
    if (observe.drift) {
      const auto members = members_;
      for (const auto& [name, member] : members) {
        if (!member->installed() || !member->UnsureOfBlobs(*member->desired())) continue;
        const Status checked = co_await member->CheckBlobs(*member->desired());
        (void)checked;
      }
    }
    api::ObservedMessage answer{.id = observe.id, .instances = {}};
    for (const auto& [name, member] : members_) {
      if (member->installed()) answer.instances.push_back(member->Observe(observe.drift));
    }
    Send(answer);
  }

  net::Task<void> OnVerify(api::VerifyMessage message) {
    api::Verified verified{.id = message.id, .checks = {}, .error = std::nullopt};
    const auto found = members_.find(message.instance);
    if (found == members_.end()) {
      verified.error = NotHere(message.instance);
    } else {
      const std::shared_ptr<Member> member = found->second;
      auto checks = co_await member->Verify(message.args);
      if (checks.ok()) {
        for (const Check& check : *checks) {
          verified.checks.push_back({.name = check.name,
                                     .passed = check.passed,
                                     .evidence = check.evidence,
                                     .hint = check.hint,
                                     .skipped = check.skipped});
        }
      } else {
        verified.error = checks.error();
      }
    }
    Send(verified);
  }

  Error NotHere(const std::string& instance) const {
    return Error::NotFound("unknown-instance", "{} is not on {}", instance, options_.host);
  }

  // --- Blobs: asked for one at a time, since their bytes come without a name.

  net::Task<Status> FetchBlob(std::string sha256) {
    if (!channel_) co_return ServerGone();
    const net::Promised<Status> arrived;
    blob_waiting_[sha256].push_back(arrived);
    if (blob_waiting_[sha256].size() == 1) Send(api::WantBlob{.sha256 = sha256});
    co_return co_await arrived;
  }

  static Error ServerGone() {
    return Error::Unavailable(kServerGone, "the server left while it sent a file");
  }

  // One whose bytes are coming.
  struct Arriving {
    std::string sha256, path;
    Fd file;
    int64_t left = 0;
    std::optional<Error> error;
  };

  void OnBlob(const api::Blob& blob) {
    arriving_ = {.sha256 = blob.sha256, .path = "", .file = {}, .left = blob.size, .error = blob.error};
    if (!blob.error) {
      // A name of its own: one that came before may still be looked at.
      arriving_.path = fmt::format("{}/artifacts/.{}.{}", folder_, blob.sha256, ++blobs_);
      const Status made = MakeFolder(folder_ + "/artifacts", 0711);
      arriving_.file = Fd(::open(arriving_.path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
      if (!made.ok()) arriving_.error = made.error();
      if (!arriving_.file.valid()) arriving_.error = Error::Os("open " + arriving_.path, errno);
    }
    if (arriving_.left == 0 || blob.error) net::Spawn(TakeArrived(std::exchange(arriving_, {})));
  }

  void OnBlobBytes(const std::string& bytes) {
    if (arriving_.sha256.empty()) return;
    arriving_.left -= static_cast<int64_t>(bytes.size());
    if (!arriving_.error) WriteArriving(bytes);
    if (arriving_.left <= 0) net::Spawn(TakeArrived(std::exchange(arriving_, {})));
  }

  void WriteArriving(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t put = ::write(arriving_.file.get(), bytes.data(), bytes.size());
      if (put < 0 && errno == EINTR) continue;
      if (put <= 0) {
        arriving_.error = FileError(fmt::format("{} on {}", arriving_.path, options_.host), errno, "write");
        return;
      }
      bytes.remove_prefix(static_cast<size_t>(put));
    }
  }

  // Its digest is looked at off the loop: that takes a second for some hundred MiB.
  net::Task<void> TakeArrived(Arriving arrived) {
    arrived.file.Reset();
    Status status = Done();
    if (arrived.error) {
      status = *arrived.error;
    } else {
      std::function<Status()> work = [paths = PathsOf(folder_, ""), sha256 = arrived.sha256,
                                      path = arrived.path] { return TakeBlob(paths, sha256, path); };
      status = co_await loop_.Blocking(std::move(work));
    }
    if (!status.ok()) ::unlink(arrived.path.c_str());
    auto waiting = std::move(blob_waiting_[arrived.sha256]);
    blob_waiting_.erase(arrived.sha256);
    for (const auto& one : waiting) {
      loop_.Post([one, status] { one.Set(status); });
    }
  }

  void FailBlobs() {
    if (!arriving_.path.empty()) ::unlink(arriving_.path.c_str());
    arriving_ = {};
    auto waiting = std::exchange(blob_waiting_, {});
    for (const auto& [sha256, list] : waiting) {
      for (const auto& one : list) {
        loop_.Post([one] { one.Set(Status(ServerGone())); });
      }
    }
  }

  void CleanArtifacts() {
    if (!blob_waiting_.empty()) return;
    std::vector<const Instance*> used;
    for (const auto& [name, member] : members_) {
      if (member->desired()) used.push_back(member->desired());
      if (member->installing()) return;  // and cleans up itself
    }
    RemoveUnusedArtifacts(folder_, used);
  }

  // --- Commands.

  void OnExec(const api::ExecMessage& message) {
    if (message.epoch < epoch_) return streams_.Refuse(message.id, Old(message.epoch));
    const auto found = members_.find(message.instance);
    if (found == members_.end() || !found->second->installed()) {
      return streams_.Refuse(message.id, NotHere(message.instance));
    }
    if (message.argv.empty()) {
      return streams_.Refuse(message.id, Error::Invalid("no-command", "no command was given"));
    }
    const Member& member = *found->second;
    Execution::Command command;
    command.env = member.Environment();
    command.folder = member.working_folder();
    command.user = member.user();
    command.joins = member.Joins();
    streams_.Start(message, std::move(command));
  }

  // --- The end.

  // The host has nothing of the cluster any more. Data that was to be kept stays.
  net::Task<void> Leave() {
    leaving_ = true;
    std::vector<std::shared_ptr<Member>> left;
    for (const auto& [name, member] : members_) left.push_back(member);
    for (const auto& member : left) {
      Step step{.id = "leave", .instance = member->paths().name, .verb = "remove"};
      step.args["delete_data"] = "no";
      const auto removed = co_await member->Perform(step, std::nullopt);
      if (!removed.ok()) spdlog::error("{}", removed.error().Text());
    }
    members_.clear();
    RemoveUnusedArtifacts(folder_, {});
    for (const char* name : {"/records", "/artifacts", "/instances"}) {
      std::error_code error;
      fs::remove(folder_ + name, error);  // only what is empty
    }
    ::unlink((folder_ + "/agent.json").c_str());
    runtime::RemoveCgroups(options_.cluster, "-");  // the cluster's own group, where it is empty
    left_ = true;
    loop_.Stop();
  }

 public:
  bool left() const { return left_; }

 private:
  void Tick() {
    if (!fs::exists(folder_ + "/agent.lock")) {
      spdlog::error("{} is gone, and nothing can be done without it", folder_);
      loop_.Stop();
      return;
    }
    const WallTime now = WallNow();
    for (const auto& [name, member] : members_) member->Tick(now);
    orphans_.Reap();
    if (++ticks_ % kTrimTicks == kTrimFirst) ReleaseIdleMemory();
    loop_.After(1s, [this] { Tick(); });
  }

  net::Loop& loop_;
  AgentOptions options_;
  std::string folder_;
  HostContext host_;
  const std::shared_ptr<LogWaker> log_waker_ = std::make_shared<LogWaker>(loop_);
  std::map<std::string, std::shared_ptr<Member>> members_;
  std::shared_ptr<net::Channel> channel_;
  Duration dial_wait_ = kDialFirst;
  uint64_t connection_ = 0;  // goes up with each
  struct Question {
    Time asked{};
    std::optional<net::Promised<bool>> answered;
  };
  std::deque<Question> questions_;  // that the server hasn't answered, over this connection
  Time heard_ = Time::min();        // when the last one that it has answered was asked
  int64_t epoch_ = 0;
  bool server_rules_ = false;  // it has welcomed this agent, and no newer one has been seen
  OrphanReaper orphans_;
  bool leaving_ = false;
  bool left_ = false;
  uint64_t ticks_ = 0;

  struct UnderWay {
    std::string instance;
    std::shared_ptr<bool> given_up;
  };
  std::map<std::string, UnderWay> under_way_;    // by order
  std::map<std::string, std::string> outcomes_;  // id -> the encoded answer
  std::deque<std::string> outcome_order_;

  std::map<std::string, std::vector<net::Promised<Status>>> blob_waiting_;
  Arriving arriving_;
  uint64_t blobs_ = 0;

  Streams streams_;
};

}  // namespace

Status RunAgent(const AgentOptions& options) {
  const std::string folder = options.home + "/hosts/" + options.cluster + "/" + options.host;
  MUSTER_DO(MakeFolder(folder, 0711));
  auto lock = FileLock::TryTake(folder + "/agent.lock");
  if (!lock.ok()) {
    return Error::Conflict("agent-running", "{} of {} has an agent already", options.host, options.cluster);
  }
  Fd outside(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
  if (options.rehearsal) {
    MUSTER_DO(SetUpHost(options.block, options.host_number));
    MUSTER_DO(EnterHost(options.block, options.host_number));
  }
  bool left = false;
  {
    net::Loop loop;
    Agent agent(loop, options, folder);
    loop.OnSignal(SIGTERM, [&] { loop.Stop(); });
    loop.OnSignal(SIGINT, [&] { loop.Stop(); });
    loop.Post([&] { agent.Begin(); });
    spdlog::info("agent of {} on {} ({})", options.cluster, options.host, options.address);
    loop.Run();
    loop.EndTasks();
    left = agent.left();
    spdlog::info("the agent ends; {}", left ? "nothing is left here" : "its instances go on");
  }
  if (!left) return Done();
  if (options.rehearsal) {
    if (outside.valid()) (void)::setns(outside.get(), CLONE_NEWNET);
    (void)TearDownHost(options.block, options.host_number);
  }
  std::error_code error;
  if (!fs::exists(folder + "/instances", error)) {
    ::unlink((folder + "/agent.log").c_str());
    ::unlink((folder + "/agent.lock").c_str());
    fs::remove(folder, error);
    fs::remove(fs::path(folder).parent_path(), error);
  }
  return Done();
}

}  // namespace muster::agent
