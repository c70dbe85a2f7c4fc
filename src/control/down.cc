// The part of the Controller that ends a cluster: what follows once everything was taken away, and what
// doesn't where a host was silent meanwhile.
#include <nlohmann/json.hpp>

#include "api/json.h"
#include "base/text.h"
#include "control/controller.h"
#include "control/run_machine.h"
#include "model/up_command.h"

namespace muster::control {
namespace {

constexpr Duration kAnswerWithin = 5s;
constexpr Duration kForgetAgain = 2s;

}  // namespace

// The run has taken away all it could, and hosts that didn't answer still have instances, as far as is known.
std::optional<Error> Controller::LeftByDown() const {
  if (!run_.options.remove_all || !run_.machine || run_.machine->state() != RunState::kDone) return {};
  if (run_.silent.empty()) return {};
  std::vector<std::string> left;
  const std::set<std::string> silent(run_.silent.begin(), run_.silent.end());
  for (const auto& [name, observed] : observed_) {
    if (silent.contains(observed.host) && observed.state != InstanceState::kAbsent) left.push_back(name);
  }
  for (const Instance& desired : desired_.instances) {
    if (silent.contains(desired.host) && !observed_.contains(desired.name)) left.push_back(desired.name);
  }
  const std::string hosts = Join(run_.silent, ", ");
  const std::string what = left.empty()
                               ? "what runs on " + hosts + " is not known"
                               : fmt::format("{} instance{} on {} still run{}", left.size(),
                                             left.size() == 1 ? "" : "s", hosts, left.size() == 1 ? "s" : "");
  const bool one = run_.silent.size() == 1;
  return Error::Unavailable("host-unreachable", "{}: {} not answer", what, one ? "it does" : "they do")
      .Evidence(std::move(left))
      .Hint("muster down{} again when {} back; as long as the server runs, that happens by itself",
            run_.options.delete_data ? " --delete-data" : "", one ? "it is" : "they are");
}

// The run that takes everything away, for whoever wants the same.
Result<StartedRun> Controller::GoingDown() const {
  StartedRun going{.run = run_.id, .plan = {}};
  MUSTER_TRY(const auto json, api::ParseJson(run_.row.plan));
  MUSTER_TRY(going.plan, api::PlanFrom(json));
  going.plan.notes.push_back(
      fmt::format("it is on its way down already: run {} (down by {})", run_.id, run_.row.author));
  return going;
}

// Whoever waits for the run that `author`'s down takes the place of is told this.
Error Controller::CancelledBy(const std::string& author) const {
  if (run_.options.remove_all) {
    return Error::Conflict("cancelled-by-down", "{} takes {} down too, and deletes its data", author,
                           row_.key);
  }
  return Error::Conflict("cancelled-by-down", "{} takes {} down", author, row_.key)
      .Hint("{} brings it up again", UpCommand(row_.key));
}

void Controller::RememberGoingDown() {
  Kept kept = kept_;
  kept.going_down = Kept::GoingDown{.delete_data = run_.options.delete_data, .silent = run_.silent};
  Keep(std::move(kept));
}

void Controller::AfterDown() {
  for (const auto& [host, wanted] : hosts_) deps_.agents->Release(row_.key, host);
  hosts_.clear();
  observed_.clear();
  menders_.clear();
  SetDesired({});
  Kept kept = kept_;
  kept.down = true;
  kept.hosts.clear();
  kept.going_down.reset();
  Keep(std::move(kept));
  if (!run_.options.delete_data) {
    (void)deps_.store->PutCluster(row_);
    return;
  }
  // Agents have removed the data of all instances; their own folders go once they have left.
  net::SpawnThen(deps_.remove_hosts(row_.key), [](const Status&) {});
  Forget();
}

// As soon as the store lets it. Until then it stands there, and is down.
void Controller::Forget() {
  if (!down()) return;  // brought up again meanwhile
  const Status deleted = deps_.store->DeleteCluster(row_.key);
  if (deleted.ok()) return deps_.forget(row_.key);
  deps_.loop->After(kForgetAgain, [self = shared_from_this()] { self->Forget(); });
}

// Of a cluster that is down.
net::Task<Status> Controller::DeleteData() {
  auto self = shared_from_this();
  deciding_ = true;
  deciding_who_ = "the data of " + row_.key + " is being deleted right now";
  Status deleted = co_await deps_.remove_hosts(row_.key);
  deciding_ = false;
  if (deleted.ok()) deleted = deps_.store->DeleteCluster(row_.key);
  if (deleted.ok()) deps_.forget(row_.key);
  co_return deleted;
}

void Controller::DownAgainSoon() {
  if (down_again_posted_ || !going_down()) return;
  down_again_posted_ = true;
  deps_.loop->After(deps_.down_again, [self = shared_from_this()] {
    self->down_again_posted_ = false;
    net::Spawn(self->DownAgain());
  });
}

// Goes on with `down` where a host answers that was silent.
net::Task<void> Controller::DownAgain() {
  auto self = shared_from_this();
  const Kept::GoingDown going = kept_.going_down.value_or(Kept::GoingDown{});
  bool answers = false;
  for (const std::string& host : going.silent) {
    if (answers || !idle()) break;
    const auto answer = co_await deps_.agents->Observe(row_.key, host, false, kAnswerWithin);
    answers = answer.ok();
  }
  if (answers && idle() && going_down()) {
    std::string down = "down", author = "muster";
    std::vector<std::string> all;
    PlanOptions options;
    options.delete_data = going.delete_data;
    (void)co_await Act(std::move(down), std::move(all), std::move(options), std::move(author));
  }
  DownAgainSoon();
}

}  // namespace muster::control
