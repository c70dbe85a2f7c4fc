// What people ask of the masters: others, planned, or in place of those that are gone.
#include <fmt/format.h>

#include <algorithm>

#include "recipes/redis/words.h"
#include "recipes/redis_cluster/parts.h"

namespace muster::redis_cluster::mending {
namespace {

constexpr Duration kTakeOver = 8s;

bool CanTakeOver(const Member& member) { return member.can_succeed() && member.linked && member.stays(); }

// A master with slots, and who could be master in its place.
struct Choice {
  const Member* now;
  std::vector<const Member*> candidates;  // it, and its linked replicas, by ordinal
  const Member* best;
  const Member* coming;  // one that is there and will be linked, or nullptr
};

std::vector<Choice> Choices(const Situation& situation) {
  std::vector<Choice> choices;
  for (const auto& [id, node] : situation.nodes) {
    if (!node.master || node.slots.empty() || !node.member) continue;
    Choice choice{node.member, {node.member}, nullptr, nullptr};
    for (const Member* follower : node.followers) {
      if (node.member->ready && CanTakeOver(*follower)) choice.candidates.push_back(follower);
      if (node.member->ready && follower->open() && follower->stays() && !follower->held && !follower->linked)
        choice.coming = follower;
    }
    std::sort(choice.candidates.begin(), choice.candidates.end(),
              [](const Member* one, const Member* other) { return one->rank < other->rank; });
    choice.best = choice.candidates.front();
    choices.push_back(std::move(choice));
  }
  std::sort(choices.begin(), choices.end(),
            [](const Choice& one, const Choice& other) { return one.best->rank < other.best->rank; });
  return choices;
}

// Those with the lowest ordinals, but for hosts that would have several.
void SpreadChoices(std::vector<Choice>& choices) {
  std::map<std::string, int> masters;  // on each host
  for (const Choice& choice : choices) ++masters[choice.best->host];
  for (bool better = true; better;) {
    better = false;
    for (Choice& choice : choices) {
      for (const Member* candidate : choice.candidates) {
        // Each such move makes the hosts more even, so it comes to an end.
        if (masters[candidate->host] + 1 >= masters[choice.best->host]) continue;
        --masters[choice.best->host];
        ++masters[candidate->host];
        choice.best = candidate;
        better = true;
      }
    }
  }
}

std::optional<std::string> SwitchTo(const Situation& situation, const Step& step, const Member& heir,
                                    Memory& memory, Orders& orders, Mending& mending) {
  if (heir.silent) return fmt::format("the host of {} is silent", heir.name);
  if (!heir.ready) return fmt::format("{} is not ready", heir.name);
  const bool has_slots = !situation.SlotsOf(heir).empty();
  if (heir.master && has_slots) return std::nullopt;
  const Node* master = situation.At(heir.primary);
  if (heir.master || !master || !master->member) {
    mending.refused.emplace(
        step.id,
        Error::Refused("no-replica", "{} follows no master that has slots: there is nothing to take over",
                       heir.name)
            .Hint("muster ps tells the roles"));
    return std::nullopt;
  }
  const Member& now = *master->member;
  if (!now.ready) return fmt::format("its master {} doesn't answer", now.name);
  if (!CanTakeOver(heir)) return fmt::format("{} is not linked to {} yet", heir.name, now.name);
  return HandOverTo(situation, now, heir, "asked for", memory, orders);
}

std::optional<std::string> SwitchBack(const Situation& situation, const Step& step, Memory& memory,
                                      Orders& orders, Mending& mending) {
  std::vector<Choice> choices = Choices(situation);
  if (choices.empty()) return std::string("the cluster is not formed yet");
  const bool alone = situation.replicas == 0 && std::all_of(choices.begin(), choices.end(), [](auto& one) {
                       return one.candidates.size() == 1;
                     });
  if (alone) {
    mending.refused.emplace(step.id, Error::Refused("no-replica", "{} has no replica that could take over",
                                                    situation.input->service->name)
                                         .Hint("write replicas: 1 and bring it up"));
    return std::nullopt;
  }
  SpreadChoices(choices);
  // One after the other: never are two of them between masters.
  for (const Choice& choice : choices) {
    if (!choice.now->ready && !choice.now->silent) return fmt::format("{} doesn't answer", choice.now->name);
    if (choice.coming)
      return fmt::format("{} is not linked to {} yet", choice.coming->name, choice.now->name);
    if (choice.best == choice.now) continue;
    return HandOverTo(situation, *choice.now, *choice.best, "masters go back to where they belong", memory,
                      orders);
  }
  return std::nullopt;
}

void AnswerSwitchover(const Situation& situation, const Step& step, Memory& memory, Orders& orders,
                      Mending& mending) {
  const std::string to = redis::TextAt(step.args, "to");
  const Member* heir = to.empty() ? nullptr : situation.Find(to);
  std::optional<std::string> why;
  if (to.empty()) {
    why = SwitchBack(situation, step, memory, orders, mending);
  } else if (heir) {
    why = SwitchTo(situation, step, *heir, memory, orders, mending);
  } else {
    why = fmt::format("{} is not there", to);
  }
  if (!mending.refused.contains(step.id)) mending.waits[step.id] = std::move(why);
}

// The replicas of a master that doesn't answer which are there, whoever has most of its data first.
std::vector<const Member*> HeirsOf(const Node& master) {
  std::vector<const Member*> heirs;
  for (const Member* follower : master.followers) {
    if (follower->can_succeed()) heirs.push_back(follower);
  }
  // Whoever hears it has all that it has, or will; the others have what they had.
  const auto word = [&](const Member& heir) {
    return std::tuple(heir.linked, CountsAs(heir, master), heir.offset);
  };
  std::stable_sort(heirs.begin(), heirs.end(),
                   [&](const Member* one, const Member* other) { return word(*one) > word(*other); });
  return heirs;
}

Error Refusal(const Situation& situation, const Node& master, const Member* heir) {
  const std::string name = situation.NameOf(master.id);
  if (heir && !master.member) {
    return Error::Refused("failover-refused",
                          "{} lost its data, and {} was not linked to it any more: what was written to slots "
                          "{} since is lost",
                          WhoWas(situation, master), heir->name, SlotsText(master.slots))
        .Hint("muster failover {} --force makes {} the master with what it has",
              situation.input->service->name, heir->name);
  }
  if (heir && !master.member->silent) {
    return Error::Refused("failover-refused",
                          "{} is down, and {} was not linked to it any more: it lacks what was written since",
                          name, heir->name)
        .Hint("bring {} back; muster failover {} --force makes {} the master without those writes", name,
              situation.input->service->name, heir->name);
  }
  if (!heir) {
    return Error::Refused("failover-refused", "{} doesn't serve {}, and nobody who is there has their keys",
                          name, SlotsText(master.slots))
        .Hint(
            "bring {} back, or one of its replicas; where their data is lost for good, muster failover {} "
            "--accept-loss gives the slots out again, empty",
            name, situation.input->service->name);
  }
  const std::string& host = master.member->host;
  const std::string& service = situation.input->service->name;
  if (heir->linked) {
    return Error::Refused("failover-refused", "{} is silent; {} hears {} there, which stays the master of {}",
                          host, heir->name, name, SlotsText(master.slots))
        .Hint("muster failover {} --force hands over to {} all the same", service, heir->name);
  }
  return Error::Refused("failover-refused",
                        "{} is silent, so nobody can tell whether {} is gone or goes on; where most masters "
                        "miss it, they choose {} by themselves",
                        host, name, heir->name)
      .Hint("muster failover {} --force makes {} the master; writes that only {} has are lost", service,
            heir->name, name);
}

void ForceOut(const Situation& situation, const Node& master, const Member& heir, Memory& memory,
              Orders& orders) {
  const Member* gone = master.member;
  if (gone && heir.linked) {
    HandOverTo(situation, *gone, heir, "forced by hand", memory, orders);
    return;
  }
  const std::string why = !gone          ? WhoWas(situation, master) + " lost its data"
                          : gone->silent ? gone->host + " is silent"
                                         : gone->name + " is down";
  orders.Give(heir, "take-over", TakeOverArgs(situation, "takeover", master),
              fmt::format("forced by hand: {}, {} takes over {}", why, heir.name, SlotsText(master.slots)),
              {.pause = 1s, .deadline = kTakeOver, .notable = true});
  orders.Again(100ms);
}

void AnswerFailover(const Situation& situation, const Step& step, Memory& memory, Orders& orders,
                    Mending& mending) {
  const bool force = redis::TextAt(step.args, "force") == "yes";
  std::string waits;
  bool owned = false;
  for (const auto& [id, node] : situation.nodes) {
    if (!node.master || node.slots.empty()) continue;
    owned = true;
    if (node.member && node.member->ready) continue;
    memory.failovers.insert(step.id);
    std::vector<const Member*> heirs = HeirsOf(node);
    const Member* heir = heirs.empty() ? nullptr : heirs.front();
    const bool silent = node.member && node.member->silent;
    // Nobody replaces it by himself.
    const bool waits_for_it = heir && NobodyTakesOver(node, memory);
    if (!heir || ((silent || waits_for_it) && !force)) {
      mending.refused.emplace(step.id, Refusal(situation, node, heir));
      return;
    }
    const std::string slots = SlotsText(node.slots), name = situation.NameOf(id);
    // One that is dead is replaced in any case.
    const bool by_force = silent || waits_for_it;
    if (by_force) heirs = Compared(situation, std::move(heirs), name, memory.forced[id], orders);
    if (heirs.empty()) {
      waits = fmt::format("which of the replicas of {} has most of {} is being asked", name, slots);
      continue;
    }
    waits = fmt::format("{} is to take over {} from {}", heirs.front()->name, slots, name);
    if (by_force) ForceOut(situation, node, *heirs.front(), memory, orders);
  }
  if (!waits.empty() || !owned) {
    mending.waits[step.id] = owned ? waits : "the cluster is not formed yet";
  } else if (memory.failovers.contains(step.id)) {
    mending.waits[step.id] = std::nullopt;
  } else {
    mending.refused.emplace(
        step.id,
        Error::Refused("primary-is-well", "all masters of {} are well", situation.input->service->name)
            .Hint("muster switchover {} --to INSTANCE makes a replica the master, without a lost write",
                  situation.input->service->name));
  }
}

}  // namespace

void Requests(const Situation& situation, Memory& memory, Orders& orders, Mending& mending) {
  std::set<std::string> asked;
  bool accepting = false;
  for (const Step* step : situation.input->awaited) {
    if (step->verb == "switchover") AnswerSwitchover(situation, *step, memory, orders, mending);
    if (step->verb == "failover") {
      const bool loss = !redis::TextAt(step->args, "accept_loss").empty();
      accepting = accepting || loss;
      (loss ? AcceptLoss : AnswerFailover)(situation, *step, memory, orders, mending);
    }
    asked.insert(step->id);
  }
  if (!accepting) memory.takers.clear();
  std::erase_if(memory.failovers, [&](const std::string& id) { return !asked.contains(id); });
  if (memory.failovers.empty()) memory.forced.clear();
}

}  // namespace muster::redis_cluster::mending
