// Layout and change of all services put together into one Plan. Pure, from any thread: no clock, no network,
// no file.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/cluster.h"
#include "model/finding.h"
#include "model/instance.h"
#include "model/plan.h"

namespace muster::plan {

// The version of everything that turns a cluster file into desired instances. Raised when its output changes.
constexpr int kRendererVersion = 4;  // 3: real_ip of nginx; 4: its www/ and what verify tries

// Findings of all recipes, and those that cross services: port-twice, unknown variables, cycles, localhost …
// `now`: the day by which a certificate is judged.
std::vector<Finding> CheckCluster(const Cluster& cluster, WallTime now);

struct Desired {
  Placement placement;
  std::vector<Instance> instances;  // hash and parts set
  // Those that may stand in while members are replaced, of services with `max_surge`: twice as many as that,
  // as some may not be of use. Part of no placement; a plan uses them or doesn't.
  std::vector<Instance> guests;
  // Who isn't wanted any more and comes up once more, for what only it may have. Part of no placement.
  std::vector<Instance> returning;
  std::set<std::string> remembered;      // the names of those, and of the next
  std::vector<std::string> left_behind;  // as those, but the file has no host for them: "cache-2 on h2"
};

// Keyed digest of each secret the cluster has, by name. kAnySecret stands for all that aren't there: for
// looking at what stands and taking it down, which needs none.
using SecretDigests = std::map<std::string, std::string>;
inline constexpr const char* kAnySecret = "*";

// The desired members of all services. Codes: "secret-missing" (with the command that sets it) for an unknown
// secret, "unknown-kind", "port-twice", and those of the recipe's Layout.
Result<Desired> LayOutCluster(const Cluster& cluster, const Placement& so_far, const SecretDigests& secrets);

// Adds those of `names`, in `so_far`, as `desired.returning` or `left_behind`. Codes: those of LayOutCluster.
Status LayOutReturning(const Cluster& cluster, const Placement& so_far, const std::set<std::string>& names,
                       const SecretDigests& secrets, Desired& desired);

struct Situation {
  std::map<std::string, Observed> observed;  // by instance name; absent: nothing there
  std::set<std::string> unreachable;         // host names
  std::map<std::string, std::string> held;   // instance -> "stopped", by `muster stop`
  std::set<std::string> restart;             // instances `muster restart` names
  int64_t revision = 0;
  bool refresh = false;
  bool same_file = false;   // the file is the revision that stands: what differs comes from the renderer
  bool unfinished = false;  // that revision was never brought up to its end
  bool act = false;         // on some instances, which is to change nothing else
  bool remove_all = false;  // `muster down`
  bool delete_data = false;
};

// The plan from `situation` to `desired`. Refusals are errors of kind kRefused: "require-not-met" (too few
// hosts answer), "plan-circle", "port-held" (a port is wanted that somebody has who stays as he is).
Result<Plan> MakePlan(const Cluster& cluster, const Desired& desired, const Situation& situation);

// For people: one line a step, grouped; what `muster plan` prints.
std::string FormatPlan(const Plan& plan, bool color);

}  // namespace muster::plan
