// What a plan says beyond the parts that changed. Pure.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "plan/plan.h"

namespace muster::plan {

// "PORT changed, NEW added, OLD removed": the names, never the values, which may be secret. A name whose text
// is the same has another secret in it; empty where there is none of either. One of `follows` "follows" the
// services that stand beside it there, instead of having changed.
std::string ChangesOfEnv(const Instance& before, const Instance& after,
                         const std::map<std::string, std::string>& follows = {});

// The drift without what stands in files that hold a secret or are for their owner only: an agent that an
// earlier release has left behind shows it. `desired` may be null: nothing of any file is shown.
std::vector<Drift> ShownDrift(const Instance* desired, std::vector<Drift> drifts);

// A revision with its desired members.
struct LaidOut {
  const Cluster* cluster;
  const std::vector<Instance>* instances;
};

// Says in the reasons of `plan` which variables of the environment changed, for those instances that stand as
// `before`, the revision before, has them; and which did though the file has the same words for them, since
// those name another service. Notes which services with data are gone from the file.
void ExplainChanges(LaidOut before, LaidOut after, const std::map<std::string, Observed>& observed,
                    Plan& plan);

}  // namespace muster::plan
