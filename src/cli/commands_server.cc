// The commands for muster itself: the server, this machine, the version; and the hidden one that is an agent.
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "api/json.h"
#include "base/files.h"
#include "base/subprocess.h"
#include "base/text.h"
#include "cli/answer.h"
#include "cli/commands.h"
#include "cli/confirm.h"
#include "cli/home.h"
#include "cli/machine.h"
#include "cli/server_start.h"
#include "cli/session.h"
#include "cli/table.h"

namespace muster::cli {
namespace {

constexpr const char* kServer = "The server";
constexpr const char* kMuster = "muster itself";

struct JsonArgs {
  bool json = false;
};

bool Answers(const Context& context) { return SocketAnswers(ApiSocket(context.home)); }

Result<int> ServerStart(Context& context, const JsonArgs& args) {
  const bool ran = Answers(context);
  MUSTER_TRY(const auto api, Connect(context, Need::kServer));
  MUSTER_TRY(const Json version, api->Ask("GET", "/v1/version"));
  if (args.json) {
    PrintJson(context, version);
  } else {
    context.console.OutLine(
        fmt::format("the server {} (pid {})", ran ? "runs already" : "runs now", Number(version, "pid")));
  }
  return 0;
}

Result<int> ServerStop(Context& context, const JsonArgs& args) {
  MUSTER_DO(HomeOpen(context.home));
  if (!Answers(context)) {
    if (args.json) PrintJson(context, {{"stopped", false}});
    if (!args.json) context.console.OutLine("no server runs");
    return 0;
  }
  ApiClient api(ApiSocket(context.home), CallerName());
  MUSTER_TRY(const Json version, api.Ask("GET", "/v1/version"));
  MUSTER_TRY(const Json answer, api.Ask("POST", "/v1/stop", Json::object()));
  const int pid = Number(version, "pid");
  const auto alive = [pid] {
    const auto stat = ReadFile("/proc/" + std::to_string(pid) + "/stat");
    const size_t name_end = stat.ok() ? stat->rfind(')') : std::string::npos;
    return name_end != std::string::npos && name_end + 2 < stat->size() && (*stat)[name_end + 2] != 'Z';
  };
  const Time give_up = Now() + 15s;
  while (Answers(context) || alive()) {
    if (Now() > give_up) {
      return Error::Timeout("server-stays", "the server (pid {}) was told to end and has not within 15 s",
                            pid)
          .Hint("muster server logs shows what it does");
    }
    std::this_thread::sleep_for(10ms);
  }
  if (args.json) PrintJson(context, {{"stopped", true}, {"pid", pid}});
  if (!args.json) context.console.OutLine("the server has ended; instances and agents go on");
  return 0;
}

Result<int> ServerStatus(Context& context, const JsonArgs& args) {
  MUSTER_DO(HomeOpen(context.home));
  if (!Answers(context)) {
    if (args.json) {
      PrintJson(context, {{"running", false}, {"home", context.home.string()}});
    } else {
      context.console.OutLine("no server runs for " + context.home.string() + "; muster server start");
    }
    return 1;
  }
  ApiClient api(ApiSocket(context.home), CallerName());
  MUSTER_TRY(Json version, api.Ask("GET", "/v1/version"));
  if (args.json) {
    version["running"] = true;
    PrintJson(context, version);
    return 0;
  }
  const WallTime started{Duration(Number(version, "started"))};
  context.console.OutLine(fmt::format("the server runs: pid {}, version {}, home {}, for {}",
                                      Number(version, "pid"), Text(version, "version"), Text(version, "home"),
                                      ShortDuration(WallNow() - started)));
  return 0;
}

Result<int> ServerRun(Context& context, const JsonArgs&) {
  if (!context.hooks.run_server) return Error::Internal("no-server", "this program has no server in it");
  MUSTER_DO(context.hooks.run_server({context.home.string()}));
  return 0;
}

struct ServerLogArgs {
  int tail = 50;
  bool follow = false;
};

Result<int> ServerLogs(Context& context, const ServerLogArgs& args) {
  MUSTER_DO(HomeOpen(context.home));
  const fs::path path = ServerLog(context.home);
  auto text = ReadFile(path, 1u << 30);
  if (!text.ok()) {
    return Error::NotFound("nothing-runs", "no server has written a log in {}", context.home.string())
        .Hint("muster server start");
  }
  for (const std::string& line : LastLines(*text, static_cast<size_t>(std::max(0, args.tail)))) {
    context.console.OutText(line);
  }
  size_t told = text->size();
  while (args.follow) {
    std::this_thread::sleep_for(200ms);
    text = ReadFile(path, 1u << 30);
    if (!text.ok() || text->size() == told) continue;
    if (text->size() < told) told = 0;  // begun anew
    context.console.out(std::string_view(*text).substr(told));
    told = text->size();
  }
  return 0;
}

Result<int> AgentRun(Context& context, const AgentArgs& args) {
  if (!context.hooks.run_agent) return Error::Internal("no-agent", "this program has no agent in it");
  AgentArgs given = args;
  given.home = context.home.string();
  MUSTER_DO(context.hooks.run_agent(given));
  return 0;
}

// --- doctor

struct Diagnosis {
  std::string what;
  std::string state;  // "ok", "warning", "error"
  std::string text;
  std::string fix;
};

Diagnosis LookAtHome(const fs::path& home) {
  if (const Status open = HomeOpen(home); !open.ok()) {
    return {"home", "error", open.error().message(), open.error().hint()};
  }
  fs::path there = home;
  std::error_code error;
  while (!fs::exists(there, error) && there.has_parent_path() && there != there.parent_path())
    there = there.parent_path();
  if (access(there.c_str(), W_OK) != 0) {
    return {"home", "error", home.string() + " can't be written", "set MUSTER_HOME, or run as its owner"};
  }
  struct statvfs space {};
  if (statvfs(there.c_str(), &space) == 0) {
    const auto free = static_cast<int64_t>(space.f_bavail) * static_cast<int64_t>(space.f_frsize);
    if (free < (int64_t{1} << 30)) {
      return {"home", "warning", home.string() + " has only " + ShortSize(free) + " free",
              "make room on that disk"};
    }
    return {"home", "ok", home.string() + ", " + ShortSize(free) + " free", ""};
  }
  return {"home", "ok", home.string(), ""};
}

Diagnosis LookAtProgram(const std::string& program, const std::string& why) {
  const std::string path = FindProgram(program);
  if (!path.empty()) return {program, "ok", path, ""};
  const std::string package = PackageOf(program);
  return {program, "warning", "is not installed; " + why,
          package.empty() ? "install it" : "apt-get install " + package};
}

Diagnosis LookAtCgroups() {
  const LimitSupport support = LookAtLimits();
  const std::string version = fmt::format("version {}", support.version);
  if (support.memory && support.cpus) return {"cgroup", "ok", version, ""};
  const char* missing = support.memory ? "cpus" : support.cpus ? "memory" : "memory and cpus";
  return {"cgroup", "warning",
          fmt::format("{}no limits of {} for instances: {}", support.version > 0 ? version + ", " : "",
                      missing, support.why),
          support.fix};
}

Result<int> Doctor(Context& context, const JsonArgs& args) {
  std::vector<Diagnosis> all = {
      LookAtHome(context.home), LookAtCgroups(), LookAtProgram("nginx", "services of kind nginx need it"),
      geteuid() == 0
          ? LookAtProgram("ip", "rehearsed hosts are then plain addresses, not namespaces")
          : Diagnosis{"root", "ok", "runs as " + CallerName() + ": instances run as the caller", ""}};
  std::vector<std::string> findings;
  Json server = nullptr;
  if (Answers(context)) {
    ApiClient api(ApiSocket(context.home), CallerName());
    MUSTER_TRY(server, api.Ask("GET", "/v1/doctor"));
    all.push_back({"server", "ok", "answers", ""});
    for (const Json& finding : List(server, "findings")) {
      all.push_back(
          {Text(finding, "code"), Text(finding, "severity"), Text(finding, "message"), Text(finding, "fix")});
    }
  } else if (HomeOpen(context.home).ok()) {
    all.push_back({"server", "ok", "none runs; commands that need one start it", ""});
  }
  bool bad = false;
  Json list = Json::array();
  for (const Diagnosis& one : all) {
    bad |= one.state == "error";
    list.push_back({{"what", one.what}, {"state", one.state}, {"text", one.text}, {"fix", one.fix}});
  }
  if (args.json) {
    PrintJson(context, {{"checks", list}, {"server", server}, {"passed", !bad}});
    return bad ? 1 : 0;
  }
  for (const Diagnosis& one : all) {
    const Color color = one.state == "ok"      ? Color::kGreen
                        : one.state == "error" ? Color::kRed
                                               : Color::kYellow;
    context.console.OutLine(Paint(Pad(one.state, 7), color, context.console.color) + "  " + one.what + ": " +
                            one.text);
    if (!one.fix.empty()) context.console.OutLine("         fix: " + one.fix);
  }
  return bad ? 1 : 0;
}

Result<int> Version(Context& context, const JsonArgs& args) {
  if (args.json) {
    PrintJson(context, {{"version", MUSTER_VERSION}});
  } else {
    context.console.OutLine("muster " MUSTER_VERSION);
  }
  return 0;
}

struct RuleArgs : ClusterArgs {
  std::string confirm;
};

Result<int> Rule(Context& context, const RuleArgs& args) {
  MUSTER_TRY(const auto api, Connect(context, Need::kStore));
  MUSTER_TRY(const std::string key, ClusterFor(*api, args));
  const Parting parting{
      .command = "muster server rule --cluster " + key,
      .act = "having this server obeyed",
      .question =
          "Another server that is there still will be obeyed no more. Type the cluster's name to go on: "};
  MUSTER_TRY(const std::string confirm, Confirmed(context, key, args.confirm, parting));
  const Json body = {{"confirm", confirm}};
  MUSTER_TRY(const Json answer, api->Ask("POST", ClusterTarget(key, "/rule"), body));
  if (args.json) {
    PrintJson(context, answer);
  } else {
    context.console.OutLine(
        fmt::format("{} obeys this server again, of epoch {}", key, Number(answer, "epoch")));
  }
  return 0;
}

Declare<JsonArgs>& WithJson(Declare<JsonArgs>& declare) {
  return declare.Flag("json", 0, &JsonArgs::json, "Print JSON");
}

}  // namespace

void AddServerCommands(std::vector<Command>& commands) {
  Declare<JsonArgs> start("server start", "Start the server in the background");
  commands.push_back(WithJson(start).Group(kServer).Run(ServerStart));
  Declare<JsonArgs> stop("server stop", "End the server; instances and agents go on");
  commands.push_back(WithJson(stop).Group(kServer).Run(ServerStop));
  Declare<JsonArgs> status("server status", "Tell whether a server runs; exit code 1 if not");
  commands.push_back(WithJson(status).Group(kServer).Run(ServerStatus));
  Declare<RuleArgs> rule("server rule", "Have a cluster obey this server though it has seen a newer one");
  WithCluster(
      rule.Option("confirm", 0, "NAME", &RuleArgs::confirm, "The cluster's name, instead of typing it"))
      .Group(kServer)
      .More(
          "For a server whose store was brought back from a backup: agents take it for an older one that was "
          "replaced. End any other server of the cluster first. The cluster's name has to be typed, or given "
          "with --confirm; else exit code 3.")
      .Example("muster server rule --cluster shop --confirm shop");
  commands.push_back(rule.Run(Rule));

  Declare<JsonArgs> run("server run", "Be the server, in the foreground");
  commands.push_back(run.Group(kServer).Run(ServerRun));
  Declare<ServerLogArgs> logs("server logs", "Show what the server has written");
  logs.Option("tail", 'n', "LINES", &ServerLogArgs::tail, "The last so many lines; 50 where left out")
      .Flag("follow", 'f', &ServerLogArgs::follow, "Go on with what is written from now on")
      .Group(kServer);
  commands.push_back(logs.Run(ServerLogs));

  Declare<AgentArgs> agent("agent run", "Be the agent of one host of one cluster; the server starts it");
  agent.Hidden()
      .Option("cluster", 0, "KEY", &AgentArgs::cluster, "The cluster")
      .Required()
      .Option("host", 0, "NAME", &AgentArgs::host, "The host")
      .Required()
      .Option("address", 0, "ADDRESS", &AgentArgs::address, "What its instances are reached at")
      .Option("socket", 0, "PATH", &AgentArgs::socket, "Where the server listens for agents")
      .Required()
      .Flag("rehearsal", 0, &AgentArgs::rehearsal, "It is a rehearsal")
      .Option("block", 0, "C", &AgentArgs::block, "Its block of addresses, 127.77.C.0/24")
      .Option("host-number", 0, "H", &AgentArgs::host_number, "The host's number in it");
  commands.push_back(agent.Run(AgentRun));

  Declare<JsonArgs> doctor("doctor", "Look at this machine and at the server, and tell what isn't well");
  commands.push_back(WithJson(doctor).Group(kMuster).Run(Doctor));
  Declare<JsonArgs> version("version", "Print the version");
  commands.push_back(WithJson(version).Group(kMuster).Run(Version));
}

}  // namespace muster::cli
