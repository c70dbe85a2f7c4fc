// Acts on some instances (stop, start, restart, scale) change those and leave all others as they are
// installed. Only bringing a revision (up, resume, rollback) moves everything. Pure.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "plan/plan.h"

namespace muster::plan {

// What an act may change.
struct Scope {
  std::set<std::string> instances;
  // Those instances are brought to what the revision says; else they, too, run what is installed.
  bool install = true;
};

// The world in which MakePlan finds nothing to do but what the act is about: everything else is wanted as it
// is installed, and taken for well. Instances that are not installed and not to be are wanted no more.
struct Narrowed {
  Cluster cluster;
  Desired desired;
  Situation situation;
  std::vector<std::string> left;  // what keeps something else than `desired` says, or nothing at all
};
Narrowed Narrow(const Scope& scope, Narrowed whole);

// What scaling `service` may change: what is laid out otherwise (`before` and `after`: the layouts without
// and with it), members of the service that come or go, and the balancers in front of them.
std::set<std::string> TouchedByScaling(const std::string& service, const Desired& before,
                                       const Desired& after, const std::map<std::string, Observed>& observed);

// For people, of Narrowed::left, where the revision was never brought up to its end.
std::string LeftNote(const std::vector<std::string>& left);

// For people, of a scale where the revision was never brought up to its end: what `plan` installs of
// `service` goes on with it. "" where that is nothing. `back`: there is something to go back to.
std::string GoesOnNote(const std::string& service, const Plan& plan, bool back);

}  // namespace muster::plan
