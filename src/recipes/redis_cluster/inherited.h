// Slots whose keys were on their way to another when this node took its master's place. Both may have values
// of their own of a key of these then, so that none is overwritten. The other's mark tells that for as long
// as that one lives; this record does when it has been replaced, too. A file of the instance's records, of a
// few bytes. On its operator's loop thread, where writing it may block; fails with the codes of base/files.h.
#pragma once

#include <string>

#include "base/result.h"
#include "recipes/redis/slots.h"

namespace muster::redis_cluster {

// Of the node `id`: what another wrote under that name before a reset isn't. None where `records` is "" or
// nothing can be read.
redis::SlotSet InheritedSlots(const std::string& records, const std::string& id);
// With those of before. Written before the node is made master: one too many is only compared in vain.
Status AddInherited(const std::string& records, const std::string& id, const redis::SlotSet& slots);
// They have gone.
Status RemoveInherited(const std::string& records, const std::string& id, const redis::SlotSet& slots);

}  // namespace muster::redis_cluster
