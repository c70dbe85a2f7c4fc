#include "base/result.h"

#include <gtest/gtest.h>

namespace muster {
namespace {

Result<int> ParsePort(bool good) {
  if (!good) return Error::Invalid("not-a-port", "{} is no port", "x").Hint("use {} to {}", 1, 65535);
  return 80;
}

Result<int> Twice(bool good) {
  MUSTER_TRY(const int port, ParsePort(good).While("reading {}", "a.yaml"));
  return port * 2;
}

TEST(Result, PassesTheErrorUpWithWhatWasBeingDone) {
  EXPECT_EQ(Twice(true).value(), 160);
  const Result<int> failed = Twice(false);
  EXPECT_EQ(failed.error().Text(), "reading a.yaml: x is no port [not-a-port]\n  fix: use 1 to 65535");
}

TEST(Result, KindsHaveNamesThatCanBeReadBack) {
  for (int kind = 0; kind < 8; ++kind) {
    EXPECT_EQ(ErrorKindNamed(ErrorKindName(static_cast<ErrorKind>(kind))), static_cast<ErrorKind>(kind));
  }
}

}  // namespace
}  // namespace muster
