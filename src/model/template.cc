#include "model/template.h"

#include "base/text.h"

namespace muster {

std::vector<Variable> VariablesIn(std::string_view text) {
  std::vector<Variable> variables;
  size_t at = 0;
  while ((at = text.find("{{", at)) != std::string_view::npos) {
    const size_t end = text.find("}}", at + 2);
    if (end == std::string_view::npos) {
      variables.push_back({.name = "", .offset = at, .length = text.size() - at});
      return variables;
    }
    const std::string name(Trim(text.substr(at + 2, end - at - 2)));
    variables.push_back({.name = name, .offset = at, .length = end + 2 - at});
    at = end + 2;
  }
  return variables;
}

std::string Expand(std::string_view text,
                   const std::function<std::optional<std::string>(std::string_view)>& lookup) {
  std::string expanded;
  size_t done = 0;
  for (const Variable& variable : VariablesIn(text)) {
    const std::optional<std::string> value = variable.name.empty() ? std::nullopt : lookup(variable.name);
    if (!value) continue;
    expanded += text.substr(done, variable.offset - done);
    expanded += *value;
    done = variable.offset + variable.length;
  }
  expanded += text.substr(done);
  return expanded;
}

}  // namespace muster
