#include "control/outcomes.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace muster::control {
namespace {

constexpr const char* kPartial = "partial";

}  // namespace

void MarkPartial(nlohmann::json& plan) { plan[kPartial] = true; }

bool Brings(std::string_view action) {
  return action != "restart" && action != "stop" && action != "start" && action != "down";
}

bool BroughtUp(const store::RunRow& run) {
  if (!Brings(run.action) || run.state != "done") return false;
  if (run.action != "scale") return true;  // only that leaves others alone
  const auto plan = nlohmann::json::parse(run.plan, nullptr, false);
  return !plan.is_object() || !plan.contains(kPartial);
}

std::string OutcomeOf(int64_t revision, const std::vector<store::RunRow>& runs) {
  std::string newest;
  for (const store::RunRow& run : runs) {
    if (run.revision != revision || !Brings(run.action)) continue;
    if (BroughtUp(run)) return "done";
    if (newest.empty()) newest = run.state == "done" ? "partial" : run.state;
  }
  return newest;
}

int64_t GoodBefore(int64_t current, const std::vector<store::RevisionRow>& revisions,
                   const std::vector<store::RunRow>& runs) {
  int64_t good = 0, forgotten = 0;
  for (const store::RevisionRow& revision : revisions) {
    if (revision.number >= current) continue;
    const std::string outcome = OutcomeOf(revision.number, runs);
    if (outcome == "done") good = std::max(good, revision.number);
    if (outcome.empty()) forgotten = std::max(forgotten, revision.number);
  }
  return good > 0 ? good : forgotten;
}

}  // namespace muster::control
