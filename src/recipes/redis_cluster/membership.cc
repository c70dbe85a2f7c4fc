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

bool KnowsSeat(const Member& member, const Member& other) {
  if (member.Knows(other.id)) return true;
  const redis::ClusterNode* there = member.view->At(other.address, other.port);
  return there && there->handshake;
}

// Whether some of them belong to one cluster that has slots and others to another. Whoever is introduced to
// the other one loses its slots by their epochs, and its keys with them.
bool AreOfTwoClusters(const Situation& situation) {
  std::vector<std::set<std::string>> clusters;
  for (const Member& member : situation.members) {
    if (!member.ready || !Belongs(member)) continue;
    std::set<std::string> knows;
    bool formed = false;
    for (const redis::ClusterNode& node : member.view->nodes) {
      knows.insert(node.id);
      formed = formed || !node.slots.empty();
    }
    if (!formed) continue;
    std::vector<std::set<std::string>> others;
    for (std::set<std::string>& cluster : clusters) {
      const bool same = std::any_of(cluster.begin(), cluster.end(),
                                    [&](const std::string& id) { return knows.contains(id); });
      if (same) {
        knows.merge(cluster);
      } else {
        others.push_back(std::move(cluster));
      }
    }
    others.push_back(std::move(knows));
    clusters = std::move(others);
  }
  return clusters.size() > 1;
}

size_t Known(const Member& member) { return member.view->nodes.size(); }

void Meet(const Situation& situation, Orders& orders) {
  if (AreOfTwoClusters(situation)) {
    orders.Trouble(
        "members belong to two clusters with slots of their own, and one would lose its keys to the other: "
        "they "
        "aren't brought together");
    return;
  }
  std::set<const Member*> taken;
  for (const Member& member : situation.members) {
    if (orders.Taken(member)) taken.insert(&member);
  }
  for (const Member& member : situation.members) {
    if (!member.ready || !Belongs(member)) continue;
    std::vector<std::string> seats, names;
    bool shaking = false;
    for (const Member& other : situation.members) {
      if (&other == &member || !other.ready || !Belongs(other) || member.Knows(other.id)) continue;
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
                  fmt::format("{} doesn't know {}", member.name, Join(names, ", ")), {.pause = kMeet});
    } else if (shaking) {
      orders.Give(member, "look", {}, "whom it knows by now", {.pause = kLook});
    }
    if (shaking) orders.Again(kLook);
    if (shaking || !names.empty()) orders.Trouble(fmt::format("{} doesn't know all others yet", member.name));
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
  ForgetGhosts(situation, orders);
}

}  // namespace muster::redis_cluster::mending
