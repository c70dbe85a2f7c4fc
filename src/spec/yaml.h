// YAML text to a Value tree. Internal to spec. Pure.
#pragma once

#include <string_view>
#include <vector>

#include "model/finding.h"
#include "model/value.h"

namespace muster::spec {

// The root of the document, as much as could be read; findings: "yaml-syntax", "duplicate-key",
// "unquoted-braces", "yaml-too-deep", "yaml-several-documents". Never throws.
Value ReadYaml(std::string_view text, std::vector<Finding>& findings);

// How YAML 1.2's core schema types a plain scalar.
Value::Type PlainType(std::string_view text);

}  // namespace muster::spec
