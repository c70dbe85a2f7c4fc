#include "recipes/common/member_work.h"

namespace muster::common {

bool Runs(InstanceState state) {
  switch (state) {
    case InstanceState::kStarting:
    case InstanceState::kReady:
    case InstanceState::kUnhealthy:
    case InstanceState::kBackoff:
    case InstanceState::kStopping:
      return true;
    default:
      return false;
  }
}

bool Runs(const Observed* observed) { return observed && Runs(observed->state); }

bool Installed(const Observed* observed) { return observed && !observed->hash.empty(); }

void SetStartTimes(const Service& service, const Instance& desired, Step& start) {
  const Duration min_ready = service.update.min_ready;
  start.deadline = desired.ready_within + min_ready + kSlack;
  if (min_ready > 0ms) start.args["min_ready_ms"] = std::to_string(min_ready.count());
}

}  // namespace muster::common
