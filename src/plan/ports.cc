#include "plan/ports.h"

#include <algorithm>
#include <tuple>
#include <unordered_map>
#include <unordered_set>

#include "base/text.h"
#include "model/listens.h"
#include "recipes/common/member_change.h"
#include "recipes/common/placement.h"

namespace muster::plan {
namespace {

constexpr size_t kLookedAtMost =
    1000;  // so many are each put where they cost least; of more, all stop at once
constexpr size_t kNamedMost = 4;
constexpr Duration kStopWithin = 60s;
constexpr Duration kSlack = 10s;

bool OnAllAddresses(const std::string& address) { return address == "0.0.0.0" || address == "::"; }

// Whether the two can't listen on one port. An address that isn't known is nobody's.
bool Collide(const std::string& one, const std::string& other) {
  if (one.empty() || other.empty()) return false;
  return one == other || OnAllAddresses(one) || OnAllAddresses(other);
}

bool Has(const std::map<std::string, PortRange>& ports, bool udp, int number) {
  return std::any_of(ports.begin(), ports.end(), [&](const auto& port) {
    const PortRange& range = port.second;
    return range.udp == udp && number >= range.first && number < range.first + range.count;
  });
}

struct Holder {
  const Observed* observed;
  std::string address;
};
using Holders = std::map<std::pair<bool, int>, std::vector<Holder>>;  // by whether it is UDP, number

// One port that goes from `holder` to `taker`.
struct Handover {
  const Observed* holder;
  const Instance* taker;
  int port;
  std::string release;  // step ids
  std::string take;
};

class Handovers {
 public:
  Handovers(const Desired& desired, const Situation& situation, Steps& steps)
      : desired_(desired), situation_(situation), steps_(steps) {
    Index();
    for (const auto* instances : {&desired.instances, &desired.guests}) {
      for (const Instance& instance : *instances) wanted_[instance.name] = &instance;
    }
  }

  Status Find() {
    Holders holders;
    for (const auto& [name, observed] : situation_.observed) {
      // A silent host may be gone for good, and its address another's by now.
      if (!common::Runs(observed.state) || situation_.unreachable.contains(observed.host)) continue;
      const Listens listens = ListensOf(observed);
      for (const PortRange& range : listens.ports) {
        for (int i = 0; i < range.count; ++i)
          holders[{range.udp, range.first + i}].push_back(
              {.observed = &observed, .address = listens.address});
      }
    }
    if (holders.empty()) return Done();
    for (const auto* instances : {&desired_.instances, &desired_.guests}) {
      for (const Instance& taker : *instances) MUSTER_DO(FindFor(taker, holders));
    }
    return Done();
  }

  Status Order(std::vector<std::string>& outages) {
    if (handovers_.size() > kLookedAtMost) {
      MUSTER_DO(OrderMany());
    } else {
      for (Handover& one : handovers_) MUSTER_DO(OrderOne(one));
    }
    DropDismissals();
    Tell(outages);
    return Done();
  }

 private:
  struct Told {
    std::vector<std::string> holders, takers, ports;
  };

  static bool Contains(const std::vector<std::string>& list, const std::string& one) {
    return std::find(list.begin(), list.end(), one) != list.end();
  }
  static void AddNeed(Step& step, const std::string& need) {
    if (!Contains(step.needs, need)) step.needs.push_back(need);
  }
  static void AddOnce(std::vector<std::string>& list, std::string one) {
    if (!Contains(list, one)) list.push_back(std::move(one));
  }

  void Index() {
    by_id_.clear();
    for (auto& [service, list] : steps_.by_service) {
      for (Step& step : list) by_id_[step.id] = &step;
    }
  }

  Status OrderOne(Handover& one) {
    if (Contains(by_id_.at(one.take)->needs, one.release)) return Done();
    const bool circle = DependsOn(one.release, one.take);
    const std::vector<std::string> before = by_id_.at(one.take)->needs;
    if (circle) MUSTER_DO(StopEarly(one));
    // No earlier than the other is about to start, if nothing speaks against it.
    for (const std::string& need : circle || Leaves(one) ? before : std::vector<std::string>()) {
      if (!by_id_.contains(need) || DependsOn(need, one.release)) continue;
      const std::vector<Step*> group = WithDrains(*by_id_.at(one.release));
      for (size_t i = group.size() > 1 ? 1 : 0; i < group.size(); ++i) AddNeed(*group[i], need);
    }
    AddNeed(*by_id_.at(one.take), one.release);
    Note(one, circle);
    return Done();
  }

  Status OrderMany() {
    for (const Handover& one : handovers_) AddNeed(*by_id_.at(one.take), one.release);
    const std::unordered_set<std::string> stuck = Stuck();
    for (Handover& one : handovers_) {
      const bool circle = stuck.contains(one.release) && stuck.contains(one.take);
      if (circle) MUSTER_DO(StopEarly(one));
      Note(one, circle);
    }
    return Done();
  }

  // The steps of circles, and those after them.
  std::unordered_set<std::string> Stuck() const {
    std::unordered_map<std::string, size_t> waiting;
    std::unordered_map<std::string, std::vector<std::string>> followers;
    std::vector<std::string> ready;
    std::unordered_set<std::string> stuck;
    for (const auto& [id, step] : by_id_) {
      size_t& needs = waiting[id];
      for (const std::string& need : step->needs) {
        if (!by_id_.contains(need)) continue;
        ++needs;
        followers[need].push_back(id);
      }
      if (needs == 0) ready.push_back(id);
      stuck.insert(id);
    }
    while (!ready.empty()) {
      const std::string id = std::move(ready.back());
      ready.pop_back();
      stuck.erase(id);
      for (const std::string& follower : followers[id]) {
        if (--waiting[follower] == 0) ready.push_back(follower);
      }
    }
    return stuck;
  }

  bool Leaves(const Handover& one) const { return !wanted_.contains(one.holder->name); }

  Status FindFor(const Instance& taker, const Holders& holders) {
    const bool starts = by_id_.contains(taker.name + ".start");
    if (!starts && !by_id_.contains(taker.name + ".reload")) return Done();
    const auto known = situation_.observed.find(taker.name);
    const Observed* stands = known == situation_.observed.end() ? nullptr : &known->second;
    Listens wanted = ParseListens(FormatListens(taker.address, taker.ports));
    // Without an installation it starts as it was installed before.
    if (!by_id_.contains(taker.name + ".install") && stands) wanted = ListensOf(*stands);
    for (const PortRange& range : wanted.ports) {
      for (int port = range.first; port < range.first + range.count; ++port) {
        const auto found = holders.find({range.udp, port});
        if (found == holders.end()) continue;
        const bool own = std::any_of(found->second.begin(), found->second.end(), [&](const Holder& holder) {
          return holder.observed == stands && Collide(holder.address, wanted.address);
        });
        for (const Holder& holder : found->second) {
          if (own || !Collide(holder.address, wanted.address)) continue;
          Handover one{.holder = holder.observed,
                       .taker = &taker,
                       .port = port,
                       .release = ReleaseOf(*holder.observed, range.udp, port),
                       .take = taker.name + (starts ? ".start" : ".reload")};
          if (one.release.empty()) return Held(one, holder.address);
          handovers_.push_back(std::move(one));
        }
      }
    }
    return Done();
  }

  // The step after which `holder` has the port no more; "" where there is none.
  std::string ReleaseOf(const Observed& holder, bool udp, int port) const {
    if (by_id_.contains(holder.name + ".stop")) return holder.name + ".stop";
    const auto wanted = wanted_.find(holder.name);
    const bool reloads =
        by_id_.contains(holder.name + ".install") && by_id_.contains(holder.name + ".reload");
    if (!reloads || wanted == wanted_.end() || Has(wanted->second->ports, udp, port)) return "";
    return holder.name + ".reload";
  }

  static Status Held(const Handover& one, const std::string& address) {
    return Error::Refused("port-held",
                          "port {} at {} that {} wants is still held by {}, which stays as it is", one.port,
                          address, one.taker->name, one.holder->name)
        .Hint("muster up FILE goes on with the whole release; or muster stop {} first", one.holder->name);
  }

  // Whether `step` comes after `other` in any case.
  bool DependsOn(const std::string& step, const std::string& other) const {
    std::vector<const std::string*> open = {&step};
    std::unordered_set<std::string_view> seen = {step};
    while (!open.empty()) {
      const std::string& id = *open.back();
      open.pop_back();
      if (id == other) return true;
      const auto found = by_id_.find(id);
      if (found == by_id_.end()) continue;
      for (const std::string& need : found->second->needs) {
        if (seen.insert(need).second) open.push_back(&need);
      }
    }
    return false;
  }

  // A member is taken out of its balancers before it stops: those steps go with its stop.
  bool GoesWith(const Step& step, const std::string& instance) const {
    const auto member = step.args.find("member");
    return (step.verb == "drain" || step.verb == "dismiss") && member != step.args.end() &&
           member->second == instance;
  }
  std::vector<Step*> WithDrains(Step& stop) {
    std::vector<Step*> group = {&stop};
    for (const std::string& need : stop.needs) {
      const auto found = by_id_.find(need);
      if (found != by_id_.end() && GoesWith(*found->second, stop.instance)) group.push_back(found->second);
    }
    return group;
  }

  // What an instance hands over before it stops, others have to take, who may be waiting for that very port.
  Status MayStopEarly(const Handover& one) const {
    const Step& stop = *by_id_.at(one.release);
    for (const std::string& need : stop.needs) {
      const auto found = by_id_.find(need);
      if (found == by_id_.end() || !found->second->awaited || found->second->instance != stop.instance)
        continue;
      return Error::Refused(
                 "port-waits",
                 "{} is to have port {} of {}, which hands over what it has before it stops, and that "
                 "waits for {} to run",
                 one.taker->name, one.port, stop.instance, one.taker->name)
          .Hint(
              "change ports alone, when all of {} run; muster up once more with the rest. Or take a port for "
              "{} "
              "that nobody has",
              stop.service, one.taker->service);
    }
    return Done();
  }

  // It stops without waiting for its turn, which all that follows still does.
  Status StopEarly(Handover& one) {
    if (by_id_.at(one.release)->verb == "reload") StopInsteadOfReload(one);
    MUSTER_DO(MayStopEarly(one));
    Step& stop = *by_id_.at(one.release);
    const std::vector<Step*> group = WithDrains(stop);
    std::unordered_set<std::string> own;
    for (const Step* step : group) {
      own.insert(step->id);
      if (step->verb == "dismiss" && !common::IsGuestName(stop.service, stop.instance))
        early_.insert(step->id);
    }
    std::vector<std::string> turn;
    for (Step* step : group) {
      for (const std::string& need : step->needs) {
        if (!own.contains(need)) AddOnce(turn, need);
      }
      std::erase_if(step->needs, [&](const std::string& need) { return !own.contains(need); });
    }
    for (const char* verb : {".install", ".start", ".remove"}) {
      const auto next = by_id_.find(stop.instance + verb);
      if (next == by_id_.end()) continue;
      for (const std::string& need : turn) AddNeed(*next->second, need);
      break;
    }
    return Done();
  }

  // One that leaves and stops early does so before its load balancers let go of it: they can't wait for what
  // they have under way to it.
  void DropDismissals() {
    if (early_.empty()) return;
    for (auto& [service, list] : steps_.by_service) {
      std::unordered_map<std::string, std::vector<std::string>> needs_of;
      for (const Step& step : list) {
        if (early_.contains(step.id)) needs_of[step.id] = step.needs;
      }
      std::erase_if(list, [&](const Step& step) { return needs_of.contains(step.id); });
      for (Step& step : list) {
        for (const std::string& need : std::vector<std::string>(step.needs)) {
          const auto dropped = needs_of.find(need);
          if (dropped == needs_of.end()) continue;
          std::erase(step.needs, need);
          for (const std::string& instead : dropped->second) AddNeed(step, instead);
        }
      }
    }
    early_.clear();
    Index();
  }

  // What frees its port by a reload only has to stop for it.
  void StopInsteadOfReload(const Handover& one) {
    const std::string& name = one.holder->name;
    const Instance& wanted = *wanted_.at(name);
    std::vector<Step>& list = steps_.by_service[one.holder->service];
    const std::string reload = name + ".reload", start = name + ".start";
    Step stop = *by_id_.at(name + ".install");
    stop.id = name + ".stop";
    stop.verb = "stop";
    stop.before = "running";
    stop.after = "stopped";
    stop.impact = Impact::kRestart;
    stop.put_back = "start";
    stop.deadline = std::max(kStopWithin, std::max(wanted.stop_timeout, wanted.ready_within) + kSlack);
    for (auto& [service, steps] : steps_.by_service) {
      for (Step& step : steps) std::replace(step.needs.begin(), step.needs.end(), reload, start);
    }
    for (Handover& other : handovers_) {
      if (other.take == reload) other.take = start;
      if (other.release == reload) other.release = stop.id;
    }
    for (auto at = list.begin(); at != list.end(); ++at) {
      if (at->id == reload) {
        at->id = start;
        at->verb = "start";
        at->impact = Impact::kRestart;
        at->deadline = wanted.ready_within + kSlack;
      }
      if (at->id == name + ".install") {
        at->needs.push_back(stop.id);
        at->impact = Impact::kRestart;
        at = list.insert(at, stop) + 1;
      }
    }
    Index();
  }

  void Note(const Handover& one, bool circle) {
    const bool leaves = Leaves(one);
    if (one.holder->state != InstanceState::kReady || !(circle || leaves)) return;
    Told& told = told_[{leaves, one.holder->service, one.taker->service}];
    AddOnce(told.holders, one.holder->name);
    AddOnce(told.takers, one.taker->name);
    AddOnce(told.ports, std::to_string(one.port));
  }

  static std::string Named(const std::vector<std::string>& names) {
    const size_t shown = std::min(names.size(), kNamedMost);
    std::string text = Join({names.begin(), names.begin() + static_cast<std::ptrdiff_t>(shown)}, ", ");
    if (names.size() > shown) text += fmt::format(" and {} more", names.size() - shown);
    return text;
  }

  void Tell(std::vector<std::string>& outages) const {
    for (const auto& [key, told] : told_) {
      const bool one = told.holders.size() == 1, single = told.takers.size() == 1;
      if (std::get<0>(key)) {
        outages.push_back(
            fmt::format("nothing answers on port{} {} from when {} {} until {}, which {} {} over, {} ready",
                        told.ports.size() == 1 ? "" : "s", Named(told.ports), Named(told.holders),
                        one ? "stops" : "stop", Named(told.takers), single ? "takes" : "take",
                        told.ports.size() == 1 ? "it" : "them", single ? "is" : "are"));
      } else {
        outages.push_back(fmt::format(
            "{} {} early, as {} {} {} port{}, and {} out until {} turn", Named(told.holders),
            one ? "stops" : "stop", Named(told.takers), single ? "takes" : "take", one ? "its" : "their",
            told.ports.size() == 1 ? "" : "s", one ? "is" : "are", one ? "its" : "their"));
      }
    }
  }

  const Desired& desired_;
  const Situation& situation_;
  Steps& steps_;
  std::unordered_map<std::string, Step*> by_id_;
  std::unordered_map<std::string, const Instance*> wanted_;
  std::vector<Handover> handovers_;
  std::unordered_set<std::string> early_;  // steps that are of no use, as what they are for stops early
  std::map<std::tuple<bool, std::string, std::string>, Told> told_;  // by: leaves, both services
};

}  // namespace

Status HandPortsOver(const Desired& desired, const Situation& situation, Steps& steps,
                     std::vector<std::string>& outages) {
  Handovers handovers(desired, situation, steps);
  MUSTER_DO(handovers.Find());
  return handovers.Order(outages);
}

}  // namespace muster::plan
