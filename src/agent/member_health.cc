// How an instance's probe is changed while it runs: by one that it passes. See docs/decisions/0009.
#include <algorithm>

#include "agent/member.h"

namespace muster::agent {
namespace {

constexpr int kPassesMost = 5;

}  // namespace

// A probe that was just changed may be what is wrong. It is asked often, so that a good one is known to be so
// soon, but has as long to be wrong as it would take to find anybody unwell. It has to pass as often in a row
// as it would have to fail: what can be done only once, such as making a folder, passes as well.
net::Task<Status> Member::PassesItsProbe(Step step) {
  const Probe probe = remembered_->desired.probe;
  // Nobody says a second time that it is ready.
  if (probe.kind == Probe::Kind::kNone || probe.kind == Probe::Kind::kLog) co_return Done();
  if (!process_) co_return Error::Conflict("not-running", "{} does not run", paths_.name);
  const Duration min_ready = MinReady(step);
  const Duration within = remembered_->desired.ready_within;
  const net::Promised<Status> proven;
  const auto late = host_->loop->After(within, [weak = weak_from_this()] {
    if (auto self = weak.lock()) self->OnProofLate();
  });
  // Also where the order comes a second time, or by an agent that doesn't know why.
  Feed(ProbeChanged{});
  reload_failure_.clear();
  reloading_ = proven;
  BeginHealthProof();
  if (nobody_waits()) GiveUpStart();
  Status status = co_await proven;
  host_->loop->Cancel(late);
  EndProof(status);
  if (!status.ok()) co_return WithEvidence(status.error());
  status = co_await StaysReady(min_ready);
  if (!status.ok()) co_return WithEvidence(status.error());
  co_return Done();
}

void Member::BeginHealthProof() {
  const Probe& probe = remembered_->desired.probe;
  health_failures_ = health_passes_ = 0;
  health_wrong_from_ = Now() + probe.every * (std::max(1, probe.fail_after) - 1);
  proves_health_ = true;
  StartProbing(true, PassesWanted());
}

void Member::EndProof(const Status& status) {
  proves_health_ = false;
  if (status.ok()) return;
  if (status.error().code() == "health-wrong") Feed(ProofFailed{.why = reload_failure_});
  if (process_) StartProbing(false);  // no longer that often
}

int Member::PassesWanted() const { return std::clamp(remembered_->desired.probe.fail_after, 1, kPassesMost); }

// Asked for a proof, and the answer was the wanted one: whether that is enough.
bool Member::OnProofPassed() { return !proves_health_ || ++health_passes_ >= PassesWanted(); }

// … and the answer wasn't the wanted one. Passes in between don't make it a better check.
void Member::OnProofFailed(const std::string& why) {
  reload_failure_ = why;
  if (!proves_health_) return;
  health_passes_ = 0;
  ++health_failures_;
  if (health_failures_ < std::max(1, remembered_->desired.probe.fail_after) || Now() < health_wrong_from_)
    return;
  SettleReload(HealthWrong());
}

void Member::OnProofLate() {
  if (!proves_health_ || !reloading_) return;
  if (health_passes_ == 0) return SettleReload(HealthWrong());
  SettleReload(Done());  // it takes long to say so, but it does
  Feed(ProbeOk{});
}

Error Member::HealthWrong() const {
  return Error::Unavailable("health-wrong", "{} does not pass its changed health check{}", paths_.name,
                            reload_failure_.empty() ? "" : ": " + reload_failure_)
      .Hint("{}", kMendCheck);
}

}  // namespace muster::agent
