// What a master that takes another's place doesn't know: that keys of some of its slots have gone already.
#include <fmt/format.h>

#include <algorithm>

#include "recipes/redis_cluster/parts.h"

namespace muster::redis_cluster::mending {
namespace {

constexpr Duration kPause = 300ms;

// Slots of this master by the node that they go to: as it says, and, of those that it has told nothing of, as
// that one does.
std::map<std::string, SlotSet> OnTheirWayFrom(const Situation& situation, const Node& master) {
  std::map<std::string, SlotSet> slots;
  SlotSet marked;
  if (master.member && master.member->ready) {
    for (const auto& [slot, to] : master.member->self->migrating) {
      if (!master.slots.Has(slot)) continue;
      slots[to].Add(slot);
      marked.Add(slot);
    }
  }
  for (const Member& member : situation.members) {
    if (!member.ready || !member.master || member.id == master.id) continue;
    for (const auto& [slot, from] : member.self->importing) {
      if (master.slots.Has(slot) && !marked.Has(slot)) slots[member.id].Add(slot);
    }
  }
  return slots;
}

}  // namespace

std::map<std::string, std::string> TakeOverArgs(const Situation& situation, const std::string& how,
                                                const Node& master) {
  std::map<std::string, std::string> args = {{"how", how}, {"of", master.id}};
  const std::map<std::string, SlotSet> slots = OnTheirWayFrom(situation, master);
  const auto most = std::max_element(slots.begin(), slots.end(), [](const auto& one, const auto& other) {
    return one.second.count() < other.second.count();
  });
  if (most == slots.end()) return args;
  args["slots"] = most->second.Text();
  args["to"] = most->first;
  return args;
}

void MarkAnew(const Situation& situation, Orders& orders) {
  for (const Member& to : situation.members) {
    if (!to.ready || !to.master || to.silent) continue;
    for (const auto& [id, node] : situation.nodes) {
      const Member* owner = node.member;
      if (!owner || owner == &to || !owner->ready) continue;
      SlotSet slots;  // whose owner may not have told yet that it is

      for (const auto& [slot, from] : to.self->importing) {
        const bool marked = owner->self->migrating.contains(slot);
        if (from != id && !marked && node.slots.Has(slot)) slots.Add(slot);
      }
      if (slots.empty()) continue;
      const std::string reason = fmt::format(
          "keys of slots {} may be with {} already: {}, which has taken over, is to send for them there",
          SlotsText(slots), to.name, owner->name);
      orders.Trouble(reason);
      orders.Give(*owner, "mark", {{"slots", slots.Text()}, {"to", to.id}}, reason, {.pause = kPause});
    }
  }
}

}  // namespace muster::redis_cluster::mending
