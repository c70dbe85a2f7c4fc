// The model as JSON: what goes over the wire between cli, server and agents, and into the store. Readers
// ignore fields they don't know and default those that are missing, so that releases can differ by one. Pure.
// Durations and moments are written as milliseconds, moments since 1970. Code of all readers: "bad-message".
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "base/result.h"
#include "model/finding.h"
#include "model/instance.h"
#include "model/plan.h"

namespace muster::api {

using Json = nlohmann::json;

Json ToJson(const Error& error);
Error ErrorFrom(const Json& json);
Json ToJson(const Finding& finding);
Json ToJson(const Placement& placement);
Result<Placement> PlacementFrom(const Json& json);
Json ToJson(const Instance& instance);
Result<Instance> InstanceFrom(const Json& json);
Json ToJson(const Observed& observed);
Result<Observed> ObservedFrom(const Json& json);
Json ToJson(const Step& step);
Result<Step> StepFrom(const Json& json);
Json ToJson(const Plan& plan);
Result<Plan> PlanFrom(const Json& json);

// Parses text; code "bad-json" with the place. Never throws.
Result<Json> ParseJson(std::string_view text);

}  // namespace muster::api
