// The part of the Controller that drives a run.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "api/json.h"
#include "base/fault.h"
#include "base/text.h"
#include "control/controller.h"
#include "control/outcomes.h"
#include "control/run_machine.h"
#include "plan/secrets.h"

namespace muster::control {
namespace {

using Json = nlohmann::json;

std::string_view RunStateName(RunState state) {
  switch (state) {
    case RunState::kRunning:
      return "running";
    case RunState::kPaused:
      return "paused";
    case RunState::kPuttingBack:
      return "putting-back";
    case RunState::kDone:
      return "done";
    case RunState::kFailed:
      return "failed";
    case RunState::kCancelled:
      return "cancelled";
  }
  return "failed";
}

}  // namespace

// Takes up what the machine wants done next: journals it, then sends it.
void Controller::Drive() {
  if (!run_.machine) return;
  RunMachine::Actions actions = run_.machine->Next();
  const std::vector<SettledStep> settled = std::exchange(settled_, {});
  const std::string run = run_.id;
  const bool finished = actions.finished;
  if (finished) {
    run_.row.state = RunStateName(run_.machine->state());
    run_.row.ended = WallNow();
    if (run_.machine->error()) run_.row.error = api::ToJson(*run_.machine->error()).dump();
    if (run_.cancelled_for) {
      // Whatever went wrong while it was cancelled is of no account: nothing of it stays.
      run_.row.state = RunStateName(RunState::kCancelled);
      run_.row.error = api::ToJson(*run_.cancelled_for).dump();
    }
    if (WayBack way_back = WayBackOf(run_.row); way_back.wanted && run_.cancelled) {
      way_back.cancelled = true;
      NoteWayBack(way_back, run_.row);
    }
    if (const auto left = LeftByDown()) {
      run_.row.state = RunStateName(RunState::kFailed);
      run_.row.error = api::ToJson(*left).dump();
      RememberGoingDown();
    }
  }
  MUSTER_FAULT("control.journal.before");
  std::unordered_map<std::string, int64_t> put_backs;  // rows that this adds
  const Status written = deps_.store->Transaction([&]() -> Status {
    for (const SettledStep& one : settled) {
      MUSTER_DO(deps_.store->PutStep({.run = run,
                                      .step = one.step.id,
                                      .intent = one.intent,
                                      .settled = WallNow(),
                                      .error = one.error ? api::ToJson(*one.error).dump() : ""}));
    }
    for (const Step& step : actions.send) {
      MUSTER_DO(deps_.store->PutStep(
          {.run = run, .step = step.id, .intent = WallNow(), .settled = {}, .error = ""}));
    }
    for (const Step& step : actions.remember_put_back) {
      MUSTER_TRY(const int64_t row, deps_.store->AddPutBack({.run = run, .step = api::ToJson(step).dump()}));
      put_backs[step.id] = row;
    }
    for (const std::string& id : actions.forget_put_back) {
      for (const auto* rows : {&run_.put_backs, &put_backs}) {
        if (const auto row = rows->find(id); row != rows->end())
          MUSTER_DO(deps_.store->RemovePutBack(row->second));
      }
    }
    if (!finished) return Done();
    if (going_down()) MUSTER_DO(deps_.store->PutCluster(row_));
    return deps_.store->PutRun(run_.row);
  });
  MUSTER_FAULT("control.journal.after");
  if (written.ok()) {
    for (const auto& [id, row] : put_backs) run_.put_backs[id] = row;
    for (const std::string& id : actions.forget_put_back) run_.put_backs.erase(id);
  } else {
    // What can't be journaled isn't sent. The run ends; nothing on the hosts was touched by these steps.
    settled_.insert(settled_.begin(), settled.begin(), settled.end());
    run_.machine->Cancel();
    for (const Step& step : actions.send) {
      if (!step.id.ends_with(".put-back")) run_.machine->Failed(step.id, written.error());
    }
    if (!finished) {
      // Putting back needs no journal: doing it twice is harmless.
      for (const Step& step : actions.send) {
        if (step.id.ends_with(".put-back")) Send(step);
      }
      deps_.loop->After(1s, [self = shared_from_this()] { self->Flush(); });
      return;
    }
    KeepRun(run_.row);
  }
  for (const Step& step : actions.send) Send(step);
  if (finished) Finish();
}

// Writes the end of a run as soon as the disk lets it.
void Controller::KeepRun(const store::RunRow& row) {
  if (deps_.store->PutRun(row).ok()) return;
  deps_.loop->After(2s, [self = shared_from_this(), row] { self->KeepRun(row); });
}

void Controller::Send(const Step& step) {
  PublishStep(run_.id, step, "sent", nullptr);
  net::Spawn(Perform(step, run_.id));
}

void Controller::PublishStep(const std::string& run, const Step& step, std::string_view state,
                             const Error* error) {
  Json event{{"run", run},        {"id", step.id},     {"instance", step.instance}, {"service", step.service},
             {"host", step.host}, {"verb", step.verb}, {"reason", step.reason},     {"state", state},
             {"args", step.args}};
  if (run_.machine && run == run_.id) {
    event["done"] = run_.machine->steps_done() + settled_.size();
    event["total"] = run_.machine->steps_total();
  }
  if (error) event["error"] = api::ToJson(*error);
  deps_.publish(row_.key, "step", event.dump());
}

net::Task<void> Controller::Perform(Step step, std::string run) {
  auto self = shared_from_this();
  api::OrderMessage order{
      .id = run + "/" + step.id, .epoch = row_.epoch, .step = step, .instance = std::nullopt};
  // An agent answers an order that it knows as it did before.
  if (const int times = run_.machine ? run_.machine->times_back(step.id) : 0; times > 0)
    order.id += fmt::format("/{}", times + 1);
  std::optional<Error> error;
  const WallTime intent = WallNow();
  const Instance* desired = FindDesired(step.instance);
  if (desired && NeedsInstance(step.verb)) {
    auto revealed = Reveal(*desired);
    if (revealed.ok()) {
      order.instance = std::move(*revealed);
    } else {
      error = revealed.error();
    }
  }
  if (step.awaited) {
    const Status settled = co_await Await(step);
    if (!settled.ok()) error = settled.error();
  } else if (!error) {
    auto outcome = co_await deps_.agents->Perform(row_.key, order);
    if (!outcome.ok())
      error = desired ? plan::WithSecretNamed(outcome.error(), *desired, row_.key) : outcome.error();
  }
  MUSTER_FAULT("control.outcome.arrived");
  const bool current = run == run_.id && run_.machine;
  const bool again = current && error && run_.machine->GoesBack(step.id, *error);
  if (current) settled_.push_back({.step = step, .intent = intent, .error = error});
  PublishStep(run, step, again ? "again" : error ? "failed" : "done", error ? &*error : nullptr);
  if (!current) co_return;
  Flush();
}

// Outcomes that arrive in one turn of the loop are journaled together, with the intents that follow from
// them.
void Controller::Flush() {
  if (flush_posted_) return;
  flush_posted_ = true;
  deps_.loop->Post([self = shared_from_this()] {
    self->flush_posted_ = false;
    if (!self->run_.machine) return;
    for (const SettledStep& one : self->settled_) {
      if (one.error) {
        self->run_.machine->Failed(one.step.id, *one.error);
      } else {
        self->run_.machine->Succeeded(one.step.id);
      }
    }
    self->Drive();
  });
}

// What stands has been brought up whole.
void Controller::RevisionIsGood() {
  Kept kept = kept_;
  kept.good = row_.revision;
  Keep(std::move(kept));
  ForgetHeldElsewhere();
  ForgetFormer();
  (void)deps_.store->PutCluster(row_);
  int keep = cluster_.services.empty() ? UpdatePolicy{}.keep : 1;
  for (const Service& service : cluster_.services) keep = std::max(keep, service.update.keep);
  (void)deps_.store->KeepRevisions(row_.key, keep);
}

// Agents tell at once what changes; those that went away with a removed instance don't.
void Controller::ForgetAbsent() {
  std::erase_if(observed_, [](const auto& one) { return one.second.state == InstanceState::kAbsent; });
}

void Controller::Finish() {
  const RunState state = run_.machine->state();
  const RunProgress progress = *ActiveRun();
  const bool takes_down = run_.options.remove_all;
  const bool was_down = takes_down && state == RunState::kDone && !LeftByDown();
  const bool back = AwaitsWayBack(run_.row);
  const bool leaves = BroughtUp(run_.row) && !desired_.returning.empty();
  if (takes_down) {
    KeepLeftOut({});
  } else if (state == RunState::kDone) {
    KeepLeftOut({run_.silent.begin(), run_.silent.end()});
  }
  // An act on what stands says nothing about its revision.
  if (BroughtUp(run_.row)) RevisionIsGood();
  if (was_down) AfterDown();
  run_ = {};
  if (!back) deps_.finished(row_.key, progress);  // else it is told together with what follows
  for (const auto& waiting : std::exchange(ending_, {})) {
    deps_.loop->Post([waiting] { waiting.Set(true); });
  }
  if (!was_down) {
    ForgetAbsent();
    ReleaseIdleHosts();
  }
  if (back) net::Spawn(GoBack(progress));
  if (leaves) LetLeave();
  DownAgainSoon();
  MendSoon();
}

Status Controller::Cancel(const std::string& run) {
  if (run_.id != run || !run_.machine) {
    return Error::NotFound("run-not-active", "run {} is not under way", run);
  }
  const std::vector<std::string> open = run_.machine->open_steps();
  run_.machine->Cancel();
  run_.cancelled = true;
  GiveUpAwaited();
  // A start may wait for many minutes to be ready, a proof for as long; nobody waits with them any more.
  for (const std::string& id : open) {
    std::string name = id;
    for (const std::string_view verb : {".put-back", ".stop", ".start", ".install", ".reload"}) {
      if (name.ends_with(verb)) name.resize(name.size() - verb.size());
    }
    if (name == id) continue;
    const Instance* instance = FindDesired(name);
    if (instance) deps_.agents->CancelOrder(row_.key, instance->host, run + "/" + id);
  }
  Flush();
  return Done();
}

net::Task<void> Controller::CancelAndWait(Error why, Duration timeout) {
  auto self = shared_from_this();
  if (run_.id.empty()) co_return;
  const std::string run = run_.id;
  run_.cancelled_for = std::move(why);
  const net::Promised<bool> ended;
  ending_.push_back(ended);
  (void)Cancel(run_.id);
  const auto timer = deps_.loop->After(timeout, [ended] { ended.Set(false); });
  co_await ended;
  deps_.loop->Cancel(timer);
  if (run_.id == run) run_.cancelled_for.reset();  // what it was cancelled for won't happen
}

}  // namespace muster::control
