// The parts of the mender of a Redis Cluster, in the order of what matters. Each looks at one situation and
// adds its orders. Pure.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "recipes/redis_cluster/members.h"
#include "recipes/redis_cluster/orders.h"

namespace muster::redis_cluster::mending {

// Whether no member can be this node any more: another has its seat, or those who are there agree that it is
// gone.
bool IsNobodys(const Situation& situation, const Node& node);
// ": what cache-3 may know of them is waited for": of slots without an owner; "" where all have told.
std::string WaitedFor(const Situation& situation);
// The latter, also of one that is a member.
bool IsAgreedGone(const Situation& situation, const Node& node);

// Slots whose keys have begun to go to this node: some may be there, and with its replicas, and nowhere else.
SlotSet OnTheirWayTo(const Situation& situation, const std::string& id);

// Whether this member has marks that name the node, which it would lose by forgetting that: what has come
// from it would be nobody's then, and lost.
bool HasMarksOf(const Member& member, const std::string& id);

// Of a `take-over` from this master. Slots on their way from it are named, with the node that they go to, so
// that who takes its place marks them at once: keys that have gone would be begun anew else.
std::map<std::string, std::string> TakeOverArgs(const Situation& situation, const std::string& how,
                                                const Node& master);

// The same where nobody was told in time, as after a vote of Redis' own, or of slots that went to another
// node than most. Before all that can wait.
void MarkAnew(const Situation& situation, Orders& orders);

// Masters that are certainly dead are replaced at once. Where nobody has their data, they are waited for. A
// node that is no member is replaced by vote only. One without slots, which Redis elects nobody in place of,
// is replaced only once it certainly never comes back, as its keys would be there twice: before that, it is
// waited for.
void FailOver(const Situation& situation, Memory& memory, Orders& orders);

// Of a dead master: whether none of its replicas takes over unasked, as each lost its link before, or may
// have none of its data.
bool NobodyTakesOver(const Node& master, const Memory& memory);

// Whether its offset says how much of the master's data it has: offsets count in a history each.
bool CountsAs(const Member& replica, const Node& master);

// Of several that could take over from a master that is gone: those who have just said how far they are, in
// their order, since what is known of the others may be old. Nobody: they are being asked.
std::vector<const Member*> Compared(const Situation& situation, std::vector<const Member*> heirs,
                                    const std::string& master, Memory::Asked& asked, Orders& orders);

// Says of each `step-down` that is awaited whether it is so.
void StepDowns(const Situation& situation, Memory& memory, Orders& orders, Mending& mending);

// Who starts as what: masters spread over the hosts, no replica on its master's host where that can be.
struct Shape {
  struct Shard {
    const Member* master = nullptr;
    std::vector<const Member*> replicas;
    SlotSet slots;
  };
  std::vector<Shard> shards;
};
Shape ShapeOf(const std::vector<const Member*>& members, int masters);

// From members that know nothing to a cluster. Whether it is at it: then nothing but failover may be done
// beside.
bool Form(const Situation& situation, Memory& memory, Orders& orders);

// Which nodes are to be masters: as many as the service wants. Those that have slots keep them unless slots
// are moved, for members that leave or to have them evenly spread.
struct Roles {
  std::vector<const Node*> kept;     // have slots, by the first of them
  std::vector<const Node*> drained;  // have slots that go to others
  std::vector<const Node*> added;    // have none yet
  int lacking = 0;                   // masters for whom there is no member that follows nobody

  static bool Has(const std::vector<const Node*>& nodes, const std::string& id);
};
Roles RolesOf(const Situation& situation);

// Whether replicas of a node that nobody is any more may look for its data where this member is now: had it
// any, or a part in the cluster, they would take what it has for their own, which nobody else may have.
bool StandsInFor(const Situation& situation, const Member& member);

// Each master has its replicas, elsewhere than on its own host.
void Replicas(const Situation& situation, const Roles& roles, Orders& orders);

// Moves are brought to their end, and begun where a run waits for them; marks that mean nothing are cleared.
void Slots(const Situation& situation, const Roles& roles, Memory& memory, Orders& orders);

// How many slots each of those that have so many now should have, so that no two differ by more than one and
// as few as can be move; `more` are to be given out besides.
std::vector<int> EvenCounts(const std::vector<int>& has, int more = 0);
// The same where nobody gives any away: `more` go to those that have least.
std::vector<int> FilledCounts(const std::vector<int>& has, int more);

// Says of each `leave` that is awaited whether it is so, and brings it about where the member has nothing
// left to give.
void Leaves(const Situation& situation, const Roles& roles, Memory& memory, Orders& orders, Mending& mending);

// Says of each `settle` that is awaited what is missing. Comes last.
void Settles(const Situation& situation, const Memory& memory, Orders& orders, Mending& mending);

// A master hands its role to a replica, which is one that stays if `staying`. Why it hasn't come to that yet;
// nothing where it has.
std::optional<std::string> HandOverRole(const Situation& situation, const Member& member, bool staying,
                                        Memory& memory, Orders& orders);

// Why it isn't to be stopped or reset yet, though it has no slots any more: clients that know it as their
// master are told for a moment who has them now. Once it has left, or has just started again, it would tell
// them that the cluster is down. To be asked each time from when it has given its slots away.
std::optional<std::string> Redirects(const Member& member, Orders& orders);

// HandOverRole to a replica that is named, and linked. Never by force, which would cost writes where the
// replica lags. What is waited for.
std::string HandOverTo(const Situation& situation, const Member& member, const Member& heir,
                       const std::string& reason, Memory& memory, Orders& orders);

// A master whose disk takes no writes hands over to a replica on another host, whose disk does.
void Relieve(const Situation& situation, Memory& memory, Orders& orders);

// Answers what people ask for: each `switchover` and `failover` that is awaited.
void Requests(const Situation& situation, Memory& memory, Orders& orders, Mending& mending);

// Of a node that no member is any more: the members that lost its data, for people.
std::string WhoWas(const Situation& situation, const Node& node);

// Answers a `failover` with `accept_loss`: slots whose keys certainly nobody has any more are given to
// members that can be spared, empty. "ask" only tells what would be lost, as the refusal "confirm-name".
void AcceptLoss(const Situation& situation, const Step& step, Memory& memory, Orders& orders,
                Mending& mending);

// Members that others don't know are met; nodes that nobody is are forgotten.
void Membership(const Situation& situation, Memory& memory, Orders& orders);

}  // namespace muster::redis_cluster::mending
