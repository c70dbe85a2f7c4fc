#include "control/controller.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "api/json.h"
#include "base/digest.h"
#include "base/fault.h"
#include "base/text.h"
#include "control/outcomes.h"
#include "control/places.h"
#include "control/run_machine.h"
#include "control/superseded.h"
#include "model/not_asked.h"
#include "model/secret.h"
#include "model/up_command.h"
#include "model/words.h"
#include "plan/secrets.h"
#include "recipes/common/member_work.h"

namespace muster::control {
namespace {

using Json = nlohmann::json;

constexpr Duration kCancelWithin = 60s;

std::map<std::string, std::string> StringMap(const std::string& text) {
  std::map<std::string, std::string> map;
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return map;
  for (const auto& [key, value] : json.items()) {
    if (value.is_string()) map[key] = value.get<std::string>();
  }
  return map;
}

store::RunRow WentBackBy(store::RunRow failed, const std::string& run) {
  WayBack way_back = WayBackOf(failed);
  way_back.run = run;
  NoteWayBack(way_back, failed);
  return failed;
}

}  // namespace

Controller::Controller(Dependencies dependencies, store::ClusterRow row)
    : deps_(std::move(dependencies)), row_(std::move(row)), kept_(KeptOf(row_)), held_(StringMap(row_.held)) {
  for (const auto& [name, host] : kept_.hosts) {
    hosts_[name] = {.cluster = row_.key,
                    .host = name,
                    .address = host.address,
                    .epoch = row_.epoch,
                    .rehearsal = row_.rehearsal,
                    .block = row_.block,
                    .host_number = host.number};
  }
}

Controller::~Controller() = default;

void Controller::Keep(Kept kept) {
  kept_ = std::move(kept);
  row_.extra = TextOf(kept_);
}

void Controller::KeepLeftOut(std::set<std::string> hosts) {
  if (kept_.left_out == hosts) return;
  Kept kept = kept_;
  kept.left_out = std::move(hosts);
  Keep(std::move(kept));
  (void)deps_.store->PutCluster(row_);
}

Status Controller::Adopt(Cluster cluster) {
  MUSTER_TRY(const Placement so_far, Places());
  plan::SecretDigests digests = Digests();
  digests[plan::kAnySecret] = "";
  MUSTER_TRY(plan::Desired desired, plan::LayOutCluster(cluster, so_far, digests));
  MUSTER_DO(plan::LayOutReturning(cluster, so_far, MayStand(so_far, Giving(cluster)), digests, desired));
  SetDesired(std::move(desired));
  cluster_ = std::move(cluster);
  if (IsBroughtUp()) ForgetHeldElsewhere();
  return Done();
}

plan::SecretDigests Controller::Digests() const {
  plan::SecretDigests digests;
  const auto rows = deps_.store->Secrets(row_.key);
  if (!rows.ok()) return digests;
  for (const store::SecretRow& row : *rows) digests[row.name] = row.digest;
  return digests;
}

Result<Instance> Controller::Reveal(const Instance& instance) const {
  std::set<std::string> unset;
  std::optional<Error> damaged;
  const auto reveal = [&](std::string_view text) {
    return ReplaceSecrets(text, [&](std::string_view name) -> std::string {
      const auto value = deps_.store->Secret(row_.key, std::string(name));
      if (value.ok() && *value) return SealWords(**value);
      if (!value.ok()) damaged = value.error();
      unset.emplace(name);
      return "";
    });
  };
  Instance revealed = instance;
  for (auto& [name, value] : revealed.env) value = reveal(value);
  for (InstanceFile& file : revealed.files) {
    if (file.content.find('\x01') == std::string::npos) continue;
    file.content = reveal(file.content);
    file.secret = true;
    file.mode &= 0700;
  }
  if (damaged) return *damaged;
  if (!unset.empty()) return plan::SecretsMissing(cluster_, unset);
  return revealed;
}

// Nothing is to be done for the revision that stands. Where its run was left paused, what it was about has
// been done since (a start goes on without its server), and nobody need be told to resume it.
void Controller::EndPausedRun() {
  auto runs = deps_.store->Runs(row_.key, 1);
  if (!runs.ok() || runs->empty()) return;
  store::RunRow& last = runs->front();
  if (last.state != "paused" || last.revision != row_.revision || !Brings(last.action)) return;
  last.state = "done";
  last.ended = WallNow();
  if (deps_.store->PutRun(last).ok()) RevisionIsGood();
}

Error Controller::InTheWay() const {
  const std::string what =
      run_.id.empty() ? deciding_who_
                      : fmt::format("run {} ({} by {}, since {}) is under way", run_.id, run_.row.action,
                                    run_.row.author, FormatWallTime(run_.row.started));
  // Nobody waits for what the server settles by itself.
  return Error::Conflict("run-active", "{}", what)
      .Hint("{}", recovering_ ? "wait for it: muster status shows when it is done"
                              : "wait for it (muster status shows it), or stop it with Ctrl-C where it was "
                                "started; muster down cancels it and takes the cluster down");
}

net::Task<Result<Plan>> Controller::MakePlan(Bundle bundle, PlanOptions options) {
  const std::set<std::string> silent = co_await ObserveAll();
  plan::Desired desired;
  co_return Decide(bundle, options, silent, row_.revision + 1, &desired);
}

net::Task<Result<StartedRun>> Controller::Up(Bundle bundle, std::string plan_id, PlanOptions options) {
  std::string action = bundle.action;
  return Begin(std::move(bundle), std::move(action), std::move(plan_id), std::move(options));
}

// With which an interrupted stop, start or restart goes on: for what it was about, and no more.
Result<PlanOptions> Controller::OptionsToResume(const store::RunRow& row) const {
  PlanOptions options;
  MUSTER_TRY(const Json json, api::ParseJson(row.plan));
  MUSTER_TRY(const Plan plan, api::PlanFrom(json));
  MUSTER_TRY(const auto journal, deps_.store->Steps(row.id));
  std::set<std::string> done;
  for (const store::StepRow& step : journal) {
    if (step.settled.time_since_epoch().count() != 0 && step.error.empty()) done.insert(step.step);
  }
  for (const Step& step : plan.steps) {
    if (step.args.contains("member")) continue;  // to a balancer, about another
    if (!options.act) options.act.emplace();
    options.act->insert(step.instance);
    const bool stopped = done.contains(step.instance + ".stop");
    if (row.action == "restart" && step.verb == "stop" && !stopped) options.restart.insert(step.instance);
  }
  return options;
}

net::Task<Result<StartedRun>> Controller::Resume(std::string author) {
  auto self = shared_from_this();
  if (const Status rules = Rule(); !rules.ok()) co_return rules.error();
  co_await Settled();
  const auto runs = deps_.store->Runs(row_.key, 1);
  if (!runs.ok()) co_return runs.error();
  if (down()) {
    co_return Error::Conflict("cluster-down", "{} is down: there is nothing to resume", row_.key)
        .Hint("bring it up again: {}", UpCommand(row_.key));
  }
  std::vector<std::string> none;
  if (!runs->empty() && runs->front().action == "down" && runs->front().state != "done") {
    PlanOptions options;
    options.delete_data = kept_.going_down && kept_.going_down->delete_data;
    std::string down = "down";
    co_return co_await Act(std::move(down), std::move(none), options, author);
  }
  PlanOptions options;
  std::string action = "resume", any_plan;
  if (!runs->empty() && runs->front().state != "done" && !Brings(runs->front().action)) {
    auto found = OptionsToResume(runs->front());
    if (!found.ok()) co_return found.error();
    options = std::move(*found);
    action = runs->front().action;
  }
  auto bundle = CurrentBundle();
  if (!bundle.ok()) co_return bundle.error();
  bundle->author = author;
  bundle->note = "resume";
  bundle->action = "resume";
  bundle->goes_back = ResumedGoesBack();
  co_return co_await Begin(std::move(*bundle), std::move(action), std::move(any_plan), std::move(options));
}

net::Task<Result<StartedRun>> Controller::Begin(Bundle bundle, std::string action, std::string plan_id,
                                                PlanOptions options) {
  auto self = shared_from_this();
  if (const Status rules = Rule(); !rules.ok() && !options.plan_only) co_return rules.error();
  co_await Settled();
  if (!run_.id.empty() || deciding_) co_return InTheWay();
  if (const auto replaced = Replaced(); replaced && !options.plan_only) co_return *replaced;
  deciding_ = true;
  deciding_who_ = fmt::format("{} is planning {} right now", bundle.author, action);
  struct Release {
    bool* flag;
    ~Release() { *flag = false; }
  } release{&deciding_};

  std::set<std::string> silent = co_await ObserveAll();
  const auto so_far = Places();
  if (!so_far.ok()) co_return so_far.error();
  plan::Desired desired;
  bool partial = false;
  auto planned = Decide(bundle, options, silent, row_.revision + 1, &desired, &partial);
  if (!planned.ok()) co_return planned.error();
  if (!plan_id.empty() && planned->id != plan_id) {
    co_return Error::Refused("plan-moved", "the state has moved since plan {}; it would be plan {} now",
                             plan_id, planned->id)
        .Hint("look at it again with muster plan");
  }

  if (options.plan_only) co_return StartedRun{.run = "", .plan = std::move(*planned)};

  // Agents of hosts that come new with this revision.
  const Cluster before = std::exchange(cluster_, bundle.cluster);
  bool new_hosts = false;
  if (!options.remove_all) {
    const std::set<std::string> needed = HostsInUse(desired);
    for (const std::string& host : needed) new_hosts |= !hosts_.contains(host);
    WantHosts(needed);
  }
  if (new_hosts) {
    // Whatever an earlier life of this cluster left there (data that `down` kept) is looked at before
    // anything is done.
    silent = co_await ObserveAll();
    planned = Decide(bundle, options, silent, row_.revision + 1, &desired, &partial);
  }
  if (!planned.ok()) {
    cluster_ = before;
    ReleaseIdleHosts();
    co_return planned.error();
  }

  const bool brings = Brings(action);
  const bool same = brings && !down() && IsCurrent(bundle);
  StartedRun started{.run = "", .plan = std::move(*planned)};
  if (same || !brings) started.plan.revision = row_.revision;
  if (same && started.plan.empty()) {
    if (started.plan.unreachable.empty()) EndPausedRun();
    co_return started;
  }

  const bool goes_back = GoesBackFrom(bundle, action);
  const std::string placement_before = row_.placement;
  row_.placement = api::ToJson(WithFormer(*so_far, desired.placement, desired.remembered)).dump();
  Json plan_json = api::ToJson(started.plan);
  if (partial) MarkPartial(plan_json);
  if (goes_back) NoteWayBack({.wanted = true, .cancelled = false, .run = "", .error = ""}, plan_json);
  const Status recorded = Record(bundle, std::move(plan_json), action, same || !brings);
  if (!recorded.ok()) {
    // Nothing was accepted: all is as before.
    run_ = {};
    row_.placement = placement_before;
    cluster_ = before;
    ReleaseIdleHosts();
    co_return recorded.error();
  }
  SetDesired(std::move(desired));
  trouble_.reset();
  started.run = run_.id;
  started.goes_back = goes_back;
  run_.options = options;
  run_.silent = started.plan.unreachable;
  run_.machine = std::make_unique<RunMachine>(started.plan);
  if (bundle.instead_of) {
    RunProgress failed = *bundle.instead_of;
    failed.row = WentBackBy(failed.row, run_.id);
    deps_.finished(row_.key, failed);
  }
  deps_.publish(row_.key, "started", Json{{"run", run_.id}, {"action", action}}.dump());
  MUSTER_FAULT("control.run.recorded");
  deps_.loop->Post([self] { self->Drive(); });
  co_return started;
}

// Makes the revision, its placement and its run durable together.
Status Controller::Record(const Bundle& bundle, Json plan, const std::string& action, bool same_revision) {
  run_.id = RandomHex(4);
  store::ClusterRow row = row_;
  if (!same_revision) row.revision += 1;
  Kept kept = kept_;
  if (!same_revision || action == "up") kept.down = false;
  if (Brings(action)) kept.going_down.reset();
  row.extra = TextOf(kept);
  row.held = Json(held_).dump();
  run_.row = {.id = run_.id,
              .cluster = row.key,
              .revision = row.revision,
              .action = action,
              .state = "running",
              .plan = plan.dump(),
              .started = WallNow(),
              .ended = {},
              .error = "",
              .author = bundle.author};
  const Status written = deps_.store->Transaction([&]() -> Status {
    MUSTER_DO(deps_.store->PutCluster(row));
    if (!same_revision) {
      MUSTER_DO(deps_.store->AddRevision({.cluster = row.key,
                                          .number = row.revision,
                                          .created = WallNow(),
                                          .author = bundle.author,
                                          .text = bundle.text,
                                          .file_name = bundle.file_name,
                                          .bundle = WithRollbackTarget(bundle.files, bundle.rollback_to),
                                          .renderer = plan::kRendererVersion,
                                          .note = bundle.note}));
    }
    MUSTER_TRY(auto runs, deps_.store->Runs(row.key, kRunsLookedAt));
    for (const store::RunRow& run : SupersededBy(run_.row, std::move(runs))) {
      MUSTER_DO(deps_.store->PutRun(run));
    }
    MUSTER_DO(deps_.store->PutRun(run_.row));
    if (bundle.instead_of) {
      MUSTER_DO(deps_.store->PutRun(WentBackBy(bundle.instead_of->row, run_.id)));
    }
    return deps_.store->AddAudit(
        {.id = 0,
         .at = WallNow(),
         .who = bundle.author,
         .cluster = row.key,
         .action = action,
         .detail = fmt::format("run {}, revision {}, {} steps{}{}", run_.id, row.revision,
                               plan["steps"].size(), bundle.note.empty() ? "" : ": ", bundle.note)});
  });
  if (!written.ok()) return written;
  row_ = row;
  kept_ = std::move(kept);
  return Done();
}

net::Task<Result<StartedRun>> Controller::Act(std::string action, std::vector<std::string> names,
                                              PlanOptions options, std::string author) {
  auto self = shared_from_this();
  if (!options.plan_only) {
    if (const Status rules = Rule(); !rules.ok()) co_return rules.error();
    co_await Settled();
  }
  if (down() && action != "down") {
    co_return Error::Conflict("cluster-down", "{} is down: there is nothing to {}", row_.key, action)
        .Hint("bring it up again: {}", UpCommand(row_.key));
  }
  if (going_down() && action != "down") {
    co_return Error::Conflict("cluster-down", "{} is going down: there is nothing to {}", row_.key, action)
        .Hint("muster down goes on with it, {} brings it up again", UpCommand(row_.key));
  }
  // What is cut off would hear nothing of it.
  if (action == "down" && !options.plan_only) co_await HealAll(author);
  // Whoever wants everything gone needn't wait for what is on its way up, and what is on its way down already
  // goes on: with its data, where somebody has asked for that.
  std::string cancelled;
  if (action == "down" && !options.plan_only && !run_.id.empty()) {
    if (run_.options.remove_all && !run_.cancelled) {
      if (run_.options.delete_data == options.delete_data) co_return GoingDown();
      if (run_.options.delete_data) co_return InTheWay();
    }
    cancelled =
        fmt::format("run {} ({} by {}) was cancelled for it", run_.id, run_.row.action, run_.row.author);
    co_await CancelAndWait(CancelledBy(author), kCancelWithin);
  }
  if (!run_.id.empty() || deciding_) co_return InTheWay();
  std::set<std::string> chosen;
  for (const std::string& name : names) {
    bool found = false;
    for (const Instance& instance : desired_.instances) {
      if (instance.name != name && instance.service != name) continue;
      chosen.insert(instance.name);
      found = true;
    }
    const auto seen = observed_.find(name);
    const bool installed = seen != observed_.end() && !seen->second.hash.empty();
    if (desired_by_name_.contains(name) && !installed && (action == "start" || action == "restart") &&
        !IsBroughtUp()) {
      co_return Error::Conflict("not-installed", "{} is not installed: the last release did not get to it",
                                name)
          .Hint("{} or muster resume goes on with the release", UpCommand(row_.key));
    }
    if (!found) {
      co_return Error::NotFound("unknown-instance", "{} has no service or instance {}", row_.key, name)
          .Hint("muster ps lists them");
    }
  }
  if (names.empty()) {
    for (const Instance& instance : desired_.instances) chosen.insert(instance.name);
  }
  if (action == "down" && down()) {
    // Nothing runs; what may be left is data.
    if (options.delete_data && !options.plan_only) {
      const Status deleted = co_await DeleteData();
      if (!deleted.ok()) co_return deleted.error();
    }
    co_return StartedRun{.run = "", .plan = Plan{.cluster = row_.key}};
  }
  auto bundle = CurrentBundle();
  if (!bundle.ok() && action != "down") co_return bundle.error();
  if (!bundle.ok()) {
    // What can't be read can still be taken down, by what the agents see.
    Bundle empty;
    empty.cluster.name = row_.name;
    empty.cluster.rehearsal = row_.rehearsal;
    bundle = std::move(empty);
  }
  const auto held_before = held_;
  options.as_installed = action == "stop";
  if (action == "stop") {
    for (const std::string& name : chosen) held_[name] = "stopped";
  } else if (action == "start") {
    for (const std::string& name : chosen) held_.erase(name);
  } else if (action == "restart") {
    options.restart = chosen;
    // Whoever names an instance wants it to run; one that merely belongs to what is named stays as it was
    // left.
    for (const std::string& name : names) held_.erase(name);
  } else if (action == "down") {
    options.remove_all = true;
    held_.clear();
  }
  if (action != "down") options.act = chosen;
  bundle->author = author;
  bundle->note = fmt::format("{} {}", action, Join(names, " "));
  auto started = co_await Begin(std::move(*bundle), action, "", options);
  if (!started.ok() || options.plan_only) held_ = held_before;
  if (started.ok() && !cancelled.empty()) started->plan.notes.push_back(cancelled);
  co_return started;
}

Result<Bundle> Controller::BundleOf(int64_t revision) const {
  MUSTER_TRY(const auto row, deps_.store->FindRevision(row_.key, revision));
  if (!row) {
    return Error::NotFound("unknown-revision", "{} has no revision {} (any more)", row_.key, revision)
        .Hint("muster history lists those that are kept");
  }
  MUSTER_TRY(Cluster cluster, deps_.read_revision(*row, row_));
  return Bundle{.cluster = std::move(cluster),
                .text = row->text,
                .file_name = row->file_name,
                .files = FilesOf(*row),
                .author = row->author,
                .note = ""};
}

Result<Bundle> Controller::CurrentBundle() const { return BundleOf(row_.revision); }

// Who stopped an instance by hand meant that one: another of its name, later, isn't held. As long as a
// release may still go back, none that it takes away is forgotten.
void Controller::ForgetHeldElsewhere() {
  std::erase_if(held_, [&](const auto& held) { return !desired_.placement.contains(held.first); });
  row_.held = Json(held_).dump();
}

bool Controller::CanGoBack() const {
  const auto revisions = deps_.store->Revisions(row_.key);
  const auto runs = deps_.store->Runs(row_.key, kRunsLookedAt);
  return revisions.ok() && runs.ok() && GoodBefore(row_.revision, *revisions, *runs) > 0;
}

void Controller::SetDesired(plan::Desired desired) {
  desired_ = std::move(desired);
  desired_by_name_.clear();
  for (const auto* instances : {&desired_.instances, &desired_.guests, &desired_.returning}) {
    for (const Instance& instance : *instances) desired_by_name_[instance.name] = &instance;
  }
}

const Instance* Controller::FindDesired(const std::string& name) const {
  const auto found = desired_by_name_.find(name);
  return found == desired_by_name_.end() ? nullptr : found->second;
}

std::vector<Instance> Controller::MembersOf(const Service& service) const {
  std::vector<Instance> members;
  for (const Instance& instance : desired_.instances) {
    if (instance.service == service.name) members.push_back(instance);
  }
  for (const Instance& one : desired_.returning) {
    if (one.service == service.name && IsAwaited(one)) members.push_back(one);
  }
  return members;
}

std::map<std::string, std::string> Controller::Roles() const {
  std::map<std::string, std::string> all;
  for (const Service& service : cluster_.services) {
    const Recipe* recipe = FindRecipe(service.kind);
    if (!recipe || !recipe->roles) continue;
    all.merge(recipe->roles(MembersOf(service), observed_));
  }
  return all;
}

std::vector<ServiceStatus> Controller::ServiceStates() const {
  std::vector<ServiceStatus> states;
  const auto add_own = [&](std::string reason) {
    states.push_back({.name = row_.key,
                      .kind = "",
                      .health = {.health = Health::kRed, .reasons = {std::move(reason)}},
                      .ready = 0,
                      .wanted = 0});
  };
  if (trouble_) add_own(trouble_->message());
  if (unruled_) add_own(unruled_->message());
  if (const auto replaced = Replaced()) add_own(replaced->message() + "; " + replaced->hint());
  if (going_down()) add_own("is going down, and waits for hosts that do not answer");
  std::set<std::string> silent, come;  // those who have come and haven't told yet
  for (const auto& [host, wanted] : hosts_) {
    if (!connected(host)) {
      silent.insert(host);
    } else if (!heard_.contains(host)) {
      come.insert(host);
    }
  }
  const bool differs = !silent.empty() || !come.empty() || !held().empty();
  std::map<std::string, Observed> told;  // otherwise than observed
  if (differs) told = observed_;
  for (auto& [name, observed] : told) {
    if (silent.contains(observed.host)) {
      observed.state = InstanceState::kUnknown;
      observed.facts.erase(kNotAskedFact);
    }
    // Of one that ran when it was last heard of; an end that has been told of is certain.
    if (come.contains(observed.host) && common::Runs(observed.state)) {
      observed.state = InstanceState::kUnknown;
      observed.facts[kNotAskedFact] = "yes";
    }
    // How its process ended when it was told to is no reason.
    if (held().contains(name) && observed.state == InstanceState::kStopped) observed.last_exit = "by hand";
  }
  const std::map<std::string, Observed>& known = differs ? told : observed_;
  for (const Service& service : cluster_.services) {
    const Recipe* recipe = FindRecipe(service.kind);
    if (!recipe) continue;
    ServiceStatus status{.name = service.name, .kind = service.kind};
    const std::vector<Instance> members = MembersOf(service);
    for (const Instance& instance : members) {
      status.wanted += 1;
      const auto found = known.find(instance.name);
      if (found != known.end() && found->second.state == InstanceState::kReady) status.ready += 1;
    }
    status.health = recipe->health(members, known);
    if (const auto said = said_.find(service.name); said != said_.end() && !said->second.empty()) {
      std::vector<std::string>& reasons = status.health.reasons;
      reasons.insert(reasons.begin(), said->second.begin(), said->second.end());
      status.health.health = std::max(status.health.health, Health::kYellow);
    }
    states.push_back(std::move(status));
  }
  return states;
}

std::optional<RunProgress> Controller::ActiveRun() const {
  if (!run_.machine) return std::nullopt;
  RunProgress progress{.row = run_.row,
                       .done = run_.machine->steps_done(),
                       .total = run_.machine->steps_total(),
                       .open = run_.machine->open_steps(),
                       .paused = run_.machine->paused(),
                       .cancelling = run_.cancelled};
  return progress;
}

}  // namespace muster::control
