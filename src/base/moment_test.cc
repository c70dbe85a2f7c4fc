#include "base/moment.h"

#include <gtest/gtest.h>

namespace muster {
namespace {

constexpr WallTime kDay{1'700'000'000'000ms};

TEST(Moments, WithinABootTheCalendarMayBeSet) {
  const Moment then{kDay, "one", 100s};
  for (const Duration step : {0h, 1h, -1h}) {
    EXPECT_EQ(AgeOf(then, {kDay + 5s + step, "one", 105s}), 5s) << step.count();
  }
  EXPECT_EQ(AgeOf(then, {kDay + 5s, "one", 99s}), std::nullopt);
}

TEST(Moments, AfterAnotherBootTheCalendarCounts) {
  const Moment then{kDay, "one", 9000s};
  EXPECT_EQ(AgeOf(then, {kDay + 60s, "two", 20s}), 60s);
  EXPECT_EQ(AgeOf(then, {kDay - 1s, "two", 20s}), std::nullopt);
  // It was set back, by less: the moment was before this boot all the same.
  EXPECT_EQ(AgeOf(then, {kDay + 3s, "two", 20s}), 20s);
}

TEST(Moments, WhereABootIsNotKnownTheCalendarCountsAlone) {
  EXPECT_EQ(AgeOf({kDay, "", 0s}, {kDay + 3s, "two", 20s}), 3s);
  EXPECT_EQ(AgeOf({kDay, "one", 9000s}, {kDay + 3s, "", 0s}), 3s);
  EXPECT_EQ(AgeOf({kDay, "", 50s}, {kDay - 3s, "", 60s}), std::nullopt);
}

TEST(Moments, AreTakenFromBothClocks) {
  const Moment first = MomentNow(), second = MomentNow();
  EXPECT_FALSE(first.boot.empty());
  EXPECT_EQ(first.boot, BootId());
  EXPECT_GT(first.since_boot, 0s);
  EXPECT_TRUE(AgeOf(first, second));
  EXPECT_EQ(AgeOf(second.Before(7s), second), 7s);
}

}  // namespace
}  // namespace muster
