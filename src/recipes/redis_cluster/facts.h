// From a node's answers to what its operator tells of it. Pure.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "net/resp.h"
#include "recipes/redis/cluster_view.h"
#include "recipes/redis/info.h"

namespace muster::redis_cluster {

// What is asked of a node to know all that is told of it, in one go.
std::vector<net::resp::Command> Questions();

struct Answers {
  std::map<std::string, std::string> facts, measures;
  redis::ServerInfo info;
  redis::ClusterView view;    // without nodes while it loads
  bool loading = false;       // its data, from its disk or from its master
  bool takes_writes = false;  // a master to whom the cluster is well
};

// Reads the answers to Questions. Codes "redis-denied" where it wants a password or another one,
// "redis-refused", "bad-answer"; LOADING, MASTERDOWN and MISCONF are told of in the facts.
Result<Answers> ReadAnswers(const std::vector<net::resp::Value>& answers);

// CLUSTER NODES without what changes all the time, sorted by id: one line a node, `id host:port flags
// master-id config-epoch link slots… [slot->-id]… [slot-<-id]…`, without the flag of who was asked.
std::string ViewText(const redis::ClusterView& view);

// A node that a member was before it lost its data: Redis keeps a node's name there. The fact `was` has those
// that it has been, the last one last, each as `id` or `id>id of its master`.
struct FormerNode {
  std::string node, primary;
  bool operator==(const FormerNode&) const = default;
};
std::vector<FormerNode> ReadFormerNodes(const std::string& text);
std::string FormerNodesText(const std::vector<FormerNode>& nodes);
// Whether one of them was this master, or its replica.
bool HadKeysOf(const std::vector<FormerNode>& nodes, const std::string& master);

// Whether a member may have had keys that it hasn't given up knowingly, now that it answers so; `before` is
// what this was until then. In a cluster that serves each may get some between two answers.
bool HadKeys(bool before, const Answers& now);
// Whether it has lost them: the fact `lost`.
bool HasLostKeys(bool had_keys, const Answers& now);

}  // namespace muster::redis_cluster
