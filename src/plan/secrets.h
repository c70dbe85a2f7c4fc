// Which secrets of a cluster nobody has set, and where it needs them. Pure.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "plan/plan.h"

namespace muster::plan {

// Those that `instances`, as laid out, need and `secrets` lacks.
std::set<std::string> UnsetSecrets(const std::vector<Instance>& instances, const SecretDigests& secrets);

// A finding for each name, at the first place that needs it, with the command that sets it; its file is empty
// for the cluster file, else the path of another as written there. A name that is nearly that of
// one of `set` may be meant for it. Code "secret-missing".
std::vector<Finding> SecretFindings(const Cluster& cluster, const std::set<std::string>& unset,
                                    const std::vector<std::string>& set = {});

// The same in one error, which names all of them and their places.
Error SecretsMissing(const Cluster& cluster, const std::set<std::string>& unset);

// "muster secret set NAME -c CLUSTER"
std::string SetSecretCommand(const std::string& name, const std::string& cluster);

// With the name of the one secret that `instance` has, where the hint says "muster secret set NAME".
Error WithSecretNamed(Error error, const Instance& instance, const std::string& cluster);

}  // namespace muster::plan
