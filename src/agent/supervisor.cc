#include "agent/supervisor.h"

#include <algorithm>

#include "recipes/recipe.h"

namespace muster::agent {
namespace {

template <class... Fs>
struct Overloaded : Fs... {
  using Fs::operator()...;
};
template <class... Fs>
Overloaded(Fs...) -> Overloaded<Fs...>;

// A full disk gets room again by itself or by somebody's hand: no reason to give up, nor to try all the time.
constexpr Duration kRoomPause = 5s;
constexpr Duration kProbeToldEvery = 1s;
constexpr std::string_view kHung = "killed as hung";

Duration Backoff(const RestartPolicy& policy, int crash_count) {
  Duration wait = policy.backoff_first;
  for (int i = 1; i < crash_count && wait < policy.backoff_most; ++i) wait *= 2;
  return std::min(wait, policy.backoff_most);
}

}  // namespace

SupervisorPolicy SupervisorPolicy::Of(const Instance& instance) {
  const Recipe* recipe = FindRecipe(instance.kind);
  return {.restart = instance.restart,
          .ready_within = instance.ready_within,
          .stop_timeout = instance.stop_timeout,
          .asks_again = recipe ? recipe->asks_again : 0ms,
          .probed = instance.probe.kind != Probe::Kind::kNone,
          .fail_after = std::max(1, instance.probe.fail_after),
          .kill_when_hung = instance.probe.kill_when_hung};
}

std::vector<Action> Supervisor::On(const Event& event, Time now) {
  Actions actions;
  std::visit(Overloaded{
                 [&](const StartWanted& wanted) { OnStartWanted(wanted, now, actions); },
                 [&](const StopWanted&) { OnStopWanted(now, actions); },
                 [&](const Started&) { OnStarted(now); },
                 [&](const StartFailed& failed) { OnStartFailed(failed, now, actions); },
                 [&](const Exited& exited) { OnGone(exited.how, exited.cause, now, actions); },
                 [&](const ProbeOk& passed) { OnPassed(passed.of_before, actions); },
                 [&](const ProbeFailed& failed) { OnProbeFailed(failed, now, actions); },
                 [&](const ProbeChanging&) { memory_.unproven = true; },
                 [&](const ProbeChanged&) { OnProbeChanged(now, actions); },
                 [&](const ProofFailed& failed) { OnProofFailed(failed, actions); },
                 [&](const TimeReached&) { OnTime(now, actions); },
             },
             event);
  return actions;
}

std::vector<Action> Supervisor::Restore(const Memory& memory, bool running, Time now) {
  Actions actions;
  memory_ = memory;
  if (running) {
    started_ = now;
    if (!memory_.wanted) {  // The agent died while it stopped this one: asked again, and killed in time.
      memory_.state = InstanceState::kReady;  // it runs, whatever was noted
      OnStopWanted(now, actions);
      return actions;
    }
    const bool was_ready = memory.state == InstanceState::kReady || memory.state == InstanceState::kUnhealthy;
    if (was_ready) return actions;  // probes go on, and tell otherwise where it isn't so
    memory_.state = InstanceState::kStarting;
    OnStarted(now);
    return actions;
  }
  if (!memory_.wanted) {
    memory_.state = InstanceState::kStopped;
  } else if (memory.state != InstanceState::kFailed) {
    // It died while no agent looked: one restart, and no crash, since nobody knows how.
    const bool was_up = memory.state != InstanceState::kStopped && memory.state != InstanceState::kBackoff;
    if (was_up) {
      memory_.last_exit = "unknown";
      ++memory_.restarts;
    }
    Start(actions);
  }
  return actions;
}

bool Supervisor::running() const {
  switch (memory_.state) {
    case InstanceState::kStarting:
    case InstanceState::kReady:
    case InstanceState::kUnhealthy:
    case InstanceState::kStopping:
      return true;
    default:
      return false;
  }
}

void Supervisor::Become(InstanceState state, Actions& actions) {
  if (memory_.state == state) return;
  memory_.state = state;
  probe_told_ = probe_failure();
  actions.emplace_back(std::in_place_type<ReportState>);
}

void Supervisor::SettleStart(std::optional<Error> error, Actions& actions) {
  if (!start_asked_) return;
  start_asked_ = false;
  actions.push_back(StartSettled{std::move(error)});
}

void Supervisor::Start(Actions& actions) {
  wake_.reset();
  probes_failed_ = probes_passed_ = 0;
  probe_failure_.clear();
  killed_hung_ = false;
  Become(InstanceState::kStarting, actions);
  actions.emplace_back(std::in_place_type<StartProcess>);
}

void Supervisor::OnStartWanted(const StartWanted& event, Time now, Actions& actions) {
  start_asked_ = true;
  memory_.wanted = true;
  start_within_ = policy_.ready_within;
  if (event.within > 0ms) start_within_ = std::min(start_within_, event.within);
  start_by_ = now + start_within_;
  switch (memory_.state) {
    case InstanceState::kReady:
      SettleStart({}, actions);
      return;
    case InstanceState::kStopping:
      start_after_stop_ = true;
      return;
    case InstanceState::kStarting:
    case InstanceState::kUnhealthy:  // It runs already: `start_by_` bounds the wait.
      probes_failed_ = 0;
      return;
    default:
      StartAnew(actions);
  }
}

void Supervisor::StartAnew(Actions& actions) {
  memory_.crash_count = 0;
  memory_.restarts = 0;
  memory_.last_exit.clear();
  no_room_ = false;
  Start(actions);
}

void Supervisor::OnStopWanted(Time now, Actions& actions) {
  memory_.wanted = false;
  start_after_stop_ = false;
  stop_asked_ = true;
  SettleStart(Error::Conflict("stopped", "{} was stopped before it was ready", name_), actions);
  if (memory_.state == InstanceState::kStopping) return;
  if (running()) {
    Become(InstanceState::kStopping, actions);
    stop_by_ = now + policy_.stop_timeout;
    AskToEnd(now, actions);
    return;
  }
  wake_.reset();
  Become(InstanceState::kStopped, actions);
  stop_asked_ = false;
  actions.emplace_back(std::in_place_type<StopSettled>);
}

void Supervisor::AskToEnd(Time now, Actions& actions) {
  wake_ = policy_.asks_again > 0ms ? std::min(stop_by_, now + policy_.asks_again) : stop_by_;
  actions.emplace_back(std::in_place_type<AskToStop>);
}

void Supervisor::OnStarted(Time now) {
  started_ = now;
  if (!policy_.probed) {
    wake_ = now + kUnprobedGrace;
  } else if (!start_asked_) {
    wake_ = now + policy_.ready_within;
  }
}

void Supervisor::OnStartFailed(const StartFailed& event, Time now, Actions& actions) {
  const bool no_room = event.error.code() == "disk-full";
  if ((!event.for_good && !no_room) || memory_.state == InstanceState::kStopping) {
    OnGone("", event.error, now, actions);
    return;
  }
  if (no_room) {
    no_room_ = true;
    memory_.last_exit = event.error.code();
    Become(InstanceState::kBackoff, actions);
    wake_ = now + std::min(kRoomPause, policy_.restart.backoff_most);
    SettleStart(event.error, actions);  // whoever waits learns why; it starts once it can
    return;
  }
  wake_.reset();
  memory_.last_exit = event.error.code();
  Become(InstanceState::kFailed, actions);
  SettleStart(event.error, actions);
}

void Supervisor::OnGone(const std::string& how, const std::optional<Error>& cause, Time now,
                        Actions& actions) {
  wake_.reset();
  const bool was_ready = memory_.state == InstanceState::kReady || memory_.state == InstanceState::kUnhealthy;
  if (!how.empty()) memory_.last_exit = killed_hung_ && !how.starts_with("killed") ? Hung() : how;
  // It never ran: that is all there is to say.
  if (memory_.last_exit.empty() && cause) memory_.last_exit = cause->code();
  if (memory_.state == InstanceState::kStopping) {
    Become(InstanceState::kStopped, actions);
    if (std::exchange(stop_asked_, false)) actions.emplace_back(std::in_place_type<StopSettled>);
    if (std::exchange(start_after_stop_, false))
      StartAnew(actions);  // whoever waits does so since they asked
    return;
  }
  if (!how.empty() && now - started_ >= policy_.restart.healthy_after && (was_ready || killed_hung_)) {
    memory_.crash_count = 0;
  }
  ++memory_.crash_count;
  if (start_asked_ && cause) {  // Nobody has to wait for the ladder to learn that a program is missing.
    Become(InstanceState::kFailed, actions);
    SettleStart(cause, actions);
    return;
  }
  if (memory_.crash_count >= policy_.restart.crashes_most) {
    Become(InstanceState::kFailed, actions);
    SettleStart(CrashLoop(how.empty() ? "" : memory_.last_exit), actions);
    return;
  }
  Become(InstanceState::kBackoff, actions);
  wake_ = now + Backoff(policy_.restart, memory_.crash_count);
}

bool Supervisor::asked() const {
  return running() && memory_.state != InstanceState::kStopping && !killed_hung_;
}

void Supervisor::OnPassed(bool of_before, Actions& actions) {
  if (!asked()) return;
  // The first may be that of who is asked quickly until it passes; the others come at the pace at which it
  // would be killed.
  if (!of_before && ++probes_passed_ > policy_.fail_after) memory_.unproven = false;
  probes_failed_ = 0;
  probe_failure_.clear();
  wake_.reset();
  Become(InstanceState::kReady, actions);
  SettleStart({}, actions);
}

void Supervisor::OnProbeFailed(const ProbeFailed& failed, Time now, Actions& actions) {
  if (!asked()) return;
  probes_passed_ = 0;
  probe_failure_ = failed.why;
  TellProbe(now, actions);
  if (memory_.state == InstanceState::kStarting) {  // time decides, however often it fails
    probes_failed_ = failed.cause ? probes_failed_ + 1 : 0;
    // Whoever waits would do so in vain.
    if (failed.cause && probes_failed_ >= policy_.fail_after) SettleStart(failed.cause, actions);
    return;
  }
  if (++probes_failed_ < policy_.fail_after) return;
  Become(InstanceState::kUnhealthy, actions);
  if (memory_.unproven) return SettleStart(HealthWrong(), actions);  // whoever waits would do so in vain
  if (!policy_.kill_when_hung) return;
  killed_hung_ = true;
  actions.emplace_back(std::in_place_type<KillProcess>);
}

// While it is not ready. Not each time: the words of a health command may differ with every probe, and of
// what starts in no time nobody needs to know that it refused connections first.
void Supervisor::TellProbe(Time now, Actions& actions) {
  const bool due = now - std::max(probe_told_at_, started_) >= kProbeToldEvery;
  if (probe_failure() == probe_told_ || !due) return;
  probe_told_ = probe_failure();
  probe_told_at_ = now;
  actions.emplace_back(std::in_place_type<ReportState>);
}

std::string Supervisor::probe_failure() const {
  const bool waited_for =
      memory_.state == InstanceState::kStarting || memory_.state == InstanceState::kUnhealthy;
  return waited_for ? probe_failure_ : "";
}

void Supervisor::OnProbeChanged(Time now, Actions& actions) {
  probes_failed_ = probes_passed_ = 0;
  probe_failure_.clear();
  memory_.unproven = policy_.probed;
  if (policy_.probed) return;
  if (memory_.state == InstanceState::kStarting) wake_ = now + kUnprobedGrace;
  if (memory_.state == InstanceState::kUnhealthy) OnPassed(false, actions);  // nobody else says so
}

// It serves as before, but what it is asked by says that it doesn't: that is to be seen at once.
void Supervisor::OnProofFailed(const ProofFailed& failed, Actions& actions) {
  if (memory_.state != InstanceState::kReady && memory_.state != InstanceState::kUnhealthy) return;
  memory_.unproven = true;
  probes_passed_ = 0;
  probe_failure_ = failed.why;
  Become(InstanceState::kUnhealthy, actions);
}

std::optional<Time> Supervisor::wake() const {
  if (!start_asked_) return wake_;
  return wake_ ? std::min(*wake_, start_by_) : start_by_;
}

std::string Supervisor::Hung() const {
  return std::string(kHung) + (probe_failure_.empty() ? "" : ": " + probe_failure_);
}

Error Supervisor::CrashLoop(const std::string& how) const {
  const bool killed = how.starts_with("killed");
  Error error =
      Error::Unavailable("crash-loop", "{} died {} times in a row, the last time {}{}", name_,
                         memory_.crash_count, killed ? "" : "with ", how.empty() ? "no process" : how);
  if (killed && !how.starts_with(kHung)) {
    return std::move(error).Hint("raise `limits: memory` of its service, or let it use less");
  }
  return std::move(error).Hint("its log tells why: muster logs {}", name_);
}

Error Supervisor::NotReady(Duration waited) const {
  return Error::Timeout("not-ready", "{} was not ready within {}{}", name_, FormatDuration(waited),
                        probe_failure_.empty() ? "" : ": " + probe_failure_)
      .Hint("{}its log tells why: muster logs {}",
            probe_failure_.find("refused") == std::string::npos ? "" : "does it listen on {{address}}? ",
            name_);
}

Error Supervisor::HealthWrong() const {
  return Error::Unavailable("health-wrong", "{} does not pass its health check since that was changed{}",
                            name_, probe_failure_.empty() ? "" : ": " + probe_failure_)
      .Hint("{}", kMendCheck);
}

void Supervisor::OnTime(Time now, Actions& actions) {
  // Whoever waited decides what follows: what was started runs on, or is started again, as before.
  if (start_asked_ && now >= start_by_) SettleStart(NotReady(start_within_), actions);
  if (!wake_ || now < *wake_) return;
  wake_.reset();
  switch (memory_.state) {
    case InstanceState::kBackoff:
      if (!std::exchange(no_room_, false)) ++memory_.restarts;
      Start(actions);
      return;
    case InstanceState::kStopping:
      if (now < stop_by_) return AskToEnd(now, actions);
      actions.emplace_back(std::in_place_type<KillProcess>);
      return;
    case InstanceState::kStarting:
      if (!policy_.probed) {
        OnPassed(false, actions);
      } else if (memory_.unproven) {
        Become(InstanceState::kUnhealthy, actions);
      } else if (policy_.kill_when_hung) {  // Restarted by itself, and hangs: it has to die to come back.
        killed_hung_ = true;
        actions.emplace_back(std::in_place_type<KillProcess>);
      }
      return;
    default:
      return;
  }
}

}  // namespace muster::agent
