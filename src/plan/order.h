// What crosses services in a plan: load balancers, and who goes before whom. Internal to plan. Pure; of what
// is passed as a reference nothing is kept.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "plan/plan.h"

namespace muster::plan {

struct Steps {
  std::map<std::string, std::vector<Step>> by_service;
};

// Each member that is stopped and started is drained from the balancers in front of it before, and restored
// after; whatever waited for its start now waits for that. A surplus member leaves once its balancers know it
// no more. A member that comes back on other ports is restored there. A guest is admitted to them once it is
// ready, and dismissed before it stops.
void TakeOutOfBalancers(const Cluster& cluster, const Desired& desired, const Situation& situation,
                        Steps& steps);

// A service goes after those it uses and those it stands in front of; before them where all goes away.
void OrderServices(const Cluster& cluster, const Desired& desired, Steps& steps);

// All steps, services in the order they come, each after what it needs.
std::vector<Step> InOrder(const Cluster& cluster, Steps steps);

}  // namespace muster::plan
