// The commands that look and change nothing: status, ps, logs, history, audit, verify.
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "api/json.h"
#include "base/text.h"
#include "cli/answer.h"
#include "cli/commands.h"
#include "cli/hints.h"
#include "cli/log_merge.h"
#include "cli/server_start.h"
#include "cli/session.h"
#include "cli/views.h"
#include "model/up_command.h"

namespace muster::cli {
namespace {

constexpr const char* kLook = "Looking";

View ViewOf(const Context& context) {
  View view;
  view.color = context.console.color;
  view.columns = context.console.out_columns();
  view.now = WallNow();
  view.cluster_option = context.console.cluster_option;
  return view;
}

// Prints an answer: as it came with --json, else what `text` makes of it.
int Show(const Context& context, bool json, const Json& answer,
         std::string (*text)(const Json&, const View&)) {
  if (json) {
    PrintJson(context, answer);
  } else {
    context.console.out(text(answer, ViewOf(context)));
  }
  return 0;
}

// "Nothing runs here" is a good answer to who only looks.
Result<int> NothingHere(const Context& context, const ClusterArgs& args, const Error& error,
                        const char* list) {
  const bool nothing = error.code() == "nothing-runs" || error.code() == "no-cluster";
  if (!nothing || !args.cluster.empty() || !args.file.empty()) return error;
  if (args.json) {
    PrintJson(context, {{list, Json::array()}});
  } else {
    context.console.OutLine("nothing runs here; bring a cluster up: muster up FILE");
  }
  return 0;
}

struct LookArgs : ClusterArgs {
  int most = 0;
};

// Fetches one part of a cluster and prints it.
Result<int> ShowPart(Context& context, const ClusterArgs& args, const std::string& rest, const char* list,
                     std::string (*text)(const Json&, const View&)) {
  const auto api = Connect(context, Need::kStore);
  if (!api.ok()) return NothingHere(context, args, api.error(), list);
  const auto key = ClusterLookedAt(context, **api, args);
  if (!key.ok()) return NothingHere(context, args, key.error(), list);
  MUSTER_TRY(const Json answer, (*api)->Ask("GET", ClusterTarget(*key, rest)));
  return Show(context, args.json, answer, text);
}

struct StatusArgs : ClusterArgs {
  bool all = false;
};

Result<int> ShowStatus(Context& context, const StatusArgs& args) {
  const auto api = Connect(context, Need::kStore);
  if (!api.ok()) return NothingHere(context, args, api.error(), "clusters");
  if (args.all) {
    MUSTER_TRY(const Json clusters, (*api)->Ask("GET", "/v1/clusters"));
    return Show(context, args.json, clusters, ClustersText);
  }
  const auto key = ClusterLookedAt(context, **api, args);
  if (!key.ok() && key.error().code() == "which-cluster") {
    MUSTER_TRY(const Json clusters, (*api)->Ask("GET", "/v1/clusters"));
    return Show(context, args.json, clusters, ClustersText);
  }
  if (!key.ok()) return NothingHere(context, args, key.error(), "clusters");
  MUSTER_TRY(const Json status, (*api)->Ask("GET", ClusterTarget(*key)));
  return Show(context, args.json, status, StatusText);
}

struct PsArgs : ClusterArgs {
  std::vector<std::string> names;
};

bool IsNamed(const Json& instance, const std::string& name) {
  return Text(instance, "name") == name || Text(instance, "service") == name;
}

// Of the instances in `answer` those of these names, which are of instances or services; all where there are
// none. Code "unknown-instance" for a name that is neither.
Result<Json> NamedInstances(const Json& answer, const std::string& key,
                            const std::vector<std::string>& names) {
  const Json all = List(answer, "instances");
  if (names.empty()) return all;
  for (const std::string& name : names) {
    const auto named = [&](const Json& one) { return IsNamed(one, name); };
    if (std::any_of(all.begin(), all.end(), named)) continue;
    return Error::NotFound("unknown-instance", "{} has no instance or service {}", key, name)
        .Hint("muster ps lists them");
  }
  Json chosen = Json::array();
  for (const Json& one : all) {
    const auto named = [&](const std::string& name) { return IsNamed(one, name); };
    if (std::any_of(names.begin(), names.end(), named)) chosen.push_back(one);
  }
  return chosen;
}

Result<int> ListInstances(Context& context, const PsArgs& args) {
  if (args.names.empty()) return ShowPart(context, args, "/instances", "instances", InstancesText);
  MUSTER_TRY(const auto api, Connect(context, Need::kStore));
  MUSTER_TRY(const std::string key, ClusterLookedAt(context, *api, args));
  MUSTER_TRY(Json answer, api->Ask("GET", ClusterTarget(key, "/instances")));
  MUSTER_TRY(answer["instances"], NamedInstances(answer, key, args.names));
  return Show(context, args.json, answer, InstancesText);
}

struct HistoryArgs : LookArgs {
  bool runs = false;
  int show = 0;
};

Result<int> History(Context& context, const HistoryArgs& args) {
  if (args.show > 0) {
    return ShowPart(context, args, "/revisions/" + std::to_string(args.show), "revisions",
                    [](const Json& revision, const View&) { return Text(revision, "text"); });
  }
  const std::string most = args.most > 0 ? "?most=" + std::to_string(args.most) : "";
  if (!args.runs) return ShowPart(context, args, "/history" + most, "revisions", HistoryText);
  return ShowPart(context, args, "/runs?most=" + std::to_string(args.most > 0 ? args.most : 20), "runs",
                  RunsText);
}

Result<int> Audit(Context& context, const LookArgs& args) {
  const std::string query = "/audit?most=" + std::to_string(args.most > 0 ? args.most : 50);
  if (!args.cluster.empty() || !args.file.empty() || args.rehearse) {
    return ShowPart(context, args, query, "entries", AuditText);
  }
  // Without a cluster: what was done to any of them.
  const auto api = Connect(context, Need::kStore);
  if (!api.ok()) return NothingHere(context, args, api.error(), "entries");
  MUSTER_TRY(const Json answer, (*api)->Ask("GET", "/v1" + query));
  return Show(context, args.json, answer, AuditText);
}

struct VerifyArgs : ClusterArgs {
  std::string service;
  bool all = false;
};

Result<int> Verify(Context& context, const VerifyArgs& args) {
  MUSTER_TRY(const auto api, Connect(context, Need::kStore));
  MUSTER_TRY(const std::string key, ClusterLookedAt(context, *api, args));
  MUSTER_TRY(Json answer, api->Ask("POST", ClusterTarget(key, "/verify"), {{"service", args.service}}));
  for (Json& check : answer["checks"]) {
    const std::string hint = Text(check, "hint");
    if (!hint.empty()) check["hint"] = NameCluster(hint, context.console.cluster_option);
  }
  Show(context, args.json, answer, args.all ? EachCheckText : ChecksText);
  return Flag(answer, "passed") ? 0 : 1;
}

// --- logs

struct LogsArgs : ClusterArgs {
  std::vector<std::string> names;
  bool follow = false;
  Duration since{0};
  int tail = -1;
};

constexpr size_t kPrintedAtOnce = 500;  // lines

struct Reading {
  Context* context;
  bool json;
  bool follow;
  LogMerge merge;
  net::Loop* loop;
  bool waiting = false;                           // a timer is set that lets lines out
  std::vector<LogLine> whole;                     // where nothing is followed
  std::map<std::string, int64_t> positions = {};  // behind the last line of each instance
  bool ended = false;                             // the server said so
  std::optional<Error> failure = {};

  void Print(const std::vector<LogLine>& lines) {
    std::string text;
    for (const LogLine& line : lines) {
      text += json ? DumpJson({{"instance", line.instance}, {"at_ms", line.at_ms}, {"line", line.text}})
                   : merge.Format(line, context->console.color);
      text += '\n';
    }
    if (!text.empty()) context->console.out(text);
  }
};

// Lines of several agents come as they come; those of the same moment are let out together, in order.
void TakeLine(const std::shared_ptr<Reading>& reading, const Json& data) {
  LogLine line{Text(data, "instance"), Number(data, "at_ms"), Text(data, "line")};
  if (const int64_t position = Number(data, "position"); position > 0) {
    reading->positions[line.instance] = position;
  }
  if (!reading->follow) {  // the server has them in order
    reading->whole.push_back(std::move(line));
    if (reading->whole.size() >= kPrintedAtOnce) reading->Print(std::exchange(reading->whole, {}));
    return;
  }
  reading->merge.Know(line.instance);
  reading->merge.Add(std::move(line));
  if (reading->waiting) return;
  reading->waiting = true;
  reading->loop->After(100ms, [reading] {
    reading->waiting = false;
    reading->Print(reading->merge.Take());
  });
}

// Whether there is more to come.
bool Take(const std::shared_ptr<Reading>& reading, const std::string& name, const Json& data) {
  const Console& console = reading->context->console;
  if (name == "line") TakeLine(reading, data);
  if (name == "host") {
    console.ErrLine("the agent of " + Text(data, "host") +
                    (Flag(data, "connected")
                         ? " is back"
                         : " is away: what its instances write is shown when it is back"));
  }
  if (name == "end") {
    reading->ended = true;
    if (data.contains("error") && data["error"].is_object()) reading->failure = api::ErrorFrom(data["error"]);
  }
  return name != "end" && !(console.out_broken && console.out_broken());
}

std::string SinceOption(WallTime since) {
  return "&since_ms=" + std::to_string(since.time_since_epoch().count());
}

// Where to go on. Of more instances than a request's line has room for, by time.
std::string FromOption(const Reading& reading) {
  constexpr size_t kNamedMost = 200;
  std::string from;
  for (const auto& [instance, position] : reading.positions) {
    from += fmt::format("{}{}:{}", from.empty() ? "" : ",", instance, position);
  }
  return from.empty() || reading.positions.size() > kNamedMost ? "" : "&from=" + net::UrlEncode(from);
}

// Until a server is there again. None is started for it: somebody may have ended it on purpose.
Status AwaitServer(ApiClient& api) {
  constexpr Duration kWithin = 10s;
  for (const Time end = Now() + kWithin; Now() < end;) {
    if (SocketAnswers(api.socket_path()) && api.Ask("GET", "/v1/version").ok()) return Done();
    std::this_thread::sleep_for(100ms);
  }
  return Error::Unavailable("server-gone", "the server ended; the instances run on and go on writing")
      .Hint("muster logs -f starts it again");
}

// Is it down, on its way there, or deleted? Its agents leave then, which is no failure of theirs.
bool IsDown(ApiClient& api, const std::string& key) {
  const auto status = api.Ask("GET", ClusterTarget(key));
  if (!status.ok()) return status.error().code() == "unknown-cluster";
  if (Flag(*status, "down")) return true;
  const std::string run = Text(*status, "run");
  if (run.empty()) return false;
  const auto active = api.Ask("GET", "/v1/runs/" + run);
  return active.ok() && Text(*active, "action") == "down";
}

Result<int> Logs(Context& context, const LogsArgs& args) {
  MUSTER_TRY(const auto api, Connect(context, Need::kStore));
  MUSTER_TRY(const std::string key, ClusterLookedAt(context, *api, args));
  MUSTER_TRY(const Json status, api->Ask("GET", ClusterTarget(key)));
  if (Flag(status, "down")) {
    context.console.ErrLine(key + " is down: nothing writes; " + UpCommand(key) + " brings it up again");
    return 0;
  }
  MUSTER_TRY(const Json answer, api->Ask("GET", ClusterTarget(key, "/instances")));
  MUSTER_TRY(const Json named, NamedInstances(answer, key, args.names));
  std::vector<std::string> instances;
  for (const Json& instance : named) instances.push_back(Text(instance, "name"));
  const std::string target = ClusterTarget(key, "/logs?names=" + net::UrlEncode(Join(args.names, ",")));
  std::string begin = args.follow ? "&follow=1" : "";
  const int tail = args.tail >= 0 ? args.tail : args.since.count() > 0 ? -1 : args.follow ? 10 : 100;
  if (tail >= 0) begin += "&tail=" + std::to_string(tail);
  const WallTime since = WallNow() - args.since;
  if (args.since.count() > 0) begin += SinceOption(since);
  auto reading =
      std::make_shared<Reading>(Reading{&context, args.json, args.follow, LogMerge(instances), &api->loop()});
  OnEvent on_event = [reading](const std::string& name, const Json& data) {
    return Take(reading, name, data);
  };
  Status ended = api->loop().RunTask(api->StreamTask("GET", target + begin, "", on_event));
  const auto left = [&] { return context.console.out_broken && context.console.out_broken(); };
  while (args.follow && !reading->ended && !left()) {
    if (!ended.ok() && ended.error().kind() == ErrorKind::kNotFound) break;  // the cluster was deleted
    reading->Print(reading->merge.Take());
    context.console.ErrLine("the server has gone; its instances run on; looking for it");
    MUSTER_DO(AwaitServer(*api));
    ended = api->loop().RunTask(api->StreamTask(
        "GET", target + "&follow=1" + SinceOption(since) + FromOption(*reading), "", on_event));
  }
  reading->Print(reading->whole);
  reading->Print(reading->merge.Take());
  if (ended.ok() && !reading->failure) return 0;
  if (args.follow && IsDown(*api, key)) {
    context.console.ErrLine(key + " went down: nothing more will be written");
    return 0;
  }
  return reading->failure ? *reading->failure : ended.error();
}

}  // namespace

void AddLookCommands(std::vector<Command>& commands) {
  Declare<StatusArgs> status("status",
                             "Show how a cluster is: services with their health, hosts, the active run");
  WithCluster(status.Flag("all", 0, &StatusArgs::all, "A line for each cluster"))
      .Group(kLook)
      .More("Without a cluster, and where there are several: a line for each.");
  commands.push_back(status.Run(ShowStatus));

  Declare<PsArgs> ps("ps", "List the instances");
  WithCluster(ps.Positional("names", &PsArgs::names, "Instances or services; all where none is named")
                  .Offers(Completes::kTarget))
      .Group(kLook)
      .Example("muster ps gateway");
  commands.push_back(ps.Run(ListInstances));

  Declare<LogsArgs> logs("logs", "Show what instances write, merged by time");
  WithCluster(
      logs.Positional("names", &LogsArgs::names, "Instances or services; all where none is named")
          .Offers(Completes::kTarget)
          .Flag("follow", 'f', &LogsArgs::follow, "Go on with what is written from now on")
          .Option("since", 0, "TIME", &LogsArgs::since, "Only the last 10m, 2h …")
          .Option("tail", 'n', "LINES", &LogsArgs::tail,
                  "At most so many lines of each instance; where left out 100, 10 with -f, all with --since"),
      0)
      .Group(kLook)
      .Example("muster logs -f gateway")
      .Example("muster logs --since 10m --tail 50");
  commands.push_back(logs.Run(Logs));

  Declare<HistoryArgs> history("history", "List the revisions of a cluster");
  WithCluster(
      history.Flag("runs", 0, &HistoryArgs::runs, "The runs instead")
          .Option("most", 'n', "COUNT", &HistoryArgs::most,
                  "At most so many; 20 runs, all revisions where left out")
          .Option("show", 0, "REVISION", &HistoryArgs::show, "Print the cluster file of this revision"))
      .Group(kLook);
  commands.push_back(history.Run(History));

  Declare<LookArgs> audit("audit", "List who did what, and what happened by itself");
  WithCluster(
      audit.Option("most", 'n', "COUNT", &LookArgs::most, "At most so many entries; 50 where left out"))
      .Group(kLook);
  commands.push_back(audit.Run(Audit));

  Declare<VerifyArgs> verify("verify", "Try whether the services do what they should");
  WithCluster(
      verify.Positional("service", &VerifyArgs::service, "Only this service")
          .Offers(Completes::kService)
          .Flag("all", 0, &VerifyArgs::all, "A line for each check, also where many members pass many"))
      .Group(kLook)
      .More(
          "Sends requests to each route, counts how they spread, opens WebSockets. Exit code 1 where one "
          "fails.");
  commands.push_back(verify.Run(Verify));
}

}  // namespace muster::cli
