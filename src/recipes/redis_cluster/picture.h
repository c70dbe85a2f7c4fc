// What all members of a Redis Cluster say, put together from their facts: who is which node, who has which
// slots, who follows whom. Pure; points into what it was made from.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "recipes/recipe.h"
#include "recipes/redis/cluster_view.h"
#include "recipes/redis/slots.h"
#include "recipes/redis_cluster/facts.h"

namespace muster::redis_cluster {

// The fact `view`: CLUSTER NODES without ping times, with the marks of moving slots at the end of the line of
// whom they are of, or on a line of their own; an answer to CLUSTER NODES as it came is read, too. nullopt
// where it can't be read.
std::optional<redis::ClusterView> ReadView(const std::string& text);

struct Member {
  std::string name;
  const Instance* desired = nullptr;   // nullptr: it is to leave
  const Observed* observed = nullptr;  // nullptr: nobody has seen it
  bool ready = false;
  std::string node;                        // its id, "" where it hasn't said
  bool master = false, replica = false;    // by its own word
  std::string primary;                     // the id that it follows, "" for masters
  std::optional<redis::ClusterView> view;  // of ready ones
  std::vector<FormerNode> former;          // that it was, before it lost its data

  std::string Fact(const char* name) const;  // "" where it isn't told
};

// A master with its slots, or without.
struct Shard {
  std::string node;    // the master's id
  std::string master;  // its name, or address:port where no member is that node
  bool alive = false;  // the master is a ready member that says it is master
  redis::SlotSet slots;
  uint64_t epoch = 0;
  std::vector<std::string> replicas;  // names of members that follow it, alive or not
};

struct Picture {
  std::vector<Member> members;  // desired ones first, in their order; then those that are to leave
  std::vector<Shard> shards;    // by their first slot; those without slots last
  redis::SlotSet owned;         // by anybody

  const Member* Find(const std::string& name) const;      // nullptr: unknown
  const Member* OfNode(const std::string& node) const;    // nullptr: no member is that node
  const Shard* ShardOf(const std::string& member) const;  // that it is master or replica of
  std::string NameOf(const std::string& node) const;      // of a member, else address:port, else the id
  // Members that were this node, or a replica of it, as nodes that they are no more.
  std::vector<std::string> WhoHad(const std::string& node) const;
};

// `service` names those of `observed` that count beside the desired ones.
Picture PictureOf(const std::string& service, const std::vector<Instance>& desired,
                  const std::map<std::string, Observed>& observed);

}  // namespace muster::redis_cluster
