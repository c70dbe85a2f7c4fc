// Words of the cluster file in messages. Internal to spec. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace muster::spec {

// Text of the file's in a message: one line, not too long, without what a terminal would obey; valid UTF-8
// stays so.
std::string Shown(std::string_view text);

// "did you mean X?" where something known is near, else what is known.
std::string Suggest(std::string_view word, const std::vector<std::string>& known);

}  // namespace muster::spec
