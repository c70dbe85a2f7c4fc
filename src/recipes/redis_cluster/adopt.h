// A Redis Cluster that was formed by hand: what its members say of themselves, what differs from what muster
// would have done, and the cluster file for it. Internal to recipes/redis_cluster. Pure; adopt_read.h asks.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "recipes/recipe.h"
#include "recipes/redis/cluster_view.h"
#include "recipes/redis/conf.h"
#include "recipes/redis/info.h"

namespace muster::redis_cluster {

// One member, as it and its machine tell.
struct FoundMember {
  std::string address;  // that the others know
  int port = 0;
  redis::ServerInfo info;
  std::string executable;                       // as INFO has it, which may not be there
  redis::ClusterView view;                      // CLUSTER NODES of its own
  std::map<std::string, std::string> settings;  // CONFIG GET *, by today's names
  std::vector<std::string> users;               // ACL LIST
  std::vector<std::string> modules;             // path and arguments of each

  bool here = false;  // its address is one of this machine's
  bool seen = false;  // its process is, too: the rest is known
  std::string user;   // its process's, by name or number
  bool root = false;
  bool controllable = true;              // whoever asks may signal it, and start it again as its user
  std::string unit;                      // of systemd, "" none
  std::vector<redis::Directive> config;  // of the file it was started with
};

struct FoundCluster {
  std::vector<FoundMember> members;
  bool as_root = false;  // whoever asks is
  std::string program;   // redis-server where it isn't the one in PATH; "" else
};

// `request`'s host and port stand in the file's first line. Findings: docs/findings.md has their codes.
Adoption AdoptionOf(FoundCluster found, const AdoptRequest& request);

}  // namespace muster::redis_cluster
