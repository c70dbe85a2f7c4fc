#include <algorithm>
#include <unordered_map>

#include "base/text.h"
#include "plan/plan.h"

namespace muster::plan {
namespace {

struct Line {
  std::string instance, host, reason;
  std::vector<std::string> verbs;
  Impact impact = Impact::kNone;
  char sign = '~';
};

std::string Paint(std::string_view text, const char* code, bool color) {
  return color ? fmt::format("\x1b[{}m{}\x1b[0m", code, text) : std::string(text);
}

// Drains and restores belong to the member they are for.
const std::string& Subject(const Step& step) {
  const auto member = step.args.find("member");
  return member == step.args.end() ? step.instance : member->second;
}

}  // namespace

namespace {

// What happens to the instance, in one word.
std::string_view Word(const Line& line) {
  if (line.sign == '+') return "new";
  if (line.sign == '-') return "remove";
  const auto has = [&](std::string_view verb) {
    return std::find(line.verbs.begin(), line.verbs.end(), verb) != line.verbs.end();
  };
  if (has("stop")) return has("start") ? "restart" : "stop";
  return has("start") ? "start" : ImpactName(line.impact);
}

}  // namespace

std::string FormatPlan(const Plan& plan, bool color) {
  std::string text;
  std::vector<std::string> services;
  std::unordered_map<std::string, std::vector<Line>> lines;
  std::unordered_map<std::string, std::pair<std::string, size_t>> where;  // instance -> service, line
  for (const Step& step : plan.steps) {
    if (step.args.contains("member")) continue;
    auto found = where.find(step.instance);
    if (found == where.end()) {
      auto& list = lines[step.service];
      if (list.empty()) services.push_back(step.service);
      list.push_back({.instance = step.instance, .host = step.host, .reason = step.reason});
      found = where.emplace(step.instance, std::pair(step.service, list.size() - 1)).first;
    }
  }
  for (const Step& step : plan.steps) {
    const auto found = where.find(Subject(step));
    if (found == where.end()) continue;
    Line& line = lines[found->second.first][found->second.second];
    line.verbs.push_back(!step.args.contains("member") ? step.verb
                         : step.verb == "drain"        ? "out of " + step.instance
                         : step.verb == "restore"      ? "back into " + step.instance
                         : step.verb == "admit"        ? "into " + step.instance
                         : step.verb == "dismiss"      ? "out of " + step.instance
                                                       : step.verb + " " + step.instance);
    if (!step.args.contains("member")) line.impact = std::max(line.impact, step.impact);
    if (step.verb == "remove" && line.sign != '+') line.sign = '-';
    if (step.verb == "install" && (step.reason == "new" || step.put_back == "remove")) line.sign = '+';
  }
  for (const std::string& service : services) {
    const std::vector<Line>& list = lines[service];
    size_t name_width = 0, host_width = 0;
    for (const Line& line : list) {
      name_width = std::max(name_width, line.instance.size());
      host_width = std::max(host_width, line.host.size());
    }
    text += Paint(service, "1", color) + "\n";
    for (const Line& line : list) {
      const char* code = line.sign == '+' ? "32" : line.sign == '-' ? "31" : "33";
      text += fmt::format("  {} {:<{}}  {:<{}}  {:<7}  {}  ({})\n",
                          Paint(std::string(1, line.sign), code, color), line.instance, name_width, line.host,
                          host_width, Word(line), Join(line.verbs, " → "), line.reason);
    }
  }
  for (const auto& [instance, drift] : plan.drift) {
    text += drift.what == "mode"
                ? fmt::format("drift: the mode of {} of {} was changed by hand\n", drift.path, instance)
                : fmt::format("drift: {} of {} was {} by hand\n", drift.path, instance,
                              drift.what == "missing" ? "removed" : drift.what);
    for (const std::string& line : drift.difference) {
      const char* code = line.starts_with('+') ? "32" : line.starts_with('-') ? "31" : "0";
      text += "    " + Paint(line, code, color) + "\n";
    }
  }
  for (const std::string& outage : plan.outages) text += Paint("outage: ", "31", color) + outage + "\n";
  if (plan.renderer_only > 0) {
    text += fmt::format("{} instances differ only in how this muster writes them: up --refresh applies it\n",
                        plan.renderer_only);
  }
  for (const std::string& note : plan.notes) text += "note: " + note + "\n";
  if (plan.steps.empty()) {
    text += "nothing to do\n";
  } else {
    text +=
        fmt::format("{} step{} on {} instance{}, plan {}\n", plan.steps.size(),
                    plan.steps.size() == 1 ? "" : "s", where.size(), where.size() == 1 ? "" : "s", plan.id);
  }
  return text;
}

}  // namespace muster::plan
