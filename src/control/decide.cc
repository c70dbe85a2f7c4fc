// The part of the Controller that decides what would be done. Writes nothing and starts nothing.
#include "control/controller.h"
#include "control/outcomes.h"
#include "plan/explain.h"
#include "plan/scope.h"

namespace muster::control {
namespace {

// One kind's servers would be started in the other's place and upon its data, and neither knows how to hand
// over to the other.
Status KindsAreAsBefore(const Cluster& before, const Cluster& now) {
  for (const Service& service : now.services) {
    for (const Service& former : before.services) {
      if (former.name != service.name || former.kind == service.kind) continue;
      return Error::Conflict("kind-changed", "{} is of kind {} and can't become {}", service.name,
                             former.kind, service.kind)
          .Hint(
              "give the new one a name of its own, and take {} out of the file once nobody needs it any more",
              service.name);
    }
  }
  return Done();
}

}  // namespace

Result<Plan> Controller::Decide(const Bundle& bundle, const PlanOptions& options,
                                std::set<std::string> unreachable, int64_t revision, plan::Desired* desired,
                                bool* partial) const {
  const Cluster& cluster = bundle.cluster;
  if (row_.revision > 0) MUSTER_DO(KindsAreAsBefore(cluster_, cluster));
  MUSTER_TRY(const Placement so_far, Places());
  plan::SecretDigests digests = Digests();
  if (options.remove_all) digests[plan::kAnySecret] = "";
  auto laid_out = plan::LayOutCluster(cluster, so_far, digests);
  if (!laid_out.ok() && options.as_installed) {
    digests[plan::kAnySecret] = "";  // what is stopped needs none
    laid_out = plan::LayOutCluster(cluster, so_far, digests);
  }
  MUSTER_TRY(*desired, std::move(laid_out));
  if (!options.act && !options.remove_all && bundle.scales.empty()) {
    MUSTER_DO(BringBack(cluster, so_far, digests, *desired));
  }
  const bool brought_up = IsBroughtUp();
  plan::Situation situation{.observed = observed_,
                            .unreachable = std::move(unreachable),
                            .held = held_,
                            .restart = options.restart,
                            .revision = revision,
                            .refresh = options.refresh,
                            .same_file = IsCurrent(bundle) && brought_up,
                            .unfinished = !brought_up,
                            .act = options.act.has_value(),
                            .remove_all = options.remove_all,
                            .delete_data = options.delete_data};
  std::optional<plan::Scope> scope;
  const bool half_done = (options.act || !bundle.scales.empty()) && !brought_up;
  if (options.act) {
    scope = plan::Scope{.instances = *options.act, .install = !half_done && !options.as_installed};
  } else if (!bundle.scales.empty()) {
    MUSTER_TRY(const Bundle current, CurrentBundle());
    MUSTER_TRY(const plan::Desired before, plan::LayOutCluster(current.cluster, so_far, digests));
    scope = plan::Scope{.instances = plan::TouchedByScaling(bundle.scales, before, *desired, observed_)};
  }
  plan::Narrowed narrowed;
  if (scope) {
    narrowed =
        plan::Narrow(*scope, {.cluster = cluster, .desired = *desired, .situation = situation, .left = {}});
  }
  MUSTER_TRY(Plan plan, scope ? plan::MakePlan(narrowed.cluster, narrowed.desired, narrowed.situation)
                              : plan::MakePlan(cluster, *desired, situation));
  if (half_done && !bundle.scales.empty()) {
    const std::string note = plan::GoesOnNote(bundle.scales, plan, CanGoBack());
    if (!note.empty()) plan.notes.push_back(note);
  }
  if (half_done && !narrowed.left.empty()) {
    plan.notes.push_back(plan::LeftNote(narrowed.left));
    if (partial) *partial = true;
  }
  plan::ExplainChanges({.cluster = &cluster_, .instances = &desired_.instances},
                       {.cluster = &cluster, .instances = &desired->instances}, observed_, plan);
  plan.cluster = row_.key;
  return plan;
}

bool Controller::IsCurrent(const Bundle& bundle) const {
  const auto current = deps_.store->FindRevision(row_.key, row_.revision);
  return current.ok() && *current && (*current)->text == bundle.text && FilesOf(**current) == bundle.files;
}

bool Controller::IsBroughtUp() const {
  const auto runs = deps_.store->Runs(row_.key, kRunsLookedAt);
  if (!runs.ok()) return false;
  for (const store::RunRow& run : *runs) {
    if (run.revision == row_.revision && Brings(run.action)) return BroughtUp(run);
  }
  return true;  // so long ago that its runs are forgotten
}

}  // namespace muster::control
