// What `muster verify` asks of one instance.
#include <algorithm>

#include "agent/member.h"
#include "agent/ports.h"
#include "base/text.h"
#include "model/not_asked.h"

namespace muster::agent {
namespace {

constexpr Duration kAnswerWithin = 5s;
constexpr Duration kMeasuresEvery = 2s;  // they change all the time

}  // namespace

net::Task<Status> Member::AskHealth() {
  auto self = shared_from_this();
  if (!remembered_) co_return Error::Conflict("not-installed", "{} is not installed", paths_.name);
  Prober::Target target = ProbeTarget();
  // A probe that comes late once in a while is nothing to supervision; here there is just one.
  target.probe.timeout = std::max(target.probe.timeout, kAnswerWithin);
  Status status = co_await Prober::Ask(*host_->loop, std::move(target));
  co_return status;
}

net::Task<Status> Member::AskOperator(std::weak_ptr<Member> member) {
  auto self = member.lock();
  if (!self) co_return Done();
  Held held = self->Hold();
  if (!held.recipe || !self->process_) {
    co_return Error::Conflict("not-running", "{} does not run", self->paths_.name);
  }
  Status status = co_await held.recipe->Health(held.context);
  co_return status;
}

// As long as it runs. The server is asked each time, so that the answer is there the next time.
void Member::GuardSoon() {
  host_->loop->Cancel(guard_timer_);
  guard_timer_ = 0;
  Operator* recipe = process_ ? GetOperator() : nullptr;
  const Duration every = recipe ? recipe->GuardEvery(remembered_->desired) : 0ms;
  if (every <= 0ms) return;
  guard_timer_ = host_->loop->After(every, [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self) return;
    self->guard_timer_ = 0;
    self->host_->ask_server();
    if (!self->guarding_) net::Spawn(self->Guard());
    self->GuardSoon();
  });
}

net::Task<void> Member::Guard() {
  auto self = shared_from_this();
  const Held held = Hold();
  if (!held.recipe) co_return;
  guarding_ = true;
  co_await held.recipe->Guard(held.context);
  guarding_ = false;
  TellFacts();
}

Values Member::FactsBy(Operator& recipe) {
  Values facts = recipe.Facts(OperatorContext());
  const bool asks = prober_ && remembered_->desired.probe.kind == Probe::Kind::kOperator;
  if (not_asked_ && asks) facts[kNotAskedFact] = "yes";
  return facts;
}

// What its operator has learned by asking it. Others' probes teach nothing.
void Member::TellFacts() {
  if (!remembered_ || remembered_->desired.probe.kind != Probe::Kind::kOperator) return;
  Operator* recipe = GetOperator();
  if (!recipe) return;
  if (FactsBy(*recipe) != told_facts_) return Report();
  if (Now() - measures_told_at_ < kMeasuresEvery) return;
  Values measures = recipe->Measures(OperatorContext());
  if (measures == told_measures_) return;
  told_measures_ = std::move(measures);
  measures_told_at_ = Now();
  host_->changed(Observe(false));  // nothing that would have to be written down
}

net::Task<Status> Member::HasUdp(int port) {
  auto self = shared_from_this();
  if (!remembered_ || !process_) co_return Error::Conflict("not-running", "{} does not run", paths_.name);
  std::function<Status()> look = [desired = remembered_->desired, port, pids = process_->PidFinder()] {
    return CheckUdpOpen(desired, port, pids());
  };
  Status status = co_await host_->loop->Blocking(std::move(look));
  co_return status;
}

net::Task<Result<std::vector<Check>>> Member::Verify(Values args) {
  auto self = shared_from_this();
  Held held = Hold();
  if (!held.recipe) co_return Error::Conflict("not-installed", "{} is not installed", paths_.name);
  const bool has_ports = !held.instance->ports.empty();
  Check check{.name = paths_.name + (has_ports ? " answers" : " runs")};
  const InstanceState state = supervisor_.state();
  if (state != InstanceState::kReady || !process_) {
    // Whoever answered on its ports would be another.
    check.evidence.push_back(fmt::format("it is {}", StateName(state)));
    if (state == InstanceState::kFailed) {
      const std::vector<std::string> why = WhyFailed();
      check.evidence.insert(check.evidence.end(), why.begin(), why.end());
    }
    const char* command = state == InstanceState::kStopped ? "start" : "logs";
    check.hint = fmt::format("muster {} {}", command, paths_.name);
    co_return std::vector<Check>{check};
  }
  std::function<Status()> look = [instance = held.instance, pids = process_->PidFinder()] {
    return CheckListeners(*instance, pids());
  };
  const Status own = co_await host_->loop->Blocking(std::move(look));
  if (!own.ok()) {
    check.evidence = {own.error().message()};
    check.hint = own.error().hint();
    co_return std::vector<Check>{check};
  }
  held.context.ask_health = [self] { return self->AskHealth(); };
  held.context.has_udp = [self](int port) { return self->HasUdp(port); };
  std::vector<Check> checks = co_await held.recipe->Verify(held.context, std::move(args));
  co_return checks;
}

}  // namespace muster::agent
