// The commands that begin with a cluster file: check, plan, up, render, schema.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "api/json.h"
#include "base/files.h"
#include "base/subprocess.h"
#include "base/text.h"
#include "cli/answer.h"
#include "cli/bundle.h"
#include "cli/check_here.h"
#include "cli/commands.h"
#include "cli/follow.h"
#include "cli/hints.h"
#include "cli/home.h"
#include "cli/render.h"
#include "cli/server_start.h"
#include "cli/session.h"
#include "cli/views.h"
#include "plan/plan.h"
#include "recipes/recipe.h"
#include "spec/spec.h"

namespace muster::cli {
namespace {

constexpr const char* kFile = "Files and what follows from them";

struct FileArgs {
  fs::path file = "muster.yaml";
  bool rehearse = false;
  bool json = false;
};

template <class Args>
Declare<Args>& WithFile(Declare<Args>& declare) {
  return declare.Positional("file", &Args::file, "The cluster file; ./muster.yaml where it is left out")
      .Offers(Completes::kFile)
      .Option("file", 'f', "FILE", &Args::file, "The same, as an option")
      .Offers(Completes::kFile)
      .Flag("rehearse", 0, &Args::rehearse, "All hosts on this machine, as the cluster NAME@rehearsal")
      .Flag("json", 0, &Args::json, "Print JSON");
}

Json FindingsJson(const std::vector<Finding>& findings) {
  Json json = Json::array();
  for (const Finding& finding : findings) json.push_back(api::ToJson(finding));
  return json;
}

std::string CountText(size_t count, const std::string& what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

// "2 errors, 1 warning"
std::string Count(const std::vector<Finding>& findings) {
  const auto errors = static_cast<size_t>(std::count_if(
      findings.begin(), findings.end(), [](const Finding& one) { return one.severity == Severity::kError; }));
  const size_t warnings = findings.size() - errors;
  std::string text = CountText(errors, "error");
  if (warnings > 0) text += ", " + CountText(warnings, "warning");
  return text;
}

void PrintFindings(const Context& context, const std::vector<Finding>& findings) {
  constexpr size_t kPrintedMost = 200;  // of more the first are to be mended first; --json has them all
  for (size_t i = 0; i < std::min(findings.size(), kPrintedMost); ++i) {
    context.console.ErrLine(FormatFinding(findings[i]));
  }
  if (findings.size() <= kPrintedMost) return;
  const std::vector<Finding> rest(findings.begin() + kPrintedMost, findings.end());
  context.console.ErrLine(fmt::format("… and {}; --json prints all of them", Count(rest)));
}

// Prints the findings, and with --json the error with them.
Error Refused(Context& context, const std::vector<Finding>& findings, bool json, Error refused) {
  Error error = Addressed(context.console, refused);
  PrintFindings(context, findings);
  if (json) {
    PrintJson(context, {{"error", api::ToJson(error)}, {"findings", FindingsJson(findings)}});
    context.json_printed = true;
  }
  return error;
}

Error UnsetError(const Bundle& bundle, const std::vector<Finding>& unset) {
  return Error::NotFound("secret-missing", "{} needs {} that {} not set; nothing was done",
                         bundle.cluster.key(), CountText(unset.size(), "secret"),
                         unset.size() == 1 ? "is" : "are");
}

// Loads the file and prints what is wrong with it. Where there are errors the bundle is no use: code
// "file-invalid".
Result<Bundle> LoadGood(Context& context, const FileArgs& args) {
  MUSTER_TRY(Bundle bundle, LoadBundle(args.file, args.rehearse));
  if (HasErrors(bundle.findings)) {
    return Refused(context, bundle.findings, args.json,
                   Error::Invalid("file-invalid", "{} has {}; nothing was done", bundle.file_name,
                                  Count(bundle.findings)));
  }
  PrintFindings(context, bundle.findings);
  return bundle;
}

// --- check

struct CheckArgs : FileArgs {
  bool file_only = false;
};

// What the file is warned of beside its rehearsal, where nobody reaches what runs and all hosts are this one:
// "no-password, quorum-on-one-host". Up of the file itself would tell it first.
std::string ToldOfHosts(const fs::path& file, const std::vector<Finding>& rehearsed) {
  const auto bundle = LoadBundle(file, false);
  std::set<std::string> told, more;
  for (const Finding& finding : rehearsed) told.insert(finding.code);
  if (!bundle.ok()) return "";
  for (const Finding& finding : bundle->findings) {
    if (!told.contains(finding.code)) more.insert(finding.code);
  }
  return Join(std::vector<std::string>(more.begin(), more.end()), ", ");
}

Result<int> Check(Context& context, const CheckArgs& args) {
  MUSTER_TRY(Bundle bundle, LoadBundle(args.file, args.rehearse));
  size_t instances = 0;
  // Layouts stand on a file that is right.
  if (!HasErrors(bundle.findings)) {
    const auto desired = plan::LayOutCluster(bundle.cluster, {}, MaskedSecrets());
    if (!desired.ok()) {
      Finding finding;
      finding.file = bundle.file_name;
      finding.code = desired.error().code();
      finding.message = desired.error().message();
      finding.fix = desired.error().hint();
      bundle.findings.push_back(std::move(finding));
    } else {
      instances = desired->instances.size();
      if (!args.file_only) {
        MUSTER_DO(HomeOpen(context.home));
        ApiClient api(ApiSocket(context.home), CallerName());
        const bool answers = SocketAnswers(ApiSocket(context.home));
        for (Finding& finding : CheckHere(context, bundle, desired->instances, answers ? &api : nullptr)) {
          bundle.findings.push_back(std::move(finding));
        }
        // Of a server that was here and isn't now nobody knows which are set.
        if (answers || !StoreExists(context.home)) {
          MUSTER_TRY(const std::vector<Finding> unset,
                     CheckSecrets(bundle, desired->instances, answers ? &api : nullptr));
          bundle.findings.insert(bundle.findings.end(), unset.begin(), unset.end());
        }
        SortFindings(bundle.findings, bundle.file_name);
      }
    }
  }
  const bool bad = HasErrors(bundle.findings);
  if (args.json) {
    PrintJson(context, {{"findings", FindingsJson(bundle.findings)}, {"passed", !bad}});
    return bad ? 1 : 0;
  }
  PrintFindings(context, bundle.findings);
  if (bad) {
    context.console.ErrLine(Count(bundle.findings));
    return 1;
  }
  const Cluster& cluster = bundle.cluster;
  context.console.OutLine(
      fmt::format("{} is right: {} of {} on {}", bundle.file_name, CountText(instances, "instance"),
                  CountText(cluster.services.size(), "service"), CountText(cluster.hosts.size(), "host")));
  if (args.rehearse) {
    const std::string more = ToldOfHosts(args.file, bundle.findings);
    if (!more.empty())
      context.console.OutLine(
          fmt::format("on its own hosts it is warned of {} too: muster check {}", more, bundle.file_name));
  }
  return 0;
}

// --- plan

struct PlanArgs : FileArgs {
  bool refresh = false;
  std::vector<std::string> restart;
};

Json Options(bool refresh, const std::vector<std::string>& restart) {
  return {{"refresh", refresh}, {"restart", restart}};
}

// The server would refuse it too, but knows neither the file's name nor its place.
Status RefuseUnsetSecrets(Context& context, const Bundle& bundle, ApiClient* api, bool json) {
  const auto desired = plan::LayOutCluster(bundle.cluster, {}, MaskedSecrets());
  if (!desired.ok()) return Done();
  MUSTER_TRY(const std::vector<Finding> unset, CheckSecrets(bundle, desired->instances, api));
  if (unset.empty()) return Done();
  return Refused(context, unset, json, UnsetError(bundle, unset));
}

// Nothing has ever run here: the plan follows from the file alone, and nothing needs to be started for it.
Result<Plan> PlanFromNothing(Context& context, const Bundle& bundle, const PlanArgs& args) {
  MUSTER_DO(RefuseUnsetSecrets(context, bundle, nullptr, args.json));
  MUSTER_TRY(const plan::Desired desired, plan::LayOutCluster(bundle.cluster, {}, {}));
  plan::Situation situation;
  situation.revision = 1;
  return plan::MakePlan(bundle.cluster, desired, situation);
}

Result<Plan> PlanFromServer(Context& context, const Bundle& bundle, const PlanArgs& args) {
  MUSTER_TRY(const auto api, Connect(context, Need::kServer));
  MUSTER_DO(RefuseUnsetSecrets(context, bundle, api.get(), args.json));
  Json body = BundleJson(bundle);
  body["options"] = Options(args.refresh, args.restart);
  MUSTER_TRY(const Json answer, api->Ask("POST", "/v1/plan", body));
  return api::PlanFrom(Object(answer, "plan"));
}

Result<int> MakePlan(Context& context, const PlanArgs& args) {
  MUSTER_TRY(const Bundle bundle, LoadGood(context, args));
  MUSTER_DO(HomeOpen(context.home));
  const bool known = SocketAnswers(ApiSocket(context.home)) || StoreExists(context.home);
  MUSTER_TRY(const Plan plan,
             known ? PlanFromServer(context, bundle, args) : PlanFromNothing(context, bundle, args));
  if (args.json) {
    PrintJson(context, {{"plan", api::ToJson(plan)}, {"findings", FindingsJson(bundle.findings)}});
  } else {
    context.console.OutText(
        PlanText(plan, {.color = context.console.color, .columns = context.console.out_columns()}));
    if (!plan.empty() && context.console.out_is_terminal && known) {
      context.console.OutLine(fmt::format("\nmuster up {}{} --plan {} does this and nothing else",
                                          args.file.string(), args.rehearse ? " --rehearse" : "", plan.id));
    }
  }
  return plan.empty() ? 0 : 2;
}

// --- up

struct UpArgs : PlanArgs {
  std::string plan;
  std::string note;
  bool skip_checks = false;
};

// Sends the files that the server doesn't have yet.
Status UploadBlobs(ApiClient& api, const Bundle& bundle) {
  std::map<std::string, fs::path> paths;  // by digest
  for (const auto& [path, file] : bundle.cluster.files) {
    if (!bundle.unsent.contains(path)) paths[file.sha256] = bundle.paths.at(path);
  }
  if (paths.empty()) return Done();
  Json wanted = Json::array();
  for (const auto& [sha256, path] : paths) wanted.push_back(sha256);
  MUSTER_TRY(const Json answer, api.Ask("POST", "/v1/blobs/missing", {{"sha256", wanted}}));
  for (const Json& missing : List(answer, "missing")) {
    const auto found = missing.is_string() ? paths.find(missing.get<std::string>()) : paths.end();
    if (found == paths.end()) continue;
    MUSTER_TRY(std::string bytes, ReadFile(found->second, 512u << 20));
    auto sent = api.SendBytes("/v1/blobs/" + found->first, std::move(bytes));
    if (!sent.ok()) return std::move(sent).error().While("sending {}", found->second.string());
  }
  return Done();
}

Result<int> Summarise(Context& context, ApiClient& api, const std::string& key, Duration took) {
  MUSTER_TRY(const Json status, api.Ask("GET", ClusterTarget(key)));
  const View view{context.console.color, context.console.out_columns(), WallNow()};
  context.console.OutLine("");
  context.console.out(SummaryText(status, context.console.cluster_option, took, view));
  return 0;
}

// What is missing here is told before anything is stopped or started for it.
Status CheckBeforeUp(Context& context, const Bundle& bundle, ApiClient& api, const UpArgs& args) {
  const auto desired = plan::LayOutCluster(bundle.cluster, {}, MaskedSecrets());
  if (!desired.ok()) return Done();  // the server says the same
  std::vector<Finding> findings;
  if (!args.skip_checks) findings = CheckHere(context, bundle, desired->instances, &api);
  const bool fit = !HasErrors(findings);
  MUSTER_TRY(const std::vector<Finding> unset, CheckSecrets(bundle, desired->instances, &api));
  if (fit && unset.empty()) {
    // What holds for whatever is rehearsed without root is left to check.
    std::erase_if(findings, [](const Finding& one) { return one.code == "rehearsal-plain"; });
    SortFindings(findings, bundle.file_name);
    PrintFindings(context, findings);
    return Done();
  }
  findings.insert(findings.end(), unset.begin(), unset.end());
  SortFindings(findings, bundle.file_name);
  if (fit) return Refused(context, findings, args.json, UnsetError(bundle, unset));
  // The server refuses hosts elsewhere whatever was looked at before.
  const bool refused_anyhow = std::any_of(findings.begin(), findings.end(),
                                          [](const Finding& one) { return one.code == "host-elsewhere"; });
  return Refused(
      context, findings, args.json,
      Error::Invalid("machine-unfit", "this machine can't run {} yet: {}; nothing was done", bundle.file_name,
                     Count(findings))
          .Hint("{}", refused_anyhow ? "mend that" : "mend that; up --skip-checks tries it all the same"));
}

// The file is the cluster's newest revision now and no instance had to be touched for it, maybe since they
// are stopped by hand: then there is nowhere to point a browser to.
Result<int> NothingMoved(Context& context, ApiClient& api, const std::string& key, const std::string& file) {
  const auto status = api.Ask("GET", ClusterTarget(key));
  const size_t held = status.ok() ? List(*status, "held").size() : 0;
  context.console.OutLine("nothing to do: " + key + " is as " + file + " says" + (held > 0 ? ", but" : ""));
  if (held > 0) {
    context.console.OutLine(
        fmt::format("{} {} stopped by hand; ", CountText(held, "instance"), held == 1 ? "is" : "are") +
        NameCluster("muster start brings them back", context.console.cluster_option));
  }
  return 0;
}

// The same once more, for a shell.
std::string UpAgain(const UpArgs& args) {
  const std::string file = args.file.string();
  const bool plain = std::all_of(file.begin(), file.end(), [](unsigned char letter) {
    return std::isalnum(letter) != 0 ||
           std::string_view("/._-+,@%:=").find(static_cast<char>(letter)) != std::string_view::npos;
  });
  std::string quoted;
  for (const char letter : file) quoted += letter == '\'' ? std::string("'\\''") : std::string(1, letter);
  return "muster up " + (plain ? file : "'" + quoted + "'") + (args.rehearse ? " --rehearse" : "");
}

// What there is to know of a plan beside its steps.
void SayNotes(const Plan& plan, Context& context) {
  for (const std::string& note : plan.notes) {
    context.console.OutLine("note: " + NameCluster(note, context.console.cluster_option));
  }
}

Result<int> Up(Context& context, const UpArgs& args) {
  const Time start = Now();
  MUSTER_TRY(const Bundle bundle, LoadGood(context, args));
  MUSTER_TRY(const auto api, Connect(context, Need::kServer));
  MUSTER_DO(CheckBeforeUp(context, bundle, *api, args));
  MUSTER_DO(UploadBlobs(*api, bundle));
  Json body = BundleJson(bundle);
  body["options"] = Options(args.refresh, args.restart);
  body["plan_id"] = args.plan;
  if (!args.note.empty()) body["note"] = args.note;
  MUSTER_TRY(const Json started, api->Ask("POST", "/v1/up", body));
  const std::string named = Text(started, "cluster");
  const std::string key = named.empty() ? bundle.cluster.key() : named;
  if (Text(started, "run").empty()) {
    if (args.json) {
      PrintJson(context, started);
    } else {
      MUSTER_TRY(const Plan plan, api::PlanFrom(Object(started, "plan")));
      context.console.OutLine("nothing to do: " + key + " is as " + bundle.file_name + " says");
      if (const auto known = KnownClusters(*api); known.ok()) {
        context.console.cluster_option = ClusterOption(*known, key);
      }
      SayNotes(plan, context);
    }
    return 0;
  }
  if (const auto known = KnownClusters(*api); known.ok()) {
    context.console.cluster_option = ClusterOption(*known, key);
  }
  if (!args.json) {
    MUSTER_TRY(const Plan plan, api::PlanFrom(Object(started, "plan")));
    if (plan.empty()) return NothingMoved(context, *api, key, bundle.file_name);
    SayNotes(plan, context);
  }
  const Followed followed = FollowRun(context, *api, started, args.json, UpAgain(args));
  if (!followed.done || args.json) return followed.exit_code;
  return Summarise(context, *api, key, Now() - start);
}

// --- render, schema

struct RenderArgs : FileArgs {
  std::string to = "files";
  fs::path out = "rendered";
};

Result<int> Render(Context& context, const RenderArgs& args) {
  MUSTER_TRY(const Bundle bundle, LoadGood(context, args));
  MUSTER_TRY(const plan::Desired desired, plan::LayOutCluster(bundle.cluster, {}, MaskedSecrets()));
  MUSTER_TRY(const size_t files, RenderToFiles(bundle, desired.instances, args.out));
  if (args.json) {
    PrintJson(context,
              {{"folder", args.out.string()}, {"instances", desired.instances.size()}, {"files", files}});
  } else {
    context.console.OutLine(fmt::format("{}: {} of {}", args.out.string(), CountText(files, "file"),
                                        CountText(desired.instances.size(), "instance")));
  }
  return 0;
}

struct SchemaArgs {
  bool json = false;
};

Result<int> Schema(Context& context, const SchemaArgs&) {
  spec::Shapes shapes;
  for (const auto& [kind, recipe] : AllRecipes()) shapes.emplace(kind, recipe.layout->SettingsShape());
  context.console.OutText(spec::SchemaText(shapes));
  return 0;
}

}  // namespace

void AddFileCommands(std::vector<Command>& commands) {
  Declare<CheckArgs> check("check",
                           "Find everything that is wrong with a cluster file, and with this machine for it");
  WithFile(check)
      .Flag("file-only", 0, &CheckArgs::file_only, "Look at the file alone, not at this machine")
      .Group(kFile)
      .More(
          "Every problem comes with its place, a stable code and what to do; docs/findings.md lists the "
          "codes.\n"
          "For hosts that are this machine it also looks for programs that aren't installed and ports that\n"
          "something else has taken. Exit code 1 where there is an error.")
      .Example("muster check demo.yaml");
  commands.push_back(check.Run(Check));

  Declare<PlanArgs> plan("plan", "Show what up would do, and do nothing");
  WithFile(plan)
      .Flag("refresh", 0, &PlanArgs::refresh, "Also what only a newer muster would write differently")
      .Option("restart", 0, "NAME", &PlanArgs::restart, "Restart this instance or service too")
      .Group(kFile)
      .More(
          "Writes nothing. Exit code 0: nothing to do, 2: there are changes. Where a server has been here "
          "before\n"
          "and none runs, one is started: only it knows what stands. After a reboot its agents then start\n"
          "what ran before.")
      .Example("muster plan demo.yaml --rehearse");
  commands.push_back(plan.Run(MakePlan));

  Declare<UpArgs> up("up", "Bring a cluster to what its file says");
  WithFile(up)
      .Option("plan", 0, "ID", &UpArgs::plan, "Do exactly the plan with this id; refuse if things have moved")
      .Option("note", 0, "TEXT", &UpArgs::note, "What this revision is for, for the history")
      .Flag("skip-checks", 0, &UpArgs::skip_checks,
            "Don't look for missing programs and taken ports first, as check does")
      .Flag("refresh", 0, &UpArgs::refresh, "Also apply what only a newer muster writes differently")
      .Option("restart", 0, "NAME", &UpArgs::restart, "Restart this instance or service too")
      .Group(kFile)
      .More(
          "Starts the server in the background if none runs. Ctrl-C cancels: what is under way ends, what "
          "was\n"
          "taken out is put back; a second Ctrl-C leaves at once and the server goes on.")
      .Example("muster up demo.yaml --rehearse");
  commands.push_back(up.Run(Up));

  Declare<RenderArgs> render("render", "Write what would stand on the hosts into a folder");
  WithFile(render)
      .Option("to", 0, "FORM", &RenderArgs::to, "The form")
      .OneOf({"files"})
      .Option("out", 'o', "FOLDER", &RenderArgs::out,
              "The folder, new or empty; ./rendered where it is left out")
      .Offers(Completes::kFolder)
      .Group(kFile)
      .More(
          "For each instance its files, its command and its environment. Secrets stay {{secret.NAME}}, and\n"
          "what an env_file gives isn't shown.")
      .Example("muster render demo.yaml --to files --out /tmp/demo");
  commands.push_back(render.Run(Render));

  Declare<SchemaArgs> schema("schema", "Print the JSON Schema of cluster files, for editors");
  schema.Flag("json", 0, &SchemaArgs::json, "Print JSON, which it does anyway")
      .Group(kFile)
      .Example("muster schema > muster.schema.json");
  commands.push_back(schema.Run(Schema));
}

}  // namespace muster::cli
