#include "control/outcomes.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <nlohmann/json.hpp>

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
    row.text = fmt::format("# {}", number);
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

// Marks `number` as made by going back to `target`, with what that one says.
void GoesBack(std::vector<store::RevisionRow>& revisions, int64_t number, int64_t target) {
  for (store::RevisionRow& one : revisions) {
    if (one.number != number) continue;
    one.note = RollbackNote(target);
    one.text = fmt::format("# {}", target);
  }
}

std::vector<store::RunRow> AllDone(int64_t last) {
  std::vector<store::RunRow> runs;
  for (int64_t number = last; number > 0; --number) runs.push_back(Ran(number, "up", "done"));
  return runs;
}

TEST(Outcomes, GoingBackAgainLeadsFurtherBack) {
  auto revisions = Revisions({1, 2, 3, 4, 5, 6, 7, 8});
  EXPECT_EQ(GoodBefore(4, revisions, AllDone(8)), 3);
  GoesBack(revisions, 5, 3);
  EXPECT_EQ(GoodBefore(5, revisions, AllDone(8)), 2);  // not 4, which was left
  GoesBack(revisions, 6, 2);
  EXPECT_EQ(GoodBefore(6, revisions, AllDone(8)), 1);
  // What is brought up then stands on what was gone back to.
  EXPECT_EQ(GoodBefore(7, revisions, AllDone(8)), 2);
  // Going back by the number of a rollback means what that one has.
  GoesBack(revisions, 8, 5);
  EXPECT_EQ(GoodBefore(8, revisions, AllDone(8)), 2);
}

TEST(Outcomes, ARollbackThatFailedIsTriedAgain) {
  auto revisions = Revisions({1, 2, 3, 4});
  GoesBack(revisions, 4, 2);
  const std::vector<store::RunRow> runs = {Ran(4, "rollback", "failed"), Ran(3, "up", "failed"),
                                           Ran(2, "up", "done"), Ran(1, "up", "done")};
  EXPECT_EQ(GoodBefore(4, revisions, runs), 2);
}

// As AllDone, but the run of one of them ended otherwise.
std::vector<store::RunRow> AllDoneBut(int64_t last, std::initializer_list<int64_t> failed) {
  std::vector<store::RunRow> runs = AllDone(last);
  for (store::RunRow& run : runs) {
    if (std::find(failed.begin(), failed.end(), run.revision) != failed.end()) run.state = "failed";
  }
  return runs;
}

TEST(Outcomes, ARollbackThatFailedTakesNothingAway) {
  auto revisions = Revisions({1, 2, 3, 4, 5, 6, 7, 8});
  GoesBack(revisions, 4, 2);
  GoesBack(revisions, 7, 3);
  EXPECT_EQ(GoodBefore(7, revisions, AllDoneBut(7, {3, 7})), 6);
  GoesBack(revisions, 8, 6);
  EXPECT_EQ(GoodBefore(8, revisions, AllDoneBut(8, {3, 7})), 5);
  // Another file instead, which stands on what was good.
  revisions[7] = Revisions({8})[0];
  EXPECT_EQ(GoodBefore(8, revisions, AllDoneBut(8, {3, 7})), 6);
  // Once it is brought up, it counts, and what failed the first time is good from then on.
  EXPECT_EQ(GoodBefore(8, revisions, AllDoneBut(8, {3})), 3);
}

TEST(Outcomes, ARollbackToWhatIsKeptNoMoreStandsForItself) {
  auto revisions = Revisions({5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15});
  GoesBack(revisions, 14, 4);
  GoesBack(revisions, 15, 8);
  EXPECT_EQ(GoodBefore(15, revisions, AllDoneBut(15, {15})), 14);
  EXPECT_EQ(GoodBefore(15, revisions, AllDone(15)), 14);  // 4 is older than 8, by whatever number it is kept
}

TEST(Outcomes, SaysWhatCanBeGoneToWhereNothingIsFurtherBack) {
  auto revisions = Revisions({1, 2, 3});
  GoesBack(revisions, 3, 1);
  ASSERT_EQ(GoodBefore(3, revisions, AllDone(3)), 0);
  Error error = NothingBefore("mall", 3, revisions, AllDone(3));
  EXPECT_EQ(error.code(), "unknown-revision");
  EXPECT_EQ(error.message(), "mall: 3 is revision 1 again and nothing older is kept");
  EXPECT_THAT(error.hint(), testing::StartsWith("muster rollback 2 goes to 2;"));
  error = NothingBefore("mall", 2, Revisions({1, 2}), AllDoneBut(2, {1}));
  EXPECT_EQ(error.message(), "mall has no revision before 2 that was brought up");
}

TEST(Outcomes, GoesBackPastWhatIsTheSameAndKnowsTargetsThatAreKeptNoMore) {
  auto revisions = Revisions({3, 4, 5, 6});
  GoesBack(revisions, 5, 2);  // which is kept no more
  EXPECT_EQ(GoodBefore(5, revisions, AllDone(6)), 0);
  EXPECT_EQ(GoodBefore(6, revisions, AllDone(6)), 5);
  revisions = Revisions({1, 2, 3});
  revisions[1].text = revisions[2].text;  // brought up again with another note
  EXPECT_EQ(GoodBefore(3, revisions, AllDone(3)), 1);
}

// As earlier releases stored it.
TEST(Outcomes, KnowsARollbackOfAnEarlierReleaseByItsNote) {
  const auto target = [](const std::string& note) {
    store::RevisionRow row;
    row.note = note;
    row.bundle = R"({"files":{}})";
    return RollbackTarget(row);
  };
  EXPECT_EQ(target(RollbackNote(12)), 12);
  EXPECT_EQ(target("rollback to 3 after revision 4 failed"), 3);
  EXPECT_EQ(target("rollback to the good old one"), 0);
  EXPECT_EQ(target("scale web 3"), 0);
}

TEST(Outcomes, AStoredBundleTellsTheTargetAndTheSameFiles) {
  for (const char* files : {R"({"files":{"a":{"size":3}},"overrides":{}})", "{}"}) {
    store::RevisionRow row;
    row.bundle = WithRollbackTarget(files, 12);
    EXPECT_EQ(RollbackTarget(row), 12);
    EXPECT_EQ(FilesOf(row), files);
    EXPECT_EQ(nlohmann::json::parse(row.bundle).at("rollback_to"), 12);
  }
}

// Whoever writes a note steers nothing with it.
TEST(Outcomes, ANoteThatReadsLikeThatOfARollbackMakesNone) {
  auto revisions = Revisions({1, 2, 3});
  for (store::RevisionRow& one : revisions) one.bundle = WithRollbackTarget(R"({"files":{}})", 0);
  revisions[2].note = "rollback to 1 was no option: fix the colour instead";
  EXPECT_EQ(RollbackTarget(revisions[2]), 0);
  EXPECT_EQ(GoodBefore(3, revisions, AllDone(3)), 2);
  // What is brought up again after a rollback is the same, whatever made it.
  revisions[2].note = RollbackNote(1);
  revisions[2].text = revisions[0].text;
  revisions[2].bundle = WithRollbackTarget(R"({"files":{}})", 1);
  EXPECT_EQ(GoodBefore(3, revisions, AllDone(3)), 0);
  auto again = Revisions({4});
  again[0].text = revisions[0].text;
  again[0].bundle = WithRollbackTarget(R"({"files":{}})", 0);
  revisions.push_back(again[0]);
  EXPECT_EQ(GoodBefore(4, revisions, AllDone(4)), 0);
}

}  // namespace
}  // namespace muster::control
