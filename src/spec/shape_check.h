// Values against Shapes. Internal to spec. Pure, but for patterns that are kept once compiled.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "model/finding.h"
#include "model/shape.h"
#include "model/value.h"

namespace muster::spec {

// Reports every place where `value` is not of `shape`. `where` names it for people ("services.web.ports").
void CheckShape(const Value& value, const Shape& shape, const std::string& where,
                std::vector<Finding>& findings);

// The texts of the scalar types as ECMA regular expressions over the whole scalar: what both the check and
// the JSON Schema use.
std::string_view PatternOf(Shape::Type type);

// So many characters a text may have where there is a pattern for it: std::regex recurses.
constexpr size_t kPatternMost = 4096;

// Whether the whole of `text` matches the ECMA regular expression, character by character (UTF-8); `\s`, `\w`
// and `\d` are those of ASCII. Patterns come from recipes and from here,
// never from a user. From any thread.
bool Matches(const std::string& text, std::string_view pattern);

// What a value of this type looks like, for people: "a duration such as 2s or 1m30s".
std::string Describe(const Shape& shape);

}  // namespace muster::spec
