// The part of the Controller that breaks something on purpose while a client writes.
#include "base/digest.h"
#include "base/text.h"
#include "control/controller.h"
#include "control/drilling.h"
#include "model/up_command.h"

namespace muster::control {
namespace {

constexpr Duration kLook = 20ms;
constexpr size_t kWritesFirst = 50;       // acknowledged in each range before anything is broken
constexpr Duration kWritesFirstIn = 10s;  // at most
constexpr Duration kServesFor = 1s;       // so long a cut-off primary's slots are served before it comes back
constexpr Duration kRecently = 500ms;
constexpr Duration kBreakWithin = 10s;
constexpr Duration kForgetAfter = 600s;  // beyond the time that the drill may take
constexpr size_t kStepsNamed = 20;

std::string Plural(size_t number, const char* what) {
  return fmt::format("{} {}{}", number, what, number == 1 ? "" : "s");
}

}  // namespace

// "" where it is green, whole and settled.
std::string Controller::WhyUnwell(const std::string& service) const {
  for (const ServiceStatus& status : ServiceStates()) {
    if (status.name != service) continue;
    if (!status.health.reasons.empty()) return Join(status.health.reasons, "; ");
    if (status.health.health != Health::kGreen) return std::string(HealthName(status.health.health));
    if (status.ready < status.wanted) return fmt::format("{} of {} ready", status.ready, status.wanted);
    if (!status.health.unsettled.empty()) return "not settled: " + Join(status.health.unsettled, "; ");
    return "";
  }
  return "unknown";
}

Result<std::shared_ptr<DrillClient>> Controller::MakeDrillClient(const std::string& service,
                                                                 Duration most) const {
  const Service* found = cluster_.FindService(service);
  const Recipe* recipe = FindRecipe(found->kind);
  DrillClient::Setup setup{
      .loop = deps_.loop, .members = {}, .name = RandomHex(4), .forget_after = most * 3 + kForgetAfter};
  for (const Instance& member : MembersOf(*found)) {
    MUSTER_TRY(Instance revealed, Reveal(member));
    setup.members.push_back(std::move(revealed));
  }
  return recipe->drill.make_client(std::move(setup));
}

// Where all members are cut off together nobody is left to take over, nor to be written to: nothing is seen
// but that the host is gone.
std::optional<Error> Controller::WhyNoCutDrill(const Service& service) const {
  std::set<std::string> hosts;
  for (const Instance& member : MembersOf(service)) hosts.insert(member.host);
  if (hosts.size() != 1) return std::nullopt;
  return Error::Conflict("nobody-elsewhere",
                         "all of {} stands on {}: with that host cut off nobody is left to take over",
                         service.name, *hosts.begin())
      .Hint("give {} two hosts or more, or drill it with kill or freeze", service.name);
}

Result<std::shared_ptr<Controller::Drilling>> Controller::ChooseDrill(DrillOptions options) const {
  if (options.how != "kill" && options.how != "freeze" && options.how != "cut") {
    return Error::Invalid("unknown-break", "nothing is broken by \"{}\"", options.how)
        .Hint("known are kill, freeze and cut");
  }
  if (down() || going_down()) {
    return Error::Conflict("cluster-down", "{} is down: there is nothing to break", row_.key)
        .Hint("bring it up again: {}", UpCommand(row_.key));
  }
  if (!options.service.empty() && !cluster_.FindService(options.service)) {
    return Error::NotFound("unknown-service", "{} has no service {}", row_.key, options.service)
        .Hint("muster status lists them");
  }
  const Instance* named = FindDesired(options.instance);
  if (!options.instance.empty() &&
      (!named || (!options.service.empty() && named->service != options.service))) {
    return Error::NotFound("unknown-instance", "{} has no instance {}",
                           options.service.empty() ? row_.key : options.service, options.instance)
        .Hint("muster ps lists them");
  }
  if (named) options.service = named->service;
  const Service* service = nullptr;
  const Recipe* recipe = nullptr;
  for (const Service& one : cluster_.services) {
    if (!options.service.empty() && one.name != options.service) continue;
    recipe = FindRecipe(one.kind);
    if (!recipe || !recipe->drill.make_client) continue;
    service = &one;
    break;
  }
  if (!service) {
    return Error::Conflict("nothing-to-drill", "{}",
                           options.service.empty()
                               ? "no service of " + row_.key + " can be drilled"
                               : options.service + " is of a kind that can't be drilled (yet)")
        .Hint("redis and redis-cluster can");
  }
  options.service = service->name;
  if (options.how == "cut" && row_.rehearsal) {
    if (const auto why = WhyNoCutDrill(*service)) return *why;
  }
  if (const std::string why = WhyUnwell(service->name); !why.empty()) {
    return Error::Conflict("drill-unwell", "{} is not well as it is: {}", service->name, why)
        .Hint("a drill shows something only where all was well before; muster status shows when it is");
  }
  const std::vector<std::string> primaries = recipe->drill.primaries(MembersOf(*service), observed_);
  if (options.instance.empty() && primaries.empty())
    return Error::Conflict("drill-unwell", "{} has no primary that is ready", service->name);
  const Instance* target = options.instance.empty() ? FindDesired(primaries.front()) : named;
  if (options.how == "cut") {
    if (const auto why = WhyNotCut(target->host)) return *why;
  }
  auto drilling = std::make_shared<Drilling>();
  drilling->target = *target;
  drilling->report.service = service->name;
  drilling->report.how = options.how;
  drilling->report.instance = target->name;
  drilling->report.host = target->host;
  drilling->options = std::move(options);
  if (const auto seen = observed_.find(target->name); seen != observed_.end())
    drilling->pid = seen->second.pid;
  return drilling;
}

net::Task<Status> Controller::BreakMember(std::shared_ptr<Drilling> drilling, std::string how,
                                          std::string author) {
  auto self = shared_from_this();
  const Instance& target = drilling->target;
  if (how == "cut") {
    std::string host = target.host;
    co_return co_await CutHost(std::move(host), true, std::move(author));
  }
  Step step{.id = target.name + ".break",
            .instance = target.name,
            .service = target.service,
            .host = target.host,
            .verb = "break",
            .args = {{"how", how}},
            .reason = "drill",
            .deadline = kBreakWithin};
  api::OrderMessage message{.id = fmt::format("drill/{}/{}/{}", row_.epoch, RandomHex(4), how),
                            .epoch = row_.epoch,
                            .step = std::move(step),
                            .instance = std::nullopt};
  const auto outcome = co_await deps_.agents->Perform(row_.key, std::move(message));
  if (!outcome.ok()) co_return outcome.error();
  co_return Done();
}

// What a drill leaves broken is put right, whatever became of it.
net::Task<void> Controller::PutRight(std::shared_ptr<Drilling> drilling, std::string author) {
  auto self = shared_from_this();
  const std::string host = drilling->target.host;
  if (drilling->options.how == "cut" && kept_.cut.contains(host)) {
    const Status healed = co_await CutHost(host, false, author);
    if (!healed.ok()) {
      drilling->report.failures.push_back(host + " is still cut off: " + healed.error().message());
    } else if (drilling->broken && !drilling->report.healed_after) {
      drilling->report.healed_after = Now() - *drilling->broken;
      drilling->tell(host + " is healed");
    }
  }
  const auto seen = observed_.find(drilling->target.name);
  const bool same = seen != observed_.end() && seen->second.pid == drilling->pid;
  if (std::exchange(drilling->frozen, false) && same) {
    std::string thaw = "thaw";
    const Status thawed = co_await BreakMember(drilling, std::move(thaw), author);
    if (!thawed.ok() && thawed.error().code() != "not-running")
      drilling->report.failures.push_back(drilling->target.name + " is still frozen");
  }
}

net::Task<void> Controller::AwaitWell(std::shared_ptr<Drilling> drilling, std::string author) {
  auto self = shared_from_this();
  Drilling& drill = *drilling;
  const Time broken = *drill.broken, end = broken + drill.options.most;
  const auto goes_on = [&] { return !*drill.given_up && Now() < end; };
  const bool cut = drill.options.how == "cut";
  if (cut) {
    // Healed once the others have served for a while what it had: then it comes back into a world without it.
    const Time half = broken + drill.options.most / 2;
    std::optional<Time> serving;
    while (goes_on() && Now() < half) {
      const Time now = Now();
      const bool serves =
          !connected(drill.target.host) && drill.client->ledger().AllServe(broken, now, kRecently);
      if (!serves) serving.reset();
      if (serves && !serving) serving = now;
      if (serving && now - *serving >= kServesFor) break;
      co_await deps_.loop->Sleep(kLook);
    }
    co_await PutRight(drilling, author);
  }
  const auto is_back = [&] {
    const auto seen = observed_.find(drill.target.name);
    if (seen == observed_.end() || seen->second.state != InstanceState::kReady) return false;
    if (cut) return connected(drill.target.host);
    return seen->second.pid > 0 && seen->second.pid != drill.pid;
  };
  while (goes_on()) {
    if (is_back() && WhyUnwell(drill.report.service).empty() && mending_.empty() &&
        drill.client->ledger().AllServe(broken, Now(), kRecently)) {
      drill.report.green_after = Now() - broken;
      break;
    }
    co_await deps_.loop->Sleep(kLook);
  }
  drill.frozen = drill.options.how == "freeze";
  co_await PutRight(drilling, author);
}

// What it came to, once nothing is written any more.
net::Task<void> Controller::Conclude(std::shared_ptr<Drilling> drilling) {
  auto self = shared_from_this();
  DrillReport& report = drilling->report;
  std::vector<std::string>& failures = report.failures;
  const std::string most = FormatDuration(drilling->options.most);
  const std::string unwell = WhyUnwell(report.service);
  report.state = unwell.empty() ? "green" : unwell;
  if (!report.green_after) {
    failures.push_back(*drilling->given_up ? "it was given up"
                                           : fmt::format("{} was not well again within {}{}", report.service,
                                                         most, unwell.empty() ? "" : ": " + unwell));
  }
  const Status read = co_await drilling->client->ReadBack();
  if (!read.ok())
    failures.push_back("not all that was written could be read back: " + read.error().message());
  const Status removed = co_await drilling->client->CleanUp();
  if (!removed.ok()) failures.push_back("what was written may be left: " + removed.error().message());
  report.ranges = drilling->client->ledger().ranges();
  if (const size_t lost = drilling->client->ledger().lost(true); lost > 0)
    failures.push_back(Plural(lost, "write") + " that a replica had confirmed " +
                       (lost == 1 ? "is gone" : "are gone"));
  if (auto bundle = CurrentBundle(); bundle.ok()) {
    PlanOptions options;
    const auto plan = co_await MakePlan(std::move(*bundle), options);
    if (!plan.ok()) {
      failures.push_back("there is no plan afterwards: " + plan.error().message());
    } else {
      for (const Step& step : plan->steps) {
        if (report.plan.size() < kStepsNamed) report.plan.push_back(step.id);
      }
    }
  }
}

net::Task<Result<DrillReport>> Controller::Drill(DrillOptions options, std::string author,
                                                 std::function<void(const std::string& text)> tell,
                                                 std::shared_ptr<const bool> given_up) {
  auto self = shared_from_this();
  if (const Status rules = Rule(); !rules.ok()) co_return rules.error();
  co_await Settled();
  if (drilling_) {
    co_return Error::Conflict("drill-active", "a drill of {} is under way already", drilling_->report.service)
        .Hint("wait for its end; one at a time shows what it does");
  }
  if (!run_.id.empty() || deciding_) co_return InTheWay();
  auto chosen = ChooseDrill(std::move(options));
  if (!chosen.ok()) co_return chosen.error();
  const std::shared_ptr<Drilling> drilling = *chosen;
  drilling->tell = std::move(tell);
  drilling->given_up = std::move(given_up);
  auto client = MakeDrillClient(drilling->report.service, drilling->options.most);
  if (!client.ok()) co_return client.error();
  drilling->client = *client;
  drilling_ = drilling;
  struct Release {
    std::shared_ptr<Drilling>* drilling;
    ~Release() { drilling->reset(); }
  } release{&drilling_};

  const Status begun = co_await drilling->client->Begin();
  if (!begun.ok()) co_return begun.error();
  DrillLedger& ledger = drilling->client->ledger();
  drilling->tell(
      fmt::format("writing to {} of {}", Plural(ledger.ranges().size(), "range"), drilling->report.service));
  const Time first = Now();
  while (ledger.fewest_acknowledged() < kWritesFirst && Now() - first < kWritesFirstIn &&
         !*drilling->given_up) {
    co_await deps_.loop->Sleep(kLook);
  }
  Status broken = Done();
  if (*drilling->given_up) {
    broken = Error::Conflict("cancelled", "the drill was given up before anything was broken");
  } else if (ledger.fewest_acknowledged() < kWritesFirst) {
    broken =
        Error::Unavailable("drill-client", "{} takes too few writes to be drilled", drilling->report.service);
  } else {
    (void)deps_.store->AddAudit({.id = 0,
                                 .at = WallNow(),
                                 .who = author,
                                 .cluster = row_.key,
                                 .action = "drill",
                                 .detail = fmt::format("{} {} on {}", drilling->options.how,
                                                       drilling->target.name, drilling->target.host)});
    drilling->broken = Now();
    ledger.Broken(*drilling->broken);
    std::string how = drilling->options.how;
    drilling->tell(fmt::format("{}: {} on {}", how, drilling->target.name, drilling->target.host));
    broken = co_await BreakMember(drilling, std::move(how), author);
  }
  if (broken.ok()) co_await AwaitWell(drilling, author);
  ledger.Ended(Now());
  co_await drilling->client->End();
  if (!broken.ok()) {
    const Status removed = co_await drilling->client->CleanUp();
    (void)removed;  // it expires
    co_return broken.error();
  }
  drilling->tell("reading back what was acknowledged");
  co_await Conclude(drilling);
  co_return drilling->report;
}

}  // namespace muster::control
