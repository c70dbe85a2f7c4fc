#include "control/outcomes.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>

namespace muster::control {
namespace {

constexpr const char* kPartial = "partial";
constexpr const char* kRollbackNote = "rollback to ";

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

namespace {

bool SameContent(const store::RevisionRow& a, const store::RevisionRow& b) {
  return a.text == b.text && a.bundle == b.bundle;
}

// What stands one upon the other at `current`, as after undoing: a rollback takes away what was put on the
// revision that it goes back to. The last one is what `current` has.
std::vector<const store::RevisionRow*> StackAt(int64_t current,
                                               const std::vector<store::RevisionRow>& revisions) {
  std::map<int64_t, const store::RevisionRow*> kept, meant;
  std::vector<const store::RevisionRow*> stack;
  for (const store::RevisionRow& revision : revisions) {
    kept[revision.number] = meant[revision.number] = &revision;
    if (revision.number > current) continue;
    if (const int64_t target = RollbackTarget(revision.note); target > 0) {
      const int64_t number = meant.contains(target) ? meant[target]->number : target;
      if (kept.contains(number)) meant[revision.number] = kept[number];
      std::erase_if(stack, [&](const store::RevisionRow* one) { return one->number >= number; });
    }
    stack.push_back(meant[revision.number]);
  }
  return stack;
}

}  // namespace

std::string RollbackNote(int64_t revision) { return kRollbackNote + std::to_string(revision); }

int64_t RollbackTarget(std::string_view note) {
  if (!note.starts_with(kRollbackNote)) return 0;
  return std::atoll(std::string(note.substr(std::string_view(kRollbackNote).size())).c_str());
}

int64_t GoodBefore(int64_t current, const std::vector<store::RevisionRow>& revisions,
                   const std::vector<store::RunRow>& runs) {
  const std::vector<const store::RevisionRow*> stack = StackAt(current, revisions);
  // One that wasn't brought to its end may be gone back to where it was good once: that is tried again.
  const std::string now = OutcomeOf(current, runs);
  const store::RevisionRow* left = !stack.empty() && (now == "done" || now.empty()) ? stack.back() : nullptr;
  int64_t forgotten = 0;
  for (auto one = stack.rbegin(); one != stack.rend(); ++one) {
    const store::RevisionRow& revision = **one;
    if (revision.number >= current || (left && SameContent(revision, *left))) continue;
    const std::string outcome = OutcomeOf(revision.number, runs);
    if (outcome == "done") return revision.number;
    if (outcome.empty()) forgotten = std::max(forgotten, revision.number);
  }
  return forgotten;
}

}  // namespace muster::control
