// Slots on their way, those that are to go, and those that nodes disagree about.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "recipes/redis_cluster/parts.h"

namespace muster::redis_cluster::mending {
namespace {

constexpr int kBatch = 512;          // slots of one pair that are on their way at once
constexpr Duration kHandOver = 30s;  // the operator ends before; the next order goes on
constexpr Duration kPause = 300ms;
constexpr Duration kToldOf = 2s;  // who has slots; nodes ping each other at least each second
constexpr Duration kGossip = 5s;  // after which a view that differs doesn't come right by itself
constexpr Duration kSlotsSoon = 500ms;
constexpr Duration kStuck = 10s;  // after which a move of which nothing gets on comes after all others

using Pair = std::pair<const Member*, const Member*>;  // from, to

struct ByRank {
  bool operator()(const Pair& one, const Pair& other) const {
    return std::pair(one.first->rank, one.second->rank) < std::pair(other.first->rank, other.second->rank);
  }
};

struct Moves {
  std::map<Pair, SlotSet, ByRank> pending;  // owned by the first, imported by the second or to be
  std::set<Pair, ByRank> stuck;             // of these
  std::set<const Member*> giving, taking;
};

SlotSet KeysOf(const std::map<int, std::string>& marks) {
  SlotSet slots;
  for (const auto& [slot, other] : marks) slots.Add(slot);
  return slots;
}

std::map<std::string, SlotSet> ByNode(const std::map<int, std::string>& marks) {
  std::map<std::string, SlotSet> slots;
  for (const auto& [slot, other] : marks) slots[other].Add(slot);
  return slots;
}

// Who has taken the place of this node, as it was a master when the mark was set; nullptr: nobody is known.
const Node* Successor(const Situation& situation, const Memory& memory, const std::string& id) {
  std::string at = id;
  for (int hops = 0; hops < 8; ++hops) {
    const Node* node = situation.At(at);
    const auto told = memory.successor.find(at);
    const Node* heir = told == memory.successor.end() ? nullptr : situation.At(told->second);
    if (node && !node->master && !node->primary.empty()) {
      at = node->primary;
    } else if (heir && heir->master && node && node->slots.empty()) {
      at = told->second;
    } else {
      return node;
    }
  }
  return nullptr;
}

void Stable(const Member& member, const SlotSet& slots, const std::string& why, Orders& orders) {
  orders.Trouble(fmt::format("{} has marks of slots that aren't on their way", member.name));
  orders.Give(member, "stable", {{"slots", slots.Text()}}, why, {.pause = kPause});
}

// Of a node that is gone: who has the keys that had come to it. `unclear`: somebody may, and it isn't known
// who, or he is no master yet.
struct Heritage {
  const Node* heir = nullptr;
  bool unclear = false;
};

Heritage HeritageOf(const Situation& situation, const Node* gone) {
  if (gone) {
    for (const Member* follower : gone->followers) {
      if (!follower->removed) return {nullptr, true};
    }
  }
  // A replica that has taken its place says nothing of that: it is a master with keys that come from nowhere.
  Heritage heritage;
  for (const Member& member : situation.members) {
    if (!member.ready || !member.master || member.empty || !member.self->slots.empty()) continue;
    if (!situation.SlotsOf(member).empty() || !OnTheirWayTo(situation, member.id).empty()) continue;
    heritage.unclear = heritage.heir != nullptr;
    heritage.heir = situation.NodeOf(member);
    if (heritage.unclear) break;
  }
  return heritage;
}

// Nobody has what had gone to this node. Where slots of its own are out as well, a person has to accept that,
// and the marks stay until then; else they go, and that is told.
void GiveUp(const Situation& situation, const Member& from, const SlotSet& slots, const std::string& id,
            const Node* to, Orders& orders) {
  const std::string lost =
      fmt::format("keys of slots {} of {} that had gone to {} are lost with it", SlotsText(slots), from.name,
                  to ? WhoWas(situation, *to) : "node " + situation.NameOf(id));
  orders.Trouble(lost);
  if (to && !to->slots.empty()) {
    orders.Again(kSlotsSoon);
    return;
  }
  orders.Give(from, "stable", {{"slots", slots.Text()}}, lost, {.pause = kPause, .notable = true});
}

// Marks of a node that gives slots away.
void Leaving(const Situation& situation, const Memory& memory, const Member& from, Moves& moves,
             Orders& orders) {
  const SlotSet& own = situation.SlotsOf(from);
  for (const auto& [id, slots] : ByNode(from.self->migrating)) {
    const SlotSet gone = slots - own, still = slots & own;
    if (!gone.empty()) {
      // Target first, then the source: here it is the source's turn.
      SlotSet stale;
      std::map<std::string, SlotSet> owners;
      for (const auto& [other, node] : situation.nodes) {
        const SlotSet taken = gone & node.slots & from.self->slots;
        if (!taken.empty() && from.Knows(other)) owners[other] = taken;
        stale |= taken;
      }
      for (const auto& [owner, taken] : owners) {
        orders.Trouble(fmt::format("{} hasn't heard yet that {} has some of its slots", from.name,
                                   situation.NameOf(owner)));
        orders.Give(from, "claim", {{"slots", taken.Text()}, {"node", owner}},
                    fmt::format("slots {} are with {} now", SlotsText(taken), situation.NameOf(owner)),
                    {.pause = kPause});
      }
      if (!(gone - stale).empty()) Stable(from, gone - stale, "they are with another already", orders);
    }
    if (still.empty()) continue;
    const Node* to = Successor(situation, memory, id);
    bool nobody = !to || (!to->member && IsNobodys(situation, *to));
    if (nobody) {
      const Heritage heritage = HeritageOf(situation, to);
      if (heritage.unclear) {
        orders.Again(kSlotsSoon);
        orders.Trouble(fmt::format("slots {} of {} wait for who has the keys that had come to {}",
                                   SlotsText(still), from.name, situation.NameOf(id)));
        continue;
      }
      if (heritage.heir) to = heritage.heir;
      nobody = !heritage.heir;
    }
    if (nobody) {
      GiveUp(situation, from, still, id, to, orders);
    } else if (to->id == from.id) {
      Stable(from, still, "it has taken the place of the node that they were to go to", orders);
    } else if (!to->member || !to->member->ready || !to->member->master) {
      orders.Again(kSlotsSoon);
      orders.Trouble(
          fmt::format("slots {} of {} wait for {}", SlotsText(still), from.name, situation.NameOf(to->id)));
    } else {
      moves.pending[{&from, to->member}] |= still;
    }
  }
}

// Marks of a node that takes slots over.
void Coming(const Situation& situation, const Member& to, Moves& moves, Orders& orders) {
  SlotSet left = KeysOf(to.self->importing);
  if (left.empty()) return;
  const SlotSet own = left & situation.SlotsOf(to);
  if (!own.empty()) Stable(to, own, "they have come already", orders);
  left -= own;
  const auto from = ByNode(to.self->importing);
  for (const auto& [id, node] : situation.nodes) {
    SlotSet slots = left & node.slots;
    if (slots.empty()) continue;
    left -= slots;
    // Two that were told to take over the same, as before and after a restart of the server: one after the
    // other.
    for (const auto& [pair, taken] : moves.pending) {
      if (pair.first == node.member && pair.second != &to) slots -= taken;
    }
    // What is on its way to a third one may be there, though that one is dead: who takes its place has it
    // then.
    if (node.member && node.member->ready) {
      const auto agreed = moves.pending.find({node.member, &to});
      const SlotSet mine = agreed == moves.pending.end() ? SlotSet() : agreed->second;
      for (const auto& [third, marked] : ByNode(node.member->self->migrating)) {
        if (third != to.id) slots -= marked - mine;
      }
    }
    if (slots.empty()) continue;
    if (!node.member || !node.member->ready) {
      orders.Trouble(fmt::format("slots {} on their way to {} wait for {}", SlotsText(slots), to.name,
                                 situation.NameOf(id)));
      continue;
    }
    // Nothing has gone over that the owner doesn't know of, unless it has just taken another's place.
    const auto named = from.find(id);
    const SlotSet untouched =
        (named == from.end() ? SlotSet() : named->second & slots) - KeysOf(node.member->self->migrating);
    const SlotSet unwanted = situation.moving ? SlotSet() : untouched;
    if (!unwanted.empty()) Stable(to, unwanted, "nobody hands them over", orders);
    if (!(slots - unwanted).empty()) moves.pending[{node.member, &to}] |= slots - unwanted;
  }
  left = left & situation.unowned;
  if (left.empty()) return;
  orders.Trouble(fmt::format("slots {} have no owner{}", SlotsText(left), WaitedFor(situation)));
  orders.Again(kSlotsSoon);
  // Who has taken a giver's place may have them, with their keys, and not have told, or not everybody. A
  // claim would take them from him, and he would delete the keys.
  const bool told = situation.All(
      [](const Member& member) { return member.ready || (!member.silent && (member.dead || member.shut)); });
  if (orders.Since("unowned, to " + to.name) < kToldOf || !told) return;
  orders.Give(to, "claim", {{"slots", left.Text()}, {"node", to.id}},
              fmt::format("slots {} have no owner, and were on their way to it", SlotsText(left)),
              {.pause = kPause, .notable = true});
}

// Whether a replica is there for it, and isn't linked yet: until then what comes would be on it alone.
bool AwaitsReplica(const Situation& situation, const Node& to) {
  bool coming = false;
  for (const Member* follower : to.followers) {
    if (follower->ready && follower->linked) return false;
    coming = coming || (follower->ready && follower->stays() && !follower->held);
  }
  return coming && situation.replicas > 0;
}

bool HasLinkedReplica(const Node& to) {
  return std::any_of(to.followers.begin(), to.followers.end(),
                     [](const Member* follower) { return follower->ready && follower->linked; });
}

// Whether somebody is about to be told to follow one that lacks a replica.
bool IsReplicaLeft(const Situation& situation, const Roles& roles) {
  for (const Member& member : situation.members) {
    if (!member.ready || !member.stays() || member.held) continue;
    if (member.master) {
      const bool idle = member.empty && member.self->slots.empty() && situation.SlotsOf(member).empty();
      if (idle && !Roles::Has(roles.added, member.id)) return true;
      continue;
    }
    const Node* master = situation.At(member.primary);
    if (!master || !master->master) continue;
    if (master->slots.empty() && !Roles::Has(roles.added, master->id)) return true;
    const auto staying = std::count_if(master->followers.begin(), master->followers.end(),
                                       [](const Member* follower) { return follower->stays(); });
    if (staying > situation.replicas) return true;
  }
  return false;
}

// A move goes on: import on the target, keys from the source, then the target claims what has come whole.
//
// A master without slots gets one first, that with the fewest keys, if any: Redis elects nobody in place of
// one that has none, and after that it is a master as any other.
void GoOn(const Situation& situation, const Pair& pair, const SlotSet& slots, Orders& orders) {
  const auto& [from, to] = pair;
  const Node& target = *situation.NodeOf(*to);
  const SlotSet imported = KeysOf(to->self->importing) & slots;
  const auto given = ByNode(from->self->migrating);
  const auto to_it = given.find(to->id);
  // Of what it gives to another it has no keys either.
  const SlotSet whole = to_it == given.end() ? SlotSet() : from->drained & imported & to_it->second;
  const std::string way = fmt::format("from {} to {}", from->name, to->name);
  // While keys are handed over what has come whole may be out of date.
  if (!whole.empty() && !from->ordered) {
    orders.Give(*to, "claim", {{"slots", whole.Text()}, {"node", to->id}},
                fmt::format("slots {} have come {}", SlotsText(whole), way), {.pause = kPause});
  }
  const SlotSet missing = slots - imported;
  if (!missing.empty()) {
    orders.Give(*to, "import", {{"slots", missing.Text()}, {"from", from->id}},
                fmt::format("slots {} go {}", SlotsText(missing), way), {.pause = kPause});
  }
  SlotSet rest = imported - whole;
  const bool first = target.slots.empty();
  if (rest.empty() || (first && !whole.empty())) return;
  if (AwaitsReplica(situation, target)) {
    orders.Trouble(fmt::format("{} has no replica that is linked yet: slots {} wait for that", to->name,
                               SlotsText(rest)));
    orders.Again(kSlotsSoon);
    return;
  }
  const SlotSet begun = first && to_it != given.end() ? rest & to_it->second : SlotSet();
  if (!begun.empty()) rest = begun.First(1);
  std::map<std::string, std::string> args = {
      {"to", to->id}, {"host", to->address}, {"port", std::to_string(to->port)}};
  args["slots"] = rest.Text();
  if (first && begun.empty()) args["smallest"] = "yes";
  if (HasLinkedReplica(target)) args["replica"] = "yes";
  orders.Give(*from, "hand-over", std::move(args),
              fmt::format("{}slots {} go {}", first && begun.empty() ? "one of " : "", SlotsText(rest), way),
              {.pause = kPause, .deadline = kHandOver});
}

// None of its slots comes whole or is claimed, as where both have keys of their own (keys-differ) or the
// taker refuses them. It may only be slow: it goes on, where nobody else needs its giver or its taker.
bool IsStuck(const Pair& pair, const SlotSet& slots, Orders& orders) {
  const SlotSet rest = slots - pair.first->drained;
  return orders.Since(fmt::format("move {} {} {} {}", pair.first->name, pair.second->name, slots.Text(),
                                  rest.Text())) >= kStuck;
}

// What each of those that are to have slots has once all that is on its way has come.
struct Account {
  const Node* node;
  int has = 0;
  int wanted = 0;
};

std::vector<Account> Accounts(const Situation& situation, const Roles& roles, const Moves& moves) {
  std::vector<Account> accounts;
  for (const std::vector<const Node*>* nodes : {&roles.kept, &roles.added, &roles.drained}) {
    for (const Node* node : *nodes) accounts.push_back({node, node->slots.count(), 0});
  }
  for (const auto& [pair, slots] : moves.pending) {
    for (Account& account : accounts) {
      if (account.node->member == pair.first) account.has -= slots.count();
      if (account.node->member == pair.second) account.has += slots.count();
    }
  }
  const size_t keep = roles.kept.size() + (situation.even ? roles.added.size() : 0);
  std::vector<int> has;
  int homeless = 0;
  for (size_t i = 0; i < accounts.size(); ++i) {
    if (i < keep) {
      has.push_back(accounts[i].has);
    } else {
      homeless += accounts[i].has;
    }
  }
  const std::vector<int> wanted = situation.even ? EvenCounts(has, homeless) : FilledCounts(has, homeless);
  for (size_t i = 0; i < keep; ++i) accounts[i].wanted = wanted[i];
  return accounts;
}

// One that has died and come back, or a slot that was moved by hand, may make more of them.
Memory::Moving HowFar(const std::vector<Account>& accounts, const Memory::Moving& before) {
  Memory::Moving now;
  for (const Account& account : accounts) {
    now.left += std::max(0, account.node->slots.count() - account.wanted);
  }
  now.all = std::max(before.all, now.left);
  return now;
}

// A node whose claim raises its epoch takes back what others have claimed of it and it hasn't heard of, and
// they drop the keys. So none gives and takes at the same time, and none takes before it has heard of all it
// gave.
bool MayTake(const Situation& situation, const Moves& moves, const Member& member) {
  return !moves.giving.contains(&member) && (member.self->slots - situation.SlotsOf(member)).empty();
}

bool CanMove(const Member* member) { return member && member->ready && member->master && !member->silent; }

// Slots are on their way from it, be it to one that has died: they come first, unless they are stuck.
bool Gives(const Moves& moves, const Member& member) {
  SlotSet slots = KeysOf(member.self->migrating);
  for (const Pair& pair : moves.stuck) {
    if (pair.first == &member) slots -= moves.pending.at(pair);
  }
  return !slots.empty();
}

// What it can begin to give. A master that gives its last slot becomes a replica and drops all keys, so it
// keeps one while others come to it.
SlotSet ToGive(const Situation& situation, const Moves& moves, const Node& node) {
  SlotSet slots = node.slots;
  for (const auto& [pair, promised] : moves.pending) {
    if (pair.first == node.member) slots -= promised;
  }
  const bool takes = !(KeysOf(node.member->self->importing) - node.slots).empty();
  if (takes || !OnTheirWayTo(situation, node.id).empty()) slots -= slots.First(1);
  return slots;
}

// One that is to hand over its role gives nothing more away before.
bool IsToStepDown(const Situation& situation, const Member& member) {
  return std::any_of(situation.input->awaited.begin(), situation.input->awaited.end(), [&](const Step* step) {
    return step->verb == "step-down" && step->instance == member.name;
  });
}

// Those that are stuck, or those that aren't.
void GoOnWith(const Situation& situation, bool stuck, Moves& moves, Orders& orders) {
  for (const auto& [pair, slots] : moves.pending) {
    if (moves.stuck.contains(pair) != stuck) continue;
    if (moves.taking.contains(pair.first) || !MayTake(situation, moves, *pair.second)) continue;
    moves.giving.insert(pair.first);
    moves.taking.insert(pair.second);
    GoOn(situation, pair, slots, orders);
  }
}

void Begin(const Situation& situation, const Roles& roles, Moves& moves, Orders& orders) {
  std::vector<Account> accounts = Accounts(situation, roles, moves);
  for (Account& from : accounts) {
    if (from.has <= from.wanted) continue;
    orders.Trouble(fmt::format("{} has {} slots, and is to have {}", situation.NameOf(from.node->id),
                               from.has, from.wanted));
    const Member* giver = from.node->member;
    if (!CanMove(giver) || Gives(moves, *giver) || moves.giving.contains(giver) ||
        moves.taking.contains(giver) || orders.Imports(from.node->id, giver->name) ||
        IsToStepDown(situation, *giver))
      continue;
    const SlotSet slots = ToGive(situation, moves, *from.node);
    if (slots.empty()) continue;
    for (Account& to : accounts) {
      const int number = std::min({kBatch, from.has - from.wanted, to.wanted - to.has});
      if (number <= 0 || !CanMove(to.node->member)) continue;
      // A new master refuses all commands until it has seen the cluster be well for a while.
      if (!to.node->member->cluster_ok && giver->cluster_ok) {
        orders.Again(kSlotsSoon);
        continue;
      }
      const bool lacks = situation.replicas > 0 && !HasLinkedReplica(*to.node);
      if (lacks && (AwaitsReplica(situation, *to.node) || IsReplicaLeft(situation, roles))) {
        orders.Again(kSlotsSoon);
        continue;
      }
      if (orders.Taken(*to.node->member) || !MayTake(situation, moves, *to.node->member) ||
          orders.Imports(to.node->id, ""))
        continue;
      const SlotSet batch = slots.First(number);
      orders.Give(*to.node->member, "import", {{"slots", batch.Text()}, {"from", from.node->id}},
                  fmt::format("slots {} go from {} to {}", SlotsText(batch), from.node->member->name,
                              to.node->member->name),
                  {.pause = kPause});
      to.has += batch.count();
      moves.giving.insert(from.node->member);
      moves.taking.insert(to.node->member);
      break;
    }
  }
}

// Nodes that don't come to see by themselves what all others see.
void Disagreements(const Situation& situation, Orders& orders) {
  for (const Member& member : situation.members) {
    if (!member.ready || !member.master) continue;
    for (const auto& [id, node] : situation.nodes) {
      const redis::ClusterNode* line = member.view->Find(id);
      if (!line || line->handshake || node.slots.empty()) continue;
      const SlotSet unseen = node.slots - line->slots;
      if (unseen.empty()) continue;
      orders.Again(kSlotsSoon);
      orders.Trouble(fmt::format("{} doesn't see yet that {} has slots {}", member.name, situation.NameOf(id),
                                 SlotsText(unseen)));
      if (orders.Since("unseen " + member.name + " " + id) < kGossip) continue;
      orders.Give(member, "claim", {{"slots", unseen.Text()}, {"node", id}},
                  fmt::format("slots {} are with {}, which it hasn't heard", SlotsText(unseen),
                              situation.NameOf(id)));
    }
  }
}

// Slots that nobody has ever had, as after a forming that was broken off and had been written to.
void Adopt(const Situation& situation, const Roles& roles, Orders& orders) {
  SlotSet slots = situation.unowned;
  for (const Member& member : situation.members) {
    if (member.ready) slots -= KeysOf(member.self->importing);
  }
  if (slots.empty() || roles.kept.empty()) return;
  orders.Trouble(fmt::format("slots {} have no owner{}", SlotsText(slots), WaitedFor(situation)));
  orders.Again(kSlotsSoon);
  const bool whole = situation.All([](const Member& member) { return member.ready; }) &&
                     std::all_of(situation.nodes.begin(), situation.nodes.end(),
                                 [](const auto& node) { return node.second.member; });
  if (!whole || orders.Since("unowned") < kGossip) return;
  const Node* poorest = *std::min_element(
      roles.kept.begin(), roles.kept.end(),
      [](const Node* one, const Node* other) { return one->slots.count() < other->slots.count(); });
  orders.Give(*poorest->member, "own", {{"slots", slots.Text()}},
              fmt::format("slots {} have no owner, though all members are there", SlotsText(slots)),
              {.notable = true});
}

}  // namespace

SlotSet OnTheirWayTo(const Situation& situation, const std::string& id) {
  SlotSet slots;
  for (const Member& member : situation.members) {
    if (!member.ready) continue;
    for (const auto& [slot, to] : member.self->migrating) {
      if (to == id) slots.Add(slot);
    }
  }
  return slots;
}

bool HasMarksOf(const Member& member, const std::string& id) {
  const auto names = [&id](const auto& mark) { return mark.second == id; };
  const auto &importing = member.self->importing, &migrating = member.self->migrating;
  return std::any_of(importing.begin(), importing.end(), names) ||
         std::any_of(migrating.begin(), migrating.end(), names);
}

std::vector<int> EvenCounts(const std::vector<int>& has, int more) {
  if (has.empty()) return {};
  const int total = std::accumulate(has.begin(), has.end(), more), shares = static_cast<int>(has.size());
  std::vector<size_t> order(has.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return has[a] > has[b]; });
  std::vector<int> counts(has.size(), total / shares);
  for (int i = 0; i < total % shares; ++i) ++counts[order[static_cast<size_t>(i)]];
  return counts;
}

std::vector<int> FilledCounts(const std::vector<int>& has, int more) {
  std::vector<int> counts = has;
  while (more > 0 && !counts.empty()) {
    // All of those that have least rise together, as far as the next one or as there is something to give.
    const int least = *std::min_element(counts.begin(), counts.end());
    int next = least + more, lowest = 0;
    for (const int count : counts) {
      if (count == least) ++lowest;
      if (count > least) next = std::min(next, count);
    }
    const int rise = std::min(next - least, more / lowest);
    int rest = rise == 0 ? more : 0;
    for (int& count : counts) {
      if (count != least) continue;
      const int gets = rise > 0 ? rise : rest > 0 ? 1 : 0;
      rest -= rise > 0 ? 0 : gets;
      count += gets;
      more -= gets;
    }
  }
  return counts;
}

void Slots(const Situation& situation, const Roles& roles, Memory& memory, Orders& orders) {
  if (!situation.moving) memory.moving = {};
  Moves moves;
  for (const Member& member : situation.members) {
    if (!member.ready || !member.master) continue;
    Leaving(situation, memory, member, moves, orders);
  }
  for (const Member& member : situation.members) {
    if (!member.ready || !member.master) continue;
    Coming(situation, member, moves, orders);
  }
  for (const auto& [pair, slots] : moves.pending) {
    orders.Trouble(fmt::format("slots {} are on their way from {} to {}", SlotsText(slots), pair.first->name,
                               pair.second->name));
    orders.Again(kSlotsSoon);
    if (IsStuck(pair, slots, orders)) moves.stuck.insert(pair);
  }
  GoOnWith(situation, false, moves, orders);
  if (situation.unowned.empty() && roles.lacking == 0 && (situation.even || !roles.drained.empty())) {
    if (situation.moving) memory.moving = HowFar(Accounts(situation, roles, moves), memory.moving);
    Begin(situation, roles, moves, orders);
  }
  GoOnWith(situation, true, moves, orders);
  Adopt(situation, roles, orders);
  Disagreements(situation, orders);
}

}  // namespace muster::redis_cluster::mending
