// Small things done to text. Pure. What Trim returns points into its argument.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace muster {

std::vector<std::string> Split(std::string_view text, char separator);
std::string Join(const std::vector<std::string>& parts, std::string_view separator);
std::string_view Trim(std::string_view text);

// Splits a command line into words as a POSIX shell does with quotes and backslashes, and nothing else: no
// variables, no globs, no pipes. Code "bad-quoting" where a quote is left open.
Result<std::vector<std::string>> SplitCommand(std::string_view command);
// The way back: words as one line that a POSIX shell takes apart into the same.
std::string ShellLine(const std::vector<std::string>& words);

// The candidate nearest to `word` by edit distance, if it is near enough to be what was meant.
std::optional<std::string> Nearest(std::string_view word, const std::vector<std::string>& candidates);

// In bytes: "64m" is 64 MiB; "1g", "512k"; "100" is bytes. Binary units, as nginx and cgroups use. Code
// "bad-unit".
Result<int64_t> ParseSize(std::string_view text);

// "10.0.0.1:80", "[::1]:80": a host's address in brackets where it has colons of its own.
std::string HostPort(std::string_view host, int port);

// The last `most` lines; where some were left out, a first line "…(N more before)" says so.
std::vector<std::string> LastLines(std::string_view text, size_t most);

}  // namespace muster
