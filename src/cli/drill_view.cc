// What `muster drill` prints at its end.
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "cli/answer.h"
#include "cli/hints.h"
#include "cli/table.h"
#include "cli/views.h"

namespace muster::cli {
namespace {

using Json = nlohmann::json;

// "0.12s", "-" for none.
std::string Seconds(const Json& milliseconds) {
  if (!milliseconds.is_number()) return "-";
  return fmt::format("{:.2f}s", milliseconds.get<double>() / 1000);
}

Json Field(const Json& json, const char* name) { return json.contains(name) ? json[name] : Json(nullptr); }

Cell LostCell(const Json& writes, Color color) {
  const int64_t lost = Number(writes, "lost");
  return {std::to_string(lost), lost > 0 ? color : Color::kNone};
}

}  // namespace

std::string DrillText(const Json& report, const View& view) {
  std::string text;
  Table ranges({"RANGE", "OUTAGE", "LONGEST GAP", "WRITES", "LOST", "WITH WAIT", "LOST"});
  for (const Json& range : List(report, "ranges")) {
    const Json plain = Object(range, "plain"), wait = Object(range, "wait");
    ranges.Add({{Text(range, "name")},
                {Seconds(Field(plain, "outage_ms"))},
                {Seconds(Field(plain, "longest_gap_ms"))},
                {std::to_string(Number(plain, "acknowledged"))},
                LostCell(plain, Color::kYellow),
                {std::to_string(Number(wait, "acknowledged"))},
                LostCell(wait, Color::kRed)});
  }
  text += ranges.Text(view.color, view.columns) + "\n";
  for (const Json& range : List(report, "ranges")) {
    const std::string why = Text(Object(range, "plain"), "first_failure");
    if (!why.empty()) text += fmt::format("{}: first error: {}\n", Text(range, "name"), why);
  }
  const auto& deeds = List(report, "did");
  if (!deeds.empty()) text += "what muster did:\n";
  for (const Json& deed : deeds) {
    text += fmt::format("  +{}  {} {}: {}{}\n", Seconds(Field(deed, "after_ms")), Text(deed, "instance"),
                        Text(deed, "verb"), Text(deed, "reason"), deed.contains("error") ? " (failed)" : "");
  }
  if (Field(report, "healed_after_ms").is_number())
    text += fmt::format("{} was healed after {}\n", Text(report, "host"), Seconds(report["healed_after_ms"]));
  if (Field(report, "green_after_ms").is_number()) {
    text += fmt::format("{} was {} again, whole and settled, after {}\n", Text(report, "service"),
                        Paint("green", Color::kGreen, view.color), Seconds(report["green_after_ms"]));
  }
  const auto& plan = List(report, "plan");
  text += plan.empty() ? "muster plan has nothing to do\n"
                       : fmt::format("{} has something to do: {}\n",
                                     NameCluster("muster plan", view.cluster_option), Join(plan, ", "));
  for (const Json& failure : List(report, "failures")) {
    if (failure.is_string())
      text += fmt::format("{}  {}\n", Paint("FAIL", Color::kRed, view.color), failure.get<std::string>());
  }
  return text;
}

}  // namespace muster::cli
