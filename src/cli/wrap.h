// Long lines, broken between words instead of wherever the terminal ends. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace muster::cli {

// Words of `text` until a line is full. A word that is wider than `columns` has a line to itself.
std::vector<std::string> WrapWords(std::string_view text, size_t columns);

// Each line of `text` in as many as it needs; 0 columns: as it is. What goes on below stands under what it
// belongs to: behind "note: " or "  fix: ", in the column of a list ("pass  …"), else four blanks further in.
// A line that begins with "| " quotes what others wrote and stays whole, as does a word that is too long (a
// path, an address).
std::string WrapText(std::string_view text, size_t columns);

}  // namespace muster::cli
