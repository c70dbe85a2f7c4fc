// Values of the right form that can't be meant: a limit of nothing, a probe without a pause. For the settings
// that many recipes have; each finding stands at its value. Pure; findings are added behind those that are
// there.
#pragma once

#include <vector>

#include "model/cluster.h"
#include "model/finding.h"
#include "recipes/common/placement.h"

namespace muster::common {

// limits, stop, restart, log, update, require, hosts and user of a service. Codes "bad-value",
// "user-root".
void CheckCommonValues(const Service& service, const Cluster& cluster, std::vector<Finding>& findings);

// The values in `health:`; which port is meant is the recipe's own question. Codes "bad-value", "bad-regex".
void CheckHealthValues(const Value& health, std::vector<Finding>& findings);

// "out-of-range" where the service would have more members than can be looked after; whether that is so.
bool CheckTooMany(const Service& service, const Cluster& cluster, const Count& count,
                  std::vector<Finding>& findings);

// One value: a duration that must be longer than nothing; a size that must be at least `least` bytes, or be 0
// where that has a meaning.
void CheckDuration(const Value* value, std::string_view what, std::string_view fix,
                   std::vector<Finding>& findings);
void CheckSize(const Value* value, int64_t least, std::string_view what, std::string_view fix,
               std::vector<Finding>& findings);

// An address such as 10.0.0.1 or fd00::1, or a network such as 10.0.0.0/8.
bool IsNetwork(const std::string& text);

void AddBadValue(const Value& value, std::string message, std::string fix, std::vector<Finding>& findings,
                 Severity severity = Severity::kError);

}  // namespace muster::common
