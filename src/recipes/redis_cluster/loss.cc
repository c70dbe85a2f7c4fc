// Slots whose keys nobody has any more: a person accepts that, and they are given out again, empty.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "recipes/redis/words.h"
#include "recipes/redis_cluster/parts.h"

namespace muster::redis_cluster::mending {
namespace {

constexpr Duration kTakenSoon = 100ms;

// One who is there or may come back, and may have what is to be given up.
Error MayHave(const Situation& situation, const Node& node, const Member& member) {
  const std::string slots = SlotsText(node.slots), &service = situation.input->service->name;
  if (member.ready) {
    return Error::Refused("failover-refused", "{} may have keys of slots {}", member.name, slots)
        .Hint("muster failover {} --force makes it their master", service);
  }
  if (member.silent) {
    return Error::Refused("failover-refused", "{} is silent, and {} there may have keys of slots {}",
                          member.host, member.name, slots)
        .Hint(
            "bring {} back; where it is gone for good, take it out of the cluster file, bring that up, "
            "and ask again",
            member.host);
  }
  if (member.held) {
    return Error::Refused("failover-refused", "{} was stopped by hand, and may have keys of slots {}",
                          member.name, slots)
        .Hint("muster start {}", member.name);
  }
  return Error::Refused("failover-refused", "{} is down, and its data folder may have keys of slots {}",
                        member.name, slots)
      .Hint("muster logs {} tells why it doesn't start; once it has started without its data, ask again",
            member.name);
}

// It stands on a host that is silent, and a person has taken it out of the file: nobody waits for it.
bool IsGivenUp(const Member& member) { return member.silent && !member.desired; }

// Why the keys of its slots may not be lost; nothing where they are.
std::optional<Error> WhyNotLost(const Situation& situation, const Node& node) {
  if (node.member && !IsGivenUp(*node.member)) return MayHave(situation, node, *node.member);
  for (const Member* follower : node.followers) {
    // Who follows it and has no keys came too late for them.
    if (IsGivenUp(*follower)) continue;
    if (!follower->ready || !follower->empty) return MayHave(situation, node, *follower);
  }
  for (const Member& member : situation.members) {
    // Which node it was nobody knows.
    if (member.id.empty() && !IsGivenUp(member) && !situation.input->missing.contains(member.name))
      return MayHave(situation, node, member);
  }
  if (node.member ? IsAgreedGone(situation, node) : IsNobodys(situation, node)) return std::nullopt;
  return Error::Refused("failover-refused",
                        "{}, which is no member, has slots {}, and not all take it for gone",
                        situation.NameOf(node.id), SlotsText(node.slots))
      .Hint("bring it back, or end it: what most masters miss is gone after node_timeout");
}

bool HasSurplus(const Situation& situation, const Node& master) {
  const auto staying = std::count_if(master.followers.begin(), master.followers.end(),
                                     [](const Member* follower) { return follower->stays(); });
  return staying > situation.replicas;
}

// Whether it can begin anew: nothing that it has is missed then.
bool IsFree(const Situation& situation, const Member& member) {
  if (!member.ready || member.silent || member.held || member.stepped || !member.stays()) return false;
  if (!member.master) return member.empty || member.linked;
  return member.empty && member.self->slots.empty() && member.self->importing.empty() &&
         situation.SlotsOf(member).empty();
}

// Who takes its slots: of those who can be spared first a member that had them, on the seat of the master.
const Member* TakerOf(const Situation& situation, const Node& node, const std::set<std::string>& taken,
                      const std::string& before) {
  const std::vector<std::string> had = situation.WhoHad(node.id);
  const auto word = [&](const Member& member) {
    const Node* master = member.master ? nullptr : situation.At(member.primary);
    const bool spared = !master || master->slots.empty() || HasSurplus(situation, *master);
    const bool seat = member.address == node.address && member.port == node.port;
    const bool one_of_them = std::find(had.begin(), had.end(), member.name) != had.end();
    return std::tuple(member.name != before, !spared, !one_of_them, !seat, !member.master, member.rank);
  };
  const Member* best = nullptr;
  for (const Member& member : situation.members) {
    if (!IsFree(situation, member) || taken.contains(member.name)) continue;
    if (!best || word(member) < word(*best)) best = &member;
  }
  return best;
}

// Whether all know it, and it has heard of the highest epoch: its own can be above that then, and its word
// counts more than that of whoever had the slots.
bool IsIntroduced(const Situation& situation, const Member& taker) {
  for (const Member& member : situation.members) {
    if (&member == &taker || !member.ready || !member.stays()) continue;
    if (!member.Knows(taker.id) || !taker.Knows(member.id)) return false;
  }
  return std::all_of(situation.nodes.begin(), situation.nodes.end(),
                     [&](const auto& node) { return node.second.epoch <= taker.epoch; });
}

std::string GiveOut(const Situation& situation, const Node& node, const Member& taker, Orders& orders) {
  const std::string slots = SlotsText(node.slots);
  const std::string reason =
      fmt::format("the loss of the keys of slots {} is accepted: {} takes them, empty", slots, taker.name);
  if (!taker.master) {
    orders.Give(taker, "leave", {}, reason, {.notable = true});
  } else if (!IsIntroduced(situation, taker)) {
    orders.Give(taker, "look", {}, "whether all know it", {.pause = kTakenSoon});
  } else {
    orders.Give(taker, "own", {{"slots", node.slots.Text()}, {"of", node.id}}, reason, {.notable = true});
  }
  orders.Keep(taker);  // or it would be told to follow somebody meanwhile
  orders.Again(kTakenSoon);
  return fmt::format("{} is to take slots {}, empty", taker.name, slots);
}

std::string WhatIsLost(const Situation& situation, const std::vector<const Node*>& lost) {
  std::vector<std::string> texts;
  for (const Node* node : lost) {
    texts.push_back(
        fmt::format("slots {}, which {} had, are given out again, empty: all keys in them are lost",
                    SlotsText(node->slots), WhoWas(situation, *node)));
    const SlotSet coming = OnTheirWayTo(situation, node->id) - node->slots;
    if (coming.empty()) continue;
    texts.push_back(
        fmt::format("keys of slots {}, which were on their way there, are lost as far as they had gone",
                    SlotsText(coming)));
  }
  return Join(texts, "; ");
}

}  // namespace

std::string WaitedFor(const Situation& situation) {
  std::vector<std::string> names;
  for (const Member& member : situation.members) {
    if (!member.ready && member.stays()) names.push_back(member.name);
  }
  return names.empty() ? "" : ": what " + Join(names, ", ") + " may know of them is waited for";
}

std::string WhoWas(const Situation& situation, const Node& node) {
  const std::vector<std::string> had = situation.WhoHad(node.id);
  return had.empty() ? "node " + situation.NameOf(node.id) : Join(had, " and ");
}

void AcceptLoss(const Situation& situation, const Step& step, Memory& memory, Orders& orders,
                Mending& mending) {
  const std::string& service = situation.input->service->name;
  std::vector<const Node*> lost;
  std::optional<Error> refused;
  bool formed = false;
  for (const auto& [id, node] : situation.nodes) {
    if (!node.master || node.slots.empty()) continue;
    formed = true;
    if (node.member && node.member->ready) continue;
    std::optional<Error> why = WhyNotLost(situation, node);
    if (!why) {
      lost.push_back(&node);
    } else if (!refused) {
      refused = std::move(why);
    }
  }
  if (const auto bereft = situation.Bereft(); !bereft.empty()) {
    if (redis::TextAt(step.args, "accept_loss") == "yes") {
      memory.lost_accepted = true;
      memory.failovers.insert(step.id);
      mending.waits[step.id] = "the cluster is formed anew, empty";
    } else {
      mending.refused.emplace(
          step.id, Error::Refused(
                       "confirm-name",
                       "{} may have had keys, and all data folders of {} are lost: the cluster begins anew, "
                       "empty, and all keys are lost",
                       Join(bereft, " and "), service)
                       .Hint("muster failover {} --accept-loss --confirm CLUSTER", service));
    }
    return;
  }
  if (lost.empty()) {
    if (memory.failovers.contains(step.id)) {
      mending.waits[step.id] = std::nullopt;
    } else if (!formed) {
      mending.waits[step.id] = "the cluster is not formed yet";
    } else if (refused) {
      mending.refused.emplace(step.id, std::move(*refused));
    } else if (!situation.unowned.empty()) {
      mending.refused.emplace(
          step.id,
          Error::Refused("failover-refused", "nobody is known to have lost keys; slots {} have no owner{}",
                         SlotsText(situation.unowned), WaitedFor(situation))
              .Hint("bring it back; where its host is gone for good, take that out of the cluster file, and "
                    "bring that up: they are given out then"));
    } else {
      mending.refused.emplace(
          step.id, Error::Refused("primary-is-well", "all masters of {} are well: nothing is lost", service));
    }
    return;
  }
  if (redis::TextAt(step.args, "accept_loss") != "yes") {
    mending.refused.emplace(step.id,
                            Error::Refused("confirm-name", "{}", WhatIsLost(situation, lost))
                                .Hint("muster failover {} --accept-loss --confirm CLUSTER", service));
    return;
  }
  memory.failovers.insert(step.id);
  std::set<std::string> taken;
  std::string waits;
  for (const Node* node : lost) {
    const Member* taker = TakerOf(situation, *node, taken, memory.takers[node->id]);
    if (!taker) {
      waits = fmt::format("no member is there that could take slots {}", SlotsText(node->slots));
      continue;
    }
    taken.insert(taker->name);
    memory.takers[node->id] = taker->name;
    waits = GiveOut(situation, *node, *taker, orders);
  }
  mending.waits[step.id] = waits;
}

}  // namespace muster::redis_cluster::mending
