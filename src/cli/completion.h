// What the shell offers after Tab. The scripts ask `muster __complete -- WORDS…`, so that they follow from
// the declarations too. Pure, but for what `names` does.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cli/command.h"

namespace muster::cli {

// Names of clusters, services … that stand at the moment.
using NamesOf = std::function<std::vector<std::string>(Completes)>;

// The candidates for the last of `words` (without "muster"; the last may be empty). The words ":files" and
// ":folders" ask the shell for its own.
std::vector<std::string> CompleteWords(const std::vector<Command>& commands,
                                       const std::vector<std::string>& words, const NamesOf& names);

// The script for "bash", "zsh" or "fish"; "" for another.
std::string CompletionScript(const std::string& shell);

}  // namespace muster::cli
