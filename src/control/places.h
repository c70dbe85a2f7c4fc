// Whose place on its host is remembered. A member that isn't wanted any more stands until a run has removed
// it, and that run may be cancelled, fail, or find its host silent. Pure.
#pragma once

#include <map>
#include <set>
#include <string>

#include "model/cluster.h"
#include "model/instance.h"

namespace muster::control {

// Who isn't `wanted`, may have what nobody else has, and doesn't run: members of these services that the
// cluster went down with, or that were to come up once more already.
std::set<std::string> Returning(const Placement& so_far, const Placement& wanted,
                                const std::set<std::string>& services, bool was_down,
                                const std::map<std::string, Observed>& observed);

// The services whose members give what they have before they leave.
std::set<std::string> Giving(const Cluster& cluster);

// Those of `services` that aren't wanted and may stand, as far as a server that has just begun knows.
std::set<std::string> MayStand(const Placement& so_far, const std::set<std::string>& services);

// What is remembered as a run begins that is to bring about `wanted`: with it all others of `so_far`.
Placement WithFormer(const Placement& so_far, const Placement& wanted,
                     const std::set<std::string>& returning);

// With the names of those that stand, of services of any file, and aren't remembered.
Placement WithUnknown(Placement so_far, const std::map<std::string, Observed>& observed);

// Once all that is wanted stands: without those that are gone from hosts which have told, `heard`.
Placement OnceBroughtUp(const Placement& so_far, const std::map<std::string, Observed>& observed,
                        const std::set<std::string>& heard);

}  // namespace muster::control
