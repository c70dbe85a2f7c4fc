// What the mender of a Redis Cluster knows at one moment: its members, the nodes that they are, and who has
// which slots, put together from the facts of all. Pure. A situation points into what it was made from and is
// of no use after the call that made it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "recipes/recipe.h"
#include "recipes/redis/cluster_view.h"
#include "recipes/redis/moments.h"
#include "recipes/redis/slots.h"
#include "recipes/redis_cluster/facts.h"

namespace muster::redis_cluster::mending {

using redis::SlotSet;

using SharedView = std::shared_ptr<const redis::ClusterView>;

// Views already read, by member: most calls come with the same text as the last.
using ViewCache = std::map<std::string, std::pair<std::string, SharedView>>;

struct Member {
  std::string name, host, address;
  int port = 0, bus = 0;
  int rank = 0;                    // its place among all, by ordinal; those to leave come last
  bool desired = false;            // false: it is to leave, or its run hasn't come to that yet
  bool leaving = false;            // a run waits for it to leave
  bool removed = false;            // a run has taken it away: it never comes back as what it was
  bool held = false;               // stopped by hand
  bool silent = false;             // its host is: what is known of it is old
  bool stepped = false;            // a step of a run is at it
  bool ordered = false;            // an order of this mender is under way at it
  bool ready = false;              // it answers, and has told what it sees
  bool dead = false;               // it is known that nobody serves there now
  bool shut = false;               // known not to run, and not about to
  std::string id;                  // "" where it isn't known
  bool master = false;             // by its own word
  std::string primary;             // the id it follows
  std::vector<FormerNode> former;  // that it was, before it lost its data
  bool bereft = false;             // it may have had keys, lost them, and knows of no cluster
  bool linked = false;             // to its master
  bool empty = false;              // it has no keys
  bool forgets = false;            // one that dies comes back without what was written last
  bool keeps_nothing = false;      // it comes back empty
  bool cluster_ok = false;         // by its own word
  std::string unwritable;          // why its disk takes no writes; "": it takes them
  int64_t offset = 0;
  std::string history;                       // that the offset counts in; "" where it isn't told
  std::optional<Time> lost;                  // of a replica: since when it isn't linked, at the latest
  std::optional<Time> answered;              // of the dead: when it last took writes, at the earliest
  uint64_t epoch = 0;                        // the highest it has heard of
  SlotSet drained;                           // slots that it migrates and has no keys of any more
  SharedView view;                           // of ready ones, else null
  const redis::ClusterNode* self = nullptr;  // its own line; of ready ones, else null

  // Whether an order can be sent to it now.
  bool open() const { return ready && !silent && !stepped && !ordered; }
  // Whether it is a replica that can be told to take its master's place. One that isn't heard isn't ready.
  bool can_succeed() const { return ready && !master && !held && !stepped; }
  // Whether it belongs to the cluster and shall go on doing so.
  bool stays() const { return desired && !leaving; }
  bool Knows(const std::string& node) const;  // and isn't only shaking hands with it
  std::string Seat() const;                   // "host:port@bus"
};

// A node of the cluster, as those say who know best.
struct Node {
  std::string id;
  const Member* member = nullptr;  // nullptr: nobody's
  bool master = false;
  std::string primary;  // whom it follows
  uint64_t epoch = 0;
  SlotSet slots;        // that are its own, where several claim them: by the highest epoch
  std::string address;  // "" where nobody knows one
  int port = 0;
  bool suspected = false;  // somebody thinks it is gone
  bool suspected_by_all = false;
  std::vector<const Member*> followers;  // members, alive or not
};

struct Situation {
  const Mender::Input* input = nullptr;
  Time now{};
  int masters = 3, replicas = 1;  // wanted
  Duration node_timeout = 5s;
  bool even = false;            // a run waits for slots evenly spread
  bool moving = false;          // a run waits for slots to move: for that, or for members to leave
  bool settling = false;        // a run waits for all to be well
  std::vector<Member> members;  // by rank
  std::map<std::string, Node> nodes;
  SlotSet unowned;

  const Member* Find(const std::string& name) const;  // nullptr: no such member
  const Node* NodeOf(const Member& member) const;     // nullptr: its id isn't known
  const Node* At(const std::string& id) const;        // nullptr: unknown
  const SlotSet& SlotsOf(const Member& member) const;
  std::string NameOf(const std::string& id) const;  // for people
  // Members that were this node, or a replica of it, as nodes that they are no more.
  std::vector<std::string> WhoHad(const std::string& id) const;
  // Whether all keys are lost with the data folders of all, and who had some; nobody where it isn't so.
  std::vector<std::string> Bereft() const;
  bool All(bool (*what)(const Member&)) const;  // of those that stay
};

// `ordered` are instances that an order of this mender is under way at.
Situation Survey(const Mender::Input& input, const std::set<std::string>& ordered, ViewCache& views,
                 redis::Moments& moments);

// "0-5460", of many ranges the first ones and how many more.
std::string SlotsText(const SlotSet& slots);

}  // namespace muster::redis_cluster::mending
