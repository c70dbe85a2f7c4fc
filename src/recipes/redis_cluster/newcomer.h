// A newcomer: a member that starts as a node which no other follows and which has no slots, or at another
// address than it had before. A replica asks an address for its data, whatever node answers there. Where
// another master stood at that address before, and its data folder is gone or the member is a new one there,
// it would lose its data by that, and may be the last copy. So a newcomer answers nobody who asks for its
// data until that is meant. Pure, but for reading its files.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "recipes/recipe.h"
#include "recipes/redis_cluster/facts.h"

namespace muster::redis_cluster {

// Whether it would start as one, by what is in its data folder. Where that can't be read, Redis says so.
bool StartsAsNewcomer(const Operator::Context& context);

// Words for its command line: who asks for its data waits, and keeps its own meanwhile.
std::vector<std::string> WithholdingWords(const Instance& instance);
// What Redis tells of "repl-diskless-sync-delay" then.
inline constexpr const char* kWithheldDelay = "2147483647";

// The settings that end it, as they are without.
std::map<std::string, std::string> GivingSettings(const Instance& instance, const std::string& version);

// Who asks for its data ("host:port") and follows another node than this one.
std::vector<std::string> Strangers(const Answers& now);
// Whether whoever asks means this node: it has slots or replicas, or follows another itself; and no stranger
// asks, nor may ask again, as replicas do that follow a node whose address was this one's, or isn't known.
bool MayGive(const Answers& now);

}  // namespace muster::redis_cluster
