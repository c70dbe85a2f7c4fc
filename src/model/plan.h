// A plan: an ordered graph of steps from what is to what the revision says. All values, which any thread may
// copy.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/time.h"
#include "model/instance.h"

namespace muster {

// One act on one instance. The verbs every agent knows:
//   install  write folders, files, artifact (args: none; the agent gets the Instance with the order)
//   start    start, then wait until ready         stop     stop gracefully, then SIGKILL
//   reload   the recipe's reload                  remove   folders away (args: delete_data = "yes"|"no")
//   drain    on a load balancer: args member, by = "run"   restore  the opposite
//   admit    on a load balancer: send to the guest `member`, too (a member that stands in for a while, with
//            the arguments of Layout::AdmissionOf)          dismiss  the opposite
// and those of the instance's own recipe. Each is local, idempotent and has a deadline.
struct Step {
  std::string id;  // unique in its plan, stable: "gateway-3.stop"
  std::string instance;
  std::string service;
  std::string host;
  std::string verb;
  std::map<std::string, std::string> args;
  std::string reason;  // for people: "command changed"
  Impact impact = Impact::kNone;
  std::string before;    // condition word to hold before ("ready", "stopped", "" none)
  std::string after;     // condition word that tells it is done ("ready", "installed", "drained")
  std::string put_back;  // verb that undoes it when the run ends early, "" none; same args
  // Nothing is sent to an agent: its service's mender brings about what it names, with as many orders as that
  // takes, and says when it is so (recipes/recipe.h). It is no work of its instance, which may be mended
  // meanwhile.
  bool awaited = false;
  std::vector<std::string> needs;  // step ids
  Duration deadline = 60s;
};

struct Plan {
  std::string id;        // digest of everything below and of what was observed
  std::string cluster;   // key
  int64_t revision = 0;  // the one it leads to
  std::vector<Step> steps;
  std::vector<std::string> notes;        // for people: "2 instances of gateway are stopped by hand", …
  std::vector<std::string> outages;      // what is expected to be out and why
  std::vector<std::string> unreachable;  // hosts left out
  int renderer_only = 0;                 // instances that differ in the renderer's version only
  std::vector<std::pair<std::string, Drift>> drift;  // instance, what a person changed
  bool empty() const { return steps.empty(); }
};

}  // namespace muster
