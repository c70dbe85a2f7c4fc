// The order in which a Redis Cluster changes, so that no write is lost: by role, one member after the other.
// Internal to recipes/redis_cluster. Pure.
//
//   new members       install → start, all side by side, then one settle for all of them
//   not ready         stop → install → start as needed, side by side with those
//   reload, live      install → reload, one after the other
//   not wanted        leave (of all at once) → stop → remove, then a settle
//   restart           step-down → stop → install → start → settle, replicas first, then masters
//   stopped by hand   step-down → stop, one after the other
//
// step-down, settle and leave are awaited: the mender does them, and what has come about meanwhile counts,
// not what was so when the plan was made. A settle with the argument slots = "even" spreads the slots over
// the masters. `update.max_unavailable` has no say: never is more than one member away.
#pragma once

#include "recipes/recipe.h"

namespace muster::redis_cluster {

class RedisClusterChange : public Change {
 public:
  explicit RedisClusterChange(const Layout* layout) : layout_(layout) {}
  Output StepsFor(const Input& input) const override;

 private:
  const Layout* layout_;  // for ImpactOf; the recipe's own
};

}  // namespace muster::redis_cluster
