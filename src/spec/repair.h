// What a file most likely means where its shape is wrong, so that all else that is wrong with it can be found
// at the same time. Pure.
#pragma once

#include <vector>

#include "spec/spec.h"

namespace muster::spec {

struct Repaired {
  // Fits its shape: a key that is nearly a known one counts as that one, values of the wrong form are left
  // out or have stand-ins (Value::stand_in).
  Value root;
  // Where the shape is wrong, with what directly holds it: what is found at these places may only follow from
  // that.
  std::vector<Mark> told;
};

// `root` is a map. Never used to run anything, only to look for findings.
Repaired Repair(const Value& root, const Shapes& shapes);

}  // namespace muster::spec
