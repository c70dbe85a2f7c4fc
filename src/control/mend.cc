// The part of the Controller that lets the menders work: between runs, and for the steps of a run that wait
// for them.
#include <nlohmann/json.hpp>

#include "api/json.h"
#include "base/text.h"
#include "control/controller.h"
#include "control/drilling.h"
#include "control/run_machine.h"

namespace muster::control {
namespace {

using Json = nlohmann::json;

constexpr Duration kMendAgain = 1s;
// What a person has to mend is said until an order gets through, or for so long after the last one that
// didn't.
constexpr Duration kStuckFor = 20s;
constexpr std::string_view kNeedsAPerson = "keys-differ";
constexpr Duration kRequestWithin = 60s;
constexpr Duration kTellEvery = 1s;                // what a step waits for
constexpr std::string_view kRequest = "request/";  // ids of what people ask for
constexpr std::string_view kLook = "look";         // an order that changes nothing

}  // namespace

void Controller::MendSoon() {
  if (mend_posted_) return;
  mend_posted_ = true;
  deps_.loop->Post([self = shared_from_this()] {
    self->mend_posted_ = false;
    self->Mend();
  });
}

void Controller::MendAgainAfter(Duration pause) {
  const Time at = Now() + pause;
  if (mend_timer_ != 0 && mend_at_ <= at) return;
  deps_.loop->Cancel(mend_timer_);
  mend_at_ = at;
  mend_timer_ = deps_.loop->After(pause, [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self) return;
    self->mend_timer_ = 0;
    self->MendSoon();
  });
}

// Their host has told of what it has, and they aren't among it: they were stopped by hand before they were
// installed, or are gone. A run brings those that it has come to.
std::set<std::string> Controller::Missing() const {
  std::set<std::string> missing;
  for (const Instance& instance : desired_.instances) {
    if (observed_.contains(instance.name) || !told_.contains(instance.host)) continue;
    if (held_.contains(instance.name) || idle()) missing.insert(instance.name);
  }
  return missing;
}

void Controller::Mend() {
  if (run_.machine && run_.options.remove_all) return;  // nothing is kept well that is to go
  if (!rules_) return;                                  // an earlier server's orders have the same ids
  if (const auto replaced = Replaced()) {
    std::vector<std::string> waiting;
    for (const auto& [id, awaited] : awaited_) waiting.push_back(id);
    for (const std::string& id : waiting) SettleAwaited(id, *replaced);
    return;
  }
  std::vector<std::string> busy(mending_.begin(), mending_.end());
  if (run_.machine) {
    const std::set<std::string> under_step = run_.machine->busy();
    busy.insert(busy.end(), under_step.begin(), under_step.end());
  }
  for (const Service& service : cluster_.services) Mend(service, busy);
}

void Controller::Mend(const Service& service, const std::vector<std::string>& busy) {
  const Recipe* recipe = FindRecipe(service.kind);
  if (!recipe || !recipe->make_mender) return;
  auto& mender = menders_[service.name];
  if (!mender) mender = recipe->make_mender();
  const std::vector<Instance> members = MembersOf(service);
  Mender::Input input{.service = &service,
                      .cluster = &cluster_,
                      .desired = &members,
                      .observed = &observed_,
                      .busy = busy,
                      .missing = Missing(),
                      .held = {},
                      .silent = {},
                      .silent_since = {},
                      .epoch = row_.epoch,
                      .awaited = {},
                      .now = Now()};
  for (const auto& [name, why] : held_) input.held.insert(name);
  for (const auto& [host, wanted] : hosts_) {
    if (heard_.contains(host)) continue;
    // One that has come, and hasn't told yet, is as unknown as it was: a member there may be anything by now.
    input.silent.insert(host);
    // One that hasn't come since the server's start may have been heard by the one before, and not later.
    input.silent_since[host] = connected(host) ? Now() : silent_since_.try_emplace(host, Now()).first->second;
  }
  for (const auto& [id, awaited] : awaited_) {
    if (awaited.step.service == service.name) input.awaited.push_back(&awaited.step);
  }
  Mending mending = mender->On(input);
  for (const auto& [id, why] : mending.waits) {
    if (!why) {
      SettleAwaited(id, Done());
    } else if (const auto found = awaited_.find(id); found != awaited_.end()) {
      found->second.why = *why;
      TellWaiting(found->second);
    }
  }
  for (const auto& [id, error] : mending.refused) SettleAwaited(id, error);
  for (const auto& [instance, stuck] : stuck_) {
    if (stuck.service == service.name && Now() - stuck.at < kStuckFor) mending.says.push_back(stuck.why);
  }
  if (said_[service.name] != mending.says) {
    said_[service.name] = mending.says;
    Json event{{"service", service.name}, {"says", mending.says}};
    deps_.publish(row_.key, "mend", event.dump());
  }
  for (Order& order : mending.orders) {
    if (!mending_.insert(order.instance).second) continue;
    net::Spawn(PerformOrder(std::move(order)));
  }
  if (mending.again > 0ms) MendAgainAfter(mending.again);
}

// A step that no agent is sent: its service's mender says when it is done.
net::Task<Status> Controller::Await(Step step) {
  auto self = shared_from_this();
  const Awaited awaited{.step = step, .settled = {}, .why = "", .told = "", .told_at = Now()};
  awaited_.insert_or_assign(step.id, awaited);
  const auto late = deps_.loop->After(step.deadline, [weak = weak_from_this(), id = step.id] {
    const auto controller = weak.lock();
    if (!controller) return;
    const auto found = controller->awaited_.find(id);
    if (found == controller->awaited_.end()) return;
    const Awaited& waits = found->second;
    controller->SettleAwaited(
        id,
        Error::Unavailable("not-settled", "{} did not {} within {}{}{}", waits.step.instance, waits.step.verb,
                           FormatDuration(waits.step.deadline), waits.why.empty() ? "" : ": ", waits.why)
            .Hint("muster status tells how {} is; muster resume goes on", waits.step.service));
  });
  MendSoon();
  const Status status = co_await awaited.settled;
  deps_.loop->Cancel(late);
  co_return status;
}

// Whoever follows the run sees that it gets on. Most waits are over before there is anything to tell.
void Controller::TellWaiting(Awaited& awaited) {
  if (awaited.step.id.starts_with(kRequest) || awaited.why == awaited.told) return;
  if (Now() - awaited.told_at < kTellEvery) return;
  awaited.told = awaited.why;
  awaited.told_at = Now();
  const Step& step = awaited.step;
  Json event{{"run", run_.id},          {"id", step.id},     {"instance", step.instance},
             {"service", step.service}, {"verb", step.verb}, {"reason", awaited.why}};
  deps_.publish(row_.key, "waiting", event.dump());
}

void Controller::SettleAwaited(const std::string& id, Status status) {
  const auto found = awaited_.find(id);
  if (found == awaited_.end()) return;
  const net::Promised<Status> settled = found->second.settled;
  awaited_.erase(found);
  deps_.loop->Post([settled, status] { settled.Set(status); });
}

// Of the run. What people have asked for beside runs goes on.
void Controller::GiveUpAwaited() {
  std::vector<Step> given_up;
  for (const auto& [id, awaited] : awaited_) {
    if (!id.starts_with(kRequest)) given_up.push_back(awaited.step);
  }
  for (const Step& step : given_up) {
    SettleAwaited(step.id, Error::Conflict("cancelled", "nobody waits any more for {} to {}", step.instance,
                                           step.verb));
  }
}

net::Task<Status> Controller::Ask(std::string verb, std::string service,
                                  std::map<std::string, std::string> args, std::string author) {
  auto self = shared_from_this();
  const Service* known = cluster_.FindService(service);
  if (!known) {
    std::vector<std::string> names;
    for (const Service& one : cluster_.services) names.push_back(one.name);
    co_return Error::NotFound("unknown-service", "{} has no service {}", row_.key, service)
        .Hint("its services are: {}", Join(names, ", "));
  }
  const Recipe* recipe = FindRecipe(known->kind);
  if (!recipe || !recipe->takes.contains(verb)) {
    co_return Error::Invalid("no-primary", "{} is of kind {}, which has no primary to change", service,
                             known->kind);
  }
  if (const auto to = args.find("to"); to != args.end()) {
    const Instance* instance = FindDesired(to->second);
    if (!instance || instance->service != service) {
      co_return Error::NotFound("unknown-instance", "{} has no instance {}", service, to->second)
          .Hint("muster ps lists them");
    }
  }
  if (down() || going_down()) co_return Error::Conflict("cluster-down", "{} is down", row_.key);
  if (!idle()) co_return InTheWay();
  if (unruled_) co_return *unruled_;
  if (const auto replaced = Replaced()) co_return *replaced;
  Step step{.id = fmt::format("{}{}/{}", kRequest, service, ++requests_),
            .instance = service,
            .service = service,
            .host = "",
            .verb = verb,
            .args = args,
            .awaited = true,
            .deadline = kRequestWithin};
  std::string detail = service;
  for (const auto& [name, value] : args) detail += fmt::format(" {}={}", name, value);
  (void)deps_.store->AddAudit(
      {.id = 0, .at = WallNow(), .who = author, .cluster = row_.key, .action = verb, .detail = detail});
  Status status = co_await Await(step);
  co_return status;
}

net::Task<void> Controller::PerformOrder(Order order) {
  auto self = shared_from_this();
  const Instance* instance = FindDesired(order.instance);
  const auto seen = observed_.find(order.instance);
  // One that is to leave is laid out no more, but has still to be taken leave of.
  if (!instance && seen == observed_.end()) {
    mending_.erase(order.instance);
    co_return;
  }
  // What it was decided by was told there.
  const bool stands = seen != observed_.end() && seen->second.state != InstanceState::kAbsent;
  static uint64_t sequence = 0;
  Step step{.id = order.instance + "." + order.verb,
            .instance = order.instance,
            .service = instance ? instance->service : seen->second.service,
            .host = stands || !instance ? seen->second.host : instance->host,
            .verb = order.verb,
            .args = order.args,
            .reason = order.reason,
            .deadline = order.deadline};
  api::OrderMessage message{.id = fmt::format("mend/{}/{}/{}", row_.epoch, ++sequence, step.id),
                            .epoch = row_.epoch,
                            .step = step,
                            .instance = std::nullopt};
  if (order.verb != kLook) incidents_.Ordered(order.instance);
  auto outcome = co_await deps_.agents->Perform(row_.key, message);
  mending_.erase(order.instance);
  if (order.verb != kLook) Tell(incidents_.OrderEnded(order.instance, outcome.ok(), Now()));
  Json event{{"instance", order.instance}, {"service", step.service},
             {"verb", order.verb},         {"args", order.args},
             {"reason", order.reason},     {"state", outcome.ok() ? "done" : "failed"}};
  if (!outcome.ok()) event["error"] = api::ToJson(outcome.error());
  deps_.publish(row_.key, "mend", event.dump());
  if (drilling_) drilling_->Saw(order, outcome.ok() ? std::nullopt : std::optional<Error>(outcome.error()));
  if (order.notable) {
    // By which of several means it was done.
    const auto means = order.args.find("how");
    const std::string how = means == order.args.end() ? "" : fmt::format(" ({})", means->second);
    const std::string end = how + (outcome.ok() ? "" : "; failed: " + outcome.error().message());
    (void)deps_.store->AddAudit({.id = 0,
                                 .at = WallNow(),
                                 .who = "muster",
                                 .cluster = row_.key,
                                 .action = order.verb,
                                 .detail = fmt::format("{}: {}{}", order.instance, order.reason, end)});
  }
  if (!outcome.ok() && outcome.error().code() == kNeedsAPerson) {
    stuck_[order.instance] = {
        .service = step.service,
        .verb = order.verb,
        .why = fmt::format("{}: {}: {}", order.instance, outcome.error().message(), outcome.error().hint()),
        .at = Now()};
  } else if (const auto stuck = stuck_.find(order.instance);
             outcome.ok() && stuck != stuck_.end() && stuck->second.verb == order.verb) {
    stuck_.erase(stuck);
  }
  if (outcome.ok()) {
    MendSoon();
  } else {
    MendAgainAfter(kMendAgain);
  }
}

}  // namespace muster::control
