// Who knows whom.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "recipes/redis_cluster/parts.h"

namespace muster::redis_cluster::mending {
namespace {

constexpr Duration kMeet = 500ms;     // until a handshake is through, or comes to nothing
constexpr Duration kGossip = 1500ms;  // until word has gone round
constexpr Duration kLook = 100ms;

// Whether it belongs to the cluster: one that is to leave and knows nobody has left.
bool Belongs(const Member& member) { return member.stays() || member.view->nodes.size() > 1; }

// Whether it knows it and has a way to it. Redis forgets the address where it met another node than it looked
// for, and one that is at another than it was isn't found by who isn't told: two that came up again where
// others had been may never find each other.
bool CanReach(const Member& member, const Member& other) {
  const redis::ClusterNode* known = member.view->Find(other.id);
  if (!known || known->handshake) return false;
  return known->connected || (known->address == other.address && known->port == other.port);
}

bool KnowsSeat(const Member& member, const Member& other) {
  if (CanReach(member, other)) return true;
  const redis::ClusterNode* there = member.view->At(other.address, other.port);
  return there && there->handshake;
}

// Members that know each other, and the slots that nodes which they know have.
struct Acquainted {
  std::set<std::string> knows;  // ids
  std::vector<std::string> names;
  SlotSet slots;
};

std::vector<Acquainted> Clusters(const Situation& situation) {
  std::vector<Acquainted> clusters;
  for (const Member& member : situation.members) {
    if (!member.ready || !Belongs(member)) continue;
    Acquainted mine{.knows = {}, .names = {member.name}, .slots = {}};
    for (const redis::ClusterNode& node : member.view->nodes) {
      mine.knows.insert(node.id);
      mine.slots |= node.slots;
    }
    std::vector<Acquainted> others;
    for (Acquainted& cluster : clusters) {
      const bool same = std::any_of(cluster.knows.begin(), cluster.knows.end(),
                                    [&](const std::string& id) { return mine.knows.contains(id); });
      if (same) {
        mine.knows.merge(cluster.knows);
        mine.names.insert(mine.names.begin(), cluster.names.begin(), cluster.names.end());
        mine.slots |= cluster.slots;
      } else {
        others.push_back(std::move(cluster));
      }
    }
    others.push_back(std::move(mine));
    clusters = std::move(others);
  }
  std::stable_sort(clusters.begin(), clusters.end(), [](const Acquainted& one, const Acquainted& other) {
    return one.names.size() > other.names.size();
  });
  return clusters;
}

// Whether some of them have slots in one cluster that others have in another. Whoever is introduced to the
// other one loses them by their epochs, and their keys with them.
bool AreOfTwoClusters(const Situation& situation, Orders& orders) {
  const std::vector<Acquainted> clusters = Clusters(situation);
  SlotSet had;
  for (const Acquainted& cluster : clusters) {
    if (const SlotSet both = had & cluster.slots; !both.empty()) {
      const std::string names = Join(cluster.names, " ");
      orders.Trouble(fmt::format(
          "{} {} of another cluster than {}, and slots {} are in both: they aren't brought together, as "
          "one would lose its keys to the other. Where those of {} aren't wanted: muster stop {}, move "
          "the data folder away, muster start {}",
          Join(cluster.names, ", "), cluster.names.size() == 1 ? "is" : "are",
          Join(clusters.front().names, ", "), SlotsText(both), Join(cluster.names, ", "), names, names));
      return true;
    }
    had |= cluster.slots;
  }
  return false;
}

size_t Known(const Member& member) { return member.view->nodes.size(); }

void Meet(const Situation& situation, Orders& orders) {
  if (AreOfTwoClusters(situation, orders)) return;
  std::set<const Member*> taken;
  for (const Member& member : situation.members) {
    if (orders.Taken(member)) taken.insert(&member);
  }
  for (const Member& member : situation.members) {
    if (!member.ready || !Belongs(member)) continue;
    std::vector<std::string> seats, names;
    bool shaking = false;
    for (const Member& other : situation.members) {
      if (&other == &member || !other.ready || !Belongs(other) || CanReach(member, other)) continue;
      if (!member.desired && !other.desired) continue;
      if (KnowsSeat(member, other)) {
        shaking = true;
        continue;
      }
      // One of both is enough: who knows fewer meets, as it has more to learn.
      const bool mutual = !KnowsSeat(other, member);
      const bool other_meets = std::pair(Known(other), other.rank) < std::pair(Known(member), member.rank);
      if (mutual && other_meets && !taken.contains(&other)) {
        shaking = true;
        continue;
      }
      // Somebody who knows both tells it.
      const bool told =
          !mutual && Known(member) > 1 && orders.Since("unknown " + member.name + " " + other.name) < kGossip;
      shaking = true;
      if (told) continue;
      seats.push_back(other.Seat());
      names.push_back(other.name);
    }
    if (!names.empty()) {
      orders.Give(member, "meet", {{"nodes", Join(seats, " ")}},
                  fmt::format("{} doesn't know where {} {}", member.name, Join(names, ", "),
                              names.size() == 1 ? "is" : "are"),
                  {.pause = kMeet});
    } else if (shaking) {
      orders.Give(member, "look", {}, "whom it knows by now", {.pause = kLook});
    }
    if (shaking) orders.Again(kLook);
    if (shaking || !names.empty()) orders.Trouble(fmt::format("{} doesn't know all others yet", member.name));
  }
}

// Where a node answers at another's address, Redis 7.0 takes its epoch for that one's, and an epoch only
// grows: they would never see the same again, until the master gets a new one.
void RaiseEpochs(const Situation& situation, Orders& orders) {
  for (const Member& master : situation.members) {
    if (!master.ready || !master.master || !master.self) continue;
    uint64_t most = master.self->config_epoch;
    std::string who;
    for (const Member& member : situation.members) {
      const redis::ClusterNode* line = member.ready ? member.view->Find(master.id) : nullptr;
      if (!line || line->config_epoch <= most) continue;
      most = line->config_epoch;
      who = member.name;
    }
    if (who.empty()) continue;
    if (orders.Since("epoch of " + master.name) < kGossip) {  // its own word may only be older
      orders.Again(kGossip);
      continue;
    }
    orders.Give(
        master, "epoch", {{"least", std::to_string(most)}},
        fmt::format("{} takes its epoch for {}, and it has {}", who, most, master.self->config_epoch));
  }
}

void ForgetGhosts(const Situation& situation, Orders& orders) {
  std::vector<const Node*> ghosts;
  for (const auto& [id, node] : situation.nodes) {
    if (node.member || !IsNobodys(situation, node)) continue;
    if (!node.slots.empty()) continue;  // its slots are out; somebody may bring it back
    // Who forgets it forgets which slots were on their way to it, too.
    if (node.followers.empty() && OnTheirWayTo(situation, id).empty()) ghosts.push_back(&node);
  }
  if (ghosts.empty()) return;
  for (const Member& member : situation.members) {
    if (!member.ready) continue;
    std::vector<std::string> ids, names;
    for (const Node* ghost : ghosts) {
      if (!member.Knows(ghost->id) || HasMarksOf(member, ghost->id)) continue;
      ids.push_back(ghost->id);
      names.push_back(situation.NameOf(ghost->id));
    }
    if (ids.empty()) continue;
    orders.Trouble(fmt::format("{} still knows {}, which is nobody", member.name, Join(names, ", ")));
    orders.Give(member, "forget", {{"nodes", Join(ids, " ")}},
                fmt::format("nobody is {} any more", Join(names, ", ")));
  }
}

}  // namespace

void Membership(const Situation& situation, Memory& /*memory*/, Orders& orders) {
  Meet(situation, orders);
  RaiseEpochs(situation, orders);
  ForgetGhosts(situation, orders);
}

}  // namespace muster::redis_cluster::mending
