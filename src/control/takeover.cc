// The part of the Controller that begins where an earlier server stopped.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "api/json.h"
#include "base/fault.h"
#include "control/controller.h"
#include "control/run_machine.h"

namespace muster::control {
namespace {

constexpr Duration kStandInMost = 30s;  // guests are kept so long for members that are started again
constexpr Duration kWriteAgain = 2s;

}  // namespace

// Whatever may be wrong with the revision or the store: what runs is to be seen, and may be taken down.
Status Controller::TakeOver() {
  if (row_.revision == 0 || down()) return BeginToRule();
  CutAgain();
  for (const auto& [name, host] : hosts_) deps_.agents->Want(host);
  auto bundle = CurrentBundle();
  Status adopted = bundle.ok() ? Adopt(std::move(bundle->cluster)) : Status(bundle.error());
  if (adopted.ok()) {
    WantHosts(HostsInUse(desired_));
  } else {
    trouble_ = adopted.error();
    adopted = std::move(adopted).While("taking over revision {} of {}", row_.revision, row_.key);
  }
  looked_ = false;
  net::Spawn(LookAround());
  MUSTER_DO(BeginToRule());
  return adopted;
}

Status Controller::BeginToRule() {
  rules_ = false;
  Status rules = Rule();
  if (!rules.ok()) RuleSoon();
  return rules;
}

void Controller::RuleSoon() {
  deps_.loop->After(kWriteAgain, [self = shared_from_this()] {
    if (!self->Rule().ok()) self->RuleSoon();
  });
}

// Nothing is ordered before an epoch above that of the earlier server is safely written.
Status Controller::Rule() {
  if (rules_) return Done();
  store::ClusterRow raised = row_;
  raised.epoch += 1;
  Status written = deps_.store->PutCluster(raised);
  if (!written.ok()) {
    written = std::move(written).While("taking over {}", row_.key);
    unruled_ = written.error();
    return written;
  }
  row_ = std::move(raised);
  rules_ = true;
  unruled_.reset();
  for (auto& [name, host] : hosts_) {
    host.epoch = row_.epoch;
    deps_.agents->Want(host);
  }
  MendSoon();
  if (row_.revision == 0 || down()) return Done();
  MUSTER_TRY(const std::vector<store::RunRow> runs, deps_.store->Runs(row_.key, 1));
  if (!runs.empty() && (runs[0].state == "running" || runs[0].state == "putting-back")) {
    deciding_ = recovering_ = true;
    deciding_who_ = "the server is settling run " + runs[0].id + ", which its last stop interrupted";
    net::Spawn(Recover(runs[0]));
  } else {
    GoBackWhereLeft();
    if (!runs.empty()) GoOnByItself(runs[0]);
  }
  return Done();
}

// One agent that has seen a newer epoch is enough: the others may not have heard of it yet, and would obey.
int64_t Controller::EpochSeen() const {
  int64_t seen = 0;
  for (const auto& [name, host] : hosts_) {
    seen = std::max(seen, deps_.agents->epoch_seen(row_.key, name));
  }
  return seen;
}

std::optional<Error> Controller::Replaced() const {
  const int64_t seen = EpochSeen();
  if (seen <= row_.epoch) return std::nullopt;
  return Error::Conflict(
             "epoch-old",
             "another server has taken {} over: this one is of epoch {}, and its agents have seen {}",
             row_.key, row_.epoch, seen)
      .Hint(
          "use the other one, and end this one: muster server stop. Where there is no other, as this one's "
          "store "
          "came from a backup: muster server rule --cluster {}",
          row_.key);
}

Status Controller::RuleAgain(const std::string& author) {
  if (unruled_) return *unruled_;
  const int64_t seen = EpochSeen();
  if (!Replaced()) {
    return Error::Refused("not-replaced",
                          "no agent of {} that is heard has seen a newer server than this one", row_.key);
  }
  store::ClusterRow raised = row_;
  raised.epoch = seen + 1;
  MUSTER_DO(deps_.store->Transaction([&]() -> Status {
    MUSTER_DO(deps_.store->PutCluster(raised));
    return deps_.store->AddAudit(
        {.id = 0,
         .at = WallNow(),
         .who = author,
         .cluster = row_.key,
         .action = "rule",
         .detail =
             fmt::format("this server rules again: its epoch is {}, {} had been seen", raised.epoch, seen)});
  }));
  row_ = std::move(raised);
  for (auto& [name, host] : hosts_) {
    host.epoch = row_.epoch;
    deps_.agents->Want(host);
  }
  MendSoon();
  return Done();
}

net::Task<void> Controller::Settled() {
  auto self = shared_from_this();
  if (!recovering_) co_return;
  const net::Promised<bool> settled;
  settling_.push_back(settled);
  const auto timer = deps_.loop->After(deps_.settle_within, [settled] { settled.Set(false); });
  co_await settled;
  deps_.loop->Cancel(timer);
}

// What a stop of the server left open: each step that was sent is sent again under its id (agents repeat or
// attach), what was to be put back is put back, and the run is shown as paused. `up` or `resume` plans anew
// from there.
net::Task<void> Controller::Recover(store::RunRow row) {
  auto self = shared_from_this();
  const auto steps = deps_.store->Steps(row.id);
  const auto plan_json = api::ParseJson(row.plan);
  std::map<std::string, Step> by_id;
  if (plan_json.ok()) {
    const auto plan = api::PlanFrom(*plan_json);
    if (plan.ok()) {
      for (const Step& step : plan->steps) by_id[step.id] = step;
    }
  }
  size_t settled_before = 0;
  if (steps.ok()) {
    std::vector<net::Promised<bool>> waiting;
    for (const store::StepRow& one : *steps) {
      const auto found = by_id.find(one.step);
      if (found != by_id.end() && one.settled.time_since_epoch().count() != 0 && one.error.empty()) {
        ++settled_before;
      }
      if (found == by_id.end() || one.settled.time_since_epoch().count() != 0) continue;
      const Step& step = found->second;
      if (step.verb == "start" || step.args.contains("prove") || step.awaited) {
        // It goes on by itself where it was begun; whether it gets ready is seen below, and may take minutes.
        // What was to be proven without having got there is planned anew.
        store::StepRow closed = one;
        closed.settled = WallNow();
        closed.error =
            api::ToJson(Error::Unavailable("interrupted", "the server ended while {} {}", step.instance,
                                           step.verb == "start" ? "started"
                                           : step.awaited       ? "was to " + step.verb
                                                                : "proved itself"))
                .dump();
        (void)deps_.store->PutStep(closed);
        continue;
      }
      api::OrderMessage order{
          .id = row.id + "/" + step.id, .epoch = row_.epoch, .step = step, .instance = std::nullopt};
      const Instance* desired = FindDesired(step.instance);
      if (desired && NeedsInstance(step.verb)) {
        auto revealed = Reveal(*desired);
        if (revealed.ok()) order.instance = std::move(*revealed);
      }
      const net::Promised<bool> settled;
      waiting.push_back(settled);
      const store::StepRow open = one;
      net::SpawnThen(deps_.agents->Perform(row_.key, order),
                     [self, open, settled](Result<std::map<std::string, std::string>> outcome) {
                       store::StepRow closed = open;
                       closed.settled = WallNow();
                       if (!outcome.ok()) closed.error = api::ToJson(outcome.error()).dump();
                       (void)self->deps_.store->PutStep(closed);
                       settled.Set(true);
                     });
    }
    for (const net::Promised<bool>& one : waiting) co_await one;
  }
  MUSTER_FAULT("control.recover.settled");
  (void)co_await ObserveAll();
  // What was removed already and is removed again is told, too, by older agents without its host.
  ForgetAbsent();
  co_await PutBackWhatIsLeft(row.id);
  row.state = "paused";
  row.ended = WallNow();
  KeepRun(row);
  MUSTER_FAULT("control.recover.paused");
  deciding_ = recovering_ = false;
  deps_.finished(
      row_.key,
      RunProgress{.row = row, .done = settled_before, .total = by_id.size(), .open = {}, .paused = {}});
  for (const auto& waiting : std::exchange(settling_, {})) {
    deps_.loop->Post([waiting] { waiting.Set(true); });
  }
  GoOnByItself(row);
  MendSoon();
}

net::Task<void> Controller::PutBackWhatIsLeft(std::string run) {
  auto self = shared_from_this();
  const auto rows = deps_.store->PutBacks(run);
  if (!rows.ok()) co_return;
  struct PutBack {
    int64_t row;
    Step step;
  };
  std::vector<PutBack> put_backs;
  for (const store::PutBackRow& one : *rows) {
    const auto json = api::ParseJson(one.step);
    if (!json.ok()) continue;
    auto step = api::StepFrom(*json);
    if (step.ok()) put_backs.push_back({.row = one.id, .step = std::move(*step)});
  }
  std::stable_sort(put_backs.begin(), put_backs.end(), [](const PutBack& a, const PutBack& b) {
    return PutBackTurn(a.step.verb) < PutBackTurn(b.step.verb);
  });
  std::vector<net::Promised<bool>> starting;
  for (const PutBack& one : put_backs) {
    MUSTER_FAULT("control.recover.put-back");
    // Where the member isn't ready, the balancer's health set keeps it out though the run's lets it in.
    api::OrderMessage order{.id = run + "/recover/" + one.step.id,
                            .epoch = row_.epoch,
                            .step = one.step,
                            .instance = std::nullopt};
    if (one.step.verb == "start") {
      // It may take its time to get ready, and nobody waits for that here, unless others stand in for it.
      (void)deps_.store->RemovePutBack(one.row);
      const net::Promised<bool> started;
      starting.push_back(started);
      net::SpawnThen(deps_.agents->Perform(row_.key, order),
                     [self, started](Result<std::map<std::string, std::string>>) {
                       started.Set(true);
                       self->MendSoon();
                     });
      continue;
    }
    if (one.step.verb == "dismiss") {
      const std::vector<net::Promised<bool>> waiting = std::exchange(starting, {});
      const auto timer = deps_.loop->After(kStandInMost, [waiting] {
        for (const net::Promised<bool>& started : waiting) started.Set(false);
      });
      for (const net::Promised<bool>& started : waiting) co_await started;
      deps_.loop->Cancel(timer);
    }
    auto outcome = co_await deps_.agents->Perform(row_.key, order);
    if (outcome.ok()) (void)deps_.store->RemovePutBack(one.row);
  }
}

}  // namespace muster::control
