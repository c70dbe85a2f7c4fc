#include "model/finding.h"

#include <fmt/core.h>

#include <algorithm>

namespace muster {

std::string FormatFinding(const Finding& finding) {
  std::string place = finding.file;
  if (finding.mark.line > 0) place += fmt::format(":{}:{}", finding.mark.line, finding.mark.column);
  if (!place.empty()) place += ": ";
  const std::string_view severity = finding.severity == Severity::kError ? "error" : "warning";
  std::string text = fmt::format("{}{}: {} [{}]", place, severity, finding.message, finding.code);
  if (!finding.fix.empty()) text += "\n  fix: " + finding.fix;
  return text;
}

bool HasErrors(const std::vector<Finding>& findings) {
  return std::any_of(findings.begin(), findings.end(),
                     [](const Finding& finding) { return finding.severity == Severity::kError; });
}

}  // namespace muster
