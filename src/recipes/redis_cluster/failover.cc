// Masters that are certainly dead are replaced by their best replica.
#include <fmt/format.h>

#include <algorithm>

#include "recipes/redis_cluster/parts.h"

namespace muster::redis_cluster::mending {
namespace {

constexpr Duration kVote = 800ms;   // votes come at once or not at all
constexpr Duration kTakeOver = 8s;  // nobody is asked: done at once
constexpr Duration kPlain = 8s;     // Redis gives up after 5 s
constexpr Duration kSoon = 100ms;
// Whoever lost its link sooner before the death has all but what was written in its last moment: links end
// with a process, and news of both take their time.
constexpr Duration kLinkLostBefore = 3s;

// Whether another member is the one that this node was: whose data folder was wiped.
const Member* AnotherAtItsSeat(const Situation& situation, const Node& node) {
  for (const Member& member : situation.members) {
    if (!member.id.empty() && member.id != node.id && !node.address.empty() &&
        member.address == node.address && member.port == node.port)
      return &member;
  }
  return nullptr;
}

}  // namespace

bool IsNobodys(const Situation& situation, const Node& node) {
  if (node.member) return false;
  if (AnotherAtItsSeat(situation, node)) return true;
  // A member that hasn't said who it is may be this one.
  for (const Member& member : situation.members) {
    if (member.id.empty()) return false;
  }
  return node.suspected;
}

namespace {

bool IsDead(const Situation& situation, const Node& node) {
  if (!node.member) return IsNobodys(situation, node);
  return node.member->dead && !node.member->stepped;
}

// Whether masters enough are there to vote.
bool HasMajority(const Situation& situation) {
  int all = 0, there = 0;
  for (const auto& [id, node] : situation.nodes) {
    if (!node.master || node.slots.empty()) continue;
    ++all;
    there += node.member && (node.member->ready || node.member->silent) ? 1 : 0;
  }
  return there * 2 > all;
}

// Whether it has ever had its master's data, as far as one can know.
bool HasData(const Member& replica, const Node& master, const Memory& memory) {
  const auto linked = memory.linked.find(replica.name);
  return replica.linked || replica.offset > 0 ||
         (linked != memory.linked.end() && linked->second.contains(master.id));
}

bool Better(const Member& one, const Member& other, const std::string& host) {
  const auto word = [&](const Member& member) {
    return std::tuple(!member.leaving, member.offset, member.host != host, -member.rank);
  };
  return word(one) > word(other);
}

// Whether it lacks what its master was given in its last time: nobody is promoted over that.
bool IsStale(const Member& replica, Time died, const Memory& memory) {
  const auto lost = memory.unlinked.find(replica.name);
  return lost != memory.unlinked.end() && died - lost->second > kLinkLostBefore;
}

std::vector<const Member*> Heirs(const Node& master, Time died, const Memory& memory) {
  std::vector<const Member*> heirs;
  for (const Member* follower : master.followers) {
    if (IsStale(*follower, died, memory)) continue;
    if (follower->ready && !follower->master && !follower->held && !follower->stepped &&
        HasData(*follower, master, memory))
      heirs.push_back(follower);
  }
  const std::string host = master.member ? master.member->host : "";
  std::sort(heirs.begin(), heirs.end(),
            [&](const Member* one, const Member* other) { return Better(*one, *other, host); });
  return heirs;
}

std::string WhyNobody(const Situation& situation, const Node& master, Time died, const Memory& memory) {
  const std::string name = situation.NameOf(master.id), slots = SlotsText(master.slots);
  for (const Member* follower : master.followers) {
    if (!follower->ready || !IsStale(*follower, died, memory)) continue;
    return fmt::format(
        "{} is down, and {} was not linked to it any more: slots {} wait for {}, which has what was written "
        "since",
        name, follower->name, slots, name);
  }
  std::vector<std::string> others;
  for (const Member* follower : master.followers) others.push_back(follower->name);
  if (others.empty()) return fmt::format("{} is down and has no replica: slots {} are out", name, slots);
  return fmt::format("{} is down, and so is its replica {}: slots {} wait for one of them", name,
                     fmt::join(others, ", "), slots);
}

void Replace(const Situation& situation, const Node& master, Memory& memory, Orders& orders) {
  Memory::TakeOver& dead = memory.dead.try_emplace(master.id, Memory::TakeOver{situation.now}).first->second;
  const std::vector<const Member*> heirs = Heirs(master, dead.since, memory);
  if (heirs.empty()) {
    orders.Trouble(WhyNobody(situation, master, dead.since, memory));
    return;
  }
  orders.Again(kSoon);
  const std::string name = situation.NameOf(master.id);
  orders.Trouble(
      fmt::format("{} died: {} is to take over {}", name, heirs.front()->name, SlotsText(master.slots)));
  // What several are told to have is compared after the death only.
  const bool stale = heirs.size() > 1 &&
                     std::any_of(heirs.begin(), heirs.end(), [](const Member* heir) { return heir->linked; });
  if (stale && !dead.looked) {
    dead.looked = true;
    for (const Member* heir : heirs) {
      orders.Give(*heir, "look", {}, fmt::format("{} died: who has most of its data", name), {.pause = 0ms});
    }
    return;
  }
  const bool elsewhere = std::any_of(master.followers.begin(), master.followers.end(),
                                     [](const Member* follower) { return follower->silent; });
  const auto voted = memory.voted.find(master.id);
  const bool barred =
      voted != memory.voted.end() && situation.now - voted->second < 2 * situation.node_timeout;
  const bool alone = !elsewhere && (dead.tries > 0 || barred || !HasMajority(situation));
  const std::string how = alone ? "takeover" : "force";
  const Member& heir = *heirs.front();
  const std::string reason =
      fmt::format("{} died: {} takes over {}{}", name, heir.name, SlotsText(master.slots),
                  !alone           ? ""
                  : dead.tries > 0 ? ", though it was not elected"
                  : barred         ? ", though masters may not vote again yet"
                                   : ", though no majority of masters is left to vote");
  if (!orders.Give(heir, "take-over", {{"how", how}, {"of", master.id}}, reason,
                   {.pause = 300ms, .deadline = alone ? kTakeOver : kVote, .notable = true}))
    return;
  if (!alone) {
    ++dead.tries;
    memory.voted[master.id] = situation.now;
  }
  memory.successor[master.id] = heir.id;
}

// A link is missed only where its master is known to live: else it ended with that.
void NoteLink(const Situation& situation, const Member& member, Memory& memory) {
  if (!member.ready) return;
  if (member.master || member.linked) {
    memory.unlinked.erase(member.name);
    return;
  }
  const Node* master = member.primary.empty() ? nullptr : situation.At(member.primary);
  const bool lives = master && master->member && master->member->ready && !master->member->silent;
  if (lives) memory.unlinked.try_emplace(member.name, situation.now);
}

}  // namespace

void FailOver(const Situation& situation, Memory& memory, Orders& orders) {
  for (const Member& member : situation.members) {
    if (member.ready && member.linked && !member.primary.empty())
      memory.linked[member.name] = {member.primary};
    if (member.ready && member.master) memory.linked.erase(member.name);
    NoteLink(situation, member, memory);
  }
  std::set<std::string> dead;
  for (const auto& [id, node] : situation.nodes) {
    if (!node.master || node.slots.empty()) continue;
    if (IsDead(situation, node)) {
      dead.insert(id);
      Replace(situation, node, memory, orders);
    } else if (node.member && !node.member->ready) {
      const Member& member = *node.member;
      orders.Trouble(member.silent
                         ? fmt::format("the host of {} is silent: its slots {} wait for Redis' own vote",
                                       member.name, SlotsText(node.slots))
                         : fmt::format("{} doesn't serve its slots {}", member.name, SlotsText(node.slots)));
    }
  }
  std::erase_if(memory.dead, [&](const auto& known) { return !dead.contains(known.first); });
  std::erase_if(memory.voted,
                [&](const auto& vote) { return situation.now - vote.second > 2 * situation.node_timeout; });
  std::erase_if(memory.successor, [&](const auto& known) { return !situation.nodes.contains(known.first); });
}

namespace {

// Whether there is no role to hand over any more.
bool HasSteppedDown(const Situation& situation, const Member& member) {
  if (member.shut || member.dead || (member.ready && !member.master)) return true;
  return member.ready && situation.SlotsOf(member).empty();
}

}  // namespace

std::string HandOverTo(const Situation& situation, const Member& member, const Member& heir,
                       const std::string& reason, Memory& memory, Orders& orders) {
  const std::string waits = fmt::format("{} is to take over from {}", heir.name, member.name);
  if (heir.ordered) return waits;
  const auto voted = memory.voted.find(member.id);
  if (voted != memory.voted.end()) {
    const Duration rest = 2 * situation.node_timeout - (situation.now - voted->second);
    if (rest > 0ms) {
      orders.Again(rest);
      return fmt::format("the masters don't vote about {} again for {}", member.name, FormatDuration(rest));
    }
  }
  // Never by force where it may live: a replica that lags would take its place without what was acknowledged.
  if (orders.Give(
          heir, "take-over", {{"how", "plain"}, {"of", member.id}},
          fmt::format("{}: {} takes over {}", reason, heir.name, SlotsText(situation.SlotsOf(member))),
          {.pause = 500ms, .deadline = kPlain, .notable = true})) {
    memory.voted[member.id] = situation.now;
  }
  orders.Again(kSoon);
  return waits;
}

std::optional<std::string> HandOverRole(const Situation& situation, const Member& member, bool staying,
                                        Memory& memory, Orders& orders) {
  if (HasSteppedDown(situation, member)) return std::nullopt;
  if (member.silent) return fmt::format("the host of {} is silent", member.name);
  if (!member.ready) return fmt::format("{} doesn't answer", member.name);
  const Node& node = *situation.NodeOf(member);
  std::vector<const Member*> heirs;
  std::vector<std::string> others;
  for (const Member* follower : node.followers) {
    if (staying && !follower->stays()) continue;
    if (follower->ready && !follower->silent && !follower->stepped && !follower->held && follower->linked &&
        !follower->master)
      heirs.push_back(follower);
    others.push_back(follower->name);
  }
  if (heirs.empty()) {
    if (others.empty()) return fmt::format("{} has no replica yet that could take over", member.name);
    return fmt::format("no replica of {} can take over: {} {} not linked to it", member.name,
                       fmt::join(others, ", "), others.size() == 1 ? "is" : "are");
  }
  std::sort(heirs.begin(), heirs.end(),
            [&](const Member* one, const Member* other) { return Better(*one, *other, member.host); });
  return HandOverTo(situation, member, *heirs.front(), member.name + " is to step down", memory, orders);
}

void Relieve(const Situation& situation, Memory& memory, Orders& orders) {
  for (const auto& [id, node] : situation.nodes) {
    if (!node.master || node.slots.empty() || !node.member) continue;
    const Member& member = *node.member;
    if (!member.ready || member.stepped || member.unwritable.empty()) continue;
    const Member* heir = nullptr;
    for (const Member* follower : node.followers) {
      if (!follower->ready || follower->stepped || follower->held || !follower->linked || follower->master ||
          !follower->stays() || !follower->unwritable.empty() || follower->host == member.host)
        continue;
      if (!heir || Better(*follower, *heir, member.host)) heir = follower;
    }
    if (!heir) continue;  // a run may be what helps, and doesn't wait
    const std::string why = fmt::format("{} can't write ({})", member.name, member.unwritable);
    orders.Trouble(why);
    HandOverTo(situation, member, *heir, why, memory, orders);
  }
}

void StepDowns(const Situation& situation, Memory& memory, Orders& orders, Mending& mending) {
  for (const Step* step : situation.input->awaited) {
    if (step->verb != "step-down") continue;
    const Member* member = situation.Find(step->instance);
    if (!member) {
      mending.waits[step->id] = std::nullopt;
      continue;
    }
    const Node* node = situation.NodeOf(*member);
    // Its slots are out while it is: the plan has said so.
    const bool alone = situation.replicas == 0 && node && node->followers.empty();
    mending.waits[step->id] = alone ? std::nullopt : HandOverRole(situation, *member, false, memory, orders);
  }
}

}  // namespace muster::redis_cluster::mending
