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

// Whether no member can be this node any more.
bool IsNobodys(const Situation& situation, const Node& node);

// Masters that are certainly dead are replaced at once. Where nobody has their data, they are waited for.
void FailOver(const Situation& situation, Memory& memory, Orders& orders);

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

// Members that others don't know are met; nodes that nobody is are forgotten.
void Membership(const Situation& situation, Memory& memory, Orders& orders);

}  // namespace muster::redis_cluster::mending
