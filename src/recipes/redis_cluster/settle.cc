// What a run waits for: members that have left, and that all is well.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "recipes/redis_cluster/parts.h"

namespace muster::redis_cluster::mending {
namespace {

constexpr Duration kMeetSoon = 200ms;
constexpr Duration kLookAgain = 1s;
// An agent that has died is replaced within seconds. A host that is gone isn't waited for.
constexpr Duration kAgentIsBack = 10s;

bool IsAlone(const Member& member) { return member.ready && member.view->nodes.size() == 1; }

// Those that know this node, and can be told to forget it.
std::vector<const Member*> WhoKnow(const Situation& situation, const Member& leaver, const std::string& id) {
  std::vector<const Member*> who;
  for (const Member& member : situation.members) {
    if (&member != &leaver && member.ready && !IsAlone(member) && member.view->Find(id))
      who.push_back(&member);
  }
  return who;
}

// Why it can't go yet, though it has no slots.
std::optional<std::string> MustStay(const Situation& situation, const Member& member, const Node& node) {
  std::vector<std::string> followers;
  for (const Member* follower : node.followers) {
    if (follower->stays() && follower->ready) followers.push_back(follower->name);
  }
  if (!followers.empty()) return fmt::format("{} still follows {}", Join(followers, ", "), member.name);
  const Node* primary = node.master ? nullptr : situation.At(node.primary);
  if (!primary || primary->slots.empty()) return std::nullopt;
  // What that one has still to give must not be on it alone.
  if (primary->member && primary->member->leaving)
    return fmt::format("{} stays until {} has given its slots away", member.name, primary->member->name);
  for (const Member* follower : primary->followers) {
    if (follower->stays() && follower->ready && !follower->linked)
      return fmt::format("{} stays until {} is linked", member.name, follower->name);
  }
  return std::nullopt;
}

// Who may know it, and can't be asked or told for the moment.
std::optional<std::string> IsSilent(const Situation& situation, const Member& leaver) {
  for (const Member& member : situation.members) {
    if (!member.silent || &member == &leaver || !member.stays()) continue;
    const auto since = situation.input->silent_since.find(member.host);
    if (since == situation.input->silent_since.end() || situation.now - since->second >= kAgentIsBack)
      continue;
    return fmt::format("{} is silent: whether {} still knows {} isn't known", member.host, member.name,
                       leaver.name);
  }
  return std::nullopt;
}

// Of one that doesn't answer, and of which nobody knows which node it is: whether it may have slots. Where
// nobody has told, or a node that is no member has some, it may be that one.
std::optional<std::string> MayHaveSlots(const Situation& situation, const Member& member) {
  const bool told = std::any_of(situation.members.begin(), situation.members.end(),
                                [](const Member& one) { return one.ready && one.stays(); });
  if (!told) return fmt::format("{} doesn't answer, and nobody has told which slots it has", member.name);
  for (const auto& [id, node] : situation.nodes) {
    if (node.member || node.slots.empty()) continue;
    return fmt::format("{} doesn't answer, and slots {} may be its own", member.name, SlotsText(node.slots));
  }
  return std::nullopt;
}

std::optional<std::string> Leave(const Situation& situation, const Roles& roles, const Member& member,
                                 Memory& memory, Orders& orders) {
  const Node* node = situation.NodeOf(member);
  std::set<std::string>& ids = memory.left[member.name];
  if (node && !IsAlone(member)) ids.insert(member.id);
  if (member.ready && !IsAlone(member)) {
    if (!node->slots.empty() || !member.self->slots.empty()) {
      if (Roles::Has(roles.kept, member.id)) return HandOverRole(situation, member, true, memory, orders);
      const int has = std::max(node->slots.count(), 1);
      int& had = memory.had[member.name];
      had = std::max(had, has);
      return fmt::format("{} of its {} slots moved", had - has, had);
    }
    // Keys may have come with them that are nowhere else.
    if (const SlotSet coming = OnTheirWayTo(situation, member.id); !coming.empty())
      return fmt::format("slots {} are on their way to {}", SlotsText(coming), member.name);
    if (auto why = MustStay(situation, member, *node)) return why;
    if (auto why = Redirects(member, orders)) return why;
    orders.Give(member, "leave", {}, fmt::format("{} is no member any more", member.name), {.notable = true});
    orders.Again(kMeetSoon);
    return fmt::format("{} is leaving", member.name);
  }
  if (!member.ready) {
    if (node && !node->slots.empty()) {
      return fmt::format("{} is down and still has slots {}", member.name, SlotsText(node->slots));
    }
    if (const SlotSet coming = OnTheirWayTo(situation, member.id); node && !coming.empty()) {
      return fmt::format("{} is down, and slots {} are on their way to it", member.name, SlotsText(coming));
    }
    const bool gone = member.dead || member.shut || (node && node->suspected_by_all);
    if (!gone) return fmt::format("{} doesn't answer", member.name);
    if (!node) {
      if (auto why = MayHaveSlots(situation, member)) return why;
    } else {
      if (auto why = MustStay(situation, member, *node)) return why;
    }
  }
  std::vector<std::string> knowing;
  for (const std::string& id : ids) {
    for (const Member* who : WhoKnow(situation, member, id)) {
      if (who->leaving) continue;
      knowing.push_back(who->name);
      if (HasMarksOf(*who, id)) continue;
      orders.Give(*who, "forget", {{"nodes", id}}, fmt::format("{} has left", member.name), {.pause = 500ms});
    }
  }
  for (const auto& [id, ghost] : situation.nodes) {
    if (ghost.member || !ghost.slots.empty() || !IsNobodys(situation, ghost)) continue;
    for (const Member* who : WhoKnow(situation, member, id)) {
      if (!who->leaving) knowing.push_back(who->name);
    }
  }
  orders.Again(kMeetSoon);
  if (knowing.empty()) return IsSilent(situation, member);
  return fmt::format("{} still know{} {}", Join(knowing, ", "), knowing.size() == 1 ? "s" : "", member.name);
}

// Whether a step waits for this member: not for those stopped by hand or on a host that isn't heard.
bool Counts(const Member& member) { return member.stays() && !member.held && !member.silent; }

std::string Unequal(const Situation& situation, const Member& member) {
  for (const auto& [id, node] : situation.nodes) {
    if (!node.member || !Counts(*node.member)) continue;
    const redis::ClusterNode* line = member.view->Find(id);
    const std::string& other = node.member->name;
    if (!line || line->handshake) return fmt::format("{} doesn't know {} yet", member.name, other);
    if (line->failed || line->suspected) return fmt::format("{} takes {} for dead", member.name, other);
    if (line->master != node.master || (!node.master && line->master_id != node.primary))
      return fmt::format("{} hasn't heard yet whom {} follows", member.name, other);
    if (line->slots != node.slots)
      return fmt::format("{} hasn't heard yet which slots {} has", member.name, other);
  }
  for (const redis::ClusterNode& line : member.view->nodes) {
    if (line.handshake || !situation.At(line.id) || !situation.At(line.id)->member)
      return fmt::format("{} knows a node that is no member", member.name);
  }
  return "";
}

std::string Unsettled(const Situation& situation, const Orders& orders) {
  for (const Member& member : situation.members) {
    if (Counts(member) && !member.ready) return fmt::format("{} is not ready", member.name);
  }
  if (!orders.troubles().empty()) return orders.troubles().front();
  if (!situation.unowned.empty()) return fmt::format("slots {} have no owner", SlotsText(situation.unowned));
  for (const Member& member : situation.members) {
    if (!Counts(member)) continue;
    if (!member.master && !member.linked)
      return fmt::format("{} is not linked to its master {} yet", member.name,
                         situation.NameOf(member.primary));
  }
  for (const Member& member : situation.members) {
    if (!Counts(member)) continue;
    if (std::string unequal = Unequal(situation, member); !unequal.empty()) return unequal;
  }
  for (const Member& member : situation.members) {
    if (Counts(member) && !member.cluster_ok)
      return fmt::format("{} doesn't take the cluster for whole yet", member.name);
  }
  return "";
}

}  // namespace

void Leaves(const Situation& situation, const Roles& roles, Memory& memory, Orders& orders,
            Mending& mending) {
  std::set<std::string> leaving;
  for (const Step* step : situation.input->awaited) {
    if (step->verb != "leave") continue;
    leaving.insert(step->instance);
    const Member* member = situation.Find(step->instance);
    mending.waits[step->id] = member ? Leave(situation, roles, *member, memory, orders) : std::nullopt;
  }
  std::erase_if(memory.left, [&](const auto& left) { return !leaving.contains(left.first); });
  std::erase_if(memory.had, [&](const auto& had) { return !leaving.contains(had.first); });
}

void Settles(const Situation& situation, const Memory& memory, Orders& orders, Mending& mending) {
  std::string why;
  bool known = false;
  for (const Step* step : situation.input->awaited) {
    if (step->verb != "settle") continue;
    if (!known) why = Unsettled(situation, orders);
    if (const auto& [all, left] = memory.moving; !known && left > 0 && !why.empty())
      why = fmt::format("{} of {} slots moved: {}", all - left, all, why);
    known = true;
    mending.waits[step->id] = why.empty() ? std::nullopt : std::optional(why);
    // Not all that it waits for is told of when it comes: members that are taken away just aren't there any
    // more.
    if (!why.empty()) orders.Again(kLookAgain);
  }
}

}  // namespace muster::redis_cluster::mending
