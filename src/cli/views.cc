#include "cli/views.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/text.h"
#include "cli/answer.h"
#include "cli/hints.h"
#include "cli/table.h"
#include "cli/wrap.h"
#include "model/up_command.h"
#include "plan/plan.h"

namespace muster::cli {
namespace {

using Json = nlohmann::json;

WallTime Moment(const Json& json, const char* name) { return WallTime(Duration(Number(json, name))); }

Color HealthColor(const std::string& health) {
  if (health == "down") return Color::kDim;
  return health == "green" ? Color::kGreen : health == "yellow" ? Color::kYellow : Color::kRed;
}

// "1.1s", "2m5s"
std::string Took(Duration duration) {
  if (duration < 60s) return fmt::format("{:.1f}s", static_cast<double>(duration.count()) / 1000);
  return FormatDuration(std::chrono::duration_cast<std::chrono::seconds>(duration));
}

int CountReady(const Json& status) {
  int ready = 0;
  for (const Json& instance : List(status, "instances")) ready += Text(instance, "state") == "ready";
  return ready;
}

std::string Join(const Json& texts, std::string_view separator) {
  std::string joined;
  for (const Json& text : texts) {
    if (!text.is_string()) continue;
    if (!joined.empty()) joined += separator;
    joined += text.get<std::string>();
  }
  return joined;
}

std::string Address(const Json& instance) {
  const std::string address = Text(instance, "address");
  const int64_t port = Number(Object(instance, "ports"), "port");
  if (address.empty() || port == 0) return "";
  return HostPort(address, static_cast<int>(port));
}

// Of one that the cluster file doesn't have any more the kind isn't told.
bool Stays(const Json& instance) { return !Text(instance, "kind").empty(); }

// Where clients of a Redis connect: to its primary, wherever that is at the moment.
std::string RedisClients(const Json& status, const std::string& service, Color color, const View& view) {
  std::string primary, name;
  std::vector<std::string> others;
  for (const Json& instance : List(status, "instances")) {
    if (Text(instance, "service") != service || Address(instance).empty()) continue;
    const bool is_primary = primary.empty() && Text(instance, "role") == "primary";
    if (!is_primary) {
      if (Stays(instance)) others.push_back(Address(instance));
      continue;
    }
    primary = Address(instance);
    name = Text(instance, "name");
  }
  if (primary.empty()) return "";  // the health tells why
  const std::string where = Paint(primary, color, view.color);
  if (others.empty()) return fmt::format("  {}  ({})\n", where, service);
  return fmt::format("  {}  ({}: {}, the primary; should it move, ROLE tells, asked of it or of {})\n", where,
                     service, name, Join(others, ", "));
}

// Of a Redis Cluster any member will do: it tells who has which slots.
std::string ClusterClients(const Json& status, const std::string& service, Color color, const View& view) {
  std::vector<std::string> members;
  for (const Json& instance : List(status, "instances")) {
    if (Text(instance, "service") != service || Address(instance).empty() || !Stays(instance)) continue;
    members.push_back(Paint(Address(instance), color, view.color));
  }
  if (members.empty()) return "";
  return fmt::format("  {}  any of {}: {}\n", service, members.size(), Join(members, ", "));
}

// Where to point clients that are no browsers, a line a service.
std::string ClientsText(const Json& status, Color color, const View& view) {
  std::string text;
  for (const Json& service : List(status, "services")) {
    const std::string kind = Text(service, "kind"), name = Text(service, "name");
    if (kind == "redis") text += RedisClients(status, name, color, view);
    if (kind == "redis-cluster") text += ClusterClients(status, name, color, view);
  }
  return text;
}

// What became of the last run, where it didn't do what it was to.
std::string LastRunText(const Json& run, const std::string& option) {
  const std::string state = Text(run, "state"), why = Text(Object(run, "error"), "message");
  if (state != "failed" && state != "cancelled") return "";
  const std::string from =
      Number(run, "revision") > 0 ? fmt::format(" of revision {}", Number(run, "revision")) : "";
  return fmt::format("the last run ({}{}) {}{}; {}\n", Text(run, "action"), from,
                     state == "failed" ? "failed" : "was cancelled", why.empty() ? "" : ": " + why,
                     NameCluster("muster history --runs lists all", option));
}

// Of the run that is under way or paused.
std::string RunText(const Json& status, const std::string& option) {
  const std::string run = Text(status, "run"), state = Text(status, "run_state");
  if (run.empty()) return "";
  if (state == "paused") {
    return fmt::format("run {} is paused; {}\n", run, NameCluster("muster resume goes on with it", option));
  }
  const Json& active = Object(status, "active_run");
  if (active.empty()) return fmt::format("run {} is {}\n", run, state.empty() ? "running" : state);
  return fmt::format("run {} ({} by {}) is {}: {} of {} steps\n", run, Text(active, "action"),
                     Text(active, "author"), Flag(active, "cancelling") ? "being cancelled" : "under way",
                     Number(active, "steps_done"), Number(active, "steps_total"));
}

// Why a service isn't well; and of one that is, what its members have still to agree on.
std::string WhyText(const Json& service) {
  const std::string reasons = Join(List(service, "reasons"), "; ");
  if (!reasons.empty()) return reasons;
  const std::string unsettled = Join(List(service, "unsettled"), "; ");
  return unsettled.empty() ? "" : "settling: " + unsettled;
}

}  // namespace

std::string PlanText(const Plan& plan, const View& view) {
  constexpr std::string_view kDifference = "    ";
  const std::string formatted = plan::FormatPlan(plan, view.color);
  std::string text, line;
  for (std::istringstream lines(formatted); std::getline(lines, line);) {
    text += (line.starts_with(kDifference) ? line : WrapText(line, view.columns)) + "\n";
  }
  return text;
}

std::string ClustersText(const Json& clusters, const View& view) {
  Table table({"CLUSTER", "HEALTH", "REVISION", "RUN"});
  for (const Json& cluster : List(clusters, "clusters")) {
    const std::string health = Text(cluster, "health");
    const bool down = Flag(cluster, "down");
    table.Add({{Text(cluster, "cluster")},
               {down ? "down" : health, down ? Color::kDim : HealthColor(health)},
               {std::to_string(Number(cluster, "revision"))},
               {Text(cluster, "run")}});
  }
  return table.empty() ? "no cluster yet; bring one up: muster up FILE\n"
                       : table.Text(view.color, view.columns);
}

std::string StatusText(const Json& status, const View& view) {
  const std::string health = Text(status, "health");
  const auto& instances = List(status, "instances");
  const std::string& option = view.cluster_option;
  std::string text;
  if (Flag(status, "down")) {
    const std::string key = Text(status, "cluster");
    text = fmt::format("{} is {} (revision {}); {} brings it up again\n", key,
                       Paint("down", Color::kDim, view.color), Number(status, "revision"), UpCommand(key));
  } else {
    text = fmt::format("{} is {}: {} of {} instances ready (revision {})\n", Text(status, "cluster"),
                       Paint(health, HealthColor(health), view.color), CountReady(status), instances.size(),
                       Number(status, "revision"));
  }
  text += RunText(status, option);
  text += LastRunText(Object(status, "last_run"), option);
  text = WrapText(text, view.columns);
  Table services({"SERVICE", "KIND", "HEALTH", "READY", "WHY"});
  for (const Json& service : List(status, "services")) {
    const std::string word = Text(service, "health");
    services.Add({{Text(service, "name")},
                  {Text(service, "kind")},
                  {word, HealthColor(word)},
                  {fmt::format("{}/{}", Number(service, "ready"), Number(service, "wanted"))},
                  {WhyText(service)}});
  }
  if (!services.empty()) text += "\n" + services.WrappedText(view.color, view.columns);
  Table hosts({"HOST", "ADDRESS", "AGENT"});
  for (const Json& host : List(status, "hosts")) {
    const bool connected = Flag(host, "connected");
    const bool unused = host.contains("used") && !Flag(host, "used");  // nobody looks for its agent
    hosts.Add({{Text(host, "name")},
               {Text(host, "address")},
               Flag(host, "cut") ? Cell{"cut off", Color::kRed}
               : connected       ? Cell{"connected", Color::kGreen}
               : unused          ? Cell{"-", Color::kDim}
                                 : Cell{"silent", Color::kRed}});
  }
  if (!hosts.empty()) text += "\n" + hosts.Text(view.color, view.columns);
  std::string tail;
  for (const Json& endpoint : List(status, "endpoints")) {
    tail += fmt::format("{}: {}\n", Text(endpoint, "service"), Text(endpoint, "url"));
  }
  if (const std::string clients = ClientsText(status, Color::kNone, view);
      !clients.empty() && !Flag(status, "down")) {
    tail += "clients connect to\n" + clients;
  }
  for (const Json& host : List(status, "hosts")) {
    if (!Flag(host, "cut")) continue;
    const std::string name = Text(host, "name");
    tail += fmt::format("{} was cut off on purpose; {} {} brings it back\n", name,
                        NameCluster("muster host heal", option), name);
  }
  const auto& held = List(status, "held");
  if (!held.empty())
    tail += fmt::format("stopped by hand: {}; {} brings them back\n", Join(held, ", "),
                        NameCluster("muster start", option));
  for (const Json& instance : instances) {
    for (const Json& drift : List(instance, "drift")) {
      const std::string what = Text(drift, "what");
      tail += fmt::format("drift: {} of {} {}; muster plan shows the difference\n", Text(drift, "path"),
                          Text(instance, "name"),
                          what == "mode"      ? "has another mode"
                          : what == "missing" ? "is missing"
                                              : what);
    }
  }
  for (const Json& instance : instances) {
    if (Text(instance, "state") != "failed") continue;
    const std::string how = Text(instance, "last_exit");
    tail += fmt::format("{} has failed ({}):\n", Text(instance, "name"), how.empty() ? "it never ran" : how);
    for (const Json& line : List(instance, "evidence")) {
      if (line.is_string()) tail += "  | " + line.get<std::string>() + "\n";
    }
  }
  return tail.empty() ? text : text + "\n" + WrapText(tail, view.columns);
}

std::string HistoryText(const Json& answer, const View& view) {
  Table table({"REVISION", "CREATED", "RESULT", "BY", "FILE", "NOTE"});
  for (const Json& revision : List(answer, "revisions")) {
    const bool current = Flag(revision, "current");
    const std::string result = Text(revision, "result");
    table.Add({{fmt::format("{}{}", Number(revision, "number"), current ? " *" : ""),
                current ? Color::kGreen : Color::kNone},
               {ShortTime(Moment(revision, "created"))},
               {result, result == "done"     ? Color::kGreen
                        : result == "failed" ? Color::kRed
                                             : Color::kYellow},
               {Text(revision, "author")},
               {Text(revision, "file_name")},
               {Text(revision, "note")}});
  }
  return table.empty() ? "no revision yet\n" : table.Text(view.color, view.columns);
}

std::string RunsText(const Json& answer, const View& view) {
  Table table({"RUN", "ACTION", "REVISION", "STATE", "STEPS", "STARTED", "TOOK", "BY", "WHY"});
  for (const Json& run : List(answer, "runs")) {
    const std::string state = Text(run, "state");
    const WallTime started = Moment(run, "started"), ended = Moment(run, "ended");
    const auto error = run.is_object() ? run.find("error") : run.end();
    table.Add({{Text(run, "run")},
               {Text(run, "action")},
               {std::to_string(Number(run, "revision"))},
               {state, state == "done"     ? Color::kGreen
                       : state == "failed" ? Color::kRed
                                           : Color::kYellow},
               {fmt::format("{}/{}", Number(run, "steps_done"), Number(run, "steps_total"))},
               {ShortTime(started)},
               {ended > started ? Took(ended - started) : "-"},
               {Text(run, "author")},
               {run.is_object() && error != run.end() ? Text(*error, "message") : ""}});
  }
  return table.empty() ? "no run yet\n" : table.Text(view.color, view.columns);
}

std::string AuditText(const Json& answer, const View& view) {
  Table table({"AT", "WHO", "CLUSTER", "ACTION", "DETAIL"});
  for (const Json& entry : List(answer, "entries")) {
    table.Add({{ShortTime(Moment(entry, "at"))},
               {Text(entry, "who")},
               {Text(entry, "cluster")},
               {Text(entry, "action")},
               {Text(entry, "detail")}});
  }
  return table.empty() ? "nothing was done yet\n" : table.WrappedText(view.color, view.columns);
}

namespace {

constexpr size_t kChecksFolded = 3;  // fewer of a member are listed

// Whom a check was asked of: "cache-1" of "cache-1: sees the cluster well"; "" where its name says no more.
std::string AskedOf(const Json& check) {
  const std::string name = Text(check, "name");
  const size_t colon = name.find(": ");
  const bool one_word = colon != std::string::npos && name.find(' ') > colon;
  return one_word ? Text(check, "service") + "/" + name.substr(0, colon) : "";
}

struct Asked {
  size_t checks = 0, passed = 0;
};

// Members that get one line for what went well.
std::map<std::string, Asked> FoldedMembers(const Json& answer) {
  std::map<std::string, Asked> members;
  for (const Json& check : List(answer, "checks")) {
    const std::string member = AskedOf(check);
    if (member.empty()) continue;
    ++members[member].checks;
    members[member].passed += Flag(check, "passed") && !Flag(check, "skipped") ? 1 : 0;
  }
  std::erase_if(members, [](const auto& one) { return one.second.checks < kChecksFolded; });
  std::map<std::string, int> of_service;
  for (const auto& [member, asked] : members) ++of_service[member.substr(0, member.find('/'))];
  std::erase_if(members,
                [&](const auto& one) { return of_service[one.first.substr(0, one.first.find('/'))] < 2; });
  return members;
}

std::string ChecksShown(const Json& answer, const View& view, std::map<std::string, Asked> folded) {
  std::string text;
  int passed = 0, failed = 0, skipped = 0;
  const bool folds = !folded.empty();
  for (const Json& check : List(answer, "checks")) {
    const bool skip = Flag(check, "skipped");
    const bool good = Flag(check, "passed");
    (skip ? skipped : good ? passed : failed)++;
    const std::string word = skip   ? Paint("skip", Color::kYellow, view.color)
                             : good ? Paint("pass", Color::kGreen, view.color)
                                    : Paint("FAIL", Color::kRed, view.color);
    const auto member = folded.find(AskedOf(check));
    if (good && !skip && member != folded.end()) {
      const Asked& asked = member->second;
      if (asked.passed == 0) continue;  // said already
      const std::string name = Text(check, "name").substr(0, Text(check, "name").find(": "));
      text += fmt::format("{}  {}: {} of {} checks\n", word, name, asked.passed, asked.checks);
      member->second.passed = 0;
      continue;
    }
    text += fmt::format("{}  {}\n", word, Text(check, "name"));
    if (good && !skip) continue;
    for (const Json& line : List(check, "evidence")) {
      if (line.is_string()) text += "      | " + line.get<std::string>() + "\n";
    }
    const std::string hint = Text(check, "hint");
    if (!hint.empty()) text += "      fix: " + hint + "\n";
  }
  text += fmt::format("{} passed, {} failed", passed, failed);
  if (skipped > 0) text += fmt::format(", {} skipped", skipped);
  text += folds ? " (--all lists each)\n" : "\n";
  return WrapText(text, view.columns);
}

}  // namespace

std::string ChecksText(const Json& answer, const View& view) {
  return ChecksShown(answer, view, FoldedMembers(answer));
}

std::string EachCheckText(const Json& answer, const View& view) { return ChecksShown(answer, view, {}); }

std::string SummaryText(const Json& status, const std::string& option, Duration took, const View& view) {
  const std::string health = Text(status, "health");
  const auto& instances = List(status, "instances");
  std::string text =
      fmt::format("{} is {}: {} of {} instances ready after {:.1f}s\n", Text(status, "cluster"),
                  Paint(health, HealthColor(health), view.color), CountReady(status), instances.size(),
                  static_cast<double>(took.count()) / 1000);
  for (const Json& reason : List(status, "reasons")) {
    if (reason.is_string()) text += "  " + reason.get<std::string>() + "\n";
  }
  if (const auto& held = List(status, "held"); !held.empty()) {
    text += fmt::format("  stopped by hand: {}; {} brings them back\n", Join(held, ", "),
                        NameCluster("muster start", option));
  }
  const auto& endpoints = List(status, "endpoints");
  if (!endpoints.empty()) text += "\npoint a browser to\n";
  for (const Json& endpoint : endpoints) {
    text += fmt::format("  {}  ({})\n", Paint(Text(endpoint, "url"), Color::kCyan, view.color),
                        Text(endpoint, "service"));
  }
  if (const std::string clients = ClientsText(status, Color::kCyan, view); !clients.empty()) {
    text += "\npoint clients to\n" + clients;
  }
  const auto scaled = [&]() -> std::string {
    for (const Json& service : List(status, "services")) {
      if (Text(service, "kind") == "app") return Text(service, "name");
    }
    return "";
  }();
  text += "\ntry next\n";
  std::vector<std::pair<std::string, std::string>> tries = {{"muster ps", "the instances"},
                                                            {"muster logs -f", "what they write"},
                                                            {"muster verify", "does it do what it should?"}};
  if (!scaled.empty()) tries.emplace_back("muster restart " + scaled, "restart it a few at a time");
  tries.emplace_back("muster down", "stop all; data stays");
  size_t width = 0;
  for (auto& [command, meaning] : tries) {
    command = NameCluster(command, option);
    width = std::max(width, Width(command));
  }
  for (const auto& [command, meaning] : tries) text += "  " + Pad(command, width) + "  " + meaning + "\n";
  return WrapText(text, view.columns);
}

}  // namespace muster::cli
