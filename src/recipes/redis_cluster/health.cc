#include "recipes/redis_cluster/health.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/text.h"
#include "model/not_asked.h"
#include "recipes/common/member_change.h"
#include "recipes/redis/words.h"
#include "recipes/redis_cluster/layout.h"
#include "recipes/redis_cluster/picture.h"

namespace muster::redis_cluster {
namespace {

constexpr size_t kMembersNamed = 6;

std::string Names(std::vector<std::string> names) {
  const size_t more = names.size() > kMembersNamed ? names.size() - kMembersNamed : 0;
  names.resize(names.size() - more);
  return Join(names, ", ") + (more > 0 ? fmt::format(" and {} more", more) : "");
}

// "the slots 0-5460", of many ranges the first ones.
std::string SlotsText(const redis::SlotSet& slots) {
  const auto ranges = slots.Ranges();
  std::vector<std::string> texts;
  for (const auto& [first, last] : ranges) {
    texts.push_back(first == last ? std::to_string(first) : fmt::format("{}-{}", first, last));
  }
  return (slots.count() == 1 ? "slot " : "slots ") + Names(texts);
}

class Doctor {
 public:
  Doctor(const std::vector<Instance>& desired, const std::map<std::string, Observed>& observed)
      : desired_(desired),
        health_(common::MemberHealth(desired, observed)),
        picture_(PictureOf(desired.empty() ? "" : desired.front().service, desired, observed)) {}

  ServiceHealth Look() {
    if (desired_.empty()) return health_;
    std::vector<std::string> members = std::exchange(health_.reasons, {});
    const bool told = std::any_of(picture_.members.begin(), picture_.members.end(),
                                  [](const Member& member) { return member.view.has_value(); });
    if (told && picture_.owned.empty()) {
      SayNotFormed();
    } else if (told) {
      LookAtSlots();
      LookAtShards();
      LookAtLeavers();
    } else {
      SayNobodyHasTold();
    }
    LookAtMembers();
    health_.reasons.insert(health_.reasons.end(), members.begin(), members.end());
    if (told) LookAtViews();
    return health_;
  }

 private:
  void Say(Health health, std::string reason) {
    health_.reasons.push_back(std::move(reason));
    health_.health = std::max(health_.health, health);
  }

  // Whether its agent has just come, and nobody knows yet how it is. One that is known to have ended since it
  // served doesn't count.
  static bool IsYetToTell(const Member& member) {
    if (!member.observed) return false;
    const bool not_asked = !member.Fact(kNotAskedFact).empty();
    switch (member.observed->state) {
      case InstanceState::kUnknown:
        return not_asked;
      case InstanceState::kReady:  // by what an earlier agent has noted
        return member.Fact("role").empty();
      case InstanceState::kStarting:
        return not_asked && member.Fact("role").empty() && member.observed->last_exit.empty();
      default:
        return false;
    }
  }

  // "cache-1's host is silent" where it isn't known how it is; "" where it is.
  static std::string WhyNotKnown(const Member& member) {
    if (IsYetToTell(member)) return member.name + "'s agent has just come back";
    const bool silent = member.observed && member.observed->state == InstanceState::kUnknown;
    return silent ? member.name + "'s host is silent" : "";
  }

  // Somebody doesn't reach it, and not alone.
  bool IsMissed(const Shard& shard) const {
    return std::any_of(picture_.members.begin(), picture_.members.end(), [&](const Member& member) {
      const redis::ClusterNode* seen = member.view ? member.view->Find(shard.node) : nullptr;
      return seen && seen->failed;
    });
  }

  // All agents came at once.
  void SayNobodyHasTold() {
    std::vector<std::string> names;
    for (const Member& member : picture_.members) {
      if (IsYetToTell(member)) names.push_back(member.name);
    }
    if (names.empty()) return;
    const bool one = names.size() == 1;
    Say(Health::kYellow, fmt::format("the agent{} of {} {} just come back: whether all slots are served is "
                                     "not known yet",
                                     one ? "" : "s", Names(std::move(names)), one ? "has" : "have"));
  }

  void LookAtSlots() {
    if (const redis::SlotSet missing = redis::SlotSet::All() - picture_.owned; !missing.empty())
      Say(Health::kRed, fmt::format("nobody has {}", SlotsText(missing)));
    for (const Shard& shard : picture_.shards) {
      if (shard.alive || shard.slots.empty()) continue;
      // For all that is known it goes on.
      const Member* master = picture_.Find(shard.master);
      const std::string why = master && !IsMissed(shard) ? WhyNotKnown(*master) : "";
      if (!why.empty()) {
        Say(Health::kYellow, fmt::format("{}: whether {} are served is not known{}", why,
                                         SlotsText(shard.slots), IsYetToTell(*master) ? " yet" : ""));
        continue;
      }
      std::vector<std::string> live;
      for (const std::string& replica : shard.replicas) {
        const Member* member = picture_.Find(replica);
        if (member && member->ready) live.push_back(replica);
      }
      if (!live.empty()) {
        Say(Health::kRed, fmt::format("{} are out: {} is gone, and {} has not taken over yet",
                                      SlotsText(shard.slots), shard.master, Names(live)));
      } else if (!master) {
        SayLost(shard);
      } else if (shard.replicas.empty()) {
        Say(Health::kRed, fmt::format("{} are out: {} had them, and nobody has a copy of its keys",
                                      SlotsText(shard.slots), shard.master));
      } else {
        Say(Health::kRed,
            fmt::format("{} are out: neither {} nor {} is there, and nobody else has their keys",
                        SlotsText(shard.slots), shard.master, Names(shard.replicas)));
      }
    }
  }

  // As while slots move away from them, or where somebody has ended that half-way.
  void LookAtLeavers() {
    for (const Shard& shard : picture_.shards) {
      const Member* master = picture_.Find(shard.master);
      if (!master || master->desired || shard.slots.empty()) continue;
      health_.unsettled.push_back(
          fmt::format("{}, which the cluster file doesn't have any more, still has {}: muster up FILE takes "
                      "them away from it",
                      shard.master, SlotsText(shard.slots)));
    }
  }

  // A node's name is in the folder of its data: whoever lost that is another one.
  void SayLost(const Shard& shard) {
    const std::vector<std::string> had = picture_.WhoHad(shard.node);
    const std::string who =
        had.empty() ? fmt::format(
                          "they belong to node {}, which no member is any more, as after the loss of a "
                          "data folder",
                          shard.master)
                    : fmt::format("{} had them, and lost {}", Join(had, " and "),
                                  had.size() == 1 ? "its data folder" : "their data folders");
    std::vector<std::string> away;
    for (const std::string& replica : shard.replicas) {
      if (picture_.Find(replica)) away.push_back(replica);
    }
    Say(Health::kRed,
        away.empty()
            ? fmt::format("{} are out: {}; nobody has a copy of their keys: muster failover {} --accept-loss "
                          "gives them out again, empty",
                          SlotsText(shard.slots), who, desired_.front().service)
            : fmt::format("{} are out: {}; {}, which may have a copy of their keys, {} not there",
                          SlotsText(shard.slots), who, Names(away), away.size() == 1 ? "is" : "are"));
  }

  void SayNotFormed() {
    std::vector<std::string> bereft;
    bool all_there = true;
    for (const Member& member : picture_.members) {
      if (!member.desired) continue;
      all_there = all_there && member.ready && member.Fact("empty") == "yes";
      if (member.Fact("lost") == "yes") bereft.push_back(member.name);
    }
    if (bereft.empty() || !all_there) {
      Say(Health::kRed, "no slots are given out yet: the cluster is not formed");
      return;
    }
    Say(Health::kRed,
        fmt::format(
            "all data folders are lost, and nobody has a copy of the keys that {} had: it isn't "
            "formed anew before a person says so: muster failover {} --accept-loss begins anew, empty",
            Names(bereft), desired_.front().service));
  }

  // By another member than the one that is this node.
  bool IsKnown(const std::string& node) const {
    return std::any_of(picture_.members.begin(), picture_.members.end(), [&](const Member& member) {
      return member.view && member.node != node && member.view->Find(node);
    });
  }

  // How many replicas each master has where all is well.
  int Wanted() const {
    int masters = 0, elsewhere = 0;
    for (const Shard& shard : picture_.shards) {
      if (!shard.slots.empty()) {
        ++masters;
      } else if (shard.alive && IsKnown(shard.node)) {  // a master that waits for slots, with its replicas
        elsewhere += 1 + static_cast<int>(shard.replicas.size());
      }
    }
    const int members = static_cast<int>(desired_.size()) - elsewhere;
    return masters == 0 ? 0 : std::max(members / masters - 1, 0);
  }

  void LookAtShards() {
    const int wanted = Wanted();
    for (const Shard& shard : picture_.shards) {
      if (!shard.alive || shard.slots.empty()) continue;
      int linked = 0;
      std::vector<std::string> to_tell;
      for (const std::string& name : shard.replicas) {
        const Member* replica = picture_.Find(name);
        if (replica && IsYetToTell(*replica)) to_tell.push_back(name);
        if (!replica || !replica->ready) continue;
        linked += replica->Fact("link") == "up";
      }
      if (linked >= wanted) continue;
      if (linked + static_cast<int>(to_tell.size()) >= wanted) {
        const bool one = to_tell.size() == 1;
        Say(Health::kYellow,
            fmt::format("the agent{} of {} {} just come back: whether {} {} linked to {} is not known yet",
                        one ? "" : "s", Names(to_tell), one ? "has" : "have", one ? "it" : "they",
                        one ? "is" : "are", shard.master));
        continue;
      }
      Say(Health::kYellow, linked == 0 ? fmt::format("{} of {} have no replica that is linked",
                                                     SlotsText(shard.slots), shard.master)
                                       : fmt::format("{} of {} have {} of {} replicas",
                                                     SlotsText(shard.slots), shard.master, linked, wanted));
    }
  }

  bool HasSlots(const Member& member) const {
    const Shard* shard = member.master ? picture_.ShardOf(member.name) : nullptr;
    return shard && !shard->slots.empty();
  }

  // The members at these addresses, "host:port host:port".
  std::string NamesAt(const std::string& seats) const {
    std::vector<std::string> names;
    for (const std::string_view seat : redis::Words(seats)) {
      std::string name(seat);
      for (const Instance& one : desired_) {
        const auto port = one.ports.find(kMainPort);
        if (port != one.ports.end() && fmt::format("{}:{}", one.address, port->second.first) == seat)
          name = one.name;
      }
      names.push_back(std::move(name));
    }
    return Names(std::move(names));
  }

  void LookAtMembers() {
    std::vector<std::string> unlinked, doubting;
    for (const Member& member : picture_.members) {
      if (!member.ready) continue;
      const std::string write = member.Fact("write");
      if (!write.empty() && write != "ok") {
        const bool serves = HasSlots(member);
        Say(serves ? Health::kRed : Health::kYellow,
            fmt::format("{} refuses writes: {}", member.name, write));
      }
      if (member.desired && !member.node.empty() && !picture_.owned.empty() && !IsKnown(member.node))
        Say(Health::kYellow, member.name + " does not belong to the cluster yet");
      if (const std::string others = member.Fact("withheld"); !others.empty()) {
        Say(Health::kYellow, fmt::format("{} gives its data to nobody: {} asks for that of the node which "
                                         "stood at its address before, and would lose its own",
                                         member.name, NamesAt(others)));
      }
      if (member.Fact("cluster") == "fail") doubting.push_back(member.name);
      if (member.replica && member.Fact("link") == "down") {
        unlinked.push_back(
            fmt::format("{} is not linked to its primary {}", member.name, picture_.NameOf(member.primary)));
      }
    }
    if (!doubting.empty()) {
      // Where a master refuses, its slots are out; others only pass clients on.
      const bool serves = std::any_of(doubting.begin(), doubting.end(), [this](const std::string& name) {
        return HasSlots(*picture_.Find(name));
      });
      Say(serves ? Health::kRed : Health::kYellow,
          fmt::format("{} {} that the cluster is down (cluster_state:fail)", Names(doubting),
                      doubting.size() == 1 ? "says" : "say"));
    }
    for (std::string& reason : unlinked) Say(Health::kYellow, std::move(reason));
  }

  // Owners are compared for the health, all else for whether it has settled.
  void LookAtViews() {
    std::map<std::string, std::vector<std::string>> by_view;  // what is seen -> who sees it
    redis::SlotSet disputed;
    const Member* first = nullptr;
    for (const Member& member : picture_.members) {
      if (!member.view) continue;
      by_view[redis::SharedView(*member.view)].push_back(member.name);
      if (!first) {
        first = &member;
      } else {
        disputed |= Disputed(*first->view, *member.view);
      }
      LookAtMarks(member);
      LookAtStrangers(member);
    }
    if (!disputed.empty())
      Say(Health::kYellow, fmt::format("not all members agree who has {}", SlotsText(disputed)));
    if (by_view.size() > 1) {
      const auto most = std::max_element(by_view.begin(), by_view.end(), [](const auto& a, const auto& b) {
        return a.second.size() < b.second.size();
      });
      std::vector<std::string> others;
      for (const auto& [view, names] : by_view) {
        if (view != most->first) others.insert(others.end(), names.begin(), names.end());
      }
      health_.unsettled.push_back(fmt::format("{} {} not the same as the others yet", Names(others),
                                              others.size() == 1 ? "sees" : "see"));
    }
  }

  static redis::SlotSet Disputed(const redis::ClusterView& one, const redis::ClusterView& other) {
    redis::SlotSet disputed;
    for (const redis::ClusterNode& node : one.nodes) {
      if (node.slots.empty()) continue;
      const redis::ClusterNode* there = other.Find(node.id);
      disputed |= there ? node.slots - there->slots : node.slots;
    }
    for (const redis::ClusterNode& node : other.nodes) {
      const redis::ClusterNode* here = one.Find(node.id);
      disputed |= here ? node.slots - here->slots : node.slots;
    }
    return disputed;
  }

  void LookAtMarks(const Member& member) {
    std::map<std::string, redis::SlotSet> to, from;
    for (const redis::ClusterNode& node : member.view->nodes) {
      for (const auto& [slot, other] : node.migrating) to[other].Add(slot);
      for (const auto& [slot, other] : node.importing) from[other].Add(slot);
    }
    for (const auto& [other, slots] : to) {
      health_.unsettled.push_back(fmt::format("{} {} on the way from {} to {}", SlotsText(slots),
                                              slots.count() == 1 ? "is" : "are", member.name,
                                              picture_.NameOf(other)));
    }
    for (const auto& [other, slots] : from) {
      const Member* source = picture_.OfNode(other);
      if (source && source->view) {  // it tells of the same move
        const redis::ClusterNode* own = source->view->Find(other);
        if (own && !own->migrating.empty()) continue;
      }
      health_.unsettled.push_back(
          fmt::format("{} awaits {} from {}", member.name, SlotsText(slots), picture_.NameOf(other)));
    }
  }

  void LookAtStrangers(const Member& member) {
    for (const redis::ClusterNode& node : member.view->nodes) {
      if (node.handshake) {
        health_.unsettled.push_back(
            fmt::format("{} has not met {}:{} yet", member.name, node.address, node.port));
        continue;
      }
      const std::string name = picture_.NameOf(node.id);
      if (picture_.Find(name) || !strangers_.insert(node.id).second) continue;
      health_.unsettled.push_back(fmt::format("{} knows {}, which is no member", member.name, name));
    }
  }

  const std::vector<Instance>& desired_;
  ServiceHealth health_;
  const Picture picture_;
  std::set<std::string> strangers_;  // that have been told
};

std::string BytesText(const std::string& number) {
  const auto bytes = std::strtod(number.c_str(), nullptr);
  if (bytes < 1024) return number + " B";
  if (bytes < 1024 * 1024) return fmt::format("{:.1f} KiB", bytes / 1024);
  if (bytes < 1024.0 * 1024 * 1024) return fmt::format("{:.1f} MiB", bytes / (1024 * 1024));
  return fmt::format("{:.1f} GiB", bytes / (1024.0 * 1024 * 1024));
}

}  // namespace

ServiceHealth HealthOf(const std::vector<Instance>& desired,
                       const std::map<std::string, Observed>& observed) {
  return Doctor(desired, observed).Look();
}

std::map<std::string, std::string> RolesOf(const std::vector<Instance>& desired,
                                           const std::map<std::string, Observed>& observed) {
  std::map<std::string, std::string> roles;
  if (desired.empty()) return roles;
  const Picture picture = PictureOf(desired.front().service, desired, observed);
  for (const Member& member : picture.members) {
    if (!member.ready) continue;
    if (member.master) {
      const Shard* shard = picture.ShardOf(member.name);
      const bool has = shard && shard->master == member.name && !shard->slots.empty();
      roles[member.name] =
          has ? "primary of " + SlotsText(shard->slots).substr(shard->slots.count() == 1 ? 5 : 6)
              : "primary without slots";
    } else if (member.replica) {
      const Shard* shard = picture.ShardOf(member.name);
      const std::string primary = !member.primary.empty() ? picture.NameOf(member.primary)
                                  : shard                 ? shard->master
                                                          : "";
      const std::string behind = member.Fact("behind");
      std::string text = primary.empty() ? "replica" : "replica of " + primary;
      if (member.Fact("loading") == "yes") {
        text += ", takes over its data";
      } else if (member.Fact("link") == "down") {
        text += ", not linked";
      } else if (!behind.empty()) {
        text += ", " + BytesText(behind) + " behind";
      }
      roles[member.name] = std::move(text);
    }
  }
  return roles;
}

}  // namespace muster::redis_cluster
