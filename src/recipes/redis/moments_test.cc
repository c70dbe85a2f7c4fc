#include "recipes/redis/moments.h"

#include <gtest/gtest.h>

namespace muster::redis {
namespace {

Time At(Duration age) { return Time(1000s) + age; }

TEST(RedisMoments, KeepTheEarliestOfWhatStaysAndTheLatestOfWhatMoves) {
  Moments moments;
  EXPECT_EQ(moments.Of("a", "x", "", true, At(0s)), std::nullopt);
  EXPECT_EQ(moments.Of("a", "x", "1000", true, At(2s)), At(1s));
  EXPECT_EQ(moments.Of("a", "x", "1000", true, At(9s)), At(1s)) << "nothing new was told";
  EXPECT_EQ(moments.Of("a", "x", "2000", true, At(9s)), At(1s));
  EXPECT_EQ(moments.Of("a", "x", "500", false, At(9s)), At(8500ms));
  EXPECT_EQ(moments.Of("a", "x", "", false, At(9s)), std::nullopt);
}

}  // namespace
}  // namespace muster::redis
