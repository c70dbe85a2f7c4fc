// What agents know by address, people know by name. Pure.
#pragma once

#include <string>
#include <vector>

#include "model/instance.h"

namespace muster::control {

// `text` with the names of the members of `service` wherever it has the address and a port of one.
std::string NameMembers(std::string text, const std::string& service, const std::vector<Instance>& members);

}  // namespace muster::control
