// {{variables}} in values of the cluster file. Pure.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace muster {

struct Variable {
  std::string name;   // "ports.http", without braces and blanks
  size_t offset = 0;  // of "{{" in the text, for the column of a finding
  size_t length = 0;  // including both pairs of braces
};

// All variables in `text`, in order. `{{` without `}}` gives one with the name "" and the rest as length.
std::vector<Variable> VariablesIn(std::string_view text);

// Replaces each; `lookup` returning nullopt leaves it as it stands.
std::string Expand(std::string_view text,
                   const std::function<std::optional<std::string>(std::string_view name)>& lookup);

}  // namespace muster
