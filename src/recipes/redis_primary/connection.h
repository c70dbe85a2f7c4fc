// How an operator reaches its member's Redis. Loop thread only.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "net/resp_client.h"
#include "recipes/recipe.h"
#include "recipes/redis/info.h"
#include "recipes/redis/node.h"

namespace muster::redis_primary {

using Client = std::shared_ptr<net::RespClient>;

// With the password of its files or, while those are newer than what runs, with the one that it took before,
// which `taken` holds. Lets nobody in who may do nothing. Codes of net/resp_client.h.
net::Task<Result<Client>> Open(Operator::Context context, std::shared_ptr<std::optional<std::string>> taken,
                               Duration timeout);

// Another member, which has the same password.
net::Task<Result<Client>> OpenOther(Operator::Context context, std::string host, int port, Duration timeout);

struct Answer {
  redis::ServerInfo info;
  std::string refusal;  // "MISCONF …" where it refuses writes because of its disk
};
// INFO of the member's own process, and whether its disk takes writes. Code "port-taken" where another's
// answers, "redis-closed" where the one that answered is gone, and those of net/resp_client.h.
net::Task<Result<Answer>> AskInfo(Operator::Context context, Client client, Duration timeout);

}  // namespace muster::redis_primary
