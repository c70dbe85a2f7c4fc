#include "control/outcomes.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>

namespace muster::control {
namespace {

constexpr const char* kPartial = "partial";
constexpr const char* kWayBack = "way_back";
constexpr const char* kRollbackNote = "rollback to ";
constexpr const char* kRollbackTo = "rollback_to";  // in a stored bundle; 0 where nobody went back

// The stored bundle, where it tells the target at all. What stands in a file can't look like that: its quotes
// are escaped.
std::optional<nlohmann::json> TellsTarget(const std::string& bundle) {
  if (bundle.find("\"rollback_to\":") == std::string::npos) return std::nullopt;
  nlohmann::json parsed = nlohmann::json::parse(bundle, nullptr, false);
  if (!parsed.is_object() || !parsed.contains(kRollbackTo)) return std::nullopt;
  return parsed;
}

}  // namespace

void MarkPartial(nlohmann::json& plan) { plan[kPartial] = true; }

WayBack WayBackOf(const store::RunRow& run) {
  WayBack way_back;
  if (run.plan.find(kWayBack) == std::string::npos) return way_back;  // it may be long, and most have none
  const auto plan = nlohmann::json::parse(run.plan, nullptr, false);
  if (!plan.is_object() || !plan.contains(kWayBack) || !plan[kWayBack].is_object()) return way_back;
  const auto& noted = plan[kWayBack];
  const auto yes = [&](const char* key) {
    return noted.contains(key) && noted[key].is_boolean() && noted[key].get<bool>();
  };
  way_back.wanted = yes("wanted");
  way_back.cancelled = yes("cancelled");
  if (noted.contains("run") && noted["run"].is_string()) way_back.run = noted["run"].get<std::string>();
  if (noted.contains("error") && noted["error"].is_object()) way_back.error = noted["error"].dump();
  return way_back;
}

void NoteWayBack(const WayBack& way_back, nlohmann::json& plan) {
  nlohmann::json noted{{"wanted", way_back.wanted}};
  if (way_back.cancelled) noted["cancelled"] = true;
  if (!way_back.run.empty()) noted["run"] = way_back.run;
  if (!way_back.error.empty()) noted["error"] = nlohmann::json::parse(way_back.error, nullptr, false);
  plan[kWayBack] = std::move(noted);
}

void NoteWayBack(const WayBack& way_back, store::RunRow& run) {
  auto plan = nlohmann::json::parse(run.plan, nullptr, false);
  if (!plan.is_object()) return;
  NoteWayBack(way_back, plan);
  run.plan = plan.dump();
}

bool AwaitsWayBack(const store::RunRow& run) {
  if (run.state != "failed") return false;
  const WayBack way_back = WayBackOf(run);
  return way_back.wanted && !way_back.cancelled && way_back.run.empty() && way_back.error.empty();
}

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
  return a.text == b.text && FilesOf(a) == FilesOf(b);
}

// One of what stands one upon the other.
struct Standing {
  const store::RevisionRow* revision;  // that has what stands, of those kept
  int64_t meant;                       // the revision that it is by what was gone back to, kept or not
  std::string outcome;                 // of the revision, or of the rollback that brought it up again
};

// What stands one upon the other at `current`, as after undoing: a rollback takes away what was put on the
// revision that it goes back to. One that didn't get there takes nothing away.
std::vector<Standing> StackAt(int64_t current, const std::vector<store::RevisionRow>& revisions,
                              const std::vector<store::RunRow>& runs) {
  std::map<int64_t, const store::RevisionRow*> kept;
  std::map<int64_t, int64_t> meant;
  std::vector<Standing> stack;
  for (const store::RevisionRow& revision : revisions) {
    if (revision.number > current) break;
    kept[revision.number] = &revision;
    std::string outcome = OutcomeOf(revision.number, runs);
    int64_t number = RollbackTarget(revision);
    if (number <= 0 || number >= revision.number) {
      meant[revision.number] = revision.number;
      stack.push_back({.revision = &revision, .meant = revision.number, .outcome = outcome});
      continue;
    }
    if (meant.contains(number)) number = meant[number];
    meant[revision.number] = number;
    if (outcome != "done" && !outcome.empty()) continue;
    std::erase_if(stack, [&](const Standing& one) { return one.meant >= number; });
    const auto target = kept.find(number);
    const bool there = target != kept.end();
    if (there && outcome.empty()) outcome = OutcomeOf(number, runs);
    stack.push_back({.revision = there ? target->second : &revision, .meant = number, .outcome = outcome});
  }
  return stack;
}

}  // namespace

std::string RollbackNote(int64_t revision) { return std::string(kRollbackNote) + std::to_string(revision); }

std::string WithRollbackTarget(const std::string& files, int64_t target) {
  nlohmann::json bundle = nlohmann::json::parse(files, nullptr, false);
  if (!bundle.is_object()) return files;
  bundle[kRollbackTo] = target;
  return bundle.dump();
}

std::string FilesOf(const store::RevisionRow& revision) {
  auto bundle = TellsTarget(revision.bundle);
  if (!bundle) return revision.bundle;
  bundle->erase(kRollbackTo);
  return bundle->dump();
}

int64_t RollbackTarget(const store::RevisionRow& revision) {
  if (const auto bundle = TellsTarget(revision.bundle)) {
    const auto& target = bundle->at(kRollbackTo);
    return target.is_number_integer() ? target.get<int64_t>() : 0;
  }
  // Of an earlier release, which told it by its note alone.
  const std::string start = kRollbackNote;
  return revision.note.starts_with(start) ? std::atoll(revision.note.c_str() + start.size()) : 0;
}

int64_t GoodBefore(int64_t current, const std::vector<store::RevisionRow>& revisions,
                   const std::vector<store::RunRow>& runs) {
  const std::vector<Standing> stack = StackAt(current, revisions, runs);
  // One that wasn't brought to its end may be gone back to where it was good once: that is tried again.
  const std::string now = OutcomeOf(current, runs);
  const store::RevisionRow* left =
      !stack.empty() && (now == "done" || now.empty()) ? stack.back().revision : nullptr;
  int64_t forgotten = 0;
  for (auto one = stack.rbegin(); one != stack.rend(); ++one) {
    const store::RevisionRow& revision = *one->revision;
    if (revision.number >= current || (left && SameContent(revision, *left))) continue;
    if (one->outcome == "done") return revision.number;
    if (one->outcome.empty()) forgotten = std::max(forgotten, revision.number);
  }
  return forgotten;
}

Error NothingBefore(const std::string& cluster, int64_t current,
                    const std::vector<store::RevisionRow>& revisions,
                    const std::vector<store::RunRow>& runs) {
  const auto find = [&](int64_t number) -> const store::RevisionRow* {
    for (const store::RevisionRow& one : revisions) {
      if (one.number == number) return &one;
    }
    return nullptr;
  };
  const store::RevisionRow* now = find(current);
  // What a rollback went back to may be a rollback itself.
  int64_t again = 0;
  for (const store::RevisionRow* one = now; one;) {
    const int64_t target = RollbackTarget(*one);
    if (target <= 0 || target >= one->number) break;
    again = target;
    one = find(target);
  }
  const store::RevisionRow* other = nullptr;
  for (const store::RevisionRow& one : revisions) {
    if (one.number < current && now && !SameContent(one, *now) && OutcomeOf(one.number, runs) == "done") {
      other = &one;
    }
  }
  if (!other) {
    return Error::NotFound("unknown-revision", "{} has no revision before {} that was brought up", cluster,
                           current)
        .Hint("muster history tells what became of each that is kept");
  }
  const std::string why =
      again > 0 ? fmt::format("{} is revision {} again and nothing older is kept", current, again)
                : fmt::format("nothing older than {} stands below it", current);
  return Error::NotFound("unknown-revision", "{}: {}", cluster, why)
      .Hint("muster rollback {} goes to {}; muster history lists those that are kept", other->number,
            other->number);
}

}  // namespace muster::control
