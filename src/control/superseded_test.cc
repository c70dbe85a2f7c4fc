#include "control/superseded.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace muster::control {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

store::RunRow RunOf(const std::string& id, const std::string& action, const std::string& state) {
  store::RunRow row;
  row.id = id;
  row.action = action;
  row.state = state;
  row.author = "ann";
  return row;
}

std::vector<std::string> Superseded(const std::string& action) {
  std::vector<std::string> ids;
  for (const store::RunRow& run :
       SupersededBy(RunOf("next", action, "running"),
                    {RunOf("next", action, "paused"), RunOf("act", "restart", "paused"),
                     RunOf("failed", "up", "failed"), RunOf("release", "up", "paused")})) {
    EXPECT_EQ(run.state, "cancelled");
    const std::string how = action == "resume" ? "goes on with it" : "came in its place";
    EXPECT_THAT(run.error, HasSubstr("run next (" + action + " by ann) " + how));
    ids.push_back(run.id);
  }
  return ids;
}

TEST(Superseded, AReleaseTakesThePlaceOfAllThatIsPaused) {
  for (const char* action : {"up", "rollback", "resume", "scale", "down"}) {
    EXPECT_THAT(Superseded(action), ElementsAre("act", "release")) << action;
  }
}

TEST(Superseded, AReleaseThatIsPausedOutlivesActs) {
  for (const char* action : {"stop", "start", "restart"}) {
    EXPECT_THAT(Superseded(action), ElementsAre("act")) << action;
  }
}

TEST(Superseded, NothingIsWhereNothingIsPaused) {
  EXPECT_THAT(SupersededBy(RunOf("next", "up", "running"), {RunOf("old", "up", "done")}), IsEmpty());
}

}  // namespace
}  // namespace muster::control
