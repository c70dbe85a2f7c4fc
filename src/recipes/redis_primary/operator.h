// What is done to one member of a Redis with one primary, on its agent.
#pragma once

#include <memory>

#include "recipes/recipe.h"

namespace muster::redis_primary {

// Loop thread only. Facts and measures: facts.h. Verbs, each idempotent:
//
//   look                       asks everything anew
//   promote TERM COPY          is the primary of this term, if its data is still of the term `copy`
//   follow TERM HOST PORT      is a replica of that one
//   fence TERM                 takes no writes and follows nobody
//   hand-over TERM HOST PORT   of the primary: writes wait until that replica has all, then it is fenced
//   set NAME=VALUE …           CONFIG SET
//
// Codes beside those of net/resp_client.h: "old-term" for a term below one that it was ordered in,
// "copy-differs", "not-primary", "not-caught-up", "order-stale" where the server doesn't stand by the order
// any more, "port-taken" where another Redis answers on the member's port, "redis-loading", "not-running",
// "setting-refused", "bad-args", "unknown-verb", and those of WriteFile. No error has a password in it.
std::unique_ptr<Operator> MakeRedisPrimaryOperator();

}  // namespace muster::redis_primary
