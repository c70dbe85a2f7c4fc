#include "agent/member.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "agent/ports.h"
#include "base/fault.h"
#include "base/text.h"
#include "model/listens.h"

namespace muster::agent {
namespace {

constexpr size_t kEvidenceLines = 20;
constexpr std::string_view kPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

template <class... Fs>
struct Overloaded : Fs... {
  using Fs::operator()...;
};
template <class... Fs>
Overloaded(Fs...) -> Overloaded<Fs...>;

}  // namespace

Duration MinReady(const Step& step) {
  const auto found = step.args.find("min_ready_ms");
  return found == step.args.end() ? 0ms : Duration(std::atoll(found->second.c_str()));
}

Member::Member(HostContext* host, const std::string& name)
    : host_(host), paths_(PathsOf(host->folder, name)), supervisor_(name, {}) {
  auto waker = host->log_waker.lock();
  if (!waker) host->log_waker = waker = std::make_shared<LogWaker>(*host->loop);
  log_care_ = std::make_shared<LogCare>(*host->loop, waker, paths_.logs, LogPolicy{});
}

Member::~Member() {
  host_->loop->Cancel(wake_timer_);
  host_->loop->Cancel(guard_timer_);
  if (watch_) host_->loop->Unwatch(watch_);
  if (prober_) prober_->Stop();
}

void Member::Restore() {
  remembered_ = ReadRecord(paths_);
  if (!remembered_) return;
  const Instance& desired = remembered_->desired;
  supervisor_.set_policy(SupervisorPolicy::Of(desired));
  log_care_->set_policy(desired.log);
  // Where its user is no more, what still runs is looked at as whose its files are. Started as that it isn't.
  auto user = KnownUserFor(desired.user, host_->cluster);
  user_ = user.ok() ? *user : OwnerOf(paths_.folder);
  auto launch = MakeLaunch();
  std::unique_ptr<runtime::Process> process;
  if (launch.ok()) {
    if (auto adopted = runtime::Process::Adopt(*launch); adopted.ok()) process = std::move(*adopted);
  }
  if (process && process->leftover()) process = EndLeftover(std::move(process));
  const bool running = process != nullptr;
  if (running) {
    // Nobody knows what it was started from.
    if (process->hash().empty() || process->leftover()) process->KillAll();
    remembered_->had_process = true;
    if (!desired.hash.empty() && remembered_->live_hash == desired.hash)
      remembered_->running_hash = desired.hash;
    Watch(std::move(process), true);
  }
  reported_ = remembered_->memory.state;
  Obey(supervisor_.Restore(remembered_->memory, running, Now()));
  if (running) {
    not_asked_ = true;
    StartProbing(supervisor_.state() != InstanceState::kReady);
  }
}

std::map<std::string, std::string> Member::Environment() const {
  std::map<std::string, std::string> env;
  // Root's own PATH is for root: it may lead into folders that the instance's user can't read.
  const char* path = ::geteuid() == 0 ? nullptr : ::getenv("PATH");
  env["PATH"] = path ? path : std::string(kPath);
  env["LANG"] = "C.UTF-8";
  env["HOME"] = paths_.folder;
  env["MUSTER_CLUSTER"] = host_->cluster;
  if (!remembered_) return env;
  const Instance& desired = remembered_->desired;
  env["MUSTER_SERVICE"] = desired.service;
  env["MUSTER_INSTANCE"] = desired.name;
  if (!user_.name.empty()) env["USER"] = env["LOGNAME"] = user_.name;
  for (const auto& [name, value] : desired.env) env[name] = FillIn(value, paths_, desired);
  return env;
}

std::string Member::working_folder() const {
  if (!remembered_ || remembered_->desired.working_folder.empty()) return paths_.folder;
  return FillIn(remembered_->desired.working_folder, paths_, remembered_->desired);
}

Result<runtime::Launch> Member::MakeLaunch() const {
  const Instance& desired = remembered_->desired;
  runtime::Launch launch;
  launch.cluster = host_->cluster;
  launch.instance = desired.name;
  for (const std::string& word : desired.argv) launch.argv.push_back(FillIn(word, paths_, desired));
  launch.env = Environment();
  launch.working_folder = working_folder();
  launch.log_path = paths_.logs + "/current.log";
  launch.lock_path = paths_.records + "/lock";
  launch.record_path = paths_.records + "/run";
  launch.hash = desired.hash;
  launch.uid = user_.uid;
  launch.gid = user_.gid;
  const auto low_ports = desired.extra.find("bind_low_ports");
  launch.bind_low_ports = low_ports != desired.extra.end() && low_ports->second == "yes";
  launch.limits = desired.limits;
  return launch;
}

Operator* Member::GetOperator() {
  if (!remembered_) return nullptr;
  const std::string& kind = remembered_->desired.kind;
  if (!operator_ || operator_kind_ != kind) {
    const Recipe* recipe = FindRecipe(kind);
    operator_.reset();
    if (recipe && recipe->make_operator) operator_ = recipe->make_operator();
    operator_kind_ = kind;
  }
  return operator_.get();
}

Operator::Context Member::OperatorContext() const {
  return {.loop = host_->loop,
          .instance = &remembered_->desired,
          .folder = paths_.folder,
          .records = paths_.records,
          .pid = process_ ? process_->pid() : 0,
          .uid = user_.uid,
          .gid = user_.gid,
          .heard = host_->heard};
}

Member::Held Member::Hold() {
  Held held;
  if (!GetOperator()) return held;
  held.recipe = operator_;
  held.instance = std::make_shared<const Instance>(remembered_->desired);
  held.context = OperatorContext();
  held.context.instance = held.instance.get();
  return held;
}

// What earlier lives have said, those before the crashes in a row, explains nothing.
std::vector<std::string> Member::Evidence(size_t lines) const {
  if (!remembered_) return {};
  const bool one_life = supervisor_.memory().crash_count <= 1;
  return LastLogLines(paths_.logs, lines, one_life ? remembered_->life_from : remembered_->loop_from);
}

// Where it never came to a process, its log has nothing to say.
std::vector<std::string> Member::WhyFailed() const {
  if (!start_failure_) return Evidence(kEvidenceLines);
  std::vector<std::string> lines{start_failure_->message()};
  if (!start_failure_->hint().empty()) lines.push_back("fix: " + start_failure_->hint());
  lines.insert(lines.end(), start_failure_->evidence().begin(), start_failure_->evidence().end());
  return lines;
}

Error Member::WithEvidence(Error error) const {
  if (!error.evidence().empty()) return error;
  return Error(std::move(error).Evidence(Evidence(kEvidenceLines)));
}

net::Task<Result<Values>> Member::Perform(Step step, std::optional<Instance> desired,
                                          std::shared_ptr<const bool> given_up, std::string order) {
  auto self = shared_from_this();
  if (step.verb == "break") {
    const auto how = step.args.find("how");
    const Status broken = Break(how == step.args.end() ? "" : how->second);
    if (!broken.ok()) co_return broken.error();
    co_return Values{};
  }
  const bool own = step.verb == "install" || step.verb == "start" || step.verb == "stop" ||
                   step.verb == "reload" || step.verb == "remove";
  if (!own) {
    Held held = Hold();
    if (!held.recipe) co_return Error::Conflict("not-installed", "{} is not installed", paths_.name);
    if (host_->answers) {
      held.context.still_wanted = [answers = host_->answers, connection = host_->connection(), order] {
        return answers(connection, order);
      };
    }
    auto values = co_await held.recipe->Perform(held.context, step.verb, step.args);
    Report();
    co_return values;
  }
  if (std::exchange(busy_, true)) {
    GiveUpStart();
    const net::Promised<bool> turn;
    lane_.push_back(turn);
    co_await turn;  // handed on: nobody who comes now gets in between
  }
  nobody_waits_ = given_up && *given_up;
  Status status = Done();
  if (step.verb == "install" || (step.verb == "start" && !remembered_)) {
    if (desired) {
      installing_ = true;
      status = co_await Install(step, std::move(*desired));
      installing_ = false;
      if (status.ok() && step.verb == "install" && step.args.contains("prove"))
        status = co_await PassesItsProbe(step);
      host_->clean_artifacts();
    } else {
      status = Error::Conflict("not-installed", "{} is not installed", paths_.name);
    }
  }
  if (status.ok() && step.verb == "start") {
    if (given_up && *given_up) {
      status = NobodyWaits();
    } else {
      status = co_await Start(step);
    }
  }
  if (step.verb == "stop") status = co_await MayStop(step);
  if (step.verb == "stop" && status.ok()) status = co_await Stop();
  if (step.verb == "reload") status = co_await Reload(step);
  if (step.verb == "remove") {
    const auto data = step.args.find("delete_data");
    const bool delete_data = data != step.args.end() && data->second == "yes";
    status = co_await Remove(delete_data);
  }
  if (lane_.empty()) {
    busy_ = false;
  } else {
    const net::Promised<bool> next = lane_.front();
    lane_.erase(lane_.begin());
    host_->loop->Post([next] { next.Set(true); });
  }
  if (!status.ok()) co_return status.error();
  co_return Values{};
}

// What a drill does to it: nobody here is told, so that it is met as what happens by itself is.
Status Member::Break(const std::string& how) {
  const std::map<std::string, int> signals = {{"kill", SIGKILL}, {"freeze", SIGSTOP}, {"thaw", SIGCONT}};
  const auto found = signals.find(how);
  if (found == signals.end()) return Error::Invalid("unknown-break", "nothing is broken by \"{}\"", how);
  if (!process_) return Error::Conflict("not-running", "{} does not run", paths_.name);
  process_->Signal(found->second);
  return Done();
}

net::Task<Status> Member::Start(const Step& step) {
  const net::Promised<Status> ready;
  starting_.push_back(ready);
  const Duration min_ready = MinReady(step);
  MUSTER_FAULT("agent.before-start");
  Feed(
      StartWanted{.within = step.deadline > 2s + min_ready ? step.deadline - 1s - min_ready : step.deadline});
  if (nobody_waits()) GiveUpStart();
  Status status = co_await ready;
  if (status.ok()) status = co_await StaysReady(min_ready);
  if (!status.ok()) co_return WithEvidence(status.error());
  MUSTER_FAULT("agent.ready");
  co_return Done();
}

net::Task<Status> Member::StaysReady(Duration min_ready) {
  if (min_ready == 0ms) co_return Done();
  if (nobody_waits()) co_return NobodyWaits();
  const int starts = starts_;
  const net::Promised<bool> over;
  staying_ = over;
  const auto timer = host_->loop->After(min_ready, [over] { over.Set(true); });
  const bool waited = co_await over;
  host_->loop->Cancel(timer);
  staying_.reset();
  if (!waited) co_return NobodyWaits();
  if (supervisor_.state() == InstanceState::kReady && starts == starts_) co_return Done();
  co_return Error::Unavailable("not-ready", "{} was ready, but did not stay so for {}", paths_.name,
                               FormatDuration(min_ready))
      .Hint("its log tells why: muster logs {}", paths_.name);
}

Status Member::NobodyWaits() const {
  return Error::Conflict("cancelled", "nobody waits any more for {} to be ready", paths_.name);
}

// Or another order came while this one waited for its turn.
bool Member::nobody_waits() const { return nobody_waits_ || !lane_.empty(); }

void Member::GiveUpStart() {
  nobody_waits_ = true;
  const Status cancelled = NobodyWaits();
  for (const auto& waiting : std::exchange(starting_, {})) {
    host_->loop->Post([waiting, cancelled] { waiting.Set(cancelled); });
  }
  SettleReload(cancelled);
  if (const auto waiting = std::exchange(staying_, std::nullopt)) {
    host_->loop->Post([waiting = *waiting] { waiting.Set(false); });
  }
}

net::Task<Status> Member::Remove(bool delete_data) {
  const Status stopped = co_await Stop();
  if (!stopped.ok()) co_return stopped.error();
  const std::string service = remembered_ ? remembered_->desired.service : "";
  KillStrays();
  co_await LogCare::LetGo(log_care_);  // a rotation would put files into a folder that is being emptied
  const Status removed = co_await RemoveFiles(delete_data);
  if (!removed.ok()) co_return removed.error();
  MUSTER_FAULT("agent.removed");
  remembered_.reset();
  operator_.reset();
  Observed gone{
      .name = paths_.name, .service = service, .host = host_->host, .state = InstanceState::kAbsent};
  gone.since = WallNow();
  host_->changed(gone);
  host_->clean_artifacts();
  co_return Done();
}

void Member::Feed(const Event& event) { Obey(supervisor_.On(event, Now())); }

void Member::Obey(const std::vector<Action>& actions) {
  for (const Action& action : actions) {
    std::visit(Overloaded{
                   [&](const StartProcess&) { Spawn(); },
                   [&](const AskToStop&) {
                     if (prober_) prober_->Stop();
                     prober_.reset();
                     Ask();
                   },
                   [&](const KillProcess&) {
                     given_up_ = true;
                     if (process_) process_->KillAll();
                   },
                   [&](const ReportState&) { Report(); },
                   [&](const StartSettled& settled) {
                     const Status status = settled.error ? Status(*settled.error) : Done();
                     for (const auto& waiting : std::exchange(starting_, {})) {
                       host_->loop->Post([waiting, status] { waiting.Set(status); });
                     }
                   },
                   [&](const StopSettled&) {
                     for (const auto& waiting : std::exchange(stopping_, {})) {
                       host_->loop->Post([waiting] { waiting.Set(true); });
                     }
                   },
               },
               action);
  }
  SetWake();
  SaveState();
}

void Member::SetWake() {
  host_->loop->Cancel(wake_timer_);
  wake_timer_ = 0;
  const auto wake = supervisor_.wake();
  if (!wake) return;
  const Duration delay = std::max<Duration>(0ms, *wake - Now());
  wake_timer_ = host_->loop->After(delay, [weak = weak_from_this()] {
    if (auto self = weak.lock()) self->Feed(TimeReached{});
  });
}

void Member::Spawn() {
  // Not inside of the supervisor's turn: what comes of it is its next event.
  host_->loop->Post([self = shared_from_this()] { net::Spawn(self->PrepareAndSpawn()); });
}

net::Task<void> Member::PrepareAndSpawn() {
  auto self = shared_from_this();
  // False where a stop came meanwhile; nothing runs, so it ends here.
  const auto still_wanted = [this] {
    if (!process_ && supervisor_.state() == InstanceState::kStopping) Feed(Exited{.how = "", .cause = {}});
    return remembered_ && !process_ && supervisor_.state() == InstanceState::kStarting;
  };
  while (files_change_) {
    const net::Promised<bool> settled;
    files_settled_.push_back(settled);
    co_await settled;
  }
  if (!still_wanted()) co_return;
  // Known anew for each start: without a user it would run as the agent itself, which is root.
  auto user = co_await FindUser(remembered_->desired.user);
  if (!still_wanted()) co_return;
  if (user.ok()) {
    user_ = *user;
  } else {
    const bool for_good = user.error().code() == "user-root" || user.error().code() == "unknown-user";
    FailStart(user.error(), for_good);
    co_return;
  }
  Status prepared = co_await PutArtifactRight();
  if (!still_wanted()) co_return;
  if (const Held held = Hold(); prepared.ok() && held.recipe)
    prepared = co_await held.recipe->Prepare(held.context);
  if (!still_wanted()) co_return;
  if (prepared.ok() && !remembered_->had_process && remembered_->desired.extra.contains(kDataElsewhere)) {
    const auto taken = co_await TakeOver();
    if (!still_wanted()) co_return;
    if (!taken.ok()) {
      FailStart(taken.error(), taken.error().kind() == ErrorKind::kRefused);
      co_return;
    }
  }
  if (prepared.ok()) prepared = CheckPortsFree(remembered_->desired, {});
  if (!prepared.ok()) {
    FailStart(prepared.error(), false);
    co_return;
  }
  auto launch = MakeLaunch();
  if (const Held held = Hold(); held.recipe) {
    for (std::string& word : held.recipe->StartWords(held.context)) launch->argv.push_back(std::move(word));
  }
  if (remembered_->desired.probe.kind == Probe::Kind::kLog) {
    // What an earlier run has logged makes nobody ready, for another agent neither.
    struct stat log {};
    remembered_->log_from = ::lstat(launch->log_path.c_str(), &log) == 0 ? log.st_size : 0;
    (void)WriteState(paths_, *remembered_);
  }
  const int64_t log_end = LogEnd(paths_.logs);
  auto started = runtime::Process::Start(*launch);
  MUSTER_FAULT("agent.started");
  if (!started.ok()) {
    FailStart(started.error(), false);
    co_return;
  }
  NoteStart(log_end, remembered_->desired.hash);
  Watch(std::move(*started), false);
  Feed(Started{});
  host_->changed(Observe(false));  // its state is as before, but now there is a pid
  StartProbing(true);
}

void Member::NoteStart(int64_t log_end, const std::string& hash) {
  ++starts_;
  start_failure_.reset();
  const int crash_count = supervisor_.memory().crash_count;
  if (crash_count <= 1) remembered_->loop_from = crash_count == 0 ? log_end : remembered_->life_from;
  remembered_->life_from = log_end;
  remembered_->running_hash = hash;
  if (!std::exchange(remembered_->had_process, true)) (void)WriteState(paths_, *remembered_);
}

void Member::FailStart(const Error& error, bool for_good) {
  start_failure_ = error;
  Feed(StartFailed{.error = error, .for_good = for_good});
}

void Member::Watch(std::unique_ptr<runtime::Process> process, bool adopted) {
  process_ = std::move(process);
  given_up_ = false;
  if (adopted && remembered_->running_hash.empty()) remembered_->running_hash = process_->hash();
  watch_ = host_->loop->WatchReadable(process_->pidfd(), [weak = weak_from_this()] {
    if (auto self = weak.lock()) self->OnEnded();
  });
  log_care_->Look(WallNow(), true);
  GuardSoon();
}

void Member::OnEnded() {
  if (!process_) return;
  host_->loop->Unwatch(watch_);
  watch_ = 0;
  if (prober_) prober_->Stop();
  prober_.reset();
  not_asked_ = false;
  AwaitOthers(2ms);
}

// Where it died at its start and says that an address is in use: who has its port.
std::optional<Error> Member::CauseOfDeath() const {
  if (supervisor_.state() != InstanceState::kStarting) return std::nullopt;
  for (const std::string& line : LastLogLines(paths_.logs, kEvidenceLines, remembered_->life_from)) {
    if (line.find("in use") == std::string::npos && line.find("EADDRINUSE") == std::string::npos) continue;
    const Status free = CheckPortsFree(remembered_->desired, {}, true);
    if (free.ok()) return std::nullopt;
    return WithEvidence(free.error());
  }
  return std::nullopt;
}

Prober::Target Member::ProbeTarget() {
  const Instance& desired = remembered_->desired;
  Prober::Target target{.probe = desired.probe, .address = desired.address};
  if (desired.probe.kind == Probe::Kind::kCommand) {
    if (auto words = SplitCommand(FillIn(desired.probe.target, paths_, desired)); words.ok())
      target.command = *words;
  }
  target.env = Environment();
  target.folder = working_folder();
  target.log_path = paths_.logs + "/current.log";
  target.log_from = remembered_->log_from;
  target.joins = Joins();
  target.uid = user_.uid;
  target.gid = user_.gid;
  if (desired.probe.kind == Probe::Kind::kOperator) {
    target.ask = [weak = weak_from_this()] { return AskOperator(weak); };
  }
  return target;
}

void Member::StartProbing(bool eager, int passes) {
  if (prober_) prober_->Stop();
  prober_.reset();
  const Instance& desired = remembered_->desired;
  if (desired.probe.kind == Probe::Kind::kNone || !process_) return;
  if (desired.probe.kind == Probe::Kind::kLog) {
    // A line that made it ready once isn't written again, and may have been rotated away. Until then it is
    // looked for, whatever else was asked.
    if (supervisor_.state() == InstanceState::kReady) return;
    eager = true;
  }
  Prober::Target target = ProbeTarget();
  target.passes = passes;
  const bool asks_a_port = desired.probe.kind == Probe::Kind::kHttp ||
                           desired.probe.kind == Probe::Kind::kTcp ||
                           (desired.probe.kind == Probe::Kind::kOperator && desired.probe.port > 0);
  if (eager && asks_a_port) {
    target.confirm = [desired, port = desired.probe.port, pids = process_->PidFinder()] {
      return CheckListener(desired, port, pids());
    };
  }
  const auto on_seen = [weak = weak_from_this(), probe = desired.probe](Status seen) {
    auto self = weak.lock();
    if (!self || !self->process_) return;
    self->not_asked_ = false;
    if (seen.ok()) {
      if (self->reloading_ && !self->OnProofPassed()) return;
      self->SettleReload(Done());
      self->Feed(ProbeOk{.of_before = probe != self->remembered_->desired.probe});
      return self->TellFacts();
    }
    // Asked this often it would soon count as unwell, and be killed: whoever waits for it gives up in time.
    if (self->reloading_) {
      self->OnProofFailed(seen.error().message());
      return;
    }
    ProbeFailed failed{.why = seen.error().message()};
    if (seen.error().code() == "port-taken") failed.cause = seen.error();
    self->Feed(failed);
    self->TellFacts();
  };
  prober_ = Prober::Start(*host_->loop, std::move(target), eager, on_seen);
}

// What wasn't ready before isn't so by being asked anew: who listens on its port is still to be seen.
void Member::GoOnProbing() { StartProbing(supervisor_.state() == InstanceState::kStarting); }

void Member::SaveState() {
  if (!remembered_) return;
  // Probes come all the time, and change nothing.
  const std::pair hashes(remembered_->running_hash, remembered_->live_hash);
  if (remembered_->memory == supervisor_.memory() && hashes == saved_hashes_) return;
  remembered_->memory = supervisor_.memory();
  saved_hashes_ = hashes;
  (void)WriteState(paths_, *remembered_);
}

void Member::Report() {
  if (!remembered_) return;
  if (reported_ != supervisor_.state()) remembered_->since = WallNow();
  reported_ = supervisor_.state();
  SaveState();
  if (Operator* recipe = GetOperator()) told_facts_ = FactsBy(*recipe);
  host_->changed(Observe(false));
}

Observed Member::Observe(bool drift) {
  Observed observed{.name = paths_.name};
  if (!remembered_) return observed;
  const Instance& desired = remembered_->desired;
  observed.service = desired.service;
  observed.host = desired.host;
  observed.state = supervisor_.state();
  observed.pid = process_ ? process_->pid() : 0;
  observed.since = remembered_->since;
  observed.hash = desired.hash;
  observed.parts = desired.parts;
  observed.running_hash = process_ ? remembered_->running_hash : "";
  observed.renderer = desired.renderer;
  observed.restarts = supervisor_.memory().restarts;
  observed.last_exit = supervisor_.memory().last_exit;
  if (observed.state == InstanceState::kFailed) observed.evidence = WhyFailed();
  observed.probe_age_ms = prober_ ? prober_->age_ms() : -1;
  observed.memory_bytes = process_ ? process_->memory_bytes() : 0;
  if (drift && !installing_ && !files_change_) observed.drift = drift_watch_.Look(paths_, desired);
  if (Operator* recipe = GetOperator()) {
    observed.facts = FactsBy(*recipe);
    observed.facts.merge(recipe->Measures(OperatorContext()));
  }
  const std::string listens = FormatListens(desired.address, desired.ports);
  if (!listens.empty()) observed.facts[kListensFact] = listens;
  if (const auto data = desired.extra.find(kDataElsewhere); data != desired.extra.end())
    observed.facts[kDataElsewhere] = data->second;
  if (supervisor_.memory().unproven) observed.facts[kUnprovenFact] = "yes";
  if (!desired.data_folders.empty()) observed.facts[kDataFact] = Join(desired.data_folders, " ");
  if (const std::string failure = supervisor_.probe_failure(); !failure.empty()) {
    observed.facts[kProbeFact] = failure;
  }
  return observed;
}

void Member::Tick(WallTime now) {
  if (remembered_ && (process_ || supervisor_.state() == InstanceState::kBackoff))
    log_care_->Look(now, process_ != nullptr);
}

}  // namespace muster::agent
