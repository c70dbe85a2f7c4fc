// What is to be done about a Redis Cluster at one moment, as its parts come to it: orders, troubles, and when
// to think again. Pure; remembers only what was sent and when, which no fact tells.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "recipes/redis_cluster/members.h"

namespace muster::redis_cluster::mending {

// What can't be seen in the facts. All of it may be lost at any time: then something is sent once more, or
// waited for a little longer.
struct Memory {
  struct Sent {
    Time at{};
    int times = 0;
  };
  // Of several replicas: who was asked when how far it is, who has answered, and whether that is enough.
  struct Asked {
    std::map<std::string, Time> when;
    std::set<std::string> answered;
    Time begun{};
    bool compared = false;
  };
  struct TakeOver {
    Time since{};   // when its death was met
    int tries = 0;  // by vote
    Asked asked;
  };
  // Of slots that a run waits for: how many there were to go when it began to wait, and are now.
  struct Moving {
    int all = 0, left = 0;
  };
  struct Forming {
    bool fast = false;
    Time covered{};  // when all slots had an owner; 0: not yet
  };
  std::map<std::string, std::map<std::string, Sent>> sent;  // by instance, by what
  std::map<std::string, Order> under_way;                   // by instance: what it was sent last
  std::map<std::string, TakeOver> dead;                     // by the dead master's id
  std::map<std::string, Asked> forced;                      // by the master's id that a person gives up
  std::map<std::string, Time> voted;                        // when a vote for this node was asked for
  std::map<std::string, std::string> successor;             // of a dead master: who was told to take over
  std::map<std::string, std::set<std::string>> left;        // ids that a leaving member has had
  Moving moving;                                            // to where they are to be
  std::map<std::string, int> had;                           // slots, of a leaving member at the most
  std::map<std::string, Time> since;                        // since when something odd is seen
  std::map<std::string, std::set<std::string>> linked;      // replica -> masters that it was linked to
  // Of nodes whose keys are lost, while a person accepts that: who is to take their slots.
  std::map<std::string, std::string> takers;
  // replica -> since when it isn't, though its master lives: where agents don't tell
  std::map<std::string, Time> unlinked;
  std::set<std::string> failovers;  // asked for by people: what there was to do
  Forming forming;
  bool lost_accepted = false;  // that all keys are lost, by a person, until slots are given out again
  ViewCache views;
  redis::Moments moments;
};

struct Sending {
  Duration pause = 1s;      // before the same is sent again; longer each time
  Duration deadline = 30s;  // of the order
  bool notable = false;
};

class Orders {
 public:
  Orders(const Situation& situation, Memory& memory) : situation_(situation), memory_(memory) {}

  // Whether it is sent now. Not where the instance can't be sent anything, has got an order before this one,
  // or was told the same a moment ago.
  bool Give(const Member& to, const std::string& verb, std::map<std::string, std::string> args,
            std::string reason, Sending sending = {});
  // Why all isn't well yet; the first that is said matters most.
  void Trouble(std::string why);
  // What people should read in the service's health.
  void Say(std::string what) { mending_.says.push_back(std::move(what)); }
  // Think again after so long, if not before.
  void Again(Duration pause);
  // Whether it was given an order just now, or can't be given one.
  bool Taken(const Member& member) const { return !member.open() || taken_.contains(member.name); }
  // Nothing else is ordered of it this time.
  void Keep(const Member& member) { taken_.insert(member.name); }
  // How long `what` has been seen; call it each time it is.
  Duration Since(const std::string& what);

  // Whether an order to take over slots of the node `from` is given or under way, or one to the instance
  // `to`.
  bool Imports(const std::string& from, const std::string& to) const;

  const std::vector<std::string>& troubles() const { return troubles_; }
  Mending Take();  // once

 private:
  const Situation& situation_;
  Memory& memory_;
  std::set<std::string> taken_, seen_;
  std::vector<std::string> troubles_;
  Mending mending_;
};

}  // namespace muster::redis_cluster::mending
