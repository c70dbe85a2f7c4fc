// Hints that can be typed as they stand. Pure.
#pragma once

#include <string>
#include <string_view>

namespace muster::cli {

// `text` with `option` (" -c mall") after each command in it that is about one cluster: "muster logs -c mall
// web-1". Nothing changes where `option` is empty or the text names a cluster already.
std::string NameCluster(std::string_view text, std::string_view option);

}  // namespace muster::cli
