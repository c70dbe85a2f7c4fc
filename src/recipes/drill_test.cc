#include "recipes/drill.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace muster {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

Time At(Duration time) { return Time(time); }

class DrillLedgerTest : public ::testing::Test {
 protected:
  void Accept(Duration time, bool confirmed = false) {
    const int64_t number = ledger.Sent(range, confirmed);
    ledger.Acknowledged(range, confirmed, number, At(time));
  }
  void Refuse(Duration time, const std::string& why = "refused") {
    ledger.Sent(range, false);
    ledger.Failed(range, false, DrillFault::kOther, why, At(time));
  }
  const DrillWrites& plain() const { return ledger.ranges()[range].plain; }
  const DrillWrites& confirmed() const { return ledger.ranges()[range].confirmed; }

  DrillLedger ledger;
  const size_t range = ledger.AddRange("0-5460");
};

TEST_F(DrillLedgerTest, MeasuresTheLongestTimeBetweenTwoAcknowledgedWritesSinceTheBreak) {
  Accept(10ms);
  Accept(900ms);
  ledger.Broken(At(1000ms));
  Accept(1005ms);
  Accept(1010ms);
  Refuse(1020ms);
  Refuse(1030ms);
  Accept(1120ms);
  Accept(1125ms);
  EXPECT_EQ(plain().longest_gap, 110ms);
  EXPECT_EQ(plain().outage, 100ms);
  EXPECT_EQ(plain().failed, 2);
  EXPECT_THAT(plain().acknowledged, ElementsAre(1, 2, 3, 4, 7, 8));
}

TEST_F(DrillLedgerTest, KnowsNoOutageWhereNoWriteFailed) {
  ledger.Broken(At(1000ms));
  Accept(1004ms);
  Accept(1010ms);
  EXPECT_FALSE(plain().outage);
  EXPECT_EQ(plain().first_failure, "");
  EXPECT_EQ(plain().longest_gap, 6ms);
}

TEST_F(DrillLedgerTest, LeavesWhatFailedBeforeTheBreakAside) {
  Refuse(10ms, "too early");
  ledger.Broken(At(1000ms));
  Accept(1005ms);
  EXPECT_FALSE(plain().outage);
  Refuse(1010ms, "first");
  Refuse(1020ms, "second");
  Accept(1030ms);
  EXPECT_EQ(plain().outage, 20ms);
  EXPECT_EQ(plain().first_failure, "first");
}

TEST_F(DrillLedgerTest, TakesTheLongestOfSeveralOutages) {
  ledger.Broken(At(0ms));
  Refuse(10ms);
  Accept(110ms);
  Refuse(120ms);
  Accept(150ms);
  EXPECT_EQ(plain().outage, 100ms);
}

TEST_F(DrillLedgerTest, EndsAnOutageThatNoWriteHasEnded) {
  Accept(900ms);
  ledger.Broken(At(1000ms));
  Refuse(1300ms);
  ledger.Ended(At(5000ms));
  EXPECT_EQ(plain().outage, 3700ms);
  EXPECT_EQ(plain().longest_gap, 4000ms);
}

TEST_F(DrillLedgerTest, CountsAWriteThatNoReplicaHasConfirmedAsNeitherAcknowledgedNorRefused) {
  ledger.Broken(At(0ms));
  ledger.Sent(range, true);
  ledger.Unconfirmed(range, At(10ms));
  Accept(60ms, true);
  EXPECT_EQ(confirmed().unconfirmed, 1);
  EXPECT_EQ(confirmed().failed, 0);
  EXPECT_THAT(confirmed().acknowledged, ElementsAre(2));
  EXPECT_EQ(confirmed().outage, 50ms);
  EXPECT_THAT(plain().acknowledged, IsEmpty());
}

TEST_F(DrillLedgerTest, CountsConnectionsThatEndedOrWereRefusedApartFromRedirectsAndOtherErrors) {
  ledger.Broken(At(0ms));
  ledger.Redirected(range, false, 2);
  Refuse(10ms);
  ledger.Failed(range, false, DrillFault::kReset, "reset", At(20ms));
  ledger.Failed(range, false, DrillFault::kRefused, "refused", At(30ms));
  ledger.Failed(range, false, DrillFault::kRefused, "refused", At(40ms));
  EXPECT_EQ(plain().failed, 4);
  EXPECT_EQ(plain().resets, 1);
  EXPECT_EQ(plain().refused, 2);
  EXPECT_EQ(plain().redirects, 2);
}

TEST_F(DrillLedgerTest, TellsWhetherEveryRangeServes) {
  const size_t other = ledger.AddRange("5461-16383");
  ledger.Broken(At(1000ms));
  EXPECT_FALSE(ledger.AllServe(At(1000ms), At(1000ms), 100ms));
  Accept(1010ms);
  EXPECT_FALSE(ledger.AllServe(At(1000ms), At(1020ms), 100ms)) << "the other has said nothing yet";
  ledger.Acknowledged(other, false, ledger.Sent(other, false), At(1020ms));
  EXPECT_TRUE(ledger.AllServe(At(1000ms), At(1020ms), 100ms));
  EXPECT_FALSE(ledger.AllServe(At(1000ms), At(1200ms), 100ms)) << "that was a while ago";
  EXPECT_FALSE(ledger.AllServe(At(1015ms), At(1020ms), 100ms)) << "the first one's was before";
  EXPECT_EQ(ledger.fewest_acknowledged(), 1u);
}

TEST_F(DrillLedgerTest, CountsLostWritesApartByWhetherAReplicaHadConfirmedThem) {
  const size_t other = ledger.AddRange("5461-16383");
  ledger.Lost(range, false, 4);
  ledger.Lost(other, false, 1);
  EXPECT_EQ(ledger.lost(false), 2u);
  EXPECT_EQ(ledger.lost(true), 0u);
  ledger.Lost(other, true, 9);
  EXPECT_EQ(ledger.lost(true), 1u);
}

}  // namespace
}  // namespace muster
