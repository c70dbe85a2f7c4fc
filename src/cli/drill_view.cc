// What `muster drill` prints at its end.
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "cli/answer.h"
#include "cli/hints.h"
#include "cli/table.h"
#include "cli/views.h"
#include "cli/wrap.h"

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

// Of all writers.
int64_t Sum(const Json& report, const char* what) {
  int64_t sum = 0;
  for (const Json& range : List(report, "ranges")) {
    sum += Number(Object(range, "plain"), what) + Number(Object(range, "wait"), what);
  }
  return sum;
}

// Redirects are no errors: a client of a Redis Cluster follows them.
std::string FailuresText(const Json& report) {
  const int64_t failed = Sum(report, "failed"), resets = Sum(report, "resets"),
                refused = Sum(report, "refused"), redirects = Sum(report, "redirects");
  const std::string errors =
      failed == 0 ? std::string("none")
                  : fmt::format("{} by a connection that was reset, {} that was refused, {} otherwise",
                                resets, refused, failed - resets - refused);
  return fmt::format("writes that failed: {}; redirects followed: {}\n", errors, redirects);
}

}  // namespace

std::string DrillText(const Json& report, const View& view) {
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
  std::string text;
  for (const Json& range : List(report, "ranges")) {
    const std::string why = Text(Object(range, "plain"), "first_failure");
    if (!why.empty()) text += fmt::format("{}: first error: {}\n", Text(range, "name"), why);
  }
  if (!List(report, "ranges").empty()) text += FailuresText(report);
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
  return ranges.Text(view.color, view.columns) + "\n" + WrapText(text, view.columns);
}

}  // namespace muster::cli
