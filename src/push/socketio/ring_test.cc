#include "push/socketio/ring.h"

#include <gtest/gtest.h>

#include <string>

namespace muster::push {
namespace {

TEST(Ring, KeepsTheOrderThroughGrowth) {
  Ring<int> ring;
  int next = 0, first = 0;
  for (int round = 0; round < 100; ++round) {
    for (int i = 0; i < 5; ++i) ring.Add() = next++;
    for (int i = 0; i < 3; ++i, ring.DropFront()) EXPECT_EQ(ring.front(), first++);
    for (size_t i = 0; i < ring.size(); ++i) ASSERT_EQ(ring[i], first + static_cast<int>(i));
  }
  EXPECT_EQ(ring.size(), 200u);
}

TEST(Ring, UsesPlacesAgainWithWhatIsInThem) {
  Ring<std::string> ring;
  for (int i = 0; i < 16; ++i) {
    ring.Add() = std::string(100, 'x');
    ring.DropFront();
  }
  const std::string& again = ring.Add();
  EXPECT_EQ(again.size(), 100u);
  EXPECT_EQ(ring.room(), 16u);
}

TEST(Ring, GivesMemoryBackAfterABurst) {
  Ring<int> ring;
  for (int i = 0; i < 5000; ++i) ring.Add() = i;
  ring.Shrink();
  EXPECT_EQ(ring.room(), 8192u);
  while (ring.size() > 10) ring.DropFront();
  for (int i = 0; i < 10; ++i) ring.Shrink();
  EXPECT_EQ(ring.room(), 512u);
  EXPECT_EQ(ring.front(), 4990);
  EXPECT_EQ(ring[9], 4999);
}

}  // namespace
}  // namespace muster::push
