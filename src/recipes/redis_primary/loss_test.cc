// All members lose their data at once, against a small model of Redis.
#include <gmock/gmock.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/files.h"
#include "recipes/redis_primary/health.h"
#include "recipes/redis_primary/record.h"
#include "recipes/redis_primary/testing_model.h"

namespace muster::redis_primary {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Step Failover(const char* accept = "") {
  std::map<std::string, std::string> args;
  if (*accept) args["accept_loss"] = accept;
  return Awaited("failover", "cache", args);
}

// Formed, with one write that all have, and then no data in any folder.
void LoseAll(Model& model) {
  model.Settle();
  model.Write(1);
  model.Pass(0ms);
  model.Think();
  for (int i = 1; i <= static_cast<int>(model.size()); ++i) model.Kill(i);
  for (int i = 1; i <= static_cast<int>(model.size()); ++i) {
    model.Wipe(i);
    model.Restart(i);
  }
}

TEST(RedisPrimaryLoss, OfAllDataIsLeftToAPersonAndTheCommandIsNamed) {
  Model model(3);
  LoseAll(model);
  for (int i = 0; i < 50; ++i) {
    const Mending mending = model.Think();
    EXPECT_THAT(mending.orders, IsEmpty());
    ASSERT_EQ(mending.says.size(), 1u);
    EXPECT_THAT(mending.says[0], HasSubstr("muster failover cache --accept-loss"));
    const ServiceHealth health = model.HealthNow();
    EXPECT_EQ(health.health, Health::kRed);
    EXPECT_THAT(health.reasons, Contains(HasSubstr("all data is gone: cache-1, cache-2, cache-3 had it")));
    model.Pass(500ms);
  }
  EXPECT_EQ(model.primary(), "");
}

// The only one with data is cut off, or its host is gone for good: --force doesn't begin anew, empty.
TEST(RedisPrimaryLoss, OfWhatOnlyASilentHostHasIsAcceptedByItsNameOnly) {
  for (int variant = 0; variant < 4; ++variant) {
    const bool new_server = variant % 2 == 1, heals = variant >= 2;
    Model model(2);
    model.Settle();
    model.Write(1);
    model.Pass(0ms);
    model.Think();
    model.Replace(2);
    model.Cut(1);
    if (new_server) model.NewServer();
    const Step forced = Awaited("failover", "cache-f", {{"force", "yes"}});
    for (int i = 0; i < 100; ++i) {
      const Mending mending = model.Think({&forced});
      EXPECT_EQ(mending.refused.at(forced.id).code(), "failover-refused");
      EXPECT_THAT(mending.refused.at(forced.id).message(), HasSubstr("cache-1 may have"));
      for (const Order& order : mending.orders) model.Obey(order);
      model.Pass(100ms);
    }
    EXPECT_NE(model.primary(), "cache-2");
    const Step asked = Failover("ask");
    EXPECT_EQ(model.Think({&asked}).refused.at(asked.id).code(), "confirm-name");

    if (heals) {
      model.Heal(1);
      model.Settle();
      EXPECT_EQ(model.primary(), "cache-1");
      EXPECT_THAT(model[1].writes, Contains(1));
      EXPECT_THAT(model[2].writes, Contains(1));
      continue;
    }
    model.Force();
    const Step accepted = Failover("yes");
    for (int i = 0; i < 200 && model.primary() != "cache-2"; ++i) {
      for (const Order& order : model.Think({&accepted}).orders) model.Obey(order);
      model.Pass(50ms);
    }
    EXPECT_EQ(model.primary(), "cache-2");
  }
}

TEST(RedisPrimaryLoss, IsRememberedByWhoeverComesAfter) {
  Model model(3);
  LoseAll(model);
  model.Settle();
  model.NewServer();
  for (int i = 1; i <= 3; ++i) model.Restart(i);
  model.Settle();
  EXPECT_EQ(model.primary(), "");
}

TEST(RedisPrimaryLoss, OfTheOnlyMemberIsOneToo) {
  Model model(1);
  LoseAll(model);
  model.Settle();
  EXPECT_EQ(model.primary(), "");
}

TEST(RedisPrimaryLoss, IsRefusedByFailoverWithOrWithoutForceAndSaidBeforeItIsAccepted) {
  Model model(3);
  LoseAll(model);
  const Step plain = Failover();
  const Error refused = model.Think({&plain}).refused.at(plain.id);
  EXPECT_EQ(refused.code(), "failover-refused");
  EXPECT_THAT(refused.message(), HasSubstr("cache-1, cache-2, cache-3 have lost their data"));
  EXPECT_THAT(refused.hint(), HasSubstr("--accept-loss"));
  const Step forced = Awaited("failover", "cache-f", {{"force", "yes"}});
  EXPECT_EQ(model.Think({&forced}).refused.at(forced.id).code(), "failover-refused");
  const Step asked = Failover("ask");
  const Mending mending = model.Think({&asked});
  EXPECT_EQ(mending.refused.at(asked.id).code(), "confirm-name");
  EXPECT_THAT(mending.orders, IsEmpty());
}

TEST(RedisPrimaryLoss, ThatIsAcceptedMakesAnEmptyOnePrimaryAndAllIsAsEverAfterwards) {
  Model model(3);
  LoseAll(model);
  model.Settle();
  const Step accepted = Failover("yes");
  const Mending done = model.Settle({&accepted});
  EXPECT_EQ(model.primary(), "cache-1");
  EXPECT_EQ(done.waits.at(accepted.id), std::nullopt);
  model.Settle();
  for (int i = 1; i <= 3; ++i) EXPECT_EQ(model[i].lost, 0) << i;
  model.Write(2);
  model.Pass(0ms);
  model.Think();
  model.Kill(1);
  model.Settle();
  EXPECT_NE(model.primary(), "");
  EXPECT_NE(model.primary(), "cache-1");
}

TEST(RedisPrimaryLoss, ThatIsAcceptedPrefersWhomDataWasBroughtBackTo) {
  Model model(3);
  LoseAll(model);
  model[2].writes = {1};
  model[2].data = true;
  const Step accepted = Failover("yes");
  model.Settle({&accepted});
  EXPECT_EQ(model.primary(), "cache-2");
}

TEST(RedisPrimaryLoss, CannotBeAcceptedWhereSomebodyHasData) {
  Model model(3);
  model.Settle();
  const Step asked = Failover("ask");
  EXPECT_EQ(model.Think({&asked}).refused.at(asked.id).code(), "primary-is-well");
  EXPECT_EQ(model.primary(), "cache-1");
}

TEST(RedisPrimaryLoss, OfAllWhoAreHeardIsNotOfAll) {
  Model model(3);
  model.Settle();
  model.Write(1);
  model.Pass(0ms);
  model.Think();
  for (int i = 1; i <= 2; ++i) {
    model.Kill(i);
    model.Wipe(i);
  }
  model.Kill(3);
  for (int i = 1; i <= 3; ++i) model.Restart(i);
  model.Settle();
  EXPECT_EQ(model.primary(), "cache-3");
  EXPECT_EQ(model[1].writes, std::vector<int>{1});
}

TEST(RedisPrimaryRecord, OfALossOutlastsTheAgentsOwnNotes) {
  std::string folder = "/tmp/muster-loss.XXXXXX";
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  ASSERT_TRUE(MakeFolder(folder + "/data").ok());
  const Record record{.term = 7, .aim = "fenced", .lost = 5};
  EXPECT_EQ(ParseRecord(FormatRecord(record)), record);
  ASSERT_TRUE(MarkData(folder, record, {.uid = getuid(), .gid = getgid()}).ok());
  const Record read = ReadRecord(folder + "/none", folder);
  EXPECT_EQ(read.lost, 5);
  EXPECT_EQ(read.copy, 0);
  EXPECT_EQ(read.term, 5);
  fs::remove_all(folder);
}

TEST(RedisPrimaryLoss, IsForgottenByWhoeverHasDataAgain) {
  const Record lost{.term = 7, .aim = "fenced", .lost = 5};
  EXPECT_EQ(RecordBefore({.verb = "promote", .term = 8, .copy = "0"}, lost, 1).lost, 0);
  EXPECT_EQ(RecordBefore({.verb = "follow", .term = 8, .host = "h", .port = 1}, lost, 1).lost, 5);
}

}  // namespace
}  // namespace muster::redis_primary
