#include "push/loop/timer_wheel.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <random>
#include <vector>

namespace muster::push {
namespace {

Time At(int64_t ms) { return Time(Duration(1'000'000 + ms)); }

struct Probe : TimerNode {
  int64_t due = 0, fired = -1;
};

TEST(TimerWheel, FiresEachAtItsTimeNeitherLateNorMuchTooEarly) {
  TimerWheel wheel(At(0));
  std::mt19937 random(7);
  std::deque<Probe> probes(3000);
  for (Probe& probe : probes) {
    probe.due = static_cast<int64_t>(random() % 600'000);
    wheel.Set(probe, At(probe.due));
  }
  for (int64_t now = 0; now <= 600'000; now += 4) {
    wheel.Advance(At(now), [&](TimerNode& node) { static_cast<Probe&>(node).fired = now; });
  }
  EXPECT_EQ(wheel.size(), 0u);
  for (const Probe& probe : probes) {
    EXPECT_LE(probe.fired, std::max<int64_t>(probe.due, 4));
    EXPECT_GE(probe.fired, probe.due - 4);
  }
}

TEST(TimerWheel, IsNotWokenWhileNothingIsDue) {
  TimerWheel wheel(At(0));
  EXPECT_EQ(wheel.Idle(At(0)), Duration(-1));
  Probe probe;
  wheel.Set(probe, At(200));
  EXPECT_EQ(wheel.Idle(At(0)), Duration(200));
  EXPECT_EQ(wheel.Idle(At(300)), Duration(0));
  wheel.Clear(probe);
  EXPECT_EQ(wheel.Idle(At(0)), Duration(-1));
}

TEST(TimerWheel, LetsTheOneThatFiresSetAndClearOthers) {
  TimerWheel wheel(At(0));
  Probe first, second, third;
  wheel.Set(first, At(8));
  wheel.Set(second, At(8));
  int fired = 0;
  wheel.Advance(At(1000), [&](TimerNode& node) {
    ++fired;
    if (&node == &first) {
      wheel.Clear(second);
      wheel.Set(third, At(500));
      wheel.Set(first, At(900));
    }
    if (fired > 5) wheel.Clear(first);
  });
  EXPECT_FALSE(second.set());
  EXPECT_FALSE(third.set());
  EXPECT_GE(fired, 3);
  wheel.Clear(first);
}

TEST(TimerWheel, KeepsDeadlinesThatAreSetAfterDaysWithNothingToWaitFor) {
  constexpr int64_t kDay = 86'400'000;
  // 18 hours are all its rings hold, and 198 days 32 bits of its ticks.
  for (const int64_t idle : {kDay / 2, kDay, 30 * kDay, 198 * kDay, 199 * kDay, 2000 * kDay}) {
    TimerWheel wheel(At(0));
    Probe probe;
    wheel.CatchUp(At(idle));
    wheel.Set(probe, At(idle + 20'000));
    int64_t fired = 0;
    for (int64_t now = idle; fired == 0 && now < idle + 60'000;) {
      const Duration wait = wheel.Idle(At(now));
      ASSERT_GE(wait.count(), 0);
      now += std::max<int64_t>(wait.count(), 1);
      wheel.Advance(At(now), [&](TimerNode&) { fired = now; });
    }
    EXPECT_GE(fired, idle + 19'990);
    EXPECT_LE(fired, idle + 20'010);
  }
}

TEST(TimerWheel, GoesOnWhereItsTicksNeedMoreThan32Bits) {
  constexpr int64_t kWrap = int64_t{4} << 32;
  TimerWheel wheel(At(0));
  Probe before, behind;
  wheel.CatchUp(At(kWrap - 1000));
  wheel.Set(before, At(kWrap - 500));
  wheel.Set(behind, At(kWrap + 300'000));
  std::vector<int64_t> fired;
  int64_t now = kWrap - 1000;
  int turns = 0;
  for (; fired.size() < 2 && turns < 2000; ++turns) {
    now += std::max<int64_t>(wheel.Idle(At(now)).count(), 1);
    wheel.Advance(At(now), [&](TimerNode&) { fired.push_back(now); });
  }
  ASSERT_EQ(fired.size(), 2u);
  EXPECT_NEAR(static_cast<double>(fired[0]), static_cast<double>(kWrap - 500), 8);
  EXPECT_NEAR(static_cast<double>(fired[1]), static_cast<double>(kWrap + 300'000), 8);
  EXPECT_LT(turns, 1000);  // no turn in vain
}

TEST(TimerWheel, AlwaysWakesInTimeForTheNext) {
  TimerWheel wheel(At(0));
  Probe probe;
  for (const int64_t due : {5, 999, 1024, 5000, 70'000, 300'000}) {
    wheel.Set(probe, At(due));
    int64_t now = 0;
    TimerWheel fresh(At(0));
    Probe one;
    fresh.Set(one, At(due));
    bool fired = false;
    while (!fired) {
      const Duration idle = fresh.Idle(At(now));
      ASSERT_GE(idle.count(), 0);
      now += std::max<int64_t>(idle.count(), 1);
      ASSERT_LE(now, due + 8);
      fresh.Advance(At(now), [&](TimerNode&) { fired = true; });
    }
    wheel.Clear(probe);
  }
}

}  // namespace
}  // namespace muster::push
