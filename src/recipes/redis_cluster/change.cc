#include "recipes/redis_cluster/change.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <set>
#include <utility>

#include "base/text.h"
#include "model/listens.h"
#include "recipes/common/member_change.h"
#include "recipes/redis/data_check.h"
#include "recipes/redis_cluster/layout.h"
#include "recipes/redis_cluster/picture.h"

namespace muster::redis_cluster {
namespace {

using common::Installed;
using common::kInstallWithin;
using common::kReloadWithin;
using common::kSlack;
using common::Need;
using common::Runs;
using common::Work;

constexpr Duration kStepDownLeast = 60s;
constexpr int kVotes = 3;  // that a hand-over may need; the masters give one in two node timeouts
constexpr Duration kSettleLeast = 120s;  // a replica may have to take over all that its master has
constexpr Duration kMoveWithin = 3600s;  // of slots with their keys
constexpr int kUnevenPercent = 2;  // that masters may differ by, as redis-cli --cluster rebalance has it

class Builder {
 public:
  Builder(const Layout& layout, const Change::Input& input)
      : layout_(layout),
        input_(input),
        picture_(PictureOf(input.service->name, *input.desired, *input.observed)),
        unreachable_(input.unreachable.begin(), input.unreachable.end()),
        restart_(input.restart.begin(), input.restart.end()) {}

  Change::Output Build() {
    for (const Instance& desired : *input_.desired) {
      if (!unreachable_.contains(desired.host)) Look(desired);
    }
    if (!taken_over_.empty()) {
      output_.notes.push_back(fmt::format(
          "{} {} taken over as {} run{}, with the data where it is; nothing is restarted for it, and what "
          "doesn't run there is started",
          Join(taken_over_, ", "), taken_over_.size() == 1 ? "is" : "are",
          taken_over_.size() == 1 ? "it" : "they", taken_over_.size() == 1 ? "s" : ""));
    }
    const bool stays = std::any_of(input_.desired->begin(), input_.desired->end(),
                                   [this](const Instance& one) { return !input_.held.contains(one.name); });
    StopThoseHeld(stays);
    BringThoseAway();
    Reload();
    TakeLeave(stays);
    RestartByRole();
    SpreadWhatWasLeft();
    TellOfSurplus();
    const std::string note = redis::NoCopiesNote(*input_.service, ReplicasOf(*input_.service), output_.steps);
    if (!note.empty()) output_.notes.push_back(note);
    return std::move(output_);
  }

 private:
  using Ids = std::vector<std::string>;

  Step& Add(const std::string& instance, const std::string& host, std::string_view verb, Ids needs,
            std::string reason) {
    Step step;
    step.id = instance + "." + std::string(verb);
    step.instance = instance;
    step.service = input_.service->name;
    step.host = host;
    step.verb = verb;
    step.needs = std::move(needs);
    step.reason = std::move(reason);
    output_.steps.push_back(std::move(step));
    return output_.steps.back();
  }

  // A step that the mender brings about.
  Step& Await(const std::string& instance, const std::string& host, std::string_view verb, Ids needs,
              std::string reason, Duration within) {
    Step& step = Add(instance, host, verb, std::move(needs), std::move(reason));
    step.awaited = true;
    step.deadline = within;
    return step;
  }

  Step& Settle(const Instance& at, Ids needs, std::string reason, bool spread) {
    const Duration within = std::max(kSettleLeast, input_.service->update.deadline);
    Step& step = Await(at.name, at.host, "settle", std::move(needs), std::move(reason),
                       spread ? std::max(within, kMoveWithin) : within);
    if (spread) step.args["slots"] = "even";
    return step;
  }

  // Parts in the words of the cluster file. What a setting was before it was left out of the file, nobody
  // knows but a server that starts.
  common::Difference DifferenceOf(const Instance& desired, const Observed& observed) const {
    common::Difference difference = common::Differences(layout_, desired, observed);
    const std::string setting = "extra:" + std::string(kSetting);
    for (const auto& [part, hash] : observed.parts) {
      if (part.starts_with(setting) && !desired.parts.contains(part)) difference.impact = Impact::kRestart;
    }
    for (std::string& part : difference.parts) {
      if (part.starts_with(kSetting)) part = part.substr(kSetting.size());
      if (part == kSecretFile) part = "password";
    }
    if (difference.parts.size() > 1) std::erase(difference.parts, kConfigFile);
    return difference;
  }

  void Look(const Instance& desired) {
    const auto found = input_.observed->find(desired.name);
    const Observed* observed = found == input_.observed->end() ? nullptr : &found->second;
    Work work{.desired = &desired, .observed = observed, .need = Need::kStart, .impact = Impact::kRestart};
    work.serves = observed && observed->state == InstanceState::kReady;
    const bool restart = restart_.contains(desired.name);
    const bool changed = Installed(observed) && observed->hash != desired.hash;
    if (input_.held.contains(desired.name)) {
      output_.notes.push_back(desired.name + " is stopped by hand (muster start " + desired.name + ")");
      if (!Runs(observed) && !(observed && observed->state == InstanceState::kFailed)) return;
      work.need = Need::kStop;
      work.reason = "stopped by hand";
    } else if (!Installed(observed)) {
      work.need = Need::kNew;
      work.reason = "new";
      if (const auto data = desired.extra.find(kDataElsewhere); data != desired.extra.end()) {
        work.reason = "taken over as it runs in " + data->second;
        taken_over_.push_back(desired.name);
      }
    } else if (changed && input_.same_file && !input_.refresh && !restart &&
               observed->renderer != desired.renderer && Runs(observed)) {
      ++output_.renderer_only;
      return;
    } else if (changed) {
      const common::Difference difference = DifferenceOf(desired, *observed);
      Choose(work, difference.impact, restart);
      work.reason = Join(difference.parts, ", ") + " changed";
    } else if (!observed->drift.empty()) {
      LookAtDrift(work, restart);
    } else if (restart && Runs(observed)) {
      work.need = Need::kRestart;
      work.install = false;
      work.reason = "asked for";
    } else if (!Runs(observed)) {
      work.reason = observed->state == InstanceState::kFailed ? "had failed"
                    : restart                                 ? "asked for"
                                                              : "is stopped";
    } else if (observed->state != InstanceState::kReady && observed->state != InstanceState::kStopping) {
      // It runs, or will: whoever says `up` wants to know whether it gets ready.
      work.reason = fmt::format("is not ready ({})", StateName(observed->state));
    } else if (!observed->running_hash.empty() && observed->running_hash != observed->hash) {
      work.need = Need::kRestart;
      work.install = false;
      work.reason = "runs what was installed before";
    } else {
      return;
    }
    work_.push_back(std::move(work));
  }

  // What a change of this impact needs, where there is something to install.
  void Choose(Work& work, Impact impact, bool restart) const {
    work.impact = impact;
    work.need = !Runs(work.observed)        ? Need::kNew
                : restart                   ? Need::kRestart
                : impact <= Impact::kLive   ? Need::kLive
                : impact == Impact::kReload ? Need::kReload
                                            : Need::kRestart;
    // Who doesn't answer takes no orders either.
    if (work.need == Need::kReload && !work.serves) work.need = Need::kRestart;
    if (work.need == Need::kRestart || work.need == Need::kNew) work.impact = Impact::kRestart;
    work.proves = work.need == Need::kLive && ProbeDiffers(*work.desired, *work.observed) &&
                  (work.serves || work.observed->state == InstanceState::kUnhealthy);
  }

  void LookAtDrift(Work& work, bool restart) const {
    const common::Difference drift = common::DriftOf(*work.desired, *work.observed);
    Choose(work, drift.impact, restart);
    work.reason = Join(drift.parts, ", ") + " changed by hand";
  }

  static bool ProbeDiffers(const Instance& desired, const Observed& observed) {
    const auto now = desired.parts.find("probe"), before = observed.parts.find("probe");
    if (now == desired.parts.end() || before == observed.parts.end()) return false;
    return now->second != before->second;
  }

  // The steps that each agent knows; returns the id of the last.
  std::string Install(const Work& work, Ids needs) {
    Step& step = Add(work.desired->name, work.desired->host, "install", std::move(needs), work.reason);
    step.impact = work.impact;
    step.after = "installed";
    step.deadline = kInstallWithin;
    return step.id;
  }

  std::string Start(const Work& work, Ids needs) {
    Step& step = Add(work.desired->name, work.desired->host, "start", std::move(needs), work.reason);
    step.impact = work.impact;
    step.after = "ready";
    common::SetStartTimes(*input_.service, *work.desired, step);
    return step.id;
  }

  // `handed_over`: a step-down comes before it, and what that has brought about must still be so.
  std::string Stop(const Work& work, Ids needs, bool handed_over = false) {
    Step& step = Add(work.desired->name, work.desired->host, "stop", std::move(needs), work.reason);
    step.impact = Impact::kRestart;
    step.before = "running";
    step.after = "stopped";
    step.deadline = work.desired->stop_timeout + kSlack;
    // Where there are no replicas to be, the slots are out meanwhile, as the plan says.
    if (handed_over && ReplicasOf(*input_.service) > 0) step.args["only"] = "handed-over";
    if (work.need == Need::kRestart) {
      step.put_back = "start";  // a run that ends early leaves nobody stopped
      step.deadline = std::max(step.deadline, work.desired->ready_within + kSlack);
    }
    return step.id;
  }

  std::string StopInstallStart(const Work& work, Ids needs, bool handed_over = false) {
    std::string last = Stop(work, std::move(needs), handed_over);
    if (work.install) last = Install(work, {last});
    return Start(work, {last});
  }

  std::string StepDown(const Work& work, Ids needs) {
    const Duration within = std::max(kStepDownLeast, kVotes * SuccessorWithin(SettingsOf(*input_.service)));
    return Await(work.desired->name, work.desired->host, "step-down", std::move(needs), work.reason, within)
        .id;
  }

  // Whether somebody who stays has a copy of what this member has.
  bool HasStandIn(const std::string& name) const {
    const Shard* shard = picture_.ShardOf(name);
    if (!shard) return true;  // nothing is known of it: the mender looks
    const auto there = [&](const std::string& other) {
      const Member* member = picture_.Find(other);
      return other != name && member && member->ready && !input_.held.contains(other);
    };
    return there(shard->master) || std::any_of(shard->replicas.begin(), shard->replicas.end(), there);
  }

  // One after the other, each handing over what it has to whom there is. All at once where nobody stays.
  void StopThoseHeld(bool stays) {
    Ids last;
    redis::SlotSet out;
    for (const Work& work : work_) {
      if (work.need != Need::kStop) continue;
      Ids needs = last;
      if (stays && work.serves && HasStandIn(work.desired->name)) {
        needs = {StepDown(work, needs)};
      } else if (const Shard* shard = picture_.ShardOf(work.desired->name); stays && shard) {
        out |= shard->slots;
      }
      const std::string stopped = Stop(work, needs, needs != last);
      if (stays) last = {stopped};
    }
    if (!out.empty()) {
      output_.outages.push_back(fmt::format("{}: the slots {} are out while all who have them are stopped",
                                            input_.service->name, out.Text()));
    }
    held_ = last;
  }

  // New members, and those that serve nothing now: nobody has to wait for another.
  void BringThoseAway() {
    Ids started;
    const Instance* first = nullptr;
    for (const Work& work : work_) {
      if (work.need == Need::kStop) continue;
      if (work.need == Need::kLive && work.serves && !work.proves) {
        Install(work, {});
        continue;
      }
      if (work.serves || work.proves) continue;
      std::string last;
      switch (work.need) {
        case Need::kNew:
        case Need::kLive:
          last = Start(work, {Install(work, {})});
          break;
        case Need::kRestart:
          last = StopInstallStart(work, {});
          break;
        default:
          last = Start(work, {});
      }
      started.push_back(std::move(last));
      if (!first) first = work.desired;
    }
    if (!first) return;
    const bool spread = Owners() > 0 && HasToSpread();
    last_ = {Settle(*first, std::move(started),
                    !taken_over_.empty()      ? std::string("all are seen in their roles")
                    : Owners() == 0           ? "all take their roles"
                    : spread && Surplus() > 0 ? WhyToSpread()
                    : spread                  ? "the slots are spread over all masters"
                                              : "all are linked again",
                    spread)
                 .id};
    if (spread) TellMoves();
  }

  void TellMoves() {
    if (std::exchange(moves_told_, true)) return;
    output_.notes.push_back(fmt::format(
        "{}: slots move while clients use them, which costs redirects and no write", input_.service->name));
  }

  int Owners() const {
    return static_cast<int>(std::count_if(picture_.shards.begin(), picture_.shards.end(),
                                          [](const Shard& shard) { return !shard.slots.empty(); }));
  }

  // Masters with slots that stay, beyond those wanted: as where there are to be fewer masters and more
  // replicas. Those that leave give their slots away by leaving.
  int Surplus() const {
    const auto stays = [this](const Shard& shard) {
      const Member* master = picture_.Find(shard.master);
      return !shard.slots.empty() && master && master->desired;
    };
    const auto staying = std::count_if(picture_.shards.begin(), picture_.shards.end(), stays);
    return std::max(0, static_cast<int>(staying) - MastersOf(*input_.service));
  }

  // By their numbers of slots: who has least and who has most.
  std::pair<const Shard*, const Shard*> Extremes() const {
    const Shard *least = nullptr, *most = nullptr;
    for (const Shard& shard : picture_.shards) {
      if (shard.slots.empty()) continue;
      if (!least || shard.slots.count() < least->slots.count()) least = &shard;
      if (!most || shard.slots.count() > most->slots.count()) most = &shard;
    }
    return {least, most};
  }

  // What somebody else has evened may be a little off; what a run of muster's own has left half done may be,
  // too, and isn't right yet.
  bool IsEven() const {
    const auto [least, most] = Extremes();
    if (!least || most->slots.count() - least->slots.count() <= 1) return true;
    const int share = redis::kSlots / MastersOf(*input_.service);
    const bool near = (share - least->slots.count()) * 100 <= kUnevenPercent * share &&
                      (most->slots.count() - share) * 100 <= kUnevenPercent * most->slots.count();
    return near && !input_.unfinished;
  }

  bool HasToSpread() const {
    if (!SpreadsSlots(*input_.service)) return false;
    const int owners = Owners(), masters = MastersOf(*input_.service);
    if (owners < masters) return true;
    return !input_.act && (Surplus() > 0 || (owners == masters && !IsEven()));
  }

  std::string WhyToSpread() const {
    const int masters = MastersOf(*input_.service);
    if (Owners() < masters) return fmt::format("{} of {} masters have slots", Owners(), masters);
    if (const int surplus = Surplus(); surplus > 0) {
      return fmt::format("{} masters have slots and {} are wanted: {} become{} {}", masters + surplus,
                         masters, surplus, surplus == 1 ? "s" : "", surplus == 1 ? "a replica" : "replicas");
    }
    const auto [least, most] = Extremes();
    return fmt::format("slots are uneven: {} has {}, {} has {}", least->master, least->slots.count(),
                       most->master, most->slots.count());
  }

  void Reload() {
    for (const Work& work : work_) {
      if (!work.proves && !(work.need == Need::kReload && work.serves)) continue;
      const std::string installed = Install(work, last_);
      Step& step = work.proves
                       ? output_.steps.back()
                       : Add(work.desired->name, work.desired->host, "reload", {installed}, work.reason);
      const Duration install = work.proves ? kInstallWithin : 0s;
      if (work.proves) {
        common::SetStartTimes(*input_.service, *work.desired, step);
        step.deadline += install;
        step.args["prove"] = "yes";
      } else {
        step.impact = work.impact;
        step.after = "ready";
        step.deadline = kReloadWithin;
      }
      last_ = {step.id};
    }
  }

  // Members that stand but aren't wanted any more: all at once, so that what one has doesn't go to another.
  void TakeLeave(bool stays) {
    Ids removed;
    std::vector<std::string> leaving;
    for (const auto& [name, observed] : *input_.observed) {
      if (observed.service != input_.service->name || unreachable_.contains(observed.host)) continue;
      const Member* member = picture_.Find(name);
      if ((member && member->desired) || (!Runs(&observed) && !Installed(&observed))) continue;
      leaving.push_back(name);
      if (!stays && !input_.desired->empty()) continue;
      Ids needs = last_;
      if (stays) {
        needs = {Await(name, observed.host, "leave", last_, "not wanted any more", kMoveWithin).id};
      }
      Step& stop = Add(name, observed.host, "stop", std::move(needs), "not wanted any more");
      if (stays) stop.args["only"] = "handed-over";
      stop.after = "stopped";
      stop.impact = Impact::kRestart;
      stop.deadline = 60s;
      Ids stopped{stop.id};
      Step& remove = Add(name, observed.host, "remove", std::move(stopped), "not wanted any more");
      remove.after = "removed";
      remove.args["delete_data"] = "no";
      remove.deadline = 60s;
      removed.push_back(remove.id);
    }
    if (!leaving.empty() && !stays && !input_.desired->empty()) {
      output_.notes.push_back(fmt::format(
          "{} {}: nobody runs who could take what {} (muster start {}, and muster up again)",
          Join(leaving, ", "),
          leaving.size() == 1 ? "isn't wanted any more, and stays" : "aren't wanted any more, and stay",
          leaving.size() == 1 ? "it has" : "they have", input_.service->name));
    }
    if (leaving.empty() || !stays) return;
    const Instance& first = input_.desired->front();
    Step& settle = Settle(first, std::move(removed), fmt::format("{} left", Join(leaving, ", ")),
                          SpreadsSlots(*input_.service));
    settle.id += ".left";  // the member may have one of its own
    last_ = {settle.id};
    TellMoves();
  }

  // Replicas before masters: by then each master has one that runs what is new.
  void RestartByRole() {
    std::vector<const Work*> restarts;
    for (const Work& work : work_) {
      if (work.need == Need::kRestart && work.serves) restarts.push_back(&work);
    }
    if (restarts.empty()) return;
    const auto is_master = [this](const Work* work) {
      const Member* member = picture_.Find(work->desired->name);
      return member && member->master;
    };
    std::stable_partition(restarts.begin(), restarts.end(),
                          [&](const Work* work) { return !is_master(work); });
    FreePortsFirst(restarts);
    const std::string& name = input_.service->name;
    const bool replicated = ReplicasOf(*input_.service) > 0;
    last_.insert(last_.end(), held_.begin(), held_.end());
    for (const Work* work : restarts) {
      if (replicated) last_ = {StepDown(*work, last_)};
      const std::string started = StopInstallStart(*work, last_, replicated);
      last_ = {Settle(*work->desired, {started}, work->reason, false).id};
    }
    if (!replicated) {
      output_.outages.push_back(
          fmt::format("the slots of each member of {} are out while it restarts: it has no replica", name));
    } else if (std::any_of(restarts.begin(), restarts.end(), is_master)) {
      output_.notes.push_back(
          fmt::format("{}: no write is lost; each primary hands its slots over first, during which writes to "
                      "them wait for "
                      "some milliseconds",
                      name));
    }
  }

  // Where the port moves and several stand on a host, each gets what its neighbour had: who has it goes
  // first.
  static void FreePortsFirst(std::vector<const Work*>& restarts) {
    std::map<std::pair<std::string, int>, const Work*> holders;  // by address and port
    for (const Work* work : restarts) {
      const Listens listens = ListensOf(*work->observed);
      for (const PortRange& range : listens.ports) holders[{listens.address, range.first}] = work;
    }
    std::vector<const Work*> ordered;
    std::set<const Work*> seen;
    const std::function<void(const Work*)> visit = [&](const Work* work) {
      if (!seen.insert(work).second) return;
      for (const auto& [name, range] : work->desired->ports) {
        const auto holder = holders.find({work->desired->address, range.first});
        if (holder != holders.end() && holder->second != work) visit(holder->second);
      }
      ordered.push_back(work);
    };
    for (const Work* work : restarts) visit(work);
    restarts = std::move(ordered);
  }

  // An earlier run may have ended before all masters had their slots. An agent that has just come knows that
  // its members are ready, but not yet what they see: then it is for the mender to tell whether all is done.
  void SpreadWhatWasLeft() {
    bool ready = true, told = true;
    for (const Instance& one : *input_.desired) {
      const Member* member = picture_.Find(one.name);
      ready = ready && member && member->ready && !input_.held.contains(one.name);
      told = told && member && member->view;
    }
    if (!ready || (told && !picture_.owned.all())) return;
    if (told ? !HasToSpread() : !SpreadsSlots(*input_.service)) return;
    const bool alone = output_.steps.empty();
    if (!alone && (!told || input_.act || moves_told_)) return;
    Step& settle =
        Settle(input_.desired->front(), alone ? Ids() : last_,
               told ? WhyToSpread() : std::string("not all have told yet which slots they have"), true);
    if (!alone) settle.id += ".even";  // the member may have one of its own
    if (told) TellMoves();
  }

  // Where nothing is moved, nobody stops being a master.
  void TellOfSurplus() {
    if (input_.act || SpreadsSlots(*input_.service) || Surplus() == 0) return;
    const int masters = MastersOf(*input_.service);
    output_.notes.push_back(
        fmt::format("{}: {} masters have slots and {} are wanted; with slots: kept they stay masters "
                    "(slots: even makes replicas of those too many)",
                    input_.service->name, masters + Surplus(), masters));
  }

  const Layout& layout_;
  const Change::Input& input_;
  const Picture picture_;
  const std::set<std::string> unreachable_;
  const std::set<std::string> restart_;
  std::vector<Work> work_;
  std::vector<std::string> taken_over_;
  bool moves_told_ = false;
  Ids held_;  // the last stop of those stopped by hand
  Ids last_;  // what the next one waits for
  Change::Output output_;
};

}  // namespace

Change::Output RedisClusterChange::StepsFor(const Input& input) const {
  return Builder(*layout_, input).Build();
}

}  // namespace muster::redis_cluster
