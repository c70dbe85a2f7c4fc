#include "recipes/redis/drill_routes.h"

#include <gtest/gtest.h>

namespace muster::redis {
namespace {

const Endpoint kFirst{"10.0.0.1", 7001}, kSecond{"10.0.0.2", 7001}, kThird{"10.0.0.3", 7001};
Time After(Duration time) { return Time(time); }

class DrillRoutesTest : public ::testing::Test {
 protected:
  DrillRoutes routes{{kFirst, kSecond}};
};

TEST_F(DrillRoutesTest, LeadToTheOwnerOnceItIsKnown) {
  EXPECT_EQ(routes.For(7, After(0ms)), kFirst);
  EXPECT_EQ(routes.For(7, After(0ms)), kSecond) << "anybody may know";
  routes.Owns(7, kSecond);
  EXPECT_EQ(routes.For(7, After(0ms)), kSecond);
  EXPECT_EQ(routes.For(7, After(0ms)), kSecond);
}

TEST_F(DrillRoutesTest, LeadToOthersWhileTheOwnerHangs) {
  routes.Owns(7, kSecond);
  routes.Hangs(kSecond, After(0ms));
  for (Duration time = 0ms; time < 1s; time += 100ms) {
    EXPECT_EQ(routes.For(7, After(time)), kFirst);
    routes.Owns(7, kSecond);  // it still thinks so
  }
  EXPECT_EQ(routes.For(7, After(1s)), kSecond) << "perhaps it is back";
}

TEST_F(DrillRoutesTest, TryOneThatRefusesAgainSoon) {
  routes.Owns(7, kSecond);
  routes.Refused(kSecond, After(0ms));
  EXPECT_TRUE(routes.Avoids(kSecond, After(5ms)));
  EXPECT_EQ(routes.For(7, After(5ms)), kFirst);
  EXPECT_EQ(routes.For(7, After(10ms)), kSecond);
}

TEST_F(DrillRoutesTest, LeadToAnotherFirstHoweverLongAgoTheOwnerRefused) {
  routes.Owns(7, kSecond);
  routes.Refused(kSecond, After(0ms));
  EXPECT_EQ(routes.For(7, After(500ms)), kFirst) << "it may know of another owner by now";
}

TEST_F(DrillRoutesTest, LeadToANodeThatOnlyARedirectHasNamed) {
  routes.Owns(7, kThird);
  routes.Hangs(kFirst, After(0ms));
  routes.Hangs(kSecond, After(0ms));
  EXPECT_EQ(routes.For(8, After(10ms)), kThird);
}

TEST_F(DrillRoutesTest, LeadToWhoeverIsDueFirstWhereAllAreAvoided) {
  routes.Hangs(kFirst, After(0ms));
  routes.Refused(kSecond, After(995ms));
  EXPECT_EQ(routes.For(7, After(999ms)), kFirst);
  routes.Answered(kSecond);
  EXPECT_EQ(routes.For(7, After(999ms)), kSecond);
}

}  // namespace
}  // namespace muster::redis
