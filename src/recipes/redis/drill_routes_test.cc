#include "recipes/redis/drill_routes.h"

#include <gtest/gtest.h>

namespace muster::redis {
namespace {

const Endpoint kOne{"10.0.0.1", 7001}, kTwo{"10.0.0.2", 7001}, kThree{"10.0.0.3", 7001};
Time At(Duration time) { return Time(time); }

class DrillRoutesTest : public ::testing::Test {
 protected:
  DrillRoutes routes{{kOne, kTwo}};
};

TEST_F(DrillRoutesTest, LeadToTheOwnerOnceItIsKnown) {
  EXPECT_EQ(routes.For(7, At(0ms)), kOne);
  EXPECT_EQ(routes.For(7, At(0ms)), kTwo) << "anybody may know";
  routes.Owns(7, kTwo);
  EXPECT_EQ(routes.For(7, At(0ms)), kTwo);
  EXPECT_EQ(routes.For(7, At(0ms)), kTwo);
}

TEST_F(DrillRoutesTest, LeadToOthersWhileTheOwnerHangs) {
  routes.Owns(7, kTwo);
  routes.Hangs(kTwo, At(0ms));
  for (Duration time = 0ms; time < 1s; time += 100ms) {
    EXPECT_EQ(routes.For(7, At(time)), kOne);
    routes.Owns(7, kTwo);  // it still thinks so
  }
  EXPECT_EQ(routes.For(7, At(1s)), kTwo) << "perhaps it is back";
}

TEST_F(DrillRoutesTest, TryOneThatRefusesAgainSoon) {
  routes.Owns(7, kTwo);
  routes.Refused(kTwo, At(0ms));
  EXPECT_TRUE(routes.Avoids(kTwo, At(5ms)));
  EXPECT_EQ(routes.For(7, At(5ms)), kOne);
  EXPECT_EQ(routes.For(7, At(10ms)), kTwo);
}

TEST_F(DrillRoutesTest, LeadToAnotherFirstHoweverLongAgoTheOwnerRefused) {
  routes.Owns(7, kTwo);
  routes.Refused(kTwo, At(0ms));
  EXPECT_EQ(routes.For(7, At(500ms)), kOne) << "it may know of another owner by now";
}

TEST_F(DrillRoutesTest, LeadToANodeThatOnlyARedirectHasNamed) {
  routes.Owns(7, kThree);
  routes.Hangs(kOne, At(0ms));
  routes.Hangs(kTwo, At(0ms));
  EXPECT_EQ(routes.For(8, At(10ms)), kThree);
}

TEST_F(DrillRoutesTest, LeadToWhoeverIsDueFirstWhereAllAreAvoided) {
  routes.Hangs(kOne, At(0ms));
  routes.Refused(kTwo, At(995ms));
  EXPECT_EQ(routes.For(7, At(999ms)), kOne);
  routes.Answered(kTwo);
  EXPECT_EQ(routes.For(7, At(999ms)), kTwo);
}

}  // namespace
}  // namespace muster::redis
