// A problem found in a cluster file or on a host. A value; pure.
#pragma once

#include <string>
#include <vector>

#include "model/value.h"

namespace muster {

enum class Severity { kError, kWarning };

struct Finding {
  Severity severity = Severity::kError;
  std::string code;  // stable, such as "port-twice"; listed in docs/findings.md
  Mark mark;
  std::string message;  // what was found and what was meant
  std::string fix;      // what to do
  std::string file;     // set by spec

  bool operator==(const Finding&) const = default;
};

// "demo.yaml:9:15: error: port 6379 … [port-twice]" and, if there is one, a second line "  fix: …".
std::string FormatFinding(const Finding& finding);
bool HasErrors(const std::vector<Finding>& findings);

}  // namespace muster
