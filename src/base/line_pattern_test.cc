#include "base/line_pattern.h"

#include <gtest/gtest.h>

#include "base/time.h"

namespace muster {
namespace {

bool Finds(const std::string& pattern, const std::string& line) {
  const auto compiled = LinePattern::Of(pattern);
  EXPECT_TRUE(compiled.ok()) << pattern;
  return compiled.ok() && compiled->IsIn(line);
}

TEST(LinePattern, RefusesWhatIsNoneAndWhatRefersBack) {
  for (const char* wrong : {"(", "a)(b", "[z-a]", "*", "(a)\\1"}) {
    const auto pattern = LinePattern::Of(wrong);
    ASSERT_FALSE(pattern.ok()) << wrong;
    EXPECT_EQ(pattern.error().code(), "bad-regex");
    EXPECT_FALSE(pattern.error().message().empty());
  }
}

// As std::regex alone they overflow the stack, take seconds, and never end.
TEST(LinePattern, TakesNoLongerThanTheLine) {
  const std::string line(16 << 10, 'a');
  const Time begun = Now();
  EXPECT_FALSE(Finds("^(a|b|c)*Z", line));
  EXPECT_FALSE(Finds("\\w+ ready", line));
  EXPECT_FALSE(Finds("(a+)+Z", line));
  EXPECT_TRUE(Finds("(a+)+ up$", line + " up"));
  EXPECT_LT(Now() - begun, 3s);  // milliseconds, but for a sanitizer
}

TEST(LinePattern, FindsWhatStandsAnywhereAndHoldsToWhatIsAnchored) {
  EXPECT_TRUE(Finds("ready", "now ready."));
  EXPECT_TRUE(Finds("^up$", "up"));
  EXPECT_FALSE(Finds("^up$", "xup"));
  EXPECT_TRUE(Finds("^ready|down", "it is down"));
  EXPECT_FALSE(Finds("^ready|^up", "not up"));
  EXPECT_TRUE(Finds("\\bready\\b", "so ready."));
  EXPECT_TRUE(Finds("port (\\d{4,5})", "on port 8080"));
  EXPECT_TRUE(Finds("x(?=y)", "axy"));
  EXPECT_TRUE(Finds("", "anything"));
  EXPECT_TRUE(Finds("é+", "caféé"));
}

}  // namespace
}  // namespace muster
