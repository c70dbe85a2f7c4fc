// The commands that change what runs: restart, stop, start, scale, down, switchover, failover, rollback,
// resume, exec.
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "api/json.h"
#include "base/files.h"
#include "base/text.h"
#include "cli/answer.h"
#include "cli/commands.h"
#include "cli/confirm.h"
#include "cli/exec.h"
#include "cli/follow.h"
#include "cli/hints.h"
#include "cli/session.h"
#include "cli/views.h"
#include "plan/plan.h"

namespace muster::cli {
namespace {

constexpr const char* kAct = "Changing what runs";

struct ActArgs : ClusterArgs {
  bool plan_only = false;
};

template <class Args>
Declare<Args>& WithAct(Declare<Args>& declare) {
  return WithCluster(declare)
      .Flag("plan-only", 0, &Args::plan_only,
            "Show what would be done, and do nothing; exit code 2 if there is something")
      .Group(kAct);
}

// Whether no agent of the cluster is there any more; `deleted`: nor any of its folders.
bool HostsAreLeft(const fs::path& hosts, bool deleted) {
  std::error_code error;
  if (deleted) return !fs::exists(hosts, error);
  for (const auto& host : fs::directory_iterator(hosts, error)) {
    const fs::path lock = host.path() / "agent.lock";  // held as long as its agent lives
    if (fs::exists(lock, error) && !FileLock::TryTake(lock).ok()) return false;
  }
  return true;
}

// Agents leave after the run, within moments: whoever called `down` may go on to remove the home.
void AwaitHostsLeft(const fs::path& hosts, bool deleted) {
  constexpr Duration kWithin = 10s;
  for (const Time end = Now() + kWithin; Now() < end && !HostsAreLeft(hosts, deleted);) {
    std::this_thread::sleep_for(20ms);
  }
}

// Posts to the cluster, then shows the plan or follows the run. `if_nothing` is said where no run was needed.
Result<int> Act(Context& context, ApiClient& api, const std::string& key, const ActArgs& args,
                const std::string& act, Json body, const std::string& done,
                const std::string& if_nothing = "") {
  body["plan_only"] = args.plan_only;
  MUSTER_TRY(const Json started, api.Ask("POST", ClusterTarget(key, "/" + act), body));
  if (args.plan_only) {
    MUSTER_TRY(const Plan plan, api::PlanFrom(Object(started, "plan")));
    if (args.json) {
      PrintJson(context, started);
    } else {
      context.console.OutText(
          PlanText(plan, {.color = context.console.color, .columns = context.console.out_columns()}));
    }
    return plan.empty() ? 0 : 2;
  }
  if (Text(started, "run").empty()) {
    if (args.json) {
      PrintJson(context, started);
    } else {
      context.console.OutLine(if_nothing.empty() ? "nothing to do" : key + ": " + if_nothing);
    }
    return 0;
  }
  if (!args.json && (act == "start" || act == "stop")) {
    MUSTER_TRY(const Plan plan, api::PlanFrom(Object(started, "plan")));
    if (plan.empty() && plan.unreachable.empty()) {
      context.console.OutLine(key + ": nothing to do, " + (act == "start" ? "it runs" : "it is stopped") +
                              " already");
      return 0;
    }
  }
  if (!args.json && act != "stop") {  // what is stopped is told by the run
    MUSTER_TRY(const Plan plan, api::PlanFrom(Object(started, "plan")));
    for (const std::string& note : plan.notes) {
      context.console.OutLine("note: " + NameCluster(note, context.console.cluster_option));
    }
  }
  const Followed followed = FollowRun(context, api, started, args.json);
  if (followed.done && act == "down") AwaitHostsLeft(context.home / "hosts" / key, Flag(body, "delete_data"));
  if (followed.done && !args.json) {
    const int64_t target = Number(started, "rollback_to");
    const std::string size = Text(started, "size");  // what was counted
    context.console.OutLine(key + ": " + (target > 0 ? fmt::format("back at revision {}", target) : done) +
                            (size.empty() ? "" : " " + size));
  }
  return followed.exit_code;
}

struct NamesArgs : ActArgs {
  std::vector<std::string> names;
};

Result<int> ActOnNames(Context& context, const NamesArgs& args, const std::string& act,
                       const std::string& done) {
  MUSTER_TRY(const auto api, Connect(context, Need::kStore));
  MUSTER_TRY(const std::string key, ClusterFor(*api, args));
  return Act(context, *api, key, args, act, {{"names", args.names}},
             (args.names.empty() ? "all" : Join(args.names, ", ")) + " " + done);
}

Result<int> Restart(Context& context, const NamesArgs& args) {
  return ActOnNames(context, args, "restart", "restarted");
}
Result<int> Stop(Context& context, const NamesArgs& args) {
  return ActOnNames(context, args, "stop", "stopped");
}
Result<int> Start(Context& context, const NamesArgs& args) {
  return ActOnNames(context, args, "start", "started");
}

// --- scale

struct ScaleArgs : ActArgs {
  std::string service;
  std::vector<std::string> instances;
};

// Says what is wrong with the number before anything is asked for it.
Status CheckCount(const std::string& service, const std::string& instances) {
  const size_t digits = std::min(instances.find_first_not_of("0123456789"), instances.size());
  const std::string rest = instances.substr(digits);
  if (digits == 0 || digits > 6 || (!rest.empty() && rest != " per host")) {
    return Error::Invalid("bad-argument", "\"{}\" is no number of instances", instances)
        .Hint("muster scale {} 12, or: muster scale {} 5 per host", service, service);
  }
  return Done();
}

Result<int> Scale(Context& context, const ScaleArgs& args) {
  std::string service = args.service;
  std::string instances = Join(args.instances, " ");
  const size_t equals = service.find('=');  // gateway=12 is understood too
  if (equals != std::string::npos && instances.empty()) {
    instances = service.substr(equals + 1);
    service.resize(equals);
  }
  if (instances.empty()) {
    return Error::Invalid("argument-missing", "how many instances of {} are wanted?", service)
        .Hint("muster scale {} 12, or: muster scale {} \"5 per host\"", service, service);
  }
  MUSTER_DO(CheckCount(service, instances));
  MUSTER_TRY(const auto api, Connect(context, Need::kStore));
  MUSTER_TRY(const std::string key, ClusterFor(*api, args));
  return Act(context, *api, key, args, "scale", {{"service", service}, {"instances", instances}},
             service + " now has " + instances);
}

// --- down

struct DownArgs : ActArgs {
  bool delete_data = false;
  std::string confirm;
};

Result<int> Down(Context& context, const DownArgs& args) {
  MUSTER_TRY(const auto api, Connect(context, Need::kStore));
  MUSTER_TRY(const std::string key, ClusterFor(*api, args));
  // Elsewhere a file whose rehearsal alone is there means that; what takes away has to be meant.
  if (!args.file.empty() && args.cluster.empty() && !args.rehearse && key.ends_with("@rehearsal")) {
    return Error::NotFound("no-cluster", "there is no cluster {}, only its rehearsal",
                           key.substr(0, key.find('@')))
        .Hint("muster down -c {}", key);
  }
  Json body = {{"delete_data", args.delete_data}};
  if (args.delete_data && !args.plan_only) {
    const Parting parting{.command = "muster down --delete-data",
                          .act = "deleting the data of " + key,
                          .question = "This deletes all data of " + key + ". Type its name to go on: "};
    MUSTER_TRY(const std::string confirm, Confirmed(context, key, args.confirm, parting));
    body["confirm"] = confirm;
  }
  return Act(context, *api, key, args, "down", std::move(body),
             args.delete_data ? "down; the data that muster made is deleted" : "down; its data stays",
             args.delete_data ? "was down; the data that muster made is deleted"
                              : "is down already; its data stays");
}

// --- switchover, failover

constexpr Duration kRolesWithin = 3s;

struct PrimaryArgs : ClusterArgs {
  std::string service;
  std::string to;
  bool force = false;
  bool accept_loss = false;
  std::string confirm;
};

// By instance, of this service: "primary of 0-5460".
std::map<std::string, std::string> RolesIn(const Json& status, const std::string& service) {
  std::map<std::string, std::string> roles;
  for (const Json& instance : List(status, "instances")) {
    if (Text(instance, "service") == service) roles[Text(instance, "name")] = Text(instance, "role");
  }
  return roles;
}

bool IsWell(const Json& status, const std::string& service) {
  for (const Json& one : List(status, "services")) {
    if (Text(one, "name") == service) return Text(one, "health") == "green" && List(one, "unsettled").empty();
  }
  return true;
}

// Who was made a primary. The former one takes a moment to know that it is one no more.
std::vector<std::string> NewPrimaries(const std::map<std::string, std::string>& before,
                                      const std::map<std::string, std::string>& now) {
  const auto is_primary = [](const std::map<std::string, std::string>& roles, const std::string& name) {
    const auto found = roles.find(name);
    return found != roles.end() && found->second.starts_with("primary") &&
           found->second != "primary without slots";
  };
  std::vector<std::string> names;
  for (const auto& [name, role] : now) {
    if (is_primary(now, name) && !is_primary(before, name)) names.push_back(name);
  }
  return names;
}

// Says what would be lost, and has it confirmed. Code "confirm-name", and those of the server where nothing
// may be given up.
Result<Json> LossConfirmed(Context& context, ApiClient& api, const std::string& key,
                           const PrimaryArgs& args) {
  Json body = {{"service", args.service}, {"accept_loss", true}};
  const auto told = api.Ask("POST", ClusterTarget(key, "/failover"), body);
  if (told.ok()) return body;
  if (told.error().code() != "confirm-name") return told.error();
  context.console.ErrLine(key + ": " + told.error().message());
  const Parting parting{.command = "muster failover " + args.service + " --accept-loss",
                        .act = "giving up keys of " + key,
                        .question = "They can't be brought back. Type the cluster's name to go on: "};
  MUSTER_TRY(const std::string confirm, Confirmed(context, key, args.confirm, parting));
  body["confirm"] = confirm;
  return body;
}

// Waits until there is the other primary, and says who it is.
Result<int> AskMender(Context& context, const PrimaryArgs& args, const std::string& verb, Json body) {
  MUSTER_TRY(const auto api, Connect(context, Need::kStore));
  MUSTER_TRY(const std::string key, ClusterFor(*api, args));
  body["service"] = args.service;
  if (!args.to.empty()) body["to"] = args.to;
  MUSTER_TRY(Json status, api->Ask("GET", ClusterTarget(key, "")));
  const std::map<std::string, std::string> before = RolesIn(status, args.service);
  if (args.accept_loss) {
    MUSTER_TRY(body, LossConfirmed(context, *api, key, args));
  }
  MUSTER_TRY(const Json answer, api->Ask("POST", ClusterTarget(key, "/" + verb), body));
  if (args.json) {
    PrintJson(context, answer);
    return 0;
  }
  // It is done; what is shown should be what stays.
  const Time end = Now() + kRolesWithin;
  do {
    MUSTER_TRY(status, api->Ask("GET", ClusterTarget(key, "")));
    if (IsWell(status, args.service)) break;
    std::this_thread::sleep_for(50ms);
  } while (Now() < end);
  const std::map<std::string, std::string> now = RolesIn(status, args.service);
  const std::vector<std::string> made = NewPrimaries(before, now);
  context.console.OutLine(fmt::format("{}: {}", key,
                                      made.empty()       ? "nothing to do, " + args.service + " is so already"
                                      : made.size() == 1 ? made.front() + " is primary now"
                                                         : Join(made, ", ") + " are primaries now"));
  for (const auto& [instance, role] : now) context.console.OutLine(fmt::format("  {}: {}", instance, role));
  return 0;
}

Result<int> Switchover(Context& context, const PrimaryArgs& args) {
  return AskMender(context, args, "switchover", Json::object());
}
Result<int> Failover(Context& context, const PrimaryArgs& args) {
  return AskMender(context, args, "failover", {{"force", args.force}});
}

// --- rollback, resume

struct RollbackArgs : ActArgs {
  int revision = -1;  // not given
};

Result<int> Rollback(Context& context, const RollbackArgs& args) {
  MUSTER_TRY(const auto api, Connect(context, Need::kStore));
  MUSTER_TRY(const std::string key, ClusterFor(*api, args));
  if (args.revision == 0) {
    return Error::NotFound("unknown-revision", "{} has no revision 0: they count from 1", key)
        .Hint("muster history lists those that are kept");
  }
  const bool named = args.revision > 0;
  const std::string which = named ? "revision " + std::to_string(args.revision) : "the last good revision";
  return Act(context, *api, key, args, "rollback", {{"revision", named ? args.revision : 0}},
             "back at " + which);
}

Result<int> Resume(Context& context, const ClusterArgs& args) {
  MUSTER_TRY(const auto api, Connect(context, Need::kStore));
  MUSTER_TRY(const std::string key, ClusterFor(*api, args));
  MUSTER_TRY(const Json status, api->Ask("GET", ClusterTarget(key, "")));
  const bool paused = Text(status, "run_state") == "paused";
  ActArgs act;
  static_cast<ClusterArgs&>(act) = args;
  return Act(context, *api, key, act, "resume", Json::object(), "the paused run is done",
             paused ? "nothing of the paused run is left to do" : "no run is paused");
}

template <class Args>
Declare<Args>& Names(Declare<Args>& declare) {
  return declare
      .Positional("names", &Args::names, "Instances or services; the whole cluster where none is named")
      .Offers(Completes::kTarget);
}

}  // namespace

void AddActCommands(std::vector<Command>& commands) {
  Declare<NamesArgs> restart("restart", "Restart instances or services, a few at a time");
  WithAct(Names(restart)).Example("muster restart gateway").Example("muster restart gateway-3");
  commands.push_back(restart.Run(Restart));

  Declare<NamesArgs> stop("stop", "Stop instances or services; they stay stopped until start");
  WithAct(Names(stop)).Example("muster stop gateway-3");
  commands.push_back(stop.Run(Stop));

  Declare<NamesArgs> start("start", "Start what was stopped by hand");
  WithAct(Names(start)).Example("muster start gateway-3");
  commands.push_back(start.Run(Start));

  Declare<ScaleArgs> scale("scale", "Change how many instances a service has");
  WithAct(scale.Positional("service", &ScaleArgs::service, "The service")
              .Required()
              .Offers(Completes::kService)
              .Positional("instances", &ScaleArgs::instances,
                          "12, or 5 per host; of a redis-cluster the masters, of a redis the replicas"))
      .More("This is a revision of its own; the next up with the file goes back to what the file says.")
      .Example("muster scale gateway 12")
      .Example("muster scale gateway 5 per host")
      .Example("muster scale cache 4");
  commands.push_back(scale.Run(Scale));

  Declare<DownArgs> down("down", "Stop a cluster and remove it from the hosts; its data stays");
  WithAct(
      down.Flag("delete-data", 0, &DownArgs::delete_data, "Delete its data and all that is known of it too")
          .Option("confirm", 0, "NAME", &DownArgs::confirm, "The cluster's name, instead of typing it"))
      .More(
          "With --delete-data the cluster's name has to be typed, or given with --confirm; else exit code 3.")
      .Example("muster down")
      .Example("muster down --delete-data --confirm demo");
  commands.push_back(down.Run(Down));

  Declare<PrimaryArgs> switchover("switchover", "Make another instance the primary; no write is lost");
  WithCluster(switchover.Positional("service", &PrimaryArgs::service, "The service")
                  .Required()
                  .Offers(Completes::kService)
                  .Option("to", 0, "INSTANCE", &PrimaryArgs::to,
                          "The new primary; where left out, the one on the host that `prefer` names, or "
                          "where none is named the replica that lags least; of a redis-cluster, masters go "
                          "back to hosts of their own")
                  .Offers(Completes::kInstance))
      .Group(kAct)
      .More(
          "Writes wait until the replica has everything, and are refused for some milliseconds then; clients "
          "that ask again reach the new primary.")
      .Example("muster switchover cache")
      .Example("muster switchover cache --to cache-2");
  commands.push_back(switchover.Run(Switchover));

  Declare<PrimaryArgs> failover("failover", "Make a replica the primary in place of one that is gone");
  WithCluster(failover.Positional("service", &PrimaryArgs::service, "The service")
                  .Required()
                  .Offers(Completes::kService)
                  .Flag("force", 0, &PrimaryArgs::force,
                        "Though muster can't be sure that the old one is gone, or that nothing is lost")
                  .Flag("accept-loss", 0, &PrimaryArgs::accept_loss,
                        "Give slots whose keys nobody has any more out again, empty")
                  .Option("confirm", 0, "NAME", &PrimaryArgs::confirm,
                          "With --accept-loss the cluster's name, instead of typing it"))
      .Group(kAct)
      .More(
          "muster does so by itself wherever that is safe; this is for where it says why it doesn't. Even "
          "with "
          "--force it waits until a primary that was cut off certainly takes no more writes. With "
          "--accept-loss what is lost is said first, and the cluster's name has to be typed, or given with "
          "--confirm; else exit code 3.")
      .Example("muster failover cache --force")
      .Example("muster failover cache --accept-loss --confirm shop");
  commands.push_back(failover.Run(Failover));

  Declare<RollbackArgs> rollback("rollback", "Go back to an earlier revision, its files included");
  WithAct(rollback.Positional("revision", &RollbackArgs::revision,
                              "Its number; where left out, the newest before that was brought up"))
      .Example("muster rollback")
      .Example("muster rollback 3");
  commands.push_back(rollback.Run(Rollback));

  Declare<ClusterArgs> resume("resume", "Go on with a run that was paused when the server ended");
  WithCluster(resume).Group(kAct);
  commands.push_back(resume.Run(Resume));

  Declare<ExecArgs> exec("exec", "Run a command beside an instance: its user, folder and environment");
  WithCluster(exec.Positional("instance", &ExecArgs::instance, "The instance")
                  .Required()
                  .Offers(Completes::kInstance)
                  .Positional("command", &ExecArgs::command, "The command and its arguments")
                  .Rest()
                  .Flag("no-input", 'n', &ExecArgs::no_input,
                        "Let it read nothing: standard input is left to others"))
      .Group(kAct)
      .More(
          "It reads what comes on standard input, and ends with Ctrl-C. The exit code is the command's, 127 "
          "where there is no such program and 126 where it can't be run.")
      .Example("muster exec gateway-1 -- ls -l data")
      .Example("muster exec gateway-1 -- sh -c 'cat > data/seed.json' < seed.json");
  commands.push_back(exec.Run(RunExec));
}

}  // namespace muster::cli
