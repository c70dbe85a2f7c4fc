// The client of a drill, against real servers: what it takes for acknowledged, for lost, and for an outage.
#include "recipes/redis_cluster/drill.h"

#include "recipes/redis/testing_drill.h"
#include "recipes/redis_cluster/testing_member.h"

namespace muster::redis_cluster {
namespace {

using ::testing::SizeIs;

class DrillClientTest : public redis::DrillTest<MembersTest> {
 protected:
  void Begin(int replicas) {
    Form(replicas);
    DrillClient::Setup setup{.loop = &loop_, .members = {}, .name = "test", .forget_after = 600s};
    for (const auto& member : members_) setup.members.push_back(member->instance);
    client = MakeDrillClient(std::move(setup));
    const Status begun = loop_.RunTask(client->Begin());
    ASSERT_TRUE(begun.ok()) << begun.error().Text();
    ASSERT_THAT(ranges(), SizeIs(3));
  }
  int64_t KeysOf(size_t member) { return Ask(*members_[member], {"DBSIZE"}).integer; }
};

TEST_F(DrillClientTest, ReadsBackWhatWasAcknowledgedAndLeavesNothing) {
  Begin(1);
  EXPECT_EQ(ranges()[0].name, "0-5460");
  client->ledger().Broken(Now());
  ASSERT_TRUE(AllHave(30));
  EXPECT_TRUE(Eventually([&] { return ranges()[2].confirmed.acknowledged.size() >= 10; }));
  End();
  for (const DrillRange& range : ranges()) {
    EXPECT_EQ(range.plain.failed + range.confirmed.failed, 0) << range.plain.first_failure;
    EXPECT_GE(range.confirmed.acknowledged.size(), 1u);
    EXPECT_FALSE(range.plain.outage);
  }
  EXPECT_EQ(client->ledger().lost(false) + client->ledger().lost(true), 0u);
  EXPECT_GT(KeysOf(0), 0);
  CleanUp();
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(KeysOf(i), 0);
}

TEST_F(DrillClientTest, FindsWhatIsGone) {
  Begin(0);
  ASSERT_TRUE(AllHave(20));
  Stop();
  const size_t had = ranges()[1].plain.acknowledged.size();
  Ask(*members_[1], {"FLUSHALL"});
  End();
  EXPECT_THAT(ranges()[0].plain.lost, SizeIs(0));
  EXPECT_THAT(ranges()[1].plain.lost, SizeIs(had));
  EXPECT_THAT(ranges()[2].plain.lost, SizeIs(0));
  CleanUp();
}

TEST_F(DrillClientTest, TakesNothingForConfirmedThatNoReplicaHas) {
  Begin(0);
  ASSERT_TRUE(AllHave(60));
  EXPECT_TRUE(Eventually([&] { return ranges()[0].confirmed.unconfirmed > 0; }));
  End();
  for (const DrillRange& range : ranges()) EXPECT_THAT(range.confirmed.acknowledged, SizeIs(0));
  CleanUp();
}

TEST_F(DrillClientTest, FollowsToWhoeverTakesOverFromOneThatWasKilled) {
  Begin(1);
  ASSERT_TRUE(AllHave(20));
  client->ledger().Broken(Now());
  members_[0]->server->Signal(SIGKILL);
  members_[0]->server->Reap();
  EXPECT_TRUE(Eventually([&] { return ranges()[0].plain.failed > 3; }));
  Ask(*members_[3], {"CLUSTER", "FAILOVER", "TAKEOVER"});
  EXPECT_TRUE(AllServeAgain());
  End();
  EXPECT_TRUE(ranges()[0].plain.outage);
  EXPECT_FALSE(ranges()[0].plain.first_failure.empty());
  EXPECT_FALSE(ranges()[1].plain.outage) << ranges()[1].plain.first_failure;
  EXPECT_EQ(client->ledger().lost(true), 0u);
  CleanUp();
}

TEST_F(DrillClientTest, IsNotHeldUpByOneThatIsFrozen) {
  Begin(1);
  ASSERT_TRUE(AllHave(20));
  client->ledger().Broken(Now());
  members_[0]->server->Signal(SIGSTOP);
  Ask(*members_[3], {"CLUSTER", "FAILOVER", "TAKEOVER"});
  EXPECT_TRUE(AllServeAgain());
  EXPECT_TRUE(ranges()[0].plain.outage);
  members_[0]->server->Signal(SIGKILL);
  End();
  CleanUp();
}

TEST_F(DrillClientTest, SaysThatNobodyAnswers) {
  DrillClient::Setup setup{.loop = &loop_, .members = {}, .name = "test", .forget_after = 600s};
  Instance nobody;
  nobody.address = "127.0.0.1";
  nobody.ports["port"] = {.first = redis::FreeRedisPort()};
  setup.members.push_back(nobody);
  client = MakeDrillClient(std::move(setup));
  EXPECT_EQ(loop_.RunTask(client->Begin()).error().code(), "drill-client");
}

}  // namespace
}  // namespace muster::redis_cluster
