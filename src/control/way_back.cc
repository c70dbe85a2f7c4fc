// The part of the Controller that goes back by itself after a release that failed (`on_failure: rollback`).
#include <algorithm>
#include <nlohmann/json.hpp>

#include "api/json.h"
#include "control/controller.h"
#include "control/outcomes.h"

namespace muster::control {
namespace {

using Json = nlohmann::json;

constexpr Duration kGoBackAgain = 1s;

}  // namespace

// Whether a run that brings `bundle` goes back by itself, should it fail: its file says so, or, where a
// person goes back, that of what stood before it. The way back that fails, too, is left to a person: trying
// it again and again helps nobody.
bool Controller::GoesBackFrom(const Bundle& bundle, const std::string& action) const {
  const bool rollback = action == "rollback", resumed = action == "resume" && bundle.goes_back;
  if (bundle.instead_of || (!rollback && !resumed && action != "up" && action != "scale")) return false;
  const auto careful = [](const Cluster& cluster) {
    return std::any_of(cluster.services.begin(), cluster.services.end(),
                       [](const Service& service) { return service.update.rollback_on_failure; });
  };
  if (kept_.good == 0) return false;
  bool wanted = resumed || careful(bundle.cluster);
  if (!wanted && !rollback) return false;
  const auto good = BundleOf(kept_.good);
  if (!good.ok()) return false;
  if (rollback) wanted |= careful(good->cluster);
  return wanted && (good->text != bundle.text || good->files != bundle.files);
}

// Whether the run that a resume goes on with goes back by itself: not where it was the way back.
bool Controller::ResumedGoesBack() const {
  const auto runs = deps_.store->Runs(row_.key, kRunsLookedAt);
  if (!runs.ok()) return false;
  const auto last = std::find_if(runs->begin(), runs->end(), [&](const store::RunRow& run) {
    return run.revision == row_.revision && Brings(run.action);
  });
  return last != runs->end() && WayBackOf(*last).wanted;
}

// The end of the run that failed is told together with what follows it: whoever waits for it needn't guess
// which of the runs after it is the way back.
net::Task<void> Controller::GoBack(RunProgress failed) {
  auto self = shared_from_this();
  const int64_t good = kept_.good;
  Result<StartedRun> started = StartedRun{};
  auto bundle = BundleOf(good);
  if (bundle.ok()) {
    bundle->author = "muster";
    bundle->action = "rollback";
    bundle->instead_of = failed;
    bundle->rollback_to = good;
    bundle->note = RollbackNote(good) + fmt::format(" after revision {} failed", row_.revision);
    std::string any_plan;
    PlanOptions options;
    started = co_await Up(std::move(*bundle), std::move(any_plan), std::move(options));
  } else {
    started = bundle.error();
  }
  const bool began = started.ok() && !started->run.empty();
  if (!began) {
    const Error why =
        started.ok() ? Error::Internal("run-failed", "revision {} stands already", good) : started.error();
    const bool later = why.code() == "run-active";
    if (later) {
      deps_.loop->After(kGoBackAgain, [self] { self->GoBackWhereLeft(); });
    } else {
      WayBack way_back = WayBackOf(failed.row);
      way_back.error = api::ToJson(why).dump();
      NoteWayBack(way_back, failed.row);
      KeepRun(failed.row);
    }
    deps_.finished(row_.key, failed);
  }
  Json event{{"state", began ? "started" : "failed"}};
  if (began) event["run"] = started->run;
  if (!started.ok()) event["error"] = api::ToJson(started.error());
  deps_.publish(row_.key, "rollback", event.dump());
}

// The server may end between a failure and the way back from it.
void Controller::GoBackWhereLeft() {
  const auto runs = deps_.store->Runs(row_.key, 1);
  if (!runs.ok() || runs->empty() || !AwaitsWayBack(runs->front())) return;
  net::Spawn(GoBack({.row = runs->front(), .done = 0, .total = 0, .open = {}, .paused = {}}));
}

}  // namespace muster::control
