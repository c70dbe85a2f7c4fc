// Paths in desired state are words, since only the agent knows where its folder is: {folder} {data} {logs}
// {artifact}. A text of the user's that holds the same by chance is sealed: {data} becomes {brace}data}.
// Pure.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace muster {

// "\x01path:NAME\x02": stands for the word {NAME} until the text is sealed.
std::string PathMarker(std::string_view name);

// Makes every word that stands in `text` harmless, then puts words in place of markers.
std::string SealWords(std::string_view text);

// Puts `value(NAME)` in place of each word, once from left to right; nullopt leaves it as it stands. What
// was sealed comes back as it was.
std::string FillWords(std::string_view text,
                      const std::function<std::optional<std::string>(std::string_view name)>& value);

}  // namespace muster
