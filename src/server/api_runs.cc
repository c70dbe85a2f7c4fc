// Requests about runs, secrets and the server itself.
#include <sys/statvfs.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "api/fields.h"
#include "api/json.h"
#include "control/outcomes.h"
#include "server/api.h"
#include "server/local_agents.h"

namespace muster::server {
namespace {

// The same run from the store, where it isn't under way.
control::RunProgress ProgressOf(store::Store& store, const store::RunRow& row) {
  control::RunProgress progress{.row = row, .done = 0, .total = 0, .open = {}, .paused = {}};
  if (const auto json = api::ParseJson(row.plan); json.ok()) {
    progress.total = json->contains("steps") ? (*json)["steps"].size() : 0;
  }
  if (const auto steps = store.Steps(row.id); steps.ok()) {
    for (const store::StepRow& step : *steps) {
      const bool settled = step.settled.time_since_epoch().count() != 0;
      const bool put_back = step.step.ends_with(".put-back");
      if (!settled) progress.open.push_back(step.step);
      if (settled && step.error.empty() && !put_back) ++progress.done;
    }
  }
  return progress;
}

Result<control::RunProgress> FindProgress(const Api::Dependencies& deps, const std::string& run) {
  if (const auto controller = deps.clusters->WithRun(run)) {
    if (const auto progress = controller->ActiveRun()) return *progress;
  }
  MUSTER_TRY(const auto row, deps.store->FindRun(run));
  if (!row) {
    return Error::NotFound("unknown-run", "there is no run {}", run).Hint("muster history --runs lists them");
  }
  return ProgressOf(*deps.store, *row);
}

}  // namespace

Json RunJson(const store::RunRow& row) {
  Json json{{"run", row.id},
            {"cluster", row.cluster},
            {"revision", row.revision},
            {"action", row.action},
            {"state", row.state},
            {"started", row.started.time_since_epoch().count()},
            {"ended", row.ended.time_since_epoch().count()},
            {"author", row.author}};
  if (!row.error.empty()) json["error"] = Json::parse(row.error, nullptr, false);
  const control::WayBack way_back = control::WayBackOf(row);
  if (!way_back.run.empty()) json["rolled_back_by"] = way_back.run;
  if (!way_back.error.empty()) json["no_way_back"] = Json::parse(way_back.error, nullptr, false);
  if (control::AwaitsWayBack(row)) json["goes_back"] = true;
  return json;
}

Json RunJson(const control::RunProgress& progress) {
  Json json = RunJson(progress.row);
  json["steps_done"] = progress.done;
  json["steps_total"] = progress.total;
  if (!progress.paused.empty()) json["paused"] = progress.paused;
  if (progress.cancelling) json["cancelling"] = true;
  return json;
}

net::Task<Answer> Api::Runs(Call call) {
  const auto found = FindController(call);
  if (!found.ok()) co_return Bad(found.error());
  const auto query = call.request->query();
  const int most = query.contains("most") ? std::clamp(std::atoi(query.at("most").c_str()), 1, 1000) : 20;
  const auto rows = deps_.store->Runs((*found)->row().key, most);
  if (!rows.ok()) co_return Bad(rows.error());
  Json runs = Json::array();
  for (const store::RunRow& row : *rows) {
    const auto active = (*found)->ActiveRun();
    runs.push_back(RunJson(active && active->row.id == row.id ? *active : ProgressOf(*deps_.store, row)));
  }
  co_return Good({{"runs", runs}});
}

net::Task<Answer> Api::Run(Call call) {
  const auto progress = FindProgress(deps_, call.part("run"));
  if (!progress.ok()) co_return Bad(progress.error());
  Json json = RunJson(*progress);
  json["plan"] = Json::parse(progress->row.plan, nullptr, false);
  json["open"] = progress->open;
  co_return Good(std::move(json));
}

net::Task<Answer> Api::CancelRun(Call call) {
  const auto controller = deps_.clusters->WithRun(call.part("run"));
  if (!controller) {
    co_return Bad(Error::NotFound("run-not-active", "run {} is not under way", call.part("run")));
  }
  const Status cancelled = controller->Cancel(call.part("run"));
  if (!cancelled.ok()) co_return Bad(cancelled.error());
  (void)deps_.store->AddAudit({.id = 0,
                               .at = WallNow(),
                               .who = call.who,
                               .cluster = controller->row().key,
                               .action = "cancel",
                               .detail = "run " + call.part("run")});
  co_return Good(Json::object());
}

net::Task<Answer> Api::Secrets(Call call) {
  const auto rows = deps_.store->Secrets(call.part("cluster"));
  if (!rows.ok()) co_return Bad(rows.error());
  Json secrets = Json::array();
  for (const store::SecretRow& row : *rows) {
    secrets.push_back({{"name", row.name}, {"updated", row.updated.time_since_epoch().count()}});
  }
  co_return Good({{"secrets", secrets}});
}

net::Task<Answer> Api::PutSecret(Call call) {
  std::string value;
  const Status read = api::Fields(*call.body, "body").Text("value", value).Give(Ok{});
  if (!read.ok()) co_return Bad(read.error());
  if (!call.body->contains("value")) {
    co_return Bad(Error::Invalid("bad-json", "value: the secret's value is missing"));
  }
  const std::string& name = call.part("name");
  const bool well_named =
      !name.empty() && name.size() <= 64 &&
      name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") ==
          std::string::npos;
  if (!well_named) {
    co_return Bad(Error::Invalid("bad-secret-name", "a secret's name has letters, digits, _ and - only"));
  }
  const std::string& cluster = call.part("cluster");
  // One that can't be unsealed any more is no reason not to set it anew.
  const auto before = deps_.store->Secret(cluster, name);
  const bool changed = !before.ok() || !*before || **before != value;
  const Status written = deps_.store->Transaction([&]() -> Status {
    MUSTER_DO(deps_.store->PutSecret(cluster, name, value));
    return deps_.store->AddAudit({.id = 0,
                                  .at = WallNow(),
                                  .who = call.who,
                                  .cluster = cluster,
                                  .action = "secret set",
                                  .detail = name});
  });
  if (!written.ok()) co_return Bad(written.error());
  co_return Good({{"changed", changed}});
}

net::Task<Answer> Api::DeleteSecret(Call call) {
  const std::string &cluster = call.part("cluster"), &name = call.part("name");
  const auto known = deps_.store->Secret(cluster, name);
  if (!known.ok()) co_return Bad(known.error());
  if (!*known) {
    co_return Bad(Error::NotFound("unknown-secret", "{} has no secret {}", cluster, name)
                      .Hint("muster secret list shows their names"));
  }
  const Status written = deps_.store->Transaction([&]() -> Status {
    MUSTER_DO(deps_.store->DeleteSecret(cluster, name));
    return deps_.store->AddAudit({.id = 0,
                                  .at = WallNow(),
                                  .who = call.who,
                                  .cluster = cluster,
                                  .action = "secret delete",
                                  .detail = name});
  });
  if (!written.ok()) co_return Bad(written.error());
  co_return Good(Json::object());
}

net::Task<Answer> Api::RotateSecrets(Call call) {
  const Status rotated = deps_.store->RotateKey();
  if (!rotated.ok()) co_return Bad(rotated.error());
  (void)deps_.store->AddAudit(
      {.id = 0, .at = WallNow(), .who = call.who, .cluster = "", .action = "secret rotate", .detail = ""});
  co_return Good(Json::object());
}

net::Task<Answer> Api::Version(Call) {
  co_return Good({{"version", MUSTER_VERSION},
                  {"pid", ::getpid()},
                  {"home", deps_.home},
                  {"started", deps_.started.time_since_epoch().count()}});
}

net::Task<Answer> Api::Doctor(Call) {
  Json findings = Json::array();
  Json agents = Json::array();
  for (const auto& controller : deps_.clusters->All()) {
    std::set<std::string> used;
    for (const Instance& instance : controller->desired()) used.insert(instance.host);
    for (const std::string& host : used) {
      const bool here = controller->connected(host);
      const std::string log = HostsFolder(deps_.home, controller->row().key) + "/" + host + "/agent.log";
      agents.push_back(
          {{"cluster", controller->row().key}, {"host", host}, {"connected", here}, {"log", log}});
      if (here) continue;
      findings.push_back(api::ToJson(Finding{.severity = Severity::kError,
                                             .code = "host-unreachable",
                                             .mark = {},
                                             .message = fmt::format("the agent of {} does not answer", host),
                                             .fix = "look at " + log}));
    }
  }
  struct statvfs disk {};
  int64_t free_bytes = -1;
  if (::statvfs(deps_.home.c_str(), &disk) == 0) {
    free_bytes = static_cast<int64_t>(disk.f_bavail) * static_cast<int64_t>(disk.f_frsize);
    if (free_bytes < (256 << 20)) {
      findings.push_back(api::ToJson(
          Finding{.severity = Severity::kWarning,
                  .code = "disk-low",
                  .mark = {},
                  .message = fmt::format("only {} MiB are free below {}", free_bytes >> 20, deps_.home),
                  .fix = "make room: revisions, logs and data can't be written on a full disk"}));
    }
  }
  co_return Good({{"findings", findings},
                  {"facts",
                   {{"home", deps_.home},
                    {"version", MUSTER_VERSION},
                    {"pid", ::getpid()},
                    {"disk_free_bytes", free_bytes},
                    {"agents", agents}}}});
}

net::Task<Answer> Api::StopServer(Call call) {
  (void)deps_.store->AddAudit(
      {.id = 0, .at = WallNow(), .who = call.who, .cluster = "", .action = "server stop", .detail = ""});
  deps_.loop->After(20ms, deps_.stop);  // after the answer has left
  co_return Good(Json::object());
}

net::Task<Answer> Api::OpenApiAnswer(Call) { co_return Good(OpenApi()); }

}  // namespace muster::server
