#include "cli/views.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/answer.h"
#include "cli/hints.h"
#include "cli/table.h"
#include "model/up_command.h"

namespace muster::cli {
namespace {

using Json = nlohmann::json;

WallTime Moment(const Json& json, const char* name) { return WallTime(Duration(Number(json, name))); }

Color HealthColor(const std::string& health) {
  if (health == "down") return Color::kDim;
  return health == "green" ? Color::kGreen : health == "yellow" ? Color::kYellow : Color::kRed;
}

Color StateColor(const std::string& state) {
  if (state == "ready") return Color::kGreen;
  if (state == "failed" || state == "unhealthy") return Color::kRed;
  if (state == "stopped" || state == "absent") return Color::kDim;
  return Color::kYellow;
}

// "1.1s", "2m5s"
std::string Took(Duration duration) {
  if (duration < 60s) return fmt::format("{:.1f}s", static_cast<double>(duration.count()) / 1000);
  return FormatDuration(std::chrono::duration_cast<std::chrono::seconds>(duration));
}

std::string Ports(const Json& instance) {
  std::string text;
  const auto ports = instance.find("ports");
  if (ports == instance.end() || !ports->is_object()) return text;
  for (const auto& [name, port] : ports->items()) {
    if (!text.empty()) text += " ";
    text += name + "=";
    const int64_t first = port.is_number() ? port.get<int64_t>() : Number(port, "first");
    const int64_t count = port.is_number() ? Number(Object(instance, "port_counts"), name.c_str(), 1)
                                           : Number(port, "count", 1);
    text += count > 1 ? fmt::format("{}-{}", first, first + count - 1) : std::to_string(first);
  }
  return text;
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
  Table services({"SERVICE", "KIND", "HEALTH", "READY", "WHY"});
  for (const Json& service : List(status, "services")) {
    const std::string word = Text(service, "health");
    services.Add({{Text(service, "name")},
                  {Text(service, "kind")},
                  {word, HealthColor(word)},
                  {fmt::format("{}/{}", Number(service, "ready"), Number(service, "wanted"))},
                  {WhyText(service)}});
  }
  if (!services.empty()) text += "\n" + services.Text(view.color, view.columns);
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
  return tail.empty() ? text : text + "\n" + tail;
}

std::string InstancesText(const Json& answer, const View& view) {
  const auto& instances = List(answer, "instances");
  const bool roles = std::any_of(instances.begin(), instances.end(),
                                 [](const Json& instance) { return !Text(instance, "role").empty(); });
  std::vector<std::string> head{"NAME", "STATE", "HOST", "PORTS", "PID", "FOR", "RESTARTS", "MEMORY"};
  if (roles) head.insert(head.begin() + 2, "ROLE");
  Table table(std::move(head));
  for (const Json& instance : instances) {
    const std::string state = Text(instance, "state");
    const int64_t pid = Number(instance, "pid"), memory = Number(instance, "memory_bytes");
    const WallTime since = Moment(instance, "since");
    std::string shown = state;
    if (Flag(instance, "held")) shown += " (by hand)";
    const std::string last_exit = Text(instance, "last_exit");
    if ((state == "backoff" || state == "failed") && !last_exit.empty()) shown += " (" + last_exit + ")";
    std::string restarts = std::to_string(Number(instance, "restarts"));
    if (state == "ready" && restarts != "0" && !last_exit.empty()) restarts += " (" + last_exit + ")";
    const std::string role = Text(instance, "role");
    std::vector<Cell> row{{Text(instance, "name")},
                          {shown, StateColor(state)},
                          {Text(instance, "host")},
                          {Ports(instance)},
                          {pid > 0 ? std::to_string(pid) : "-"},
                          {since.time_since_epoch().count() > 0 ? ShortDuration(view.now - since) : "-"},
                          {restarts},
                          {memory > 0 ? ShortSize(memory) : "-"}};
    if (roles) row.insert(row.begin() + 2, Cell{role.empty() ? "-" : role});
    table.Add(std::move(row));
  }
  return table.empty() ? "no instance\n" : table.Text(view.color, view.columns);
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
  return table.empty() ? "nothing was done yet\n" : table.Text(view.color, view.columns);
}

std::string ChecksText(const Json& answer, const View& view) {
  std::string text;
  int passed = 0, failed = 0, skipped = 0;
  for (const Json& check : List(answer, "checks")) {
    const bool skip = Flag(check, "skipped");
    const bool good = Flag(check, "passed");
    (skip ? skipped : good ? passed : failed)++;
    const std::string word = skip   ? Paint("skip", Color::kYellow, view.color)
                             : good ? Paint("pass", Color::kGreen, view.color)
                                    : Paint("FAIL", Color::kRed, view.color);
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
  return text + "\n";
}

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
  return text;
}

}  // namespace muster::cli
