#include "control/outcomes.h"

#include <gtest/gtest.h>

namespace muster::control {
namespace {

store::RunRow Ran(int64_t revision, const std::string& action, const std::string& state,
                  const std::string& plan = "{}") {
  store::RunRow row;
  row.revision = revision;
  row.action = action;
  row.state = state;
  row.plan = plan;
  return row;
}

std::vector<store::RevisionRow> Revisions(std::initializer_list<int64_t> numbers) {
  std::vector<store::RevisionRow> rows;
  for (const int64_t number : numbers) {
    store::RevisionRow row;
    row.number = number;
    rows.push_back(row);
  }
  return rows;
}

TEST(Outcomes, ARevisionIsDoneOnceOneOfItsRunsBroughtItUp) {
  const std::vector<store::RunRow> runs = {Ran(3, "stop", "done"), Ran(3, "up", "failed"),
                                           Ran(2, "up", "failed"), Ran(2, "resume", "done"),
                                           Ran(1, "up", "cancelled")};
  EXPECT_EQ(OutcomeOf(3, runs), "failed");  // what was stopped in it says nothing about it
  EXPECT_EQ(OutcomeOf(2, runs), "done");
  EXPECT_EQ(OutcomeOf(1, runs), "cancelled");
  EXPECT_EQ(OutcomeOf(7, runs), "");
}

TEST(Outcomes, AScaleThatLeftOthersAsTheyWereIsPartial) {
  EXPECT_EQ(OutcomeOf(4, {Ran(4, "scale", "done", R"({"partial":true})")}), "partial");
  EXPECT_EQ(OutcomeOf(4, {Ran(4, "scale", "done")}), "done");
}

TEST(Outcomes, GoesBackToWhatWasBroughtUp) {
  const std::vector<store::RunRow> runs = {Ran(4, "up", "failed"), Ran(3, "up", "failed"),
                                           Ran(2, "up", "done")};
  EXPECT_EQ(GoodBefore(4, Revisions({1, 2, 3, 4}), runs), 2);
  EXPECT_EQ(GoodBefore(2, Revisions({1, 2, 3, 4}), runs), 1);  // its runs are forgotten
  EXPECT_EQ(GoodBefore(4, Revisions({3, 4}), runs), 0);
}

}  // namespace
}  // namespace muster::control
