// Requests about clusters.
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "api/fields.h"
#include "api/json.h"
#include "base/text.h"
#include "control/outcomes.h"
#include "model/listens.h"
#include "model/up_command.h"
#include "net/addresses.h"
#include "plan/explain.h"
#include "recipes/recipe.h"
#include "recipes/size.h"
#include "server/api.h"

namespace muster::server {
namespace {

constexpr Duration kFirstLook = 5s;
constexpr int kRunsLookedAt = 1500;  // for what became of revisions: all the store keeps, about

Json FindingsJson(const std::vector<Finding>& findings) {
  Json json = Json::array();
  for (const Finding& finding : findings) json.push_back(api::ToJson(finding));
  return json;
}

Error BadFile(const std::vector<Finding>& findings) {
  size_t errors = 0;
  for (const Finding& finding : findings) errors += finding.severity == Severity::kError;
  return Error::Invalid("bad-cluster-file", "the cluster file has {} error{}", errors,
                        errors == 1 ? "" : "s");
}

// Names of services and instances in `options.restart` as the controller wants them: instances.
Result<control::PlanOptions> OptionsFrom(const Json& body) {
  control::PlanOptions options;
  if (!body.contains("options")) return options;
  std::vector<std::string> restart;
  MUSTER_DO(api::Fields(body["options"], "options")
                .Bool("refresh", options.refresh)
                .Texts("restart", restart)
                .Give(Ok{}));
  options.restart = {restart.begin(), restart.end()};
  return options;
}

Health Worst(const std::vector<control::ServiceStatus>& services) {
  Health worst = Health::kGreen;
  for (const control::ServiceStatus& service : services) worst = std::max(worst, service.health.health);
  return worst;
}

// Nothing runs of a cluster that is down: it is neither well nor ill.
std::string_view HealthOf(const control::Controller& controller, Health health) {
  return controller.down() ? "down" : HealthName(health);
}

int Most(const Call& call, int fallback) {
  const auto query = call.request->query();
  const auto found = query.find("most");
  return found == query.end() ? fallback : std::clamp(std::atoi(found->second.c_str()), 1, 10000);
}

// Without what stands in files that are secret: a private key, env_file.
Json ShownBundle(const store::RevisionRow& row) {
  auto bundle = api::ParseJson(control::FilesOf(row));
  if (!bundle.ok() || !bundle->is_object()) return Json::object();
  if (!bundle->contains("files") || !(*bundle)["files"].is_object()) return *bundle;
  const spec::Parsed parsed = spec::ParseCluster(row.text, row.file_name, Clusters::RecipeShapes());
  std::set<std::string> secret;
  for (const spec::FileReference& file : spec::FilesIn(parsed.cluster, Clusters::RecipeShapes())) {
    if (file.secret) secret.insert(file.path);
  }
  for (auto& [path, file] : (*bundle)["files"].items()) {
    // Of a file that this release can't read nobody knows what is secret.
    if (!file.is_object() || (parsed.shape_ok && !secret.contains(path))) continue;
    file.erase("text");
    file["secret"] = true;
  }
  return *bundle;
}

// Those of an instance that the cluster file doesn't have any more. Its agent tells the numbers, in the order
// of the names: these are those of its fellows.
void AddLeftPorts(const control::Controller& controller, const std::string& service, const Listens& listens,
                  Json& json) {
  std::vector<std::string> names;
  for (const Instance& fellow : controller.desired()) {
    if (fellow.service != service || fellow.ports.size() != listens.ports.size()) continue;
    for (const auto& [name, range] : fellow.ports) names.push_back(name);
    break;
  }
  for (size_t i = 0; i < listens.ports.size(); ++i) {
    const std::string name = !names.empty()              ? names[i]
                             : listens.ports.size() == 1 ? "port"
                                                         : fmt::format("port-{}", i + 1);
    json["ports"][name] = listens.ports[i].first;
    if (listens.ports[i].count > 1) json["port_counts"][name] = listens.ports[i].count;
  }
}

}  // namespace

Api::Api(Dependencies dependencies) : deps_(std::move(dependencies)) {}

Result<std::shared_ptr<control::Controller>> Api::FindController(const Call& call) {
  auto found = deps_.clusters->Find(call.part("cluster"));
  if (found && found->row().revision > 0) return found;
  std::vector<std::string> known;
  for (const auto& controller : deps_.clusters->All()) known.push_back(controller->row().key);
  return Error::NotFound("unknown-cluster", "there is no cluster {}", call.part("cluster"))
      .Hint("{}", known.empty() ? "bring one up: muster up FILE" : "known are: " + Join(known, ", "));
}

Json Api::InstanceJson(const control::Controller& controller, const Instance* desired,
                       const Observed& observed) {
  Observed shown = observed;
  shown.drift = plan::ShownDrift(desired, std::move(shown.drift));
  Json json = api::ToJson(shown);
  json.erase("parts");
  if (observed.pid <= 0) json["pid"] = nullptr;  // `kill 0` would end the caller's own group
  json["held"] = controller.held().contains(observed.name);
  json["ports"] = Json::object();
  if (desired) {
    json["kind"] = desired->kind;
    json["address"] = desired->address;
    for (const auto& [name, range] : desired->ports) {
      json["ports"][name] = range.first;
      if (range.count > 1) json["port_counts"][name] = range.count;
    }
  }
  return json;
}

Json Api::InstancesJson(const control::Controller& controller) {
  Json instances = Json::array();
  std::map<std::string, Observed> left = controller.observed();
  const std::map<std::string, std::string> roles = controller.Roles();
  for (const Instance& desired : controller.desired()) {
    Observed observed{.name = desired.name, .service = desired.service, .host = desired.host};
    if (const auto found = left.find(desired.name); found != left.end()) {
      observed = std::move(found->second);
      left.erase(found);
    }
    if (!controller.connected(desired.host)) observed.state = InstanceState::kUnknown;
    instances.push_back(InstanceJson(controller, &desired, observed));
    if (const auto role = roles.find(desired.name); role != roles.end())
      instances.back()["role"] = role->second;
  }
  for (const auto& [name, observed] : left) {
    if (observed.state == InstanceState::kAbsent) continue;
    instances.push_back(InstanceJson(controller, nullptr, observed));
    const Listens listens = ListensOf(observed);
    instances.back()["address"] = listens.address;
    AddLeftPorts(controller, observed.service, listens, instances.back());
    if (const auto role = roles.find(name); role != roles.end()) instances.back()["role"] = role->second;
  }
  return instances;
}

Answer Api::Started(const control::Controller& controller, const control::StartedRun& started) {
  Json json{{"cluster", controller.row().key}, {"run", started.run}, {"plan", api::ToJson(started.plan)}};
  if (started.goes_back) json["goes_back"] = true;
  return Good(std::move(json));
}

net::Task<Answer> Api::Check(Call call) {
  const auto incoming = IncomingFrom(*call.body);
  if (!incoming.ok()) co_return Bad(incoming.error());
  const auto accepted = deps_.clusters->Accept(*incoming, call.who);
  if (!accepted.ok()) co_return Bad(accepted.error());
  co_return Good({{"findings", FindingsJson(accepted->findings)}});
}

net::Task<Answer> Api::MakePlan(Call call) {
  const auto incoming = IncomingFrom(*call.body);
  if (!incoming.ok()) co_return Bad(incoming.error());
  const auto options = OptionsFrom(*call.body);
  if (!options.ok()) co_return Bad(options.error());
  auto accepted = deps_.clusters->Accept(*incoming, call.who);
  if (!accepted.ok()) co_return Bad(accepted.error());
  if (HasErrors(accepted->findings)) co_return Bad(BadFile(accepted->findings), accepted->findings);
  const auto plan = co_await accepted->controller->MakePlan(accepted->bundle, *options);
  if (!plan.ok()) co_return Bad(plan.error(), accepted->findings);
  co_return Good({{"plan", api::ToJson(*plan)}, {"findings", FindingsJson(accepted->findings)}});
}

net::Task<Answer> Api::BlobsMissing(Call call) {
  std::vector<std::string> digests;
  const Status read = api::Fields(*call.body, "body").Texts("sha256", digests).Give(Ok{});
  if (!read.ok()) co_return Bad(read.error());
  Json missing = Json::array();
  for (const std::string& digest : digests) {
    if (!deps_.store->HasBlob(digest)) missing.push_back(digest);
  }
  co_return Good({{"missing", missing}});
}

net::Task<Answer> Api::PutBlob(Call call) {
  const std::string& digest = call.part("sha256");
  if (digest.size() != 64 || digest.find_first_not_of("0123456789abcdef") != std::string::npos) {
    co_return Bad(Error::Invalid("bad-digest", "{} is not a SHA-256 in hex", digest));
  }
  // To hash some hundred MiB and to have them on the disk takes seconds, in which the server does other
  // things.
  std::function<Status()> write = [store = deps_.store, digest, request = call.request] {
    return store->WriteBlob(digest, request->body);
  };
  Status stored = co_await deps_.loop->Blocking(std::move(write));
  // One that nobody uses yet may have been cleaned away in between.
  if (stored.ok() && !deps_.store->HasBlob(digest)) stored = deps_.store->PutBlob(digest, call.request->body);
  if (!stored.ok()) co_return Bad(stored.error());
  co_return Good(Json::object());
}

net::Task<Answer> Api::Begin(Accepted accepted, std::string plan_id, control::PlanOptions options) {
  if (HasErrors(accepted.findings)) co_return Bad(BadFile(accepted.findings), accepted.findings);
  // Two first `up` of one cluster at once meet in one controller.
  const bool is_new = accepted.controller->row().revision == 0;
  if (const auto kept = deps_.clusters->Find(accepted.controller->row().key)) accepted.controller = kept;
  const std::shared_ptr<control::Controller> controller = accepted.controller;
  if (is_new) deps_.clusters->Keep(controller);
  for (const auto& [path, file] : accepted.bundle.cluster.files) {
    if (!options.plan_only && !file.sha256.empty() && !deps_.store->HasBlob(file.sha256) &&
        file.text.empty() && file.size > 0) {
      if (is_new && controller->idle()) deps_.clusters->Forget(controller->row().key);
      co_return Bad(Error::Invalid("blob-missing", "the content of {} was not sent", path)
                        .Hint("send it first: PUT /v1/blobs/{}", file.sha256));
    }
  }
  const auto started = co_await controller->Up(std::move(accepted.bundle), plan_id, options);
  if (!started.ok()) {
    if (controller->row().revision == 0 && controller->idle()) {
      deps_.clusters->Forget(controller->row().key);
    }
    co_return Bad(started.error(), accepted.findings);
  }
  Answer answer = Started(*controller, *started);
  (*answer.body)["findings"] = FindingsJson(accepted.findings);
  co_return answer;
}

net::Task<Answer> Api::Up(Call call) {
  const auto incoming = IncomingFrom(*call.body);
  if (!incoming.ok()) co_return Bad(incoming.error());
  const auto options = OptionsFrom(*call.body);
  if (!options.ok()) co_return Bad(options.error());
  std::string plan_id;
  const Status read = api::Fields(*call.body, "body").Text("plan_id", plan_id).Give(Ok{});
  if (!read.ok()) co_return Bad(read.error());
  auto accepted = deps_.clusters->Accept(*incoming, call.who);
  if (!accepted.ok()) co_return Bad(accepted.error());
  co_return co_await Begin(std::move(*accepted), plan_id, *options);
}

net::Task<Answer> Api::ListClusters(Call) {
  Json clusters = Json::array();
  for (const auto& controller : deps_.clusters->All()) {
    const store::ClusterRow& row = controller->row();
    if (row.revision == 0) continue;
    co_await controller->FirstLook(kFirstLook);
    clusters.push_back({{"cluster", row.key},
                        {"name", row.name},
                        {"rehearsal", row.rehearsal},
                        {"revision", row.revision},
                        {"health", HealthOf(*controller, Worst(controller->ServiceStates()))},
                        {"down", controller->down()},
                        {"run", controller->active_run()}});
  }
  co_return Good({{"clusters", clusters}});
}

net::Task<Answer> Api::ClusterStatus(Call call) {
  const auto found = FindController(call);
  if (!found.ok()) co_return Bad(found.error());
  const std::shared_ptr<control::Controller> kept = *found;
  co_await kept->FirstLook(kFirstLook);
  const control::Controller& controller = *kept;
  const store::ClusterRow& row = controller.row();
  const auto services = controller.ServiceStates();
  Json reasons = Json::array(), service_list = Json::array(), hosts = Json::array(), held = Json::array();
  for (const control::ServiceStatus& service : services) {
    for (const std::string& reason : service.health.reasons) reasons.push_back(service.name + ": " + reason);
    service_list.push_back({{"name", service.name},
                            {"kind", service.kind},
                            {"health", HealthOf(controller, service.health.health)},
                            {"reasons", service.health.reasons},
                            {"unsettled", service.health.unsettled},
                            {"ready", service.ready},
                            {"wanted", service.wanted}});
  }
  std::set<std::string> used;
  for (const Instance& instance : controller.desired()) used.insert(instance.host);
  for (const Host& host : controller.cluster().hosts) {
    hosts.push_back({{"name", host.name},
                     {"address", host.address},
                     {"used", used.contains(host.name)},
                     {"connected", controller.connected(host.name)},
                     {"cut", controller.cut_hosts().contains(host.name)}});
  }
  for (const std::string& host : controller.cut_hosts()) {
    reasons.push_back(fmt::format("{} is cut off: muster host heal {}", host, host));
  }
  for (const auto& [instance, why] : controller.held()) held.push_back(instance);
  // Where to point a browser: what other services don't stand in front of.
  std::set<std::string> behind;
  for (const Instance& instance : controller.desired()) {
    for (const std::string& member : instance.fronts) behind.insert(member);
  }
  Json endpoints = Json::array();
  for (const Instance& instance : controller.desired()) {
    const Recipe* recipe = FindRecipe(instance.kind);
    if (behind.contains(instance.name) || (recipe && !recipe->for_browsers)) continue;
    for (const auto& [name, range] : instance.ports) {
      if (range.udp || name == "status") continue;
      const bool tls = name == "https" || name.starts_with("tls");
      endpoints.push_back(
          {{"service", instance.service}, {"url", net::WebUrl(tls, instance.address, range.first)}});
    }
  }
  std::string run_state, run = controller.active_run();
  Json last_run = nullptr, active_run = nullptr;
  if (const auto progress = controller.ActiveRun()) {
    run_state = progress->row.state;
    active_run = RunJson(*progress);
  } else if (const auto runs = deps_.store->Runs(row.key, 1); runs.ok() && !runs->empty()) {
    const store::RunRow& last = runs->front();
    run_state = last.state;
    if (run_state == "paused") run = last.id;
    last_run = RunJson(last);
  }
  co_return Good({{"cluster", row.key},
                  {"name", row.name},
                  {"rehearsal", row.rehearsal},
                  {"revision", row.revision},
                  {"health", HealthOf(controller, Worst(services))},
                  {"reasons", reasons},
                  {"down", controller.down()},
                  {"run", run},
                  {"run_state", run_state},
                  {"last_run", last_run},
                  {"active_run", active_run},
                  {"services", service_list},
                  {"hosts", hosts},
                  {"instances", InstancesJson(controller)},
                  {"endpoints", endpoints},
                  {"held", held}});
}

net::Task<Answer> Api::Instances(Call call) {
  const auto found = FindController(call);
  if (!found.ok()) co_return Bad(found.error());
  const std::shared_ptr<control::Controller> kept = *found;
  co_await kept->FirstLook(kFirstLook);
  co_return Good({{"instances", InstancesJson(*kept)}});
}

net::Task<Answer> Api::Act(Call call, std::string action) {
  const auto found = FindController(call);
  if (!found.ok()) co_return Bad(found.error());
  const std::shared_ptr<control::Controller> controller = *found;
  control::PlanOptions options;
  std::vector<std::string> names;
  std::string confirm;
  const Status read = api::Fields(*call.body, "body")
                          .Texts("names", names)
                          .Bool("plan_only", options.plan_only)
                          .Bool("delete_data", options.delete_data)
                          .Text("confirm", confirm)
                          .Give(Ok{});
  if (!read.ok()) co_return Bad(read.error());
  if (action != "down") options.delete_data = false;
  const bool confirmed = confirm == controller->row().name || confirm == controller->row().key;
  if (options.delete_data && !options.plan_only && !confirmed) {
    co_return Bad(
        Error::Refused("confirm-name", "deleting the data of {} needs its name typed", controller->row().key)
            .Hint("muster down --delete-data --confirm {}", controller->row().name));
  }
  const auto started = co_await controller->Act(action, names, options, call.who);
  if (!started.ok()) co_return Bad(started.error());
  co_return this->Started(*controller, *started);
}

net::Task<Answer> Api::Restart(Call call) { return Act(std::move(call), "restart"); }
net::Task<Answer> Api::Stop(Call call) { return Act(std::move(call), "stop"); }
net::Task<Answer> Api::Start(Call call) { return Act(std::move(call), "start"); }
net::Task<Answer> Api::Down(Call call) { return Act(std::move(call), "down"); }

net::Task<Answer> Api::Scale(Call call) {
  const auto found = FindController(call);
  if (!found.ok()) co_return Bad(found.error());
  std::string service, instances;
  control::PlanOptions options;
  const Status read = api::Fields(*call.body, "body")
                          .Text("service", service)
                          .Text("instances", instances)
                          .Bool("plan_only", options.plan_only)
                          .Give(Ok{});
  if (!read.ok()) co_return Bad(read.error());
  if ((*found)->down()) {
    co_return Bad(
        Error::Conflict("cluster-down", "{} is down: there is nothing to scale", (*found)->row().key)
            .Hint("bring it up again: {}", UpCommand((*found)->row().key)));
  }
  auto scaled = deps_.clusters->Scaled(*found, service, instances, call.who);
  if (!scaled.ok()) co_return Bad(scaled.error());
  const Service* counted = scaled->bundle.cluster.FindService(service);
  const Recipe* recipe = counted ? FindRecipe(counted->kind) : nullptr;
  const std::string size = recipe ? SizeKeyOf(*recipe) : "";
  std::string any_plan;
  Answer answer = co_await Begin(std::move(*scaled), std::move(any_plan), options);
  if (answer.body && answer.body->contains("run")) (*answer.body)["size"] = size;
  co_return answer;
}

net::Task<Answer> Api::Switchover(Call call) { return AskMender(std::move(call), "switchover"); }
net::Task<Answer> Api::Failover(Call call) { return AskMender(std::move(call), "failover"); }

net::Task<Answer> Api::AskMender(Call call, std::string verb) {
  const auto found = FindController(call);
  if (!found.ok()) co_return Bad(found.error());
  const std::shared_ptr<control::Controller> controller = *found;
  std::string service, to, confirm;
  bool force = false, accept_loss = false;
  const Status read = api::Fields(*call.body, "body")
                          .Text("service", service)
                          .Text("to", to)
                          .Bool("force", force)
                          .Bool("accept_loss", accept_loss)
                          .Text("confirm", confirm)
                          .Give(Ok{});
  if (!read.ok()) co_return Bad(read.error());
  const bool confirmed = confirm == controller->row().name || confirm == controller->row().key;
  if (accept_loss && !confirm.empty() && !confirmed) {
    co_return Bad(
        Error::Refused("confirm-name", "{} is not the name of {}", confirm, controller->row().key)
            .Hint("muster failover {} --accept-loss --confirm {}", service, controller->row().name));
  }
  std::map<std::string, std::string> args;
  if (!to.empty()) args["to"] = to;
  if (force) args["force"] = "yes";
  // Without the name nothing is done: what would be is told by the refusal.
  if (accept_loss) args["accept_loss"] = confirmed ? "yes" : "ask";
  const Status done = co_await controller->Ask(verb, service, std::move(args), call.who);
  if (!done.ok()) co_return Bad(done.error());
  Json roles = Json::object();
  for (const auto& [instance, role] : controller->Roles()) {
    const auto seen = controller->observed().find(instance);
    if (seen != controller->observed().end() && seen->second.service == service) roles[instance] = role;
  }
  co_return Good({{"cluster", controller->row().key}, {"service", service}, {"roles", roles}});
}

net::Task<Answer> Api::Rollback(Call call) {
  const auto found = FindController(call);
  if (!found.ok()) co_return Bad(found.error());
  int64_t revision = 0;
  control::PlanOptions options;
  const Status read = api::Fields(*call.body, "body")
                          .Integer("revision", revision)
                          .Bool("plan_only", options.plan_only)
                          .Give(Ok{});
  if (!read.ok()) co_return Bad(read.error());
  if ((*found)->down() || (*found)->going_down()) {
    co_return Bad(Error::Conflict("cluster-down", "{} {} down: there is nothing to roll back",
                                  (*found)->row().key, (*found)->down() ? "is" : "is going")
                      .Hint("bring it up again: {}", UpCommand((*found)->row().key)));
  }
  const auto revisions = deps_.store->Revisions((*found)->row().key);
  if (!revisions.ok()) co_return Bad(revisions.error());
  if (revision == 0) {
    const auto runs = deps_.store->Runs((*found)->row().key, kRunsLookedAt);
    if (!runs.ok()) co_return Bad(runs.error());
    revision = control::GoodBefore((*found)->row().revision, *revisions, *runs);
    if (revision == 0) {
      co_return Bad(control::NothingBefore((*found)->row().key, (*found)->row().revision, *revisions, *runs));
    }
  }
  Accepted accepted;
  accepted.controller = *found;
  auto bundle = (*found)->BundleOf(revision);
  if (!bundle.ok()) co_return Bad(bundle.error());
  accepted.bundle = std::move(*bundle);
  accepted.bundle.author = call.who;
  accepted.bundle.action = "rollback";
  accepted.bundle.rollback_to = revision;
  accepted.bundle.note = control::RollbackNote(revision);
  std::string any_plan;
  Answer answer = co_await Begin(std::move(accepted), std::move(any_plan), options);
  if (answer.body && answer.body->contains("run")) (*answer.body)["rollback_to"] = revision;
  co_return answer;
}

net::Task<Answer> Api::Resume(Call call) {
  const auto found = FindController(call);
  if (!found.ok()) co_return Bad(found.error());
  const std::shared_ptr<control::Controller> controller = *found;
  const auto started = co_await controller->Resume(call.who);
  if (!started.ok()) co_return Bad(started.error());
  co_return this->Started(*controller, *started);
}

net::Task<Answer> Api::Rule(Call call) {
  const auto found = FindController(call);
  if (!found.ok()) co_return Bad(found.error());
  const std::shared_ptr<control::Controller> controller = *found;
  std::string confirm;
  const Status read = api::Fields(*call.body, "body").Text("confirm", confirm).Give(Ok{});
  if (!read.ok()) co_return Bad(read.error());
  if (confirm != controller->row().name && confirm != controller->row().key) {
    co_return Bad(
        Error::Refused("confirm-name", "\"{}\" is not the name of {}", confirm, controller->row().key)
            .Hint("muster server rule --cluster {} --confirm {}", controller->row().key,
                  controller->row().name));
  }
  const Status done = controller->RuleAgain(call.who);
  if (!done.ok()) co_return Bad(done.error());
  co_return Good({{"cluster", controller->row().key}, {"epoch", controller->row().epoch}});
}

net::Task<Answer> Api::Verify(Call call) {
  const auto found = FindController(call);
  if (!found.ok()) co_return Bad(found.error());
  std::string service;
  const Status read = api::Fields(*call.body, "body").Text("service", service).Give(Ok{});
  if (!read.ok()) co_return Bad(read.error());
  if (!service.empty() && !(*found)->cluster().FindService(service)) {
    co_return Bad(Error::NotFound("unknown-service", "{} has no service {}", (*found)->row().key, service)
                      .Hint("muster status lists them"));
  }
  if ((*found)->down()) {
    co_return Bad(Error::Conflict("cluster-down", "{} is down: there is nothing to try", (*found)->row().key)
                      .Hint("bring it up again: {}", UpCommand((*found)->row().key)));
  }
  const auto checks = co_await (*found)->Verify(service);
  if (!checks.ok()) co_return Bad(checks.error());
  Json list = Json::array();
  bool passed = true;
  for (const auto& [name, check] : *checks) {
    passed &= check.passed;
    list.push_back({{"service", name},
                    {"name", check.name},
                    {"passed", check.passed},
                    {"skipped", check.skipped},
                    {"evidence", check.evidence},
                    {"hint", check.hint}});
  }
  co_return Good({{"checks", list}, {"passed", passed}});
}

net::Task<Answer> Api::History(Call call) {
  const auto found = FindController(call);
  if (!found.ok()) co_return Bad(found.error());
  const auto revisions = deps_.store->Revisions((*found)->row().key);
  if (!revisions.ok()) co_return Bad(revisions.error());
  const auto runs = deps_.store->Runs((*found)->row().key, kRunsLookedAt);
  if (!runs.ok()) co_return Bad(runs.error());
  Json list = Json::array();
  const int most = Most(call, std::numeric_limits<int>::max());
  for (auto row = revisions->rbegin(); row != revisions->rend(); ++row) {
    if (list.size() >= static_cast<size_t>(most)) break;
    list.push_back({{"number", row->number},
                    {"created", row->created.time_since_epoch().count()},
                    {"author", row->author},
                    {"note", row->note},
                    {"file_name", row->file_name},
                    {"result", control::OutcomeOf(row->number, *runs)},
                    {"current", row->number == (*found)->row().revision}});
  }
  const int64_t back = control::GoodBefore((*found)->row().revision, *revisions, *runs);
  co_return Good({{"revisions", list}, {"goes_back_to", back}});
}

net::Task<Answer> Api::Revision(Call call) {
  const auto found = FindController(call);
  if (!found.ok()) co_return Bad(found.error());
  const int64_t number = std::atoll(call.part("revision").c_str());
  const auto row = deps_.store->FindRevision((*found)->row().key, number);
  if (!row.ok()) co_return Bad(row.error());
  if (!*row) {
    co_return Bad(Error::NotFound("unknown-revision", "{} has no revision {}", (*found)->row().key,
                                  call.part("revision"))
                      .Hint("muster history lists those that are kept"));
  }
  co_return Good({{"number", number},
                  {"text", (*row)->text},
                  {"file_name", (*row)->file_name},
                  {"author", (*row)->author},
                  {"note", (*row)->note},
                  {"created", (*row)->created.time_since_epoch().count()},
                  {"bundle", ShownBundle(**row)}});
}

net::Task<Answer> Api::Audit(Call call) {
  const auto part = call.parts.find("cluster");
  const auto rows = deps_.store->Audit(part == call.parts.end() ? "" : part->second, Most(call, 50));
  if (!rows.ok()) co_return Bad(rows.error());
  Json entries = Json::array();
  for (const store::AuditRow& row : *rows) {
    entries.push_back({{"at", row.at.time_since_epoch().count()},
                       {"who", row.who},
                       {"cluster", row.cluster},
                       {"action", row.action},
                       {"detail", row.detail}});
  }
  co_return Good({{"entries", entries}});
}

}  // namespace muster::server
