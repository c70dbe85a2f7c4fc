// How an instance takes up its files while it runs.
#include <algorithm>

#include "agent/member.h"

namespace muster::agent {
namespace {

// So long after the signal a program is asked how it is: it dies of its new files a little after it.
constexpr Duration kReloadGrace = 250ms;

}  // namespace

net::Task<Status> Member::Reload(Step step) {
  if (!remembered_) co_return Error::Conflict("not-installed", "{} is not installed", paths_.name);
  const Error not_running = Error::Conflict("not-running", "{} does not run", paths_.name);
  if (!process_) co_return not_running;
  // nginx's own reload tells how it went.
  const bool prove = step.args.contains("prove") && GetOperator();
  const net::Promised<Status> proven;
  if (const Held held = Hold(); held.recipe) {
    const Status prepared = co_await held.recipe->Prepare(held.context);
    if (!prepared.ok()) co_return prepared.error();
    if (prove) {
      if (!process_) co_return not_running;
      if (prober_) prober_->Stop();  // what it says now is of before
      prober_.reset();
      reload_failure_.clear();
      reloading_ = proven;
    }
    const Held now = Hold();  // it may have been started anew meanwhile
    const Status reloaded = co_await held.recipe->Reload(now.context);
    if (!reloaded.ok()) {
      reloading_.reset();
      GoOnProbing();
      co_return reloaded.error();
    }
  }
  remembered_->running_hash = process_ ? remembered_->desired.hash : "";
  Status status = Done();
  if (prove) {
    status = co_await LivesOn(proven, step);
  } else {
    GoOnProbing();
  }
  SaveState();
  host_->changed(Observe(false));
  if (!status.ok()) co_return WithEvidence(status.error());
  co_return Done();
}

// Whether it is alive after its reload and passes a probe that has begun since.
net::Task<Status> Member::LivesOn(net::Promised<Status> proven, Step step) {
  const Duration min_ready = MinReady(step);
  const Duration most = step.deadline > 2s + min_ready ? step.deadline - 1s - min_ready : step.deadline;
  const Duration within = std::min(most, remembered_->desired.ready_within);
  const auto late = host_->loop->After(within, [weak = weak_from_this(), within] {
    const auto self = weak.lock();
    if (!self) return;
    if (self->proves_health_) return self->OnProofLate();
    const std::string why = self->reload_failure_.empty() ? "" : ": " + self->reload_failure_;
    self->SettleReload(Error::Timeout("not-ready", "{} was not ready within {} of its reload{}",
                                      self->paths_.name, FormatDuration(within), why)
                           .Hint("its log tells why: muster logs {}", self->paths_.name));
  });
  if (nobody_waits()) GiveUpStart();
  co_await host_->loop->Sleep(kReloadGrace);
  if (reloading_ && process_) {
    const Probe::Kind kind = remembered_->desired.probe.kind;
    // Nobody says a second time that it is ready.
    const bool asked = kind != Probe::Kind::kNone && kind != Probe::Kind::kLog;
    if (asked && supervisor_.never_passed()) {
      was_reloaded_ = true;
      BeginHealthProof();  // its check came with the reload: it is as likely to be what is wrong
    } else if (asked) {
      StartProbing(true);
    } else {
      GoOnProbing();
      SettleReload(Done());
    }
  }
  Status status = co_await proven;
  host_->loop->Cancel(late);
  was_reloaded_ = false;
  EndProof(status);
  if (!status.ok()) co_return status;
  status = co_await StaysReady(min_ready);
  co_return status;
}

void Member::SettleReload(Status status) {
  if (!reloading_) return;
  const net::Promised<Status> waiting = *std::exchange(reloading_, std::nullopt);
  host_->loop->Post([waiting, status = std::move(status)] { waiting.Set(status); });
}

}  // namespace muster::agent
