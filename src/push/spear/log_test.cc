#include "push/spear/log.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <string>

namespace muster::push {
namespace {

TEST(SpearLog, WritesSoManyLinesOfAKindInASecondAndThenSaysHowManyItLeftOut) {
  LogRate rate;
  int64_t written = 0;
  for (int i = 0; i < 1000; ++i) written += rate.Admit(LogKind::kAuthRefused, 5) ? 1 : 0;
  EXPECT_EQ(written, LogRate::kLinesMost);
  EXPECT_TRUE(rate.Admit(LogKind::kKicked, 5)) << "kinds don't take each other's lines";
  EXPECT_EQ(rate.TakeLeftOut(LogKind::kAuthRefused, 5), 0) << "more of this second may come";
  EXPECT_EQ(rate.TakeLeftOut(LogKind::kAuthRefused, 6), 1000 - written);
  EXPECT_EQ(rate.TakeLeftOut(LogKind::kAuthRefused, 7), 0) << "told once";
  EXPECT_TRUE(rate.Admit(LogKind::kAuthRefused, 6));
}

TEST(SpearLog, CountsNoSecondAnewForAClockThatIsBehind) {
  LogRate rate;
  for (int i = 0; i < LogRate::kLinesMost; ++i) EXPECT_TRUE(rate.Admit(LogKind::kSlowClosed, 9));
  EXPECT_FALSE(rate.Admit(LogKind::kSlowClosed, 8));
  EXPECT_FALSE(rate.Admit(LogKind::kSlowClosed, 9));
}

TEST(SpearLog, WaitsForNobodyWhoDoesNotReadAndGoesOnWithWholeLines) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const std::string line = std::string(10'000, 'x') + "\n";
  int taken = 0;
  while (WriteLine(ends[1], line)) ASSERT_LT(++taken, 1000);
  EXPECT_GT(taken, 0);
  EXPECT_FALSE(WriteLine(ends[1], "lost\n"));
  std::string text(1 << 20, '\0');
  ASSERT_GT(read(ends[0], text.data(), text.size()), 0);
  EXPECT_TRUE(WriteLine(ends[1], "whole\n"));
  text.resize(static_cast<size_t>(read(ends[0], text.data(), text.size())));
  EXPECT_EQ(text, "\nwhole\n") << "the line that was cut is ended first";
  close(ends[0]);
  close(ends[1]);
}

}  // namespace
}  // namespace muster::push
