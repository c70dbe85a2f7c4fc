#include "recipes/redis/data_check.h"

#include <fmt/format.h>

#include <algorithm>

#include "recipes/redis/member_layout.h"
#include "recipes/redis/words.h"

namespace muster::redis {

bool ForgetsWrites(const ConfSettings& settings) {
  const auto kept = settings.find("appendonly");
  return kept != settings.end() && kept->second == std::vector<std::string>{"no"};
}

bool KeepsNothing(const ConfSettings& settings) {
  const auto snapshots = settings.find("save");
  return ForgetsWrites(settings) &&
         (snapshots == settings.end() || snapshots->second == std::vector<std::string>{""});
}

bool ForgetsWrites(const Instance& member) { return TextAt(SettingsIn(member), "appendonly") == "no"; }

bool KeepsNothing(const Instance& member) {
  return ForgetsWrites(member) && TextAt(SettingsIn(member), "save").empty();
}

void CheckAppendOnly(const Service& service, const ConfSettings& settings, const std::string& then,
                     std::vector<Finding>& findings) {
  if (!ForgetsWrites(settings)) return;
  const Value* written = service.settings.Find("settings");
  const Value* value = written ? written->Find("appendonly") : nullptr;
  findings.push_back({.severity = Severity::kWarning,
                      .code = "no-appendonly",
                      .mark = value ? value->mark : service.mark,
                      .message = fmt::format(
                          "{} keeps no append-only file: a member whose process dies comes back {}",
                          service.name, KeepsNothing(settings) ? "empty" : "as it was at its last snapshot"),
                      .fix = fmt::format("leave appendonly out, muster's own is yes; as it is, {}", then),
                      .file = ""});
}

std::string NoCopiesNote(const Service& service, int replicas, const std::vector<Step>& steps) {
  const bool fewer =
      std::any_of(steps.begin(), steps.end(), [](const Step& step) { return step.verb == "remove"; });
  if (replicas > 0 || !fewer) return "";
  return service.name +
         ": without replicas there is one copy of each key: what a member had is out while it is away, and "
         "lost "
         "with its data folder";
}

}  // namespace muster::redis
