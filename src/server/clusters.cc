#include "server/clusters.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "api/fields.h"
#include "api/json.h"
#include "model/up_command.h"
#include "net/addresses.h"
#include "recipes/recipe.h"
#include "recipes/size.h"
#include "server/local_agents.h"

namespace muster::server {
namespace {

using api::Json;

// The files of a revision or a bundle: {PATH:{sha256,size,executable,text?}}.
Status ReadFiles(const Json& files, Cluster& cluster) {
  if (!files.is_object()) return Error::Invalid("bad-json", "files: an object was expected");
  for (const auto& [path, json] : files.items()) {
    BundledFile& file = cluster.files[path];
    MUSTER_DO(api::Fields(json, "file " + path)
                  .Text("sha256", file.sha256)
                  .Integer("size", file.size)
                  .Bool("executable", file.executable)
                  .Text("text", file.text)
                  .Give(Ok{}));
  }
  return Done();
}

Service* FindService(Cluster& cluster, const std::string& name) {
  for (Service& service : cluster.services) {
    if (service.name == name) return &service;
  }
  return nullptr;
}

// "": its size can't be changed by itself.
std::string SizeKeyOf(const std::string& kind) {
  const Recipe* recipe = FindRecipe(kind);
  return recipe ? muster::SizeKeyOf(*recipe) : "";
}

// Puts `instances: …`, or whatever `key` it is, in place of what the file says.
void SetSize(Value& settings, std::string_view key, const std::string& instances) {
  const bool number = instances.find_first_not_of("0123456789") == std::string::npos;
  for (Value::Entry& entry : settings.entries) {
    if (entry.key != key) continue;
    entry.value.type = number ? Value::Type::kInteger : Value::Type::kString;
    entry.value.text = instances;
    return;
  }
  Value value;
  value.type = number ? Value::Type::kInteger : Value::Type::kString;
  value.text = instances;
  value.mark = settings.mark;
  settings.entries.push_back({.key = std::string(key), .key_mark = settings.mark, .value = std::move(value)});
}

void ApplyOverrides(const Json& bundle, Cluster& cluster) {
  if (!bundle.contains("overrides") || !bundle["overrides"].is_object()) return;
  for (const auto& [name, override] : bundle["overrides"].items()) {
    Service* service = FindService(cluster, name);
    const std::string key = service ? SizeKeyOf(service->kind) : "";
    if (key.empty() || !override.is_object() || !override.contains(key)) continue;
    SetSize(service->settings, key, override.value(key, "1"));
  }
}

Status CheckCount(const Service& service, const std::string& key, const std::string& count) {
  const bool instances = key == "instances";
  const size_t digits = std::min(count.find_first_not_of("0123456789"), count.size());
  const bool counts = digits > 0 && digits <= 6 &&
                      (digits == count.size() || (instances && count.substr(digits) == " per host"));
  if (!counts) {
    return Error::Invalid("bad-argument", "\"{}\" is no number of {}", count, key)
        .Hint("write a number such as 12{}", instances ? ", or \"5 per host\"" : "");
  }
  if (std::atoi(count.c_str()) == 0 && key != "replicas") {
    return Error::Invalid("bad-argument", "a service has at least one instance, not {}", count)
        .Hint("muster stop {} stops all of them; to have none, remove it from the cluster file",
              service.name);
  }
  return Done();
}

}  // namespace

Result<Incoming> IncomingFrom(const Json& json) {
  Incoming incoming;
  MUSTER_DO(api::Fields(json, "bundle")
                .Text("file_name", incoming.file_name)
                .Text("text", incoming.text)
                .Bool("rehearse", incoming.rehearse)
                .Text("note", incoming.note)
                .Give(Ok{}));
  const Json files = json.contains("files") ? json["files"] : Json::object();
  if (!files.is_object()) return Error::Invalid("bad-json", "files: an object was expected");
  incoming.files = Json{{"files", files}}.dump();
  return incoming;
}

const spec::Shapes& Clusters::RecipeShapes() {
  static const spec::Shapes shapes = [] {
    spec::Shapes all;
    for (const auto& [kind, recipe] : AllRecipes()) all[kind] = recipe.layout->SettingsShape();
    return all;
  }();
  return shapes;
}

Clusters::Clusters(control::Dependencies dependencies, std::string home)
    : dependencies_(std::move(dependencies)), home_(std::move(home)) {
  dependencies_.read_revision = [this](const store::RevisionRow& revision, const store::ClusterRow& row) {
    return Read(revision, row);
  };
}

Result<Cluster> Clusters::Read(const store::RevisionRow& revision, const store::ClusterRow& row) const {
  spec::Parsed parsed = spec::ParseCluster(revision.text, revision.file_name, RecipeShapes());
  if (!parsed.shape_ok) {
    return Error::Internal("revision-unreadable", "revision {} of {} can't be read by this release",
                           revision.number, row.key)
        .Hint("bring the file up again: muster up {}", revision.file_name);
  }
  Cluster cluster = std::move(parsed.cluster);
  MUSTER_TRY(const Json bundle, api::ParseJson(revision.bundle));
  if (bundle.contains("files")) MUSTER_DO(ReadFiles(bundle["files"], cluster));
  ApplyOverrides(bundle, cluster);
  if (row.rehearsal) spec::Rehearse(cluster, row.block, control::KeptOf(row).numbers);
  return cluster;
}

Status Clusters::TakeOverAll() {
  MUSTER_TRY(const auto rows, dependencies_.store->Clusters());
  for (const store::ClusterRow& row : rows) {
    auto controller = std::make_shared<control::Controller>(dependencies_, row);
    controllers_[row.key] = controller;
    const Status taken = controller->TakeOver();
    if (!taken.ok()) spdlog::error("{}: {}", row.key, taken.error().Text());
  }
  return Done();
}

std::shared_ptr<control::Controller> Clusters::Find(const std::string& key) {
  const auto found = controllers_.find(key);
  return found == controllers_.end() ? nullptr : found->second;
}

std::vector<std::shared_ptr<control::Controller>> Clusters::All() const {
  std::vector<std::shared_ptr<control::Controller>> all;
  for (const auto& [key, controller] : controllers_) all.push_back(controller);
  return all;
}

std::shared_ptr<control::Controller> Clusters::WithRun(const std::string& run) {
  for (const auto& [key, controller] : controllers_) {
    if (!run.empty() && controller->active_run() == run) return controller;
  }
  return nullptr;
}

void Clusters::Keep(const std::shared_ptr<control::Controller>& controller) {
  controllers_[controller->row().key] = controller;
}

void Clusters::Forget(const std::string& key) { controllers_.erase(key); }

Result<Accepted> Clusters::Accept(const Incoming& incoming, const std::string& author) {
  Accepted accepted;
  spec::Parsed parsed = spec::ParseCluster(incoming.text, incoming.file_name, RecipeShapes());
  accepted.findings = std::move(parsed.findings);
  Cluster& cluster = accepted.bundle.cluster;
  cluster = std::move(parsed.cluster);
  MUSTER_TRY(const Json bundle, api::ParseJson(incoming.files));
  MUSTER_DO(ReadFiles(bundle["files"], cluster));
  if (!parsed.shape_ok || HasErrors(accepted.findings)) {
    for (Finding& finding :
         parsed.readable ? plan::CheckCluster(cluster, WallNow()) : std::vector<Finding>()) {
      if (spec::FollowsFromShape(finding, parsed)) continue;
      if (finding.file.empty()) finding.file = incoming.file_name;
      accepted.findings.push_back(std::move(finding));
    }
    return accepted;
  }

  cluster.rehearsal = incoming.rehearse;
  accepted.controller = Find(cluster.key());
  if (!accepted.controller) {
    store::ClusterRow row{.key = cluster.key(),
                          .name = cluster.name,
                          .rehearsal = incoming.rehearse,
                          .block = 0,
                          .epoch = 1,
                          .revision = 0,
                          .placement = "",
                          .held = "",
                          .extra = ""};
    if (incoming.rehearse) {
      std::vector<int> taken;
      for (const auto& [key, other] : controllers_) taken.push_back(other->row().block);
      MUSTER_TRY(row.block, ChooseBlock(home_, row.key, taken));
    }
    accepted.controller = std::make_shared<control::Controller>(dependencies_, row);
  }
  if (!incoming.rehearse && !cluster.hosts_left_out) {
    for (const Host& host : cluster.hosts) {
      if (net::IsLocalAddress(host.address)) continue;
      accepted.findings.push_back(
          {.severity = Severity::kError,
           .code = "host-elsewhere",
           .mark = host.mark,
           .message = fmt::format("{} ({}) is not this machine, and others can't be reached yet", host.name,
                                  host.address),
           .fix = "--rehearse runs all hosts of the file on this machine",
           .file = incoming.file_name});
    }
  }
  if (incoming.rehearse) {
    const store::ClusterRow& row = accepted.controller->row();
    spec::Rehearse(cluster, row.block, control::KeptOf(row).numbers);
  }
  for (Finding& finding : plan::CheckCluster(cluster, WallNow())) {
    if (finding.file.empty()) finding.file = incoming.file_name;
    accepted.findings.push_back(std::move(finding));
  }
  accepted.bundle.text = incoming.text;
  accepted.bundle.file_name = incoming.file_name;
  accepted.bundle.files = incoming.files;
  accepted.bundle.author = author;
  accepted.bundle.note = incoming.note;
  return accepted;
}

namespace {

// What the file would be wrong for with another number is wrong with the number: nobody has written it there.
Error OfTheNumber(const Finding& finding, const std::string& service, const std::string& key,
                  const std::string& instances) {
  const std::string write = "write " + key + ": ";
  const std::string fix = finding.fix.starts_with(write)
                              ? fmt::format("muster scale {} {}", service, finding.fix.substr(write.size()))
                              : finding.fix;
  return Error::Invalid(finding.code, "{} can't be scaled to {}: {}", service, instances, finding.message)
      .Hint("{}", fix);
}

}  // namespace

Result<Accepted> Clusters::Scaled(const std::shared_ptr<control::Controller>& controller,
                                  const std::string& service, const std::string& instances,
                                  const std::string& author) {
  Accepted accepted;
  accepted.controller = controller;
  MUSTER_TRY(accepted.bundle, controller->CurrentBundle());
  control::Bundle& bundle = accepted.bundle;
  const Service* found = bundle.cluster.FindService(service);
  if (!found) {
    return Error::NotFound("unknown-service", "{} has no service {}", controller->row().key, service)
        .Hint("muster status lists them");
  }
  const std::string key = SizeKeyOf(found->kind);
  if (key.empty()) {
    return Error::Invalid("not-scalable", "a service of kind {} has no number of instances", found->kind)
        .Hint("change the cluster file and run {}", UpCommand(controller->row().key));
  }
  MUSTER_DO(CheckCount(*found, key, instances));
  const std::vector<Finding> before = plan::CheckCluster(bundle.cluster, WallNow());
  MUSTER_TRY(Json files, api::ParseJson(bundle.files));
  files["overrides"][service][key] = instances;
  bundle.files = files.dump();
  ApplyOverrides(files, bundle.cluster);
  bundle.author = author;
  bundle.action = "scale";
  bundle.scales = service;
  bundle.note = fmt::format("scale {} {}", service, instances);
  accepted.findings = plan::CheckCluster(bundle.cluster, WallNow());
  for (const Finding& finding : accepted.findings) {
    const bool known = std::any_of(before.begin(), before.end(),
                                   [&](const Finding& one) { return one.code == finding.code; });
    if (finding.severity == Severity::kError && !known) return OfTheNumber(finding, service, key, instances);
  }
  for (Finding& finding : accepted.findings) {
    if (finding.file.empty()) finding.file = bundle.file_name;
  }
  return accepted;
}

}  // namespace muster::server
