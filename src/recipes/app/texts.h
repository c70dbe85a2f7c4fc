// What the texts of an app give away: its command, environment and files. Internal to recipes/app; pure.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "model/cluster.h"
#include "model/finding.h"
#include "model/instance.h"

namespace muster::app {

// A text of the service, with where it stands and what it is for.
struct Part {
  const Value* value = nullptr;  // in the cluster file; null for the text of another file
  std::string text;              // lines of another file that are comments are blank
  Mark mark;
  std::string where;  // "command", "env APP_URL", "files app.yaml"
};

std::vector<Part> PartsOf(const Service& service, const Cluster& cluster);

// "localhost-peer" for each address of this very machine that a text tells others to go to.
void CheckLocalhost(const Part& part, const Cluster& cluster, std::vector<Finding>& findings);

// "seeds-incomplete" for a list of members that lacks some. They may be listed by address or by host name,
// with port or, where it is called seeds, peers or the like, without.
void CheckSeeds(const Service& service, const Part& part, const Cluster& cluster, const Placement& members,
                std::vector<Finding>& findings);

// "id-not-fixed" for an id in a text that a shell would make anew at each start.
void CheckStartIds(const Service& service, const Part& part, std::vector<Finding>& findings);

}  // namespace muster::app
