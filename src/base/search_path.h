// Where a program is found by its name. Looks at the disk; any thread.
#pragma once

#include <string>
#include <string_view>

namespace muster {

// The first executable file named `program` in the folders of `path`, which is written like $PATH; "" where
// there is none. Folders that aren't absolute don't count: they would mean another one for each who looks.
std::string FindInPath(std::string_view path, std::string_view program);

}  // namespace muster
