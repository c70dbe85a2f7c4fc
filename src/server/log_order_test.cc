#include "server/log_order.h"

#include <gtest/gtest.h>

namespace muster::server {
namespace {

std::string All(LogOrder& order) {
  std::string text;
  while (const auto next = order.Next()) text += std::to_string(next->first) + next->second.text + " ";
  return text;
}

TEST(LogOrder, WithoutSourcesIsOver) {
  LogOrder order(0);
  EXPECT_TRUE(order.over());
  EXPECT_FALSE(order.Next().has_value());
}

TEST(LogOrder, WaitsForEverySourceThatMayStillHaveAnOlderLine) {
  LogOrder order(2);
  order.Add(0, {10, "a"});
  order.Add(0, {20, "b"});
  EXPECT_EQ(All(order), "");
  order.Add(1, {15, "x"});
  EXPECT_EQ(All(order), "0a 1x ");  // what comes after x may be older than b
  order.Add(1, {30, "y"});
  EXPECT_EQ(All(order), "0b ");
  order.End(0);
  EXPECT_EQ(All(order), "1y ");
  EXPECT_FALSE(order.over());
  order.End(1);
  EXPECT_TRUE(order.over());
}

TEST(LogOrder, GoesOnWithoutASourceThatEnds) {
  LogOrder order(3);
  order.Add(0, {10, "a"});
  order.Add(2, {5, "z"});
  order.End(1);
  order.End(1);
  EXPECT_EQ(All(order), "2z ");
  order.End(2);
  order.End(0);
  EXPECT_FALSE(order.over());
  EXPECT_EQ(All(order), "0a ");
  EXPECT_TRUE(order.over());
}

TEST(LogOrder, KeepsTheLinesOfOneMomentAndOfAClockThatWentBack) {
  LogOrder order(2);
  order.Add(0, {10, "a"});
  order.Add(0, {5, "b"});  // its clock was set back: it isn't older than a
  order.Add(0, {11, "c"});
  order.Add(1, {7, "x"});
  order.Add(1, {10, "y"});
  order.End(0);
  order.End(1);
  EXPECT_EQ(All(order), "1x 0a 0b 1y 0c ");
}

}  // namespace
}  // namespace muster::server
