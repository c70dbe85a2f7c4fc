// A look at YAML's text before it is parsed. Internal to spec. Pure.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "model/finding.h"
#include "model/value.h"

namespace muster::spec {

struct Scanned {
  std::string text;
  // By line, the 0-based bytes in `text` that aren't in the file: quotes that were added. Rising.
  std::unordered_map<int, std::vector<int>> added;

  std::vector<Mark> tabs;  // the first one before what a line says, where YAML counts blanks

  // Where a place of `text` lies in the file.
  Mark InFile(Mark mark) const;
  // Whether the scalar at this place of `text` got its quotes here.
  bool IsQuotedHere(Mark mark) const;
};

// `key: {{x}}` without quotes is a map to YAML, or nonsense. It is told as what it is ("unquoted-braces"),
// and given quotes, so that everything else in the file is still looked at. Knows enough of YAML to leave
// alone what stands in quotes, comments, block scalars (`key: |`) and within plain text.
Scanned Scan(std::string_view text, std::vector<Finding>& findings);

}  // namespace muster::spec
