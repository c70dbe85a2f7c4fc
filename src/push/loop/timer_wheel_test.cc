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
