// From members that know nothing of each other to a cluster, the fast way: a master refuses to serve for its
// first two seconds, a replica doesn't, and keeps to that when it becomes a master. So the slots go to those
// that shall end as replicas, the future masters follow them, and take over while nobody has written
// anything. Whatever is left half-way of it is a cluster that the other parts bring to its end.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "recipes/redis_cluster/parts.h"

namespace muster::redis_cluster::mending {
namespace {

constexpr Duration kLook = 40ms;
constexpr Duration kEpoch = 300ms;
constexpr Duration kGiveUp = 4s;  // the slow way is at its end by then, too
constexpr int kEpochTries = 2;

bool IsAlone(const Member& member) { return member.ready && member.view->nodes.size() == 1; }

// How badly a replica stands with this master.
int Cost(const Member& replica, const Shape::Shard& shard) {
  int cost = replica.host == shard.master->host ? 100 : 0;
  for (const Member* other : shard.replicas) cost += other != &replica && other->host == replica.host ? 1 : 0;
  return cost;
}

int Total(const Shape& shape) {
  int total = 0;
  for (const Shape::Shard& shard : shape.shards) {
    for (const Member* replica : shard.replicas) total += Cost(*replica, shard);
  }
  return total;
}

// Changes replicas for one another as long as that helps.
void Improve(Shape& shape) {
  for (int total = Total(shape), before = total + 1; total > 0 && total < before;) {
    before = total;
    for (Shape::Shard& one : shape.shards) {
      for (Shape::Shard& other : shape.shards) {
        for (const Member*& a : one.replicas) {
          for (const Member*& b : other.replicas) {
            std::swap(a, b);
            const int now = Total(shape);
            if (now < total) {
              total = now;
            } else {
              std::swap(a, b);
            }
          }
        }
      }
    }
  }
}

}  // namespace

Shape ShapeOf(const std::vector<const Member*>& members, int masters) {
  std::vector<std::string> hosts;
  std::map<std::string, std::vector<const Member*>> of_host;
  for (const Member* member : members) {
    if (!of_host.contains(member->host)) hosts.push_back(member->host);
    of_host[member->host].push_back(member);
  }
  std::vector<const Member*> chosen;
  for (size_t turn = 0; chosen.size() < static_cast<size_t>(masters) && turn < members.size(); ++turn) {
    for (const std::string& host : hosts) {
      if (turn < of_host[host].size() && chosen.size() < static_cast<size_t>(masters))
        chosen.push_back(of_host[host][turn]);
    }
  }
  std::sort(chosen.begin(), chosen.end(),
            [](const Member* one, const Member* other) { return one->rank < other->rank; });
  Shape shape;
  const std::vector<SlotSet> slots = redis::EvenSlots(std::max<int>(1, static_cast<int>(chosen.size())));
  for (size_t i = 0; i < chosen.size(); ++i) shape.shards.push_back({chosen[i], {}, slots[i]});
  for (const Member* member : members) {
    if (std::find(chosen.begin(), chosen.end(), member) != chosen.end()) continue;
    const auto best = std::min_element(shape.shards.begin(), shape.shards.end(),
                                       [&](const Shape::Shard& one, const Shape::Shard& other) {
                                         return std::pair(one.replicas.size(), Cost(*member, one)) <
                                                std::pair(other.replicas.size(), Cost(*member, other));
                                       });
    if (best != shape.shards.end()) best->replicas.push_back(member);
  }
  Improve(shape);
  return shape;
}

namespace {

std::vector<const Member*> Stayers(const Situation& situation) {
  std::vector<const Member*> members;
  for (const Member& member : situation.members) {
    if (member.stays()) members.push_back(&member);
  }
  return members;
}

// Distinct epochs from the start, or masters would have to sort that out among themselves. Redis takes one
// only from a node that knows nobody. Whether all have theirs, or can't be given one.
bool GiveEpochs(const std::vector<const Member*>& members, const Memory& memory, Orders& orders) {
  bool done = true;
  for (const Member* member : members) {
    if (!IsAlone(*member) || member->self->config_epoch != 0 || member->epoch != 0) continue;
    const std::string number = std::to_string(member->rank + 1);
    const auto told = memory.sent.find(member->name);
    if (told != memory.sent.end()) {
      const auto sent = told->second.find("epoch number=" + number);
      if (sent != told->second.end() && sent->second.times >= kEpochTries) continue;
    }
    done = false;
    orders.Give(*member, "epoch", {{"number", number}}, "the cluster is formed: its masters' epochs differ",
                {.pause = kEpoch});
  }
  return done;
}

bool IsOf(const Shape::Shard& shard, const Member* member) {
  return member == shard.master ||
         std::find(shard.replicas.begin(), shard.replicas.end(), member) != shard.replicas.end();
}

// Who is to have the slots of this shard that nobody has.
const Member* SeatOf(const Situation& situation, const Shape::Shard& shard, bool fast) {
  const Member* seat = nullptr;
  for (const auto& [id, node] : situation.nodes) {
    if (node.member && node.master && IsOf(shard, node.member) && !(node.slots & shard.slots).empty())
      seat = node.member;
  }
  if (seat) return seat;
  if (fast && !shard.replicas.empty() && shard.replicas.front()->master) return shard.replicas.front();
  if (shard.master->master) return shard.master;
  for (const Member* replica : shard.replicas) {
    if (replica->master) return replica;
  }
  for (const Member& member : situation.members) {
    if (member.stays() && member.master) return &member;
  }
  return nullptr;
}

void GiveSlots(const Situation& situation, const Shape& shape, bool fast, Orders& orders) {
  for (const Shape::Shard& shard : shape.shards) {
    const SlotSet missing = shard.slots & situation.unowned;
    const Member* seat = missing.empty() ? nullptr : SeatOf(situation, shard, fast);
    if (!seat) continue;
    orders.Give(*seat, "own", {{"slots", missing.Text()}},
                fmt::format("the cluster is formed: slots {} have no owner", SlotsText(missing)),
                {.pause = 300ms});
  }
}

// The rest of a shard follows whoever has its slots. Whether it is so.
bool Follow(const Situation& situation, const Shape::Shard& shard, const Member& seat, Orders& orders) {
  bool done = true;
  const auto follow = [&](const Member& member) {
    if (&member == &seat) return;
    if (!member.master) {
      done &= member.primary == seat.id;
      return;
    }
    done = false;
    if (!situation.SlotsOf(member).empty() || !member.self->slots.empty()) return;
    if (member.Knows(seat.id)) {
      orders.Give(member, "follow", {{"node", seat.id}},
                  fmt::format("the cluster is formed: a replica of {}", seat.name), {.pause = 200ms});
    } else {
      orders.Give(member, "look", {}, "the cluster is formed: whom it knows by now", {.pause = 0ms});
    }
  };
  follow(*shard.master);
  for (const Member* replica : shard.replicas) follow(*replica);
  return done;
}

// Whether there is something to wait for, so that the future master takes over before its shard serves.
bool TakeOver(const Situation& situation, const Shape::Shard& shard, const Member& seat, Orders& orders) {
  const Member& master = *shard.master;
  if (&seat == &master || seat.cluster_ok) return false;  // it serves already: nothing is gained any more
  if (master.master || master.primary != seat.id) return true;
  const redis::ClusterNode* known = master.view->Find(seat.id);
  if (!master.cluster_ok || !known || known->slots != situation.SlotsOf(seat)) {
    orders.Give(master, "look", {}, "the cluster is formed: whether it is whole", {.pause = 0ms});
    orders.Give(seat, "look", {}, "the cluster is formed: whether it serves already", {.pause = 0ms});
    return true;
  }
  orders.Give(
      master, "take-over", {{"how", "takeover"}, {"of", seat.id}, {"only", "empty"}},
      fmt::format("the cluster is formed: {} is to be the master of {}", master.name, SlotsText(shard.slots)),
      {.pause = 300ms, .deadline = 8s});
  return true;
}

}  // namespace

bool Form(const Situation& situation, Memory& memory, Orders& orders) {
  if (!situation.unowned.all()) memory.lost_accepted = false;
  const std::vector<const Member*> members = Stayers(situation);
  const bool blank =
      !members.empty() && situation.All([](const Member& member) { return member.ready && member.empty; }) &&
      std::all_of(situation.nodes.begin(), situation.nodes.end(),
                  [](const auto& node) { return node.second.member || node.second.slots.empty(); });
  const bool covered = situation.unowned.empty();
  if (covered && !memory.forming.fast) return false;
  if (!blank) {
    memory.forming = {};
    if (!covered && !members.empty()) {
      for (const Member* member : members) {
        if (!member->ready) orders.Trouble(fmt::format("{} isn't there", member->name));
      }
      const std::string none = situation.unowned.all()
                                   ? "slots are given out when all members are there and empty"
                                   : fmt::format("slots {} have no owner", SlotsText(situation.unowned));
      orders.Trouble(none);
    }
    return false;
  }
  const bool fresh = situation.unowned.all();
  if (const auto bereft = situation.Bereft(); !bereft.empty() && !memory.lost_accepted) {
    memory.forming = {};
    orders.Trouble(
        fmt::format("{} may have had keys, and all data folders are lost: muster failover {} --accept-loss "
                    "begins anew, empty",
                    Join(bereft, " and "), situation.input->service->name));
    return false;
  }
  const Shape shape = ShapeOf(members, situation.masters);
  if (fresh) memory.forming.fast = situation.replicas > 0;
  orders.Trouble("the cluster is being formed");
  if (!GiveEpochs(members, memory, orders)) {
    orders.Again(kLook);
    return true;
  }
  if (!covered) {
    GiveSlots(situation, shape, memory.forming.fast, orders);
    Membership(situation, memory, orders);
    orders.Again(kLook);
    return true;
  }
  if (memory.forming.covered == Time{}) memory.forming.covered = situation.now;
  Membership(situation, memory, orders);
  bool waits = false;
  for (const Shape::Shard& shard : shape.shards) {
    const Member* seat = SeatOf(situation, shard, true);
    if (!seat) continue;
    const bool follow = Follow(situation, shard, *seat, orders);
    waits |= !follow || TakeOver(situation, shard, *seat, orders);
  }
  if (!waits || situation.now - memory.forming.covered > kGiveUp) {
    memory.forming = {};
    return false;
  }
  orders.Again(kLook);
  return true;
}

}  // namespace muster::redis_cluster::mending
