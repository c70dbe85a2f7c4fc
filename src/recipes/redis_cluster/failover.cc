// Masters that are certainly dead are replaced by their best replica.
#include <fmt/format.h>

#include <algorithm>

#include "recipes/redis_cluster/parts.h"

namespace muster::redis_cluster::mending {
namespace {

constexpr Duration kVote = 800ms;   // votes come at once or not at all
constexpr Duration kTakeOver = 8s;  // nobody is asked: done at once
constexpr Duration kHears = 2s;     // a ping goes to each within half the node timeout or a second
constexpr Duration kPlain = 8s;     // Redis gives up after 5 s
constexpr Duration kVoteSoon = 100ms;
constexpr Duration kMovesEnd =
    15s;  // slots on their way from one that is to hand over; then it does all the same
// Whoever lost its link sooner before the death has all but what was written in its last moment: links end
// with a process, and news of both take their time.
constexpr Duration kLinkLostBefore = 3s;
// For the answers of replicas that are asked how far they are, after the first one. They come within
// milliseconds; whoever gives none isn't there to take over, if another does.
constexpr Duration kAnswers = 200ms;
constexpr Duration kAnswer = 1s;  // of one; then it is asked again
// Where both agents tell, only what they tell may have been on its way for different times; less of that is
// left to doubt where the replica hasn't all that its master was seen to have.
constexpr Duration kLostBeforeAnswer = 1s, kLostAndBehind = 500ms;

// Whether another member is the one that this node was: whose data folder was wiped. Once others have met
// that one they have no address of this node any more.
const Member* AnotherAtItsSeat(const Situation& situation, const Node& node) {
  for (const Member& member : situation.members) {
    if (member.id.empty() || member.id == node.id) continue;
    if (!node.address.empty() && member.address == node.address && member.port == node.port) return &member;
    const bool was = std::any_of(member.former.begin(), member.former.end(),
                                 [&](const FormerNode& former) { return former.node == node.id; });
    if (was) return &member;
  }
  return nullptr;
}

}  // namespace

// Whether all who are there and know it have it from a majority of the masters that it is gone (`fail`), or
// that another answers at its address. What one member suspects (`fail?`) may be wrong with that member.
bool IsAgreedGone(const Situation& situation, const Node& node) {
  bool gone = false, suspected = false;
  int masters = 0, know = 0;
  for (const Member& member : situation.members) {
    const redis::ClusterNode* line = member.ready ? member.view->Find(node.id) : nullptr;
    const bool votes = member.ready && member.master && !member.self->slots.empty();
    masters += votes ? 1 : 0;
    know += votes && line ? 1 : 0;
    if (!line || line->handshake) continue;
    suspected |= !line->failed && !line->no_address;
    if (!line->failed && !line->no_address && !line->suspected) return false;
    gone = true;
  }
  // Where most masters have forgotten it already, nobody gets that majority any more.
  const bool forgotten = node.slots.empty() && know * 2 < masters;
  return gone && (!suspected || forgotten);
}

bool IsNobodys(const Situation& situation, const Node& node) {
  if (node.member) return false;
  if (AnotherAtItsSeat(situation, node)) return true;
  // A member that hasn't said who it is may be this one, unless it is taken away for good.
  for (const Member& member : situation.members) {
    if (member.id.empty() && !member.removed) return false;
  }
  return IsAgreedGone(situation, node);
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

bool WasLinked(const Member& replica, const Node& master, const Memory& memory) {
  const auto linked = memory.linked.find(replica.name);
  return replica.linked || (linked != memory.linked.end() && linked->second.contains(master.id));
}

// Whether it has ever had its master's data, as far as one can know. One that has never had any says 1.
bool HasData(const Member& replica, const Node& master, const Memory& memory) {
  return replica.offset > 1 || WasLinked(replica, master, memory);
}

bool Better(const Member& one, const Member& other, const std::string& host) {
  const auto word = [&](const Member& member) {
    return std::tuple(!member.leaving, member.offset, member.host != host, -member.rank);
  };
  return word(one) > word(other);
}

// In place of one that is gone: what it lacks is lost, so all else comes after that. One that is to leave
// hands over once it is master.
bool HasMore(const Member& one, const Member& other, const std::string& host) {
  return std::pair(one.offset, Better(one, other, host)) > std::pair(other.offset, Better(other, one, host));
}

// How much of what its master was seen to have it certainly lacks, in bytes of the stream; 0 where it is not
// known.
int64_t Lacks(const Member& replica, const Node& master) {
  const Member* dead = master.member;
  // 1 is what Redis tells that doesn't know its offset any more.
  const bool comparable =
      dead && !dead->history.empty() && dead->history == replica.history && replica.offset > 1;
  return comparable ? std::max<int64_t>(dead->offset - replica.offset, 0) : 0;
}

// Whether their agents tell since when it has been without its master, and until when that took writes: then
// nothing has to be remembered.
bool IsTold(const Member& replica, const Node& master) {
  return replica.lost && master.member && master.member->answered;
}

// Whether it lacks what its master was given in its last time: nobody is promoted over that. One that was
// linked to the end is not stale, however far it lagged. A master that comes back empty has less than
// anybody.
bool IsStale(const Member& replica, const Node& master, Time died, const Memory& memory) {
  if (master.member && master.member->keeps_nothing) return false;
  if (IsTold(replica, master)) {
    const Duration without = *master.member->answered - *replica.lost;
    return without > (Lacks(replica, master) > 0 ? kLostAndBehind : kLostBeforeAnswer);
  }
  const auto lost = memory.unlinked.find(replica.name);
  return lost != memory.unlinked.end() && died - lost->second > kLinkLostBefore;
}

// Of those who are there: the one that would take over, if it had been linked to the end.
const Member* StaleHeir(const Node& master, Time died, const Memory& memory) {
  const Member* most = nullptr;
  for (const Member* follower : master.followers) {
    if (!follower->ready || follower->master || !IsStale(*follower, master, died, memory)) continue;
    const auto word = [&](const Member& one) { return std::pair(CountsAs(one, master), one.offset); };
    if (!most || word(*follower) > word(*most)) most = follower;
  }
  return most;
}

std::vector<const Member*> Heirs(const Node& master, Time died, const Memory& memory) {
  std::vector<const Member*> heirs;
  for (const Member* follower : master.followers) {
    if (IsStale(*follower, master, died, memory)) continue;
    if (follower->can_succeed() && HasData(*follower, master, memory)) heirs.push_back(follower);
  }
  // The offset of one that has yet to be linked is that of another's data.
  const auto was_linked = [&](const Member* heir) { return WasLinked(*heir, master, memory); };
  if (std::any_of(heirs.begin(), heirs.end(), was_linked))
    std::erase_if(heirs, [&](const Member* heir) { return !was_linked(heir); });
  const std::string host = master.member ? master.member->host : "";
  std::sort(heirs.begin(), heirs.end(), [&](const Member* one, const Member* other) {
    const bool counts = CountsAs(*one, master);
    return counts != CountsAs(*other, master) ? counts : HasMore(*one, *other, host);
  });
  return heirs;
}

// nullptr: none of its replicas can be told to take its place.
const Member* AnyHeir(const Node& master) {
  const auto heir = std::find_if(master.followers.begin(), master.followers.end(),
                                 [](const Member* follower) { return follower->can_succeed(); });
  return heir == master.followers.end() ? nullptr : *heir;
}

// One that forgets what was written last starts again only once it is replaced, so it isn't waited for.
// Where agents don't tell it, whoever has just begun to look (the server has been started) can't know when
// the heir lost its link. A master that is about to start again gets the time in which Redis' own vote, which
// knows, replaces it.
bool MayComeBackWithMore(const Situation& situation, const Node& master, const Member& heir, Time died,
                         const Memory& memory) {
  if (!master.member || master.member->shut || master.member->forgets) return false;
  if (heir.linked || IsTold(heir, master)) return false;
  const auto linked = memory.linked.find(heir.name);
  if (linked != memory.linked.end() && linked->second.contains(master.id)) return false;
  return situation.now - died < 2 * situation.node_timeout;
}

std::string WhyNobody(const Situation& situation, const Node& master, Time died, const Memory& memory) {
  const std::string name = situation.NameOf(master.id), slots = SlotsText(master.slots);
  if (const Member* stale = StaleHeir(master, died, memory)) {
    const int64_t bytes = Lacks(*stale, master);
    const std::string behind = bytes > 0 ? fmt::format(", {} B behind", bytes) : "";
    if (!master.member) {
      return fmt::format("{} lost its data, and {} was not linked to it any more: slots {} are out",
                         WhoWas(situation, master), stale->name, slots);
    }
    return fmt::format(
        "{} is down, and {} was not linked to it any more{}: slots {} wait for {}, which has what was "
        "written since",
        name, stale->name, behind, slots, name);
  }
  std::vector<std::string> others;
  for (const Member* follower : master.followers) others.push_back(follower->name);
  if (others.empty()) return fmt::format("{} is down and has no replica: slots {} are out", name, slots);
  if (const Member* heir = AnyHeir(master)) {
    return fmt::format("{} is gone, and whether {} has its data is not known: slots {} are out", name,
                       heir->name, slots);
  }
  return fmt::format("{} is down, and so is its replica {}: slots {} wait for one of them", name,
                     fmt::join(others, ", "), slots);
}

// Slots that the heir still takes for its master's, though another has claimed them, or is about to: it would
// claim them with them, by a newer epoch, and that one would delete the keys that have come. It hears of them
// within milliseconds, where it hears at all.
SlotSet Unheard(const Situation& situation, const Node& master, const Member& heir, const Memory& memory) {
  const redis::ClusterNode* line = heir.view->Find(master.id);
  SlotSet slots;
  if (!line) return slots;
  for (const auto& [id, node] : situation.nodes) {
    if (id != master.id && node.member) slots |= line->slots & node.slots;
  }
  for (const auto& [name, order] : memory.under_way) {
    if (order.verb != "claim") continue;
    const auto claimed = SlotSet::Parse(order.args.at("slots"));
    if (claimed.ok()) slots |= line->slots & *claimed;
  }
  return slots;
}

// Whether a take-over is to wait for that.
bool MustHear(const Situation& situation, const Node& master, const Member& heir, const Memory& memory,
              Orders& orders) {
  const SlotSet unheard = Unheard(situation, master, heir, memory);
  if (unheard.empty() || orders.Since("unheard by " + heir.name) >= kHears) return false;
  orders.Trouble(fmt::format("{} is to take over from {}, once it has heard that slots {} are with others",
                             heir.name, situation.NameOf(master.id), SlotsText(unheard)));
  orders.Give(heir, "look", {}, "whether it has heard who has its master's slots", {.pause = kVoteSoon});
  orders.Again(kVoteSoon);
  return true;
}

void Replace(const Situation& situation, const Node& master, Memory& memory, Orders& orders) {
  Memory::TakeOver& dead = memory.dead.try_emplace(master.id, Memory::TakeOver{situation.now}).first->second;
  std::vector<const Member*> heirs = Heirs(master, dead.since, memory);
  if (heirs.empty()) {
    const std::string why = WhyNobody(situation, master, dead.since, memory);
    orders.Trouble(why);
    if (const Member* stale = StaleHeir(master, dead.since, memory)) {
      const std::string& service = situation.input->service->name;
      orders.Say(master.member
                     ? fmt::format("{}; muster failover {} --force gives that up", why, service)
                     : fmt::format(
                           "{}; muster failover {} --force takes what {} has; what was written since is lost",
                           why, service, stale->name));
    } else if (const Member* heir = AnyHeir(master)) {
      orders.Say(fmt::format("{}; muster failover {} --force makes {} the master with what it has", why,
                             situation.input->service->name, heir->name));
    }
    return;
  }
  const std::string name = situation.NameOf(master.id);
  heirs = Compared(situation, std::move(heirs), name, dead.asked, orders);
  if (heirs.empty()) {
    orders.Trouble(fmt::format("{} died: which of its replicas has most of {} is being asked", name,
                               SlotsText(master.slots)));
    return;
  }
  orders.Again(kVoteSoon);
  if (MayComeBackWithMore(situation, master, *heirs.front(), dead.since, memory)) {
    orders.Trouble(fmt::format(
        "{} is down and about to start again; whether {} was linked to it to the end is not known", name,
        heirs.front()->name));
    return;
  }
  orders.Trouble(
      fmt::format("{} died: {} is to take over {}", name, heirs.front()->name, SlotsText(master.slots)));
  const bool elsewhere = std::any_of(master.followers.begin(), master.followers.end(),
                                     [](const Member* follower) { return follower->silent; });
  const auto voted = memory.voted.find(master.id);
  const bool barred =
      voted != memory.voted.end() && situation.now - voted->second < 2 * situation.node_timeout;
  // Of a node that no member is, others tell that it is dead: without their vote nobody takes its place.
  const bool certain = master.member || AnotherAtItsSeat(situation, master);
  if (!certain && barred) {
    orders.Again(2 * situation.node_timeout - (situation.now - voted->second));
    return;
  }
  const bool alone = certain && !elsewhere && (dead.tries > 0 || barred || !HasMajority(situation));
  const std::string how = alone ? "takeover" : "force";
  const Member& heir = *heirs.front();
  if (MustHear(situation, master, heir, memory, orders)) return;
  const std::string reason =
      fmt::format("{} died: {} takes over {}{}", name, heir.name, SlotsText(master.slots),
                  !alone           ? ""
                  : dead.tries > 0 ? ", though it was not elected"
                  : barred         ? ", though masters may not vote again yet"
                                   : ", though no majority of masters is left to vote");
  if (!orders.Give(heir, "take-over", TakeOverArgs(situation, how, master), reason,
                   {.pause = 300ms, .deadline = alone ? kTakeOver : kVote, .notable = true}))
    return;
  if (!alone) {
    ++dead.tries;
    memory.voted[master.id] = situation.now;
  }
  memory.successor[master.id] = heir.id;
}

// Whether it certainly never comes back as what it was.
bool IsGoneForGood(const Situation& situation, const Node& node) {
  if (!node.member) return IsNobodys(situation, node);
  const Member& member = *node.member;
  if (!member.leaving || member.ready || member.stepped) return false;
  return member.shut || (member.silent && node.suspected_by_all);
}

// Redis elects nobody in place of a master without slots, and one that comes back makes no replica of itself.
// So it is replaced only where it doesn't come back.
void ReplaceReceiver(const Situation& situation, const Node& receiver, Memory& memory, Orders& orders) {
  const SlotSet coming = OnTheirWayTo(situation, receiver.id);
  if (coming.empty() || !IsGoneForGood(situation, receiver)) return;
  const Member* heir = nullptr;
  const std::string host = receiver.member ? receiver.member->host : "";
  for (const Member* follower : receiver.followers) {
    if (!follower->can_succeed()) continue;
    if (!heir || HasMore(*follower, *heir, host)) heir = follower;
  }
  if (!heir) return;
  const std::string reason =
      fmt::format("{} is gone: {} goes on in its place with slots {}, which were on their way to it",
                  situation.NameOf(receiver.id), heir->name, SlotsText(coming));
  orders.Trouble(reason);
  orders.Again(kVoteSoon);
  if (orders.Give(*heir, "take-over", {{"how", "takeover"}, {"of", receiver.id}}, reason,
                  {.pause = 300ms, .deadline = kTakeOver, .notable = true}))
    memory.successor[receiver.id] = heir->id;
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

bool CountsAs(const Member& replica, const Node& master) {
  return master.member && !replica.history.empty() && master.member->history == replica.history;
}

// Masters vote for whoever asks first, however far he is, and what agents have told of that is up to some
// seconds old. So all are asked once more, now that nothing can come any more; with one alone there is
// nothing to ask.
std::vector<const Member*> Compared(const Situation& situation, std::vector<const Member*> heirs,
                                    const std::string& master, Memory::Asked& asked, Orders& orders) {
  if (heirs.size() < 2) return heirs;
  const auto has_answered = [&](const Member* heir) { return asked.answered.contains(heir->name); };
  if (asked.compared && std::none_of(heirs.begin(), heirs.end(), has_answered)) asked = {};
  bool all = true;
  for (const Member* heir : heirs) {
    if (asked.compared || has_answered(heir)) continue;
    const auto when = asked.when.find(heir->name);
    // One that took as long as it may has come to nothing.
    if (when != asked.when.end() && !heir->ordered && situation.now - when->second < kAnswer) {
      if (asked.answered.empty()) asked.begun = situation.now;
      asked.answered.insert(heir->name);
      continue;
    }
    all = false;
    if (orders.Give(*heir, "look", {{"until", "unlinked"}, {"within_ms", std::to_string(kAnswer.count())}},
                    fmt::format("who has most of the data of {}", master),
                    {.pause = 0ms, .deadline = kAnswer}))
      asked.when[heir->name] = situation.now;
  }
  const Duration gone = asked.answered.empty() ? 0ms : situation.now - asked.begun;
  asked.compared = asked.compared || all || gone >= kAnswers;
  if (!asked.compared) {
    orders.Again(std::min(kAnswers - gone, kVoteSoon));
    return {};
  }
  // What is known of the others is old, and none of them can be told anything before it answers.
  std::erase_if(heirs, [&](const Member* heir) { return !has_answered(heir); });
  return heirs;
}

bool NobodyTakesOver(const Node& master, const Memory& memory) {
  const auto dead = memory.dead.find(master.id);
  return dead != memory.dead.end() && Heirs(master, dead->second.since, memory).empty();
}

void FailOver(const Situation& situation, Memory& memory, Orders& orders) {
  for (const Member& member : situation.members) {
    if (member.ready && member.linked && !member.primary.empty())
      memory.linked[member.name] = {member.primary};
    if (member.ready && member.master) memory.linked.erase(member.name);
    NoteLink(situation, member, memory);
  }
  std::set<std::string> dead;
  for (const auto& [id, node] : situation.nodes) {
    if (node.master && node.slots.empty()) ReplaceReceiver(situation, node, memory, orders);
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

namespace {

// Slots whose keys it gives away: that comes to its end by itself, also where the taker has died and another
// takes its place, or soon.
SlotSet Giving(const Member& member) {
  SlotSet slots;
  if (!member.ready) return slots;
  for (const auto& mark : member.self->migrating) slots.Add(mark.first);
  return slots;
}

}  // namespace

std::string HandOverTo(const Situation& situation, const Member& member, const Member& heir,
                       const std::string& reason, Memory& memory, Orders& orders) {
  const std::string waits = fmt::format("{} is to take over from {}", heir.name, member.name);
  // The heir is told which slots are on their way, moments after it has become a master. One that can't
  // write gets none over.
  const SlotSet giving = member.unwritable.empty() ? Giving(member) : SlotSet();
  if (!giving.empty() && orders.Since("giving " + member.name) < kMovesEnd) {
    orders.Again(kVoteSoon);
    return fmt::format("{}, once slots {} have gone", waits, SlotsText(giving));
  }
  if (MustHear(situation, *situation.NodeOf(member), heir, memory, orders)) return waits;
  // Only now: what is waited for above has its time, which runs on whatever the heir is at.
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
          heir, "take-over", TakeOverArgs(situation, "plain", *situation.NodeOf(member)),
          fmt::format("{}: {} takes over {}", reason, heir.name, SlotsText(situation.SlotsOf(member))),
          {.pause = 500ms, .deadline = kPlain, .notable = true})) {
    memory.voted[member.id] = situation.now;
  }
  orders.Again(kVoteSoon);
  return waits;
}

std::optional<std::string> HandOverRole(const Situation& situation, const Member& member, bool staying,
                                        Memory& memory, Orders& orders) {
  if (HasSteppedDown(situation, member)) return std::nullopt;
  if (member.silent) return fmt::format("the host of {} is silent", member.name);
  if (!member.ready) return fmt::format("{} doesn't answer", member.name);
  const Node& node = *situation.NodeOf(member);
  std::vector<const Member*> heirs;
  std::vector<std::string> others, early;
  for (const Member* follower : node.followers) {
    if (staying && !follower->stays()) continue;
    if (follower->can_succeed() && follower->linked) {
      // One that has just been started refuses all commands until it has seen the cluster be well for a
      // while.
      if (!follower->cluster_ok && member.cluster_ok)
        early.push_back(follower->name);
      else
        heirs.push_back(follower);
    }
    others.push_back(follower->name);
  }
  if (heirs.empty() && !early.empty()) {
    orders.Again(kVoteSoon);
    return fmt::format("{} do{} not take the cluster for whole yet", fmt::join(early, ", "),
                       early.size() == 1 ? "es" : "");
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

std::optional<std::string> Redirects(const Member& member, Orders& orders) {
  constexpr Duration kWithin = 500ms;
  const Duration since = orders.Since("redirects " + member.name);
  if (since >= kWithin) return std::nullopt;
  orders.Again(kWithin - since);
  return fmt::format("{} tells clients where its slots are now", member.name);
}

void Relieve(const Situation& situation, Memory& memory, Orders& orders) {
  for (const auto& [id, node] : situation.nodes) {
    if (!node.master || node.slots.empty() || !node.member) continue;
    const Member& member = *node.member;
    if (!member.ready || member.stepped || member.unwritable.empty()) continue;
    const Member* heir = nullptr;
    for (const Member* follower : node.followers) {
      if (!follower->can_succeed() || !follower->linked || !follower->stays() ||
          !follower->unwritable.empty() || follower->host == member.host)
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
    auto& why = mending.waits[step->id];
    if (alone) continue;
    why = HandOverRole(situation, *member, false, memory, orders);
    if (!why && member->ready) why = Redirects(*member, orders);
  }
}

}  // namespace muster::redis_cluster::mending
