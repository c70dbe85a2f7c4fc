#include "control/kept.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace muster::control {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Numbers = std::map<std::string, int>;

TEST(Kept, IsReadAsItWasWritten) {
  const Kept kept{.hosts = {{"a", {.address = "127.77.3.2", .number = 2}}},
                  .numbers = {{"a", 2}, {"gone", 7}},
                  .good = 4,
                  .down = true,
                  .going_down = Kept::GoingDown{.delete_data = true, .silent = {"a", "b"}},
                  .cut = {"a"},
                  .left_out = {"b", "c"}};
  const Kept read = KeptOf({.extra = TextOf(kept)});
  ASSERT_TRUE(read.hosts.contains("a"));
  EXPECT_EQ(read.hosts.at("a").address, "127.77.3.2");
  EXPECT_EQ(read.hosts.at("a").number, 2);
  EXPECT_EQ(read.numbers, (Numbers{{"a", 2}, {"gone", 7}}));
  EXPECT_EQ(read.good, 4);
  EXPECT_TRUE(read.down);
  ASSERT_TRUE(read.going_down);
  EXPECT_TRUE(read.going_down->delete_data);
  EXPECT_THAT(read.going_down->silent, ElementsAre("a", "b"));
  EXPECT_THAT(read.cut, ElementsAre("a"));
  EXPECT_THAT(read.left_out, ElementsAre("b", "c"));
}

TEST(Kept, HasTheNumbersOfTheHostsInUseInAStoreOfAnEarlierRelease) {
  const Kept kept = KeptOf({.extra = R"({"hosts":{"a":{"address":"127.77.3.2","number":2}},"good":1})"});
  EXPECT_EQ(kept.numbers, (Numbers{{"a", 2}}));
  EXPECT_EQ(kept.good, 1);
}

TEST(Kept, LeavesWhatALaterReleaseWroteThere) {
  const std::string written = TextOf(KeptOf({.extra = R"({"later":{"x":[1]},"down":true})"}));
  EXPECT_EQ(nlohmann::json::parse(written)["later"]["x"][0], 1);
}

TEST(Kept, IsNothingWhereItCannotBeRead) {
  for (const char* text :
       {"nonsense", "", "[]", R"({"hosts":7,"numbers":[],"good":"x","down":3,"going_down":null,"cut":7})"}) {
    const Kept kept = KeptOf({.extra = text});
    EXPECT_THAT(kept.hosts, IsEmpty()) << text;
    EXPECT_THAT(kept.numbers, IsEmpty()) << text;
    EXPECT_EQ(kept.good, 0) << text;
    EXPECT_FALSE(kept.down) << text;
    EXPECT_THAT(kept.cut, IsEmpty()) << text;
  }
}

}  // namespace
}  // namespace muster::control
