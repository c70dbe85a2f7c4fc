// Who follows whom.
#include <fmt/format.h>

#include <algorithm>

#include "recipes/redis_cluster/parts.h"

namespace muster::redis_cluster::mending {
namespace {

constexpr Duration kRedis = 2s;  // within which Redis sorts out by itself what it can
constexpr Duration kFollow = 1s;
constexpr Duration kRelease = 3s;
constexpr Duration kReplicaSoon = 500ms;

// A master with those who follow it or were just told to.
struct Seat {
  const Node* master;
  std::vector<const Member*> replicas;  // that stay, alive or not
};

// How many it is to have: one that leaves needs somebody to hand its role to.
size_t Needs(const Situation& situation, const Seat& seat) {
  return static_cast<size_t>(std::max(situation.replicas, seat.master->member->leaving ? 1 : 0));
}

int SameHost(const Member& replica, const Seat& seat) {
  int cost = seat.master->member->host == replica.host ? 100 : 0;
  for (const Member* other : seat.replicas) cost += other != &replica && other->host == replica.host ? 1 : 0;
  return cost;
}

std::vector<Seat> SeatsOf(const Roles& roles) {
  std::vector<Seat> seats;
  for (const std::vector<const Node*>* nodes : {&roles.kept, &roles.added}) {
    for (const Node* node : *nodes) {
      if (!node->member || !node->member->ready) continue;
      Seat seat{node, {}};
      for (const Member* follower : node->followers) {
        if (follower->stays()) seat.replicas.push_back(follower);
      }
      seats.push_back(std::move(seat));
    }
  }
  return seats;
}

bool Follow(const Member& member, Seat& seat, std::string reason, Orders& orders) {
  const Member& master = *seat.master->member;
  if (!member.Knows(master.id)) return false;
  return orders.Give(member, "follow", {{"node", master.id}}, std::move(reason), {.pause = kFollow});
}

// Whether keys may have come to this master, which has no slots, and be with it and its replicas only.
bool MayHaveTaken(const Situation& situation, const Node& node) {
  // What givers and replicas tell of it may be older than the first keys.
  const Member* member = node.member;
  const bool comes_back = member && !member->ready && !member->leaving && !member->removed;
  if (comes_back || !OnTheirWayTo(situation, node.id).empty()) return true;
  return std::any_of(situation.nodes.begin(), situation.nodes.end(), [](const auto& other) {
    const auto& [id, giver] = other;
    return giver.master && !giver.slots.empty() && !(giver.member && giver.member->ready);
  });
}

// Whether it follows nobody that it should.
bool IsUnplaced(const Situation& situation, const Roles& roles, const Member& member, Orders& orders) {
  if (!member.ready || !member.stays()) return false;
  if (member.master) {
    if (Roles::Has(roles.added, member.id) || !situation.SlotsOf(member).empty()) return false;
    // It has come back, and will hear in a moment that another has its slots.
    if (!member.self->slots.empty() || !member.empty) {
      orders.Again(kReplicaSoon);
      orders.Trouble(fmt::format("{} hasn't heard yet that others have its slots", member.name));
      return false;
    }
    if (!StandsInFor(situation, member)) return true;
    orders.Again(kReplicaSoon);
    orders.Trouble(fmt::format("{} begins anew once nobody looks for who was there before", member.name));
    return false;
  }
  const Node* primary = situation.At(member.primary);
  if (!primary) return true;
  if (!primary->master) {
    orders.Again(kReplicaSoon);
    orders.Trouble(
        fmt::format("{} follows {}, which is a replica", member.name, situation.NameOf(primary->id)));
    return orders.Since("chain " + member.name) > kRedis;
  }
  if (!primary->slots.empty() || Roles::Has(roles.added, primary->id)) return false;
  if (MayHaveTaken(situation, *primary)) {
    orders.Again(kReplicaSoon);
    orders.Trouble(fmt::format("{} stays: keys of slots on their way to {} may be nowhere else", member.name,
                               situation.NameOf(primary->id)));
    return false;
  }
  return true;
}

void Place(const Situation& situation, const Roles& roles, std::vector<Seat>& seats, Orders& orders) {
  for (const Member& member : situation.members) {
    if (!IsUnplaced(situation, roles, member, orders)) continue;
    orders.Trouble(fmt::format("{} follows no master yet", member.name));
    orders.Again(kReplicaSoon);
    for (Seat& seat : seats) std::erase(seat.replicas, &member);
    const auto best = std::min_element(seats.begin(), seats.end(), [&](const Seat& one, const Seat& other) {
      const auto word = [&](const Seat& seat) {
        const bool full = seat.replicas.size() >= Needs(situation, seat);
        return std::tuple(full, SameHost(member, seat) >= 100, seat.replicas.size(), SameHost(member, seat));
      };
      return word(one) < word(other);
    });
    if (best == seats.end()) continue;
    Follow(member, *best, fmt::format("{} is to be a replica of {}", member.name, best->master->member->name),
           orders);
    best->replicas.push_back(&member);
  }
}

bool Serves(const Member* replica) { return replica->ready && replica->linked; }

// Whether only one of its replicas is of use to it now: neither that one goes nor another, which may be on
// its way to be linked here so that the first can go.
bool HasOneOfUse(const Situation& situation, const Seat& seat) {
  return Needs(situation, seat) > 0 && std::count_if(seat.replicas.begin(), seat.replicas.end(), Serves) == 1;
}

// From masters that have too many to those that lack one.
bool Level(const Situation& situation, std::vector<Seat>& seats, Orders& orders) {
  bool level = true;
  for (Seat& poor : seats) {
    if (poor.replicas.size() >= Needs(situation, poor)) continue;
    const Member* best = nullptr;
    Seat* from = nullptr;
    const Seat* awaited = nullptr;  // has one to give once others of its own are linked
    for (Seat& rich : seats) {
      if (rich.replicas.size() <= Needs(situation, rich)) continue;
      if (HasOneOfUse(situation, rich)) {
        const bool more = std::any_of(rich.replicas.begin(), rich.replicas.end(),
                                      [](const Member* other) { return !Serves(other) && !other->held; });
        if (more) awaited = &rich;
        continue;
      }
      for (const Member* replica : rich.replicas) {
        if (orders.Taken(*replica) || replica->held) continue;
        const auto word = [&](const Member& member, const Seat& seat) {
          return std::tuple(!Serves(&member), !member.ready, SameHost(member, poor), -SameHost(member, seat));
        };
        if (!best || word(*replica, rich) < word(*best, *from)) {
          best = replica;
          from = &rich;
        }
      }
    }
    const std::string& master = poor.master->member->name;
    if (!best && awaited) {
      level = false;
      orders.Trouble(fmt::format("{} has fewer replicas than {}, of which only one is linked", master,
                                 awaited->master->member->name));
      orders.Again(kReplicaSoon);
    }
    if (!best) continue;
    level = false;
    const std::string& other = from->master->member->name;
    orders.Trouble(fmt::format("{} has fewer replicas than {}", master, other));
    Follow(*best, poor, fmt::format("{} lacks a replica, {} has more than it needs", master, other), orders);
    std::erase(from->replicas, best);
    poor.replicas.push_back(best);
  }
  return level;
}

// Two that stand badly change places; the first goes, Level does the rest.
void SpreadSeats(std::vector<Seat>& seats, Orders& orders) {
  for (Seat& one : seats) {
    for (const Member* bad : one.replicas) {
      if (bad->host != one.master->member->host) continue;
      for (Seat& other : seats) {
        if (&other == &one || other.master->member->host == bad->host) continue;
        for (const Member* good : other.replicas) {
          if (good->host == one.master->member->host || !good->linked || !bad->linked ||
              orders.Taken(*good) || orders.Taken(*bad))
            continue;
          const std::string reason =
              fmt::format("{} stands on the host of its master {}: it changes places with {}", bad->name,
                          one.master->member->name, good->name);
          orders.Trouble(reason);
          Follow(*good, one, reason, orders);
          return;
        }
      }
    }
  }
}

// Nobody is on the way to another role: what a run waits for is that all is well, which this belongs to.
bool OnlySettles(const Situation& situation) {
  return std::all_of(situation.input->awaited.begin(), situation.input->awaited.end(),
                     [](const Step* step) { return step->verb == "settle"; });
}

// Where masters lack and all members follow somebody, one that is too many begins anew.
void Release(const Situation& situation, const Roles& roles, std::vector<Seat>& seats, Orders& orders) {
  if (roles.lacking <= 0 || !situation.settling) return;
  const Member* best = nullptr;
  size_t most = static_cast<size_t>(situation.replicas);
  for (const Seat& seat : seats) {
    if (seat.replicas.size() <= most) continue;
    for (const Member* replica : seat.replicas) {
      if (orders.Taken(*replica) || !replica->linked) continue;
      best = replica;
      most = seat.replicas.size();
    }
  }
  orders.Trouble("a master is missing");
  orders.Again(kReplicaSoon);
  if (orders.Since("lacking") < kRelease) return;  // it may be on its way
  if (best) orders.Give(*best, "leave", {}, fmt::format("{} is to become a master", best->name));
}

}  // namespace

bool StandsInFor(const Situation& situation, const Member& member) {
  return std::any_of(situation.nodes.begin(), situation.nodes.end(), [&](const auto& other) {
    const auto& [id, node] = other;
    if (node.member || node.followers.empty()) return false;
    // Nodes forget the address of one where another has answered; its replicas go on looking there.
    if (!node.address.empty() && (node.address != member.address || node.port != member.port)) return false;
    const bool has_data = !node.slots.empty() || !OnTheirWayTo(situation, id).empty();
    return has_data || std::any_of(node.followers.begin(), node.followers.end(),
                                   [](const Member* follower) { return follower->ready; });
  });
}

void Replicas(const Situation& situation, const Roles& roles, Orders& orders) {
  std::vector<Seat> seats = SeatsOf(roles);
  Place(situation, roles, seats, orders);
  const bool level = Level(situation, seats, orders);
  Release(situation, roles, seats, orders);
  if (level && orders.troubles().empty() && OnlySettles(situation)) SpreadSeats(seats, orders);
}

}  // namespace muster::redis_cluster::mending
