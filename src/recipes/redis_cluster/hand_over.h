// Slots with all their keys, from this node to another, side by side with traffic. Loop thread only.
#pragma once

#include <functional>
#include <string>

#include "recipes/redis/slots.h"
#include "recipes/redis_cluster/verbs.h"

namespace muster::redis_cluster {

struct HandOver {
  redis::SlotSet slots;
  std::string to;  // the other's id; it imports them already
  std::string host;
  int port = 0;
  std::string password;                             // the other's
  bool smallest = false;                            // only one of them, that with the fewest keys
  bool followed = false;                            // the other has a replica, which may lose its link
  redis::SlotSet inherited = {};                    // see inherited.h
  std::function<net::Task<Status>()> goes_on = {};  // asked before each round; its error ends it there
};

// Values: `done` and `left` are slots ("0-100,200"), `keys` how many were moved. It ends before the node's
// end with what it has got to by then, or where `goes_on` says so; who gave the order gives it again. Works
// from whatever an earlier one has left. Codes "slots-elsewhere" where a slot belongs to a third node or the
// other isn't who it should be; "move-failed" where no key could be moved for seconds; "keys-differ" where
// all that is left are keys of which both have values of their own, and no order can tell which is right.
net::Task<Result<Values>> HandOverSlots(Node& node, HandOver order);

}  // namespace muster::redis_cluster
