// The part of the Controller that looks at what stands on the hosts, and hears what changes there.
#include <nlohmann/json.hpp>

#include "api/json.h"
#include "base/digest.h"
#include "control/controller.h"
#include "control/member_names.h"
#include "control/run_machine.h"
#include "model/up_command.h"

namespace muster::control {
namespace {

using Json = nlohmann::json;

constexpr Duration kVerifyWithin = 60s;  // of one instance
constexpr size_t kVerifiedAtOnce = 16;
constexpr Duration kToldWithin = 10s;
constexpr Duration kAskAgain = 1s;
constexpr Duration kLogWithin = 5s;
constexpr int kEvidenceLines = 20;
constexpr const char *kByItself = "muster", *kConverge = "converge";  // author and action of its own runs

// Nobody kills it for its changed check, whoever has brought that: so it won't come back by itself.
bool HasWrongCheck(const Observed& observed) {
  return observed.state == InstanceState::kUnhealthy && observed.facts.contains(kUnprovenFact);
}

}  // namespace

net::Task<void> Controller::LookAround() {
  auto self = shared_from_this();
  const std::set<std::string> silent = co_await ObserveAll();
  (void)silent;
  looked_ = true;
  for (const auto& waiting : std::exchange(looking_, {})) {
    deps_.loop->Post([waiting] { waiting.Set(true); });
  }
  MendSoon();
  LetLeave();  // an earlier server may have come no further
  co_await DownAgain();
}

net::Task<void> Controller::FirstLook(Duration timeout) {
  auto self = shared_from_this();
  if (looked_) co_return;
  const net::Promised<bool> over;
  looking_.push_back(over);
  const auto timer = deps_.loop->After(timeout, [over] { over.Set(false); });
  co_await over;
  deps_.loop->Cancel(timer);
}

// Asks every agent that is wanted for what stands on its host, all side by side.
net::Task<std::set<std::string>> Controller::ObserveAll() {
  auto self = shared_from_this();
  const auto silent = std::make_shared<std::set<std::string>>();
  std::vector<net::Promised<bool>> waiting;
  std::vector<std::string> hosts;
  for (const auto& [name, wanted] : hosts_) hosts.push_back(name);
  for (const std::string& host : hosts) {
    const net::Promised<bool> looked;
    waiting.push_back(looked);
    net::SpawnThen(ObserveHost(host, Now() + deps_.observe_within), [silent, host, looked](bool answered) {
      if (!answered) silent->insert(host);
      looked.Set(true);
    });
  }
  for (const net::Promised<bool>& looked : waiting) co_await looked;
  co_return *silent;
}

// Whether the agent of `host` has told, before `until`.
net::Task<bool> Controller::ObserveHost(std::string host, Time until) {
  auto self = shared_from_this();
  const Status reached = co_await deps_.agents->Reach(row_.key, host, deps_.reach_within);
  if (!reached.ok()) co_return false;
  const Duration left =
      std::max(std::chrono::duration_cast<Duration>(until - Now()), deps_.observe_within / 12);
  auto answer = co_await deps_.agents->Observe(row_.key, host, true, left);
  if (!answer.ok()) co_return false;
  std::erase_if(observed_, [&](const auto& item) { return item.second.host == host; });
  for (Observed& one : *answer) {
    LookForIncidents(one);
    observed_[one.name] = std::move(one);
  }
  told_.insert(host);
  heard_.insert(host);
  MendSoon();  // nobody else tells of those that have vanished, and ages count from now
  co_return true;
}

void Controller::OnChanged(const Observed& observed) {
  LookForIncidents(observed);
  Observed& known = observed_[observed.name];
  const InstanceState before = known.state;
  // An agent looks for drift only when it is asked to; what it tells by itself says nothing of it. In a run
  // it may just have been mended.
  const bool drift_stays = !run_.machine && observed.drift.empty() && observed.hash == known.hash;
  std::vector<Drift> drift = drift_stays ? known.drift : observed.drift;
  known = observed;
  known.drift = std::move(drift);
  deps_.publish(row_.key, "instance", api::ToJson(observed).dump());
  if (run_.machine && before != observed.state) LookAtHealth(observed);
  MendSoon();
}

void Controller::LookForIncidents(const Observed& observed) {
  const Instance* desired = FindDesired(observed.name);
  const Incidents::About about{.kind = desired ? desired->kind : "",
                               .killed_when_hung = !desired || desired->probe.kill_when_hung};
  Tell(incidents_.Saw(observed, about, Now()));
}

// An agent that is replaced at once is no news, and who cuts a host off is told of.
void Controller::LookForSilence(const std::string& host) {
  deps_.loop->After(deps_.silent_after, [weak = weak_from_this(), host, since = silent_since_.at(host)] {
    const auto self = weak.lock();
    if (!self || !self->hosts_.contains(host) || self->kept_.cut.contains(host)) return;
    const auto still = self->silent_since_.find(host);
    if (still == self->silent_since_.end() || still->second != since) return;
    self->Tell(self->incidents_.Silent(host, since, Now()));
  });
}

void Controller::Tell(const std::vector<Incident>& incidents) {
  for (const Incident& incident : incidents) {
    (void)deps_.store->AddAudit({.id = 0,
                                 .at = WallNow(),
                                 .who = incident.who,
                                 .cluster = row_.key,
                                 .action = incident.action,
                                 .detail = incident.detail});
  }
}

// An instance that no step made unwell holds the run back, in what it has for others of its service, until it
// is well or given up on, but no longer than it would be given to get ready. One that the run itself has
// started speaks for what is being released: it has to stay well for a while before others follow, and no
// one follows it that dies again or fails.
void Controller::LookAtHealth(const Observed& observed) {
  const InstanceState state = observed.state;
  const bool failed = state == InstanceState::kFailed;
  const bool dies = failed || state == InstanceState::kBackoff;
  const bool released = run_.machine->HasStarted(observed.name);
  const auto known = run_.unwell.find(observed.name);
  if (state == InstanceState::kStarting || state == InstanceState::kStopping) {
    if (known != run_.unwell.end()) ++known->second.turn;
    return;
  }
  if (!dies && state != InstanceState::kUnhealthy) {
    if (known == run_.unwell.end()) return;
    if (state == InstanceState::kReady && released && !run_.machine->Concerns(observed.name)) {
      ProvesItself(observed.name, ++known->second.turn);
    } else {
      IsWellAgain(observed.name);
    }
    return;
  }
  if (run_.machine->Concerns(observed.name)) return;
  const std::string reason = observed.name + (failed ? " has failed" : dies ? " died" : " does not answer");
  run_.machine->Pause(observed.service, observed.name, reason);
  deps_.publish(row_.key, "paused",
                Json{{"run", run_.id}, {"service", observed.service}, {"reason", reason}}.dump());
  // Going from one bad state to another doesn't give it more time.
  static uint64_t sequence = 0;
  const auto [entry, is_new] = run_.unwell.try_emplace(observed.name, Unwell{.number = ++sequence});
  Unwell& unwell = entry->second;
  ++unwell.turn;
  unwell.deaths += dies ? 1 : 0;
  Flush();  // steps of its own may go
  const Instance* desired = FindDesired(observed.name);
  const Duration within = desired ? desired->ready_within : Instance{}.ready_within;
  const bool wrong_check = HasWrongCheck(observed) && !run_.machine->WillGetTo(observed.name);
  if (wrong_check || (released && (failed || unwell.deaths > 1))) {
    net::Spawn(GiveUpOn(observed.name, unwell.number, within));
    return;
  }
  if (!is_new) return;
  deps_.loop->After(within,
                    [self = shared_from_this(), name = observed.name, number = unwell.number, within] {
                      const auto still = self->run_.unwell.find(name);
                      if (still == self->run_.unwell.end() || still->second.number != number) return;
                      net::Spawn(self->GiveUpOn(name, number, within));
                    });
}

void Controller::ProvesItself(const std::string& instance, uint64_t turn) {
  deps_.loop->After(deps_.proves_itself, [self = shared_from_this(), instance, turn] {
    const auto still = self->run_.unwell.find(instance);
    if (still != self->run_.unwell.end() && still->second.turn == turn) self->IsWellAgain(instance);
  });
}

void Controller::IsWellAgain(const std::string& instance) {
  run_.unwell.erase(instance);
  run_.machine->Recovers(instance);
  Flush();
}

// `waited`: for as long as it was given to be well again.
net::Task<void> Controller::GiveUpOn(std::string instance, uint64_t number, Duration waited) {
  auto self = shared_from_this();
  std::string service, host;
  if (const auto seen = observed_.find(instance); seen != observed_.end()) {
    service = seen->second.service;
    host = seen->second.host;
  }
  std::vector<std::string> evidence = co_await LastLines(instance, host);
  const auto still = run_.unwell.find(instance);
  const auto seen = observed_.find(instance);
  if (still == run_.unwell.end() || still->second.number != number || !run_.machine) co_return;
  if (seen == observed_.end() || seen->second.state == InstanceState::kReady) co_return;  // proves itself
  const bool released = run_.machine->HasStarted(instance);
  const std::string state(StateName(seen->second.state));
  const std::string what =
      still->second.deaths > 1 || seen->second.state == InstanceState::kFailed
          ? fmt::format("{} died{} after it was ready{}", instance, still->second.deaths > 1 ? " again" : "",
                        seen->second.last_exit.empty() ? "" : " (" + seen->second.last_exit + ")")
          : fmt::format("{} is {} for {} now", instance, state, FormatDuration(waited));
  Error error =
      Error::Unavailable("member-unwell", "{}, and the run waits for it", what).Evidence(std::move(evidence));
  const bool wrong_check = HasWrongCheck(seen->second);
  if (wrong_check) {
    const auto probe = seen->second.facts.find(kProbeFact);
    const std::string why = probe == seen->second.facts.end() ? "" : ": " + probe->second;
    error = Error::Unavailable("health-wrong", "{} passes its changed health check no more{}", instance, why)
                .Evidence(error.evidence());
  }
  const std::string back =
      CanGoBack() ? "muster rollback goes back" : "mend it and run " + UpCommand(row_.key) + " again";
  error = wrong_check ? std::move(error).Hint("{}", kMendCheck)
          : released
              ? std::move(error).Hint("what is released does not live: {}", back)
              : std::move(error).Hint("muster restart {} may help; the other members of {} are as they were",
                                      instance, service);
  run_.machine->GiveUpOn(instance, std::move(error));
  Flush();
}

// The end of an instance's log; empty where its agent doesn't answer.
net::Task<std::vector<std::string>> Controller::LastLines(std::string instance, std::string host) {
  auto self = shared_from_this();
  const api::Logs message{.id = "why/" + RandomHex(8), .instances = {instance}, .tail = kEvidenceLines};
  const auto lines = std::make_shared<std::vector<std::string>>();
  const net::Promised<bool> ended;
  const auto on_chunk = [lines](const api::Chunk& chunk) { lines->push_back(chunk.data); };
  const auto on_end = [ended](const api::End&) { ended.Set(true); };
  deps_.agents->Stream(row_.key, host, message, message.id, on_chunk, on_end);
  const auto timer = deps_.loop->After(kLogWithin, [ended] { ended.Set(false); });
  const bool all = co_await ended;
  deps_.loop->Cancel(timer);
  if (!all) deps_.agents->CancelStream(row_.key, host, message.id);
  co_return *lines;
}

void Controller::OnConnected(const std::string& host, bool connected) {
  heard_.erase(host);
  if (connected) {
    silent_since_.erase(host);
    away_.erase(host);
    Tell(incidents_.Back(host, Now()));
    AskWhatStands(host);
  } else {
    away_.insert(host);
    silent_since_[host] = Now();
    LookForSilence(host);
    MendSoon();
  }
  deps_.publish(row_.key, "host", Json{{"host", host}, {"connected", connected}}.dump());
}

// Of an agent that has just come. What is known of its host is from before, or nothing.
void Controller::AskWhatStands(const std::string& host) {
  auto self = shared_from_this();
  net::SpawnThen(deps_.agents->Observe(row_.key, host, false, kToldWithin),
                 [self, host](Result<std::vector<Observed>> answer) {
                   if (!answer.ok()) return self->AskAgain(host);
                   self->told_.insert(host);
                   self->heard_.insert(host);
                   for (const Observed& one : *answer) self->OnChanged(one);
                   self->MendSoon();
                   self->Converge(host);
                 });
}

void Controller::AskAgain(const std::string& host) {
  deps_.loop->After(kAskAgain, [weak = weak_from_this(), host] {
    const auto self = weak.lock();
    if (self && self->connected(host) && !self->heard_.contains(host)) self->AskWhatStands(host);
  });
}

// A host that the last run went on without is back: the revision is brought to it. What it left out is told
// by the end of that run: until then this host stays to be brought up to date.
void Controller::Converge(const std::string& host) {
  if (!kept_.left_out.contains(host) || !idle() || down() || going_down() || !IsBroughtUp()) return;
  ConvergeBecause(host + " is back");
}

void Controller::ConvergeBecause(std::string why) {
  auto bundle = CurrentBundle();
  if (!bundle.ok()) return;
  bundle->author = kByItself;
  bundle->note = std::move(why);
  bundle->action = kConverge;
  net::SpawnThen(Up(std::move(*bundle), "", {}), [](const Result<StartedRun>&) {});
}

// A run that nobody asked for, and that a server's end has interrupted, waits for nobody to resume it.
void Controller::GoOnByItself(const store::RunRow& last) {
  const bool own = last.author == kByItself && last.action == kConverge;
  if (!own || last.state != "paused" || down() || going_down()) return;
  ConvergeBecause("goes on with run " + last.id);
}

struct Controller::Verification {
  std::vector<Instance> instances;
  std::vector<std::vector<api::CheckResult>> results;  // beside them
  size_t next = 0;
};

// Several instances side by side; the answers stand in the order of the file. What can't be asked is a check
// that failed.
net::Task<Result<std::vector<std::pair<std::string, api::CheckResult>>>> Controller::Verify(
    std::string service) {
  auto self = shared_from_this();
  const auto work = std::make_shared<Verification>();
  for (const Instance& instance : desired_.instances) {
    if (service.empty() || instance.service == service) work->instances.push_back(instance);
  }
  work->results.resize(work->instances.size());
  std::vector<net::Promised<bool>> waiting;
  for (size_t i = 0; i < std::min(kVerifiedAtOnce, work->instances.size()); ++i) {
    const net::Promised<bool> done;
    waiting.push_back(done);
    net::SpawnThen(VerifyNext(work), [done](bool) { done.Set(true); });
  }
  for (const net::Promised<bool>& done : waiting) co_await done;
  std::vector<std::pair<std::string, api::CheckResult>> all;
  for (size_t i = 0; i < work->instances.size(); ++i) {
    if (!FindDesired(work->instances[i].name)) continue;  // it has begun to leave meanwhile
    for (api::CheckResult& check : work->results[i]) {
      if (!check.passed && !check.skipped && !kept_.cut.empty()) {
        const std::string& cut = *kept_.cut.begin();
        check.hint = fmt::format("{} is cut off on purpose: muster host heal {}", cut, cut);
      }
      all.emplace_back(work->instances[i].service, std::move(check));
    }
  }
  for (const auto& [name, seen] : observed_) {
    const bool left = seen.state != InstanceState::kAbsent && !FindDesired(name);
    if (!left || (!service.empty() && seen.service != service)) continue;
    api::CheckResult skipped;
    skipped.name = name + " is not asked";
    skipped.passed = skipped.skipped = true;
    skipped.evidence = {fmt::format("the cluster file has it no more; it is {} until a run removes it",
                                    StateName(seen.state))};
    skipped.hint = "muster status tells what the run waits for; " + UpCommand(row_.key) + " begins another";
    all.emplace_back(seen.service, std::move(skipped));
  }
  co_return all;
}

net::Task<bool> Controller::VerifyNext(std::shared_ptr<Verification> work) {
  auto self = shared_from_this();
  while (work->next < work->instances.size()) {
    const size_t turn = work->next++;
    const Instance& instance = work->instances[turn];
    api::VerifyMessage message{.id = RandomHex(8), .instance = instance.name, .args = {}};
    auto checks = co_await deps_.agents->Verify(row_.key, instance.host, message, kVerifyWithin);
    if (checks.ok()) {
      work->results[turn] = std::move(*checks);
    } else {
      work->results[turn].push_back({.name = instance.name + " can be asked",
                                     .passed = false,
                                     .evidence = {checks.error().message()},
                                     .hint = checks.error().hint()});
    }
    for (api::CheckResult& check : work->results[turn]) {
      check.name = NameMembers(std::move(check.name), instance.service, desired_.instances);
    }
    // Why it isn't ready is known: it needn't be looked for in logs.
    const auto seen = observed_.find(instance.name);
    if (seen == observed_.end() || seen->second.state == InstanceState::kReady) continue;
    const auto probe = seen->second.facts.find(kProbeFact);
    if (probe == seen->second.facts.end() || probe->second.empty()) continue;
    for (api::CheckResult& check : work->results[turn]) {
      if (check.passed || check.skipped) continue;
      check.evidence.push_back("its health check: " + probe->second);
      break;
    }
  }
  co_return true;
}

}  // namespace muster::control
