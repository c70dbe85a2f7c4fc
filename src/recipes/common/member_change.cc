#include "recipes/common/member_change.h"

#include <algorithm>
#include <csignal>
#include <functional>
#include <set>
#include <tuple>
#include <unordered_set>

#include "base/text.h"
#include "model/listens.h"
#include "recipes/common/placement.h"

namespace muster::common {

namespace {

// The numbers of all ports, each with whether it is UDP.
std::vector<std::pair<bool, int>> NumbersOf(const std::vector<PortRange>& ports) {
  std::vector<std::pair<bool, int>> numbers;
  for (const PortRange& range : ports) {
    for (int i = 0; i < range.count; ++i) numbers.emplace_back(range.udp, range.first + i);
  }
  return numbers;
}

class Builder {
 public:
  Builder(const Layout& layout, bool rolls_reloads, const Change::Input& input)
      : layout_(layout),
        rolls_reloads_(rolls_reloads),
        input_(input),
        unreachable_(input.unreachable.begin(), input.unreachable.end()),
        restart_(input.restart.begin(), input.restart.end()) {}

  Change::Output Build() {
    FindSurplus();
    for (const Instance& desired : *input_.desired) Look(desired);
    Order();
    return std::move(output_);
  }

 private:
  Step MakeStep(const std::string& instance, const std::string& host, std::string_view verb) {
    Step step;
    step.id = instance + "." + std::string(verb);
    step.instance = instance;
    step.service = input_.service->name;
    step.host = host;
    step.verb = verb;
    return step;
  }

  bool Unreachable(const std::string& host) const { return unreachable_.contains(host); }

  // Members that stand but aren't wanted any more.
  void FindSurplus() {
    std::set<std::string> wanted;
    for (const Instance& desired : *input_.desired) wanted.insert(desired.name);
    for (const auto& [name, observed] : *input_.observed) {
      if (observed.service != input_.service->name || wanted.contains(name)) continue;
      if (Unreachable(observed.host) || (!Runs(&observed) && !Installed(&observed))) continue;
      Step stop = MakeStep(name, observed.host, "stop");
      stop.reason = "not wanted any more";
      stop.after = "stopped";
      stop.impact = Impact::kRestart;
      stop.deadline = 60s;
      Step remove = MakeStep(name, observed.host, "remove");
      remove.reason = stop.reason;
      remove.after = "removed";
      const bool guest = IsGuestName(input_.service->name, name);
      remove.args["delete_data"] = guest ? "yes" : "no";
      remove.needs = {stop.id};
      remove.deadline = 60s;
      if (guest) left_behind_.push_back(remove.id);
      output_.steps.push_back(std::move(stop));
      output_.steps.push_back(std::move(remove));
    }
  }

  void Look(const Instance& desired) {
    const auto found = input_.observed->find(desired.name);
    const Observed* observed = found == input_.observed->end() ? nullptr : &found->second;
    if (Unreachable(desired.host)) return;
    Work work{.desired = &desired, .observed = observed};
    work.serves = observed && (observed->state == InstanceState::kReady);
    const bool restart = restart_.contains(desired.name);
    const Difference difference = observed ? Differences(layout_, desired, *observed) : Difference{};
    const bool changed = Installed(observed) && observed->hash != desired.hash;

    if (input_.held.contains(desired.name)) {
      output_.notes.push_back(desired.name + " is stopped by hand (muster start " + desired.name + ")");
      if (!Runs(observed) && !(observed && observed->state == InstanceState::kFailed)) return;
      work.need = Need::kStop;
      work.reason = "stopped by hand";
    } else if (!Installed(observed)) {
      work.need = Need::kNew;
      work.impact = Impact::kRestart;
      work.reason = "new";
    } else if (changed && input_.same_file && !input_.refresh && !restart &&
               observed->renderer != desired.renderer && Runs(observed)) {
      ++output_.renderer_only;
      return;
    } else if (changed) {
      work.impact = difference.impact;
      work.reason = Join(difference.parts, ", ") + " changed";
      work.need = !Runs(observed)                  ? Need::kNew
                  : restart                        ? Need::kRestart
                  : work.impact == Impact::kLive   ? Need::kLive
                  : work.impact == Impact::kReload ? Need::kReload
                                                   : Need::kRestart;
    } else if (!observed->drift.empty()) {
      LookAtDrift(work, desired, *observed);
    } else if (restart && Runs(observed)) {
      work.need = Need::kRestart;
      work.install = false;
      work.impact = Impact::kRestart;
      work.reason = "asked for";
    } else if (!Runs(observed)) {
      work.need = Need::kStart;
      work.impact = Impact::kRestart;
      work.reason = observed->state == InstanceState::kFailed ? "had failed"
                    : restart                                 ? "asked for"
                                                              : "is stopped";
    } else if (observed->state == InstanceState::kStarting || observed->state == InstanceState::kUnhealthy ||
               observed->state == InstanceState::kBackoff) {
      work.need = Need::kStart;  // it runs, or will: whoever says `up` wants to know whether it gets ready
      work.reason = fmt::format("is not ready ({})", StateName(observed->state));
    } else if (!observed->running_hash.empty() && observed->running_hash != observed->hash) {
      work.need = Need::kRestart;
      work.install = false;
      work.impact = Impact::kRestart;
      work.reason = "runs what was installed before";
    }
    work.proves = work.need == Need::kLive && changed && ProbeDiffers(desired, *observed) &&
                  (work.serves || observed->state == InstanceState::kUnhealthy);
    if (work.need == Need::kReload && rolls_reloads_ && !TakesReloads(desired, *observed))
      work.need = Need::kRestart;
    if (work.need != Need::kNothing) work_.push_back(std::move(work));
  }

  static bool ProbeDiffers(const Instance& desired, const Observed& observed) {
    const auto now = desired.parts.find("probe");
    const auto before = observed.parts.find("probe");
    if (now == desired.parts.end() || before == observed.parts.end())
      return now != desired.parts.end() || before != observed.parts.end();
    return now->second != before->second;
  }

  // What isn't ready may have no process just now, and what died of the signal would do so again.
  static bool TakesReloads(const Instance& desired, const Observed& observed) {
    if (observed.state != InstanceState::kReady) return false;
    return observed.last_exit != fmt::format("signal {}", ReloadSignal(desired));
  }

  void LookAtDrift(Work& work, const Instance& desired, const Observed& observed) {
    const Difference drift = DriftOf(desired, observed);
    work.impact = drift.impact;
    work.reason = Join(drift.parts, ", ") + " changed by hand";
    work.need = !Runs(&observed)                 ? Need::kNew
                : work.impact <= Impact::kLive   ? Need::kLive
                : work.impact == Impact::kReload ? Need::kReload
                                                 : Need::kRestart;
  }

  // Emits the steps of one member; returns the id of its last.
  std::string Emit(const Work& work, const std::vector<std::string>& needs) {
    const Instance& desired = *work.desired;
    std::vector<Step> steps;
    const auto add = [&](std::string_view verb) -> Step& {
      Step step = MakeStep(desired.name, desired.host, verb);
      step.reason = work.reason;
      step.impact = work.impact;
      steps.push_back(std::move(step));
      return steps.back();
    };
    const auto install = [&] {
      Step& step = add("install");
      step.after = "installed";
      step.deadline = kInstallWithin;
    };
    const auto start = [&] {
      Step& step = add("start");
      step.after = "ready";
      SetStartTimes(*input_.service, desired, step);
    };
    const auto stop = [&] {
      Step& step = add("stop");
      step.before = "running";
      step.after = "stopped";
      step.deadline = desired.stop_timeout + kSlack;
    };
    switch (work.need) {
      case Need::kNothing:
        return "";
      case Need::kNew:
        install();
        start();
        break;
      case Need::kStart:
        start();
        break;
      case Need::kLive:
        install();
        if (work.proves) {
          const Duration most = steps.back().deadline;
          SetStartTimes(*input_.service, desired, steps.back());
          steps.back().deadline += most;
          steps.back().args["prove"] = "yes";
        } else if (!work.serves) {
          start();  // it runs, or will: whoever says `up` wants to know whether it gets ready
        }
        break;
      case Need::kReload: {
        install();
        Step& step = add("reload");
        step.after = "ready";
        step.deadline = kReloadWithin;
        if (!rolls_reloads_) break;
        SetStartTimes(*input_.service, desired, step);
        step.args["prove"] = "yes";
        break;
      }
      case Need::kRestart:
        stop();
        // A run that ends early leaves nobody stopped.
        steps.back().put_back = "start";
        steps.back().deadline = std::max(steps.back().deadline, desired.ready_within + kSlack);
        if (work.install) install();
        start();
        break;
      case Need::kStop:
        stop();
        break;
    }
    for (size_t i = 0; i < steps.size(); ++i) {
      steps[i].needs = i == 0 ? needs : std::vector<std::string>{steps[i - 1].id};
    }
    // A new member may get a port that a guest of an earlier run still has.
    if (work.need == Need::kNew) {
      steps[0].needs.insert(steps[0].needs.end(), left_behind_.begin(), left_behind_.end());
    }
    output_.steps.insert(output_.steps.end(), steps.begin(), steps.end());
    return steps.back().id;
  }

  // Guests that can be used now, at most `number`.
  std::vector<const Instance*> ChooseGuests(size_t number) const {
    std::vector<const Instance*> chosen;
    for (const Instance& guest : input_.guests) {
      const auto observed = input_.observed->find(guest.name);
      const bool there =
          observed != input_.observed->end() && (Runs(&observed->second) || Installed(&observed->second));
      if (chosen.size() < number && !there && !Unreachable(guest.host)) chosen.push_back(&guest);
    }
    return chosen;
  }

  // Starts a guest; returns the id of its last step.
  std::string Bring(const Instance& guest, const std::vector<std::string>& needs) {
    Step install = MakeStep(guest.name, guest.host, "install");
    install.reason = "stands in meanwhile";
    install.impact = Impact::kRestart;
    install.after = "installed";
    install.put_back = "remove";
    install.args["delete_data"] = "yes";  // of the put-back
    install.needs = needs;
    install.deadline = kInstallWithin;
    Step start = MakeStep(guest.name, guest.host, "start");
    start.reason = install.reason;
    start.impact = Impact::kRestart;
    start.after = "ready";
    start.needs = {install.id};
    SetStartTimes(*input_.service, guest, start);
    const std::string last = start.id;
    output_.steps.push_back(std::move(install));
    output_.steps.push_back(std::move(start));
    return last;
  }

  void Remove(const Instance& guest, const std::vector<std::string>& needs) {
    Step stop = MakeStep(guest.name, guest.host, "stop");
    stop.reason = "all are replaced";
    stop.impact = Impact::kRestart;
    stop.after = "stopped";
    stop.needs = needs;
    stop.deadline = guest.stop_timeout + kSlack;
    Step remove = MakeStep(guest.name, guest.host, "remove");
    remove.reason = stop.reason;
    remove.impact = Impact::kRestart;
    remove.after = "removed";
    remove.args["delete_data"] = "yes";
    remove.needs = {stop.id};
    remove.deadline = 60s;
    output_.steps.push_back(std::move(stop));
    output_.steps.push_back(std::move(remove));
  }

  // Members that this run doesn't bring back, and that therefore count as unavailable all the while.
  int Away() const {
    int away = 0;
    for (const Instance& desired : *input_.desired) {
      away += input_.held.contains(desired.name) || Unreachable(desired.host);
    }
    return away;
  }

  // Whether doing it takes away what serves, so that it goes by the window.
  bool Goes(const Work& work) const {
    if (!work.serves) return false;
    return work.need == Need::kRestart || work.proves || (work.need == Need::kReload && rolls_reloads_);
  }

  // Says what is out meanwhile, and returns how many may be replaced at a time.
  int Window(size_t serving, size_t guests) {
    const UpdatePolicy& update = input_.service->update;
    const std::string& name = input_.service->name;
    const int members = static_cast<int>(input_.desired->size());
    const int allowed =
        std::min(update.max_unavailable.RoundDown(members) + static_cast<int>(guests), members);
    if (serving == 0) return std::max(allowed, 1);
    const int away = Away();
    const int window = allowed - away;
    if (update.max_surge.amount > 0 && guests == 0) {
      output_.notes.push_back(fmt::format("{}: there is no place for an extra member (max_surge)", name));
    }
    if (window <= 0 && members == 1) {
      output_.outages.push_back(name + " is out while its only instance restarts");
    } else if (window <= 0 && away > 0) {
      output_.outages.push_back(
          fmt::format("{} has {} of {} instances while each restarts in turn: {} {} away", name,
                      std::max(members - away - 1, 0), members, away, away == 1 ? "is" : "are"));
    } else if (window <= 0) {
      output_.outages.push_back(
          fmt::format("{} has {} of {} instances while each restarts in turn (max_unavailable comes to 0)",
                      name, members - 1, members));
    } else if (members > 1 && guests == 0 && window >= members) {
      output_.outages.push_back(name + " is out while all its instances restart at once");
    }
    return std::max(window, 1);
  }

  // Members whose ports move along hand them on: who has one goes before who gets it. In a circle, plan/
  // stops one early.
  void FreePortsFirst() {
    const auto wanted = [&](size_t i) {
      const Instance& desired = *work_[i].desired;
      return ParseListens(FormatListens(desired.address, desired.ports));
    };
    std::map<std::tuple<std::string, bool, int>, size_t> holders;  // of those whose ports change
    for (size_t i = 0; i < work_.size(); ++i) {
      if (!Runs(work_[i].observed)) continue;
      const Listens listens = ListensOf(*work_[i].observed);
      if (listens.ports.empty() || listens == wanted(i)) continue;
      for (const auto& [udp, port] : NumbersOf(listens.ports)) holders[{listens.address, udp, port}] = i;
    }
    if (holders.empty()) return;
    std::vector<size_t> sequence;
    std::vector<bool> seen(work_.size());
    const std::function<void(size_t)> visit = [&](size_t i) {
      if (seen[i]) return;
      seen[i] = true;
      const Listens listens = wanted(i);
      for (const auto& [udp, port] : NumbersOf(listens.ports)) {
        const auto holder = holders.find({listens.address, udp, port});
        if (holder == holders.end() || holder->second == i) continue;
        visit(holder->second);
        const Work& before = work_[holder->second];
        work_[i].after_window |= !Goes(work_[i]) && (Goes(before) || before.after_window);
      }
      sequence.push_back(i);
    };
    for (size_t i = 0; i < work_.size(); ++i) visit(i);
    std::vector<Work> ordered;
    for (const size_t i : sequence) ordered.push_back(std::move(work_[i]));
    work_ = std::move(ordered);
  }

  void Order() {
    const int members = static_cast<int>(input_.desired->size());
    size_t serving = 0;
    for (const Work& work : work_) serving += work.serves && work.need == Need::kRestart;
    const int surge = input_.service->update.max_surge.RoundUp(members);
    const auto guests = ChooseGuests(std::min(serving, static_cast<size_t>(std::max(surge, 0))));
    const auto window = static_cast<size_t>(Window(serving, guests.size()));
    FreePortsFirst();
    // What is away already needs no window, and must be back before more is taken away.
    std::vector<std::string> first;
    for (const Work& work : work_) {
      if (Goes(work) || work.after_window) continue;
      const std::string last = Emit(work, {});
      const bool kept = work.serves && work.need == Need::kLive;
      if (work.need != Need::kStop && work.need != Need::kReload && !kept) first.push_back(last);
    }
    if (!guests.empty()) {
      std::vector<std::string> stand_in;
      for (const Instance* guest : guests) stand_in.push_back(Bring(*guest, first));
      first = std::move(stand_in);
    }
    // A change of nothing but new members needs no order among them; with serving ones, those wait for the
    // new.
    std::vector<std::string> lasts;
    for (const Work& work : work_) {
      if (work.after_window) {
        Emit(work, lasts.empty() ? first : std::vector<std::string>{lasts.back()});
        continue;
      }
      if (!Goes(work)) continue;
      std::vector<std::string> needs;
      if (lasts.size() >= window) {
        needs.push_back(lasts[lasts.size() - window]);
      } else {
        needs = first;
      }
      lasts.push_back(Emit(work, needs));
    }
    if (lasts.size() > window) lasts.erase(lasts.begin(), lasts.end() - static_cast<std::ptrdiff_t>(window));
    for (const Instance* guest : guests) Remove(*guest, lasts);
  }

  const Layout& layout_;
  const bool rolls_reloads_;
  const Change::Input& input_;
  const std::unordered_set<std::string> unreachable_;
  const std::unordered_set<std::string> restart_;
  std::vector<Work> work_;
  std::vector<std::string> left_behind_;  // removals of guests that an earlier run left
  Change::Output output_;
};

}  // namespace

namespace {

// A part of an instance in the words of the cluster file.
std::string InWords(const std::string& part) {
  if (part.starts_with("file:")) return part.substr(5);
  if (part == "probe") return "health";
  if (part == "ready_within") return "update.deadline";
  if (part == "extra:upstreams") return "the members behind it";
  if (part == "extra:tries") return "what verify tries";
  if (part == "extra:bind_low_ports") return "ports below 1024";
  return part.starts_with("extra:") ? part.substr(6) : part;
}

}  // namespace

Difference Differences(const Layout& layout, const Instance& desired, const Observed& observed) {
  Difference difference;
  const auto differs = [&](const std::string& part) {
    difference.parts.push_back(InWords(part));
    Impact impact = layout.ImpactOf(part);
    for (const InstanceFile& file : desired.files) {
      if ("file:" + file.path == part) impact = file.impact;
    }
    difference.impact = std::max(difference.impact, impact);
  };
  for (const auto& [part, hash] : desired.parts) {
    const auto found = observed.parts.find(part);
    if (found == observed.parts.end() || found->second != hash) differs(part);
  }
  for (const auto& [part, hash] : observed.parts) {
    if (!desired.parts.contains(part)) differs(part);
  }
  if (difference.parts.empty() && observed.hash != desired.hash) {
    difference.parts.push_back("everything");
    difference.impact = Impact::kRestart;
  }
  return difference;
}

Difference DriftOf(const Instance& desired, const Observed& observed) {
  Difference difference;
  for (const Drift& drift : observed.drift) {
    difference.parts.push_back(drift.path);
    Impact impact = Impact::kRestart;
    for (const InstanceFile& file : desired.files) {
      if (file.path == drift.path) impact = file.impact;
    }
    difference.impact = std::max(difference.impact, impact);
  }
  return difference;
}

int ReloadSignal(const Instance& instance) {
  const auto word = instance.extra.find("reload");
  if (word == instance.extra.end()) return SIGHUP;
  return word->second == "USR1" ? SIGUSR1 : word->second == "USR2" ? SIGUSR2 : SIGHUP;
}

Change::Output MemberChange::StepsFor(const Input& input) const {
  return Builder(*layout_, rolls_reloads_, input).Build();
}

namespace {

// In brackets what is known of the reason; of a member that starts, how an earlier life ended isn't it.
std::string WhyNotReady(const Observed& observed) {
  if (const auto probe = observed.facts.find(kProbeFact); probe != observed.facts.end()) {
    return fmt::format(" ({})", probe->second);
  }
  const bool ended = !observed.last_exit.empty() && observed.state != InstanceState::kStarting;
  return ended ? fmt::format(" ({})", observed.last_exit) : "";
}

}  // namespace

ServiceHealth MemberHealth(const std::vector<Instance>& desired,
                           const std::map<std::string, Observed>& observed) {
  ServiceHealth health;
  size_t ready = 0, unknown = 0;
  for (const Instance& instance : desired) {
    const auto found = observed.find(instance.name);
    const InstanceState state = found == observed.end() ? InstanceState::kAbsent : found->second.state;
    if (state == InstanceState::kReady) {
      ++ready;
      continue;
    }
    unknown += state == InstanceState::kUnknown;
    if (health.reasons.size() == 20) health.reasons.push_back("… and more");
    if (health.reasons.size() > 20) continue;
    health.reasons.push_back(fmt::format("{} is {}{}", instance.name, StateName(state),
                                         found == observed.end() ? "" : WhyNotReady(found->second)));
  }
  health.health = ready == desired.size() ? Health::kGreen
                  : ready + unknown > 0   ? Health::kYellow
                                          : Health::kRed;
  return health;
}

}  // namespace muster::common
