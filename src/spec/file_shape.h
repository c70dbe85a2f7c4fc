// The shape of a whole cluster file. Internal to spec. Pure.
#pragma once

#include "spec/spec.h"

namespace muster::spec {

inline constexpr const char* kNamePattern = "[a-z]([a-z0-9-]{0,30}[a-z0-9])?";

// `cluster:`, `hosts:` and `services:`; the latter as a map of anything, since each has the shape of its
// kind.
Shape FileShape();
// A service of this kind: its own keys and those that all services have.
Shape ServiceShape(const std::string& kind, const Shape& settings);

}  // namespace muster::spec
