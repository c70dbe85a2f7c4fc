#include "base/line_pattern.h"

#include <regex>

namespace muster {

struct LinePattern::Compiled {
  std::regex regex;
};

Result<LinePattern> LinePattern::Of(const std::string& text) {
  LinePattern pattern;
  try {
    // By itself first: what it means must not come from the brackets that are put around it.
    const std::regex alone(text, std::regex::ECMAScript | std::regex_constants::__polynomial);
    // libstdc++'s flag: it goes along all ways at once, where it else tries one after the other and recurses.
    // One pass over the line, which a search would begin anew at each character.
    const std::regex whole("[\\s\\S]*?(?:" + text + ")",
                           std::regex::ECMAScript | std::regex_constants::__polynomial);
    pattern.compiled_ = std::make_shared<const Compiled>(Compiled{whole});
  } catch (const std::regex_error& error) {
    if (error.code() == std::regex_constants::error_complexity) {
      return Error::Invalid("bad-regex", "what refers back (\\1) can't be looked for in lines");
    }
    return Error::Invalid("bad-regex", "{}", error.what());
  }
  return pattern;
}

bool LinePattern::IsIn(std::string_view line) const {
  try {
    return compiled_ && std::regex_search(line.begin(), line.end(), compiled_->regex,
                                          std::regex_constants::match_continuous);
  } catch (const std::regex_error&) {
    return false;
  }
}

}  // namespace muster
