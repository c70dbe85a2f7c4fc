// Keys of one slot that two nodes have, as one died while it was on its way: are they the same? Loop thread
// only.
#pragma once

#include <string>
#include <vector>

#include "net/resp_client.h"
#include "recipes/redis_cluster/node.h"

namespace muster::redis_cluster {

enum class Same {
  kGone,  // from one of them
  kYes,
  kNo,  // another value, another type, or another time to live
};

// Beside `keys`: `node` is asked as their owner, `other` as who imports them. What DUMP gives depends on the
// order that a hash or a set has in its process, and on how a list was filled, so what differs there is read
// and compared as a client sees it; streams and types of modules are not. Times to live may differ by as long
// as the keys may have been on their way (a second) and as the answers took. Codes: those of asking.
net::Task<Result<std::vector<Same>>> CompareKeys(Node& node, net::RespClient& other,
                                                 std::vector<std::string> keys);

}  // namespace muster::redis_cluster
