// The client of a drill, against a real primary and its replicas: whom it writes to, and what it takes for
// lost.
#include "recipes/redis_primary/drill.h"

#include <fmt/format.h>

#include "recipes/redis/testing_drill.h"
#include "recipes/redis_primary/layout.h"

namespace muster::redis_primary {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class DrillPrimaryClientTest : public redis::DrillTest<redis::RedisTest> {
 protected:
  static constexpr const char* kPassword = "drilled";

  // The first server is the primary.
  void Begin(int servers) {
    DrillClient::Setup setup{.loop = &loop_, .members = {}, .name = "test", .forget_after = 600s};
    for (int i = 0; i < servers; ++i) {
      redis::RedisServer& server = StartRedis({{"requirepass", {kPassword}}, {"masterauth", {kPassword}}});
      if (i > 0) Follow(i, 0);
      Instance instance;
      instance.name = fmt::format("cache-{}", i + 1);
      instance.address = "127.0.0.1";
      instance.ports["port"] = {.first = server.port()};
      const std::string secret = redis::RenderConf({{"requirepass", {kPassword}}});
      instance.files = {{.path = "secret.conf", .content = secret}};
      setup.members.push_back(std::move(instance));
    }
    // Asked from the last: who isn't primary says who is.
    std::reverse(setup.members.begin(), setup.members.end());
    for (int i = 1; i < servers; ++i) ASSERT_TRUE(Eventually([&] { return IsLinked(i); }));
    client = MakeDrillClient(std::move(setup));
    const Status begun = loop_.RunTask(client->Begin());
    ASSERT_TRUE(begun.ok()) << begun.error().Text();
    ASSERT_THAT(ranges(), SizeIs(1));
  }
  net::resp::Value Ask(int server, net::resp::Command command) {
    return Call(*servers_[static_cast<size_t>(server)], std::move(command), kPassword);
  }
  void Follow(int server, int primary) {
    const std::string port = std::to_string(servers_[static_cast<size_t>(primary)]->port());
    EXPECT_TRUE(Ask(server, {"REPLICAOF", "127.0.0.1", port}).is_ok());
  }
  bool IsLinked(int server) {
    return Ask(server, {"INFO", "replication"}).text.find("master_link_status:up") != std::string::npos;
  }
  void Promote(int server) { EXPECT_TRUE(Ask(server, {"REPLICAOF", "NO", "ONE"}).is_ok()); }
  void Fence(int server) {
    EXPECT_TRUE(Ask(server, {"REPLICAOF", kFenceHost, std::to_string(kFencePort)}).is_ok());
  }
  const DrillRange& range() { return ranges().front(); }
};

TEST_F(DrillPrimaryClientTest, WritesToThePrimaryReadsBackAndLeavesNothing) {
  Begin(2);
  client->ledger().Broken(Now());
  ASSERT_TRUE(AllHave(30));
  EXPECT_TRUE(Eventually([&] { return range().confirmed.acknowledged.size() >= 10; }));
  End();
  EXPECT_EQ(range().plain.failed + range().confirmed.failed, 0) << range().plain.first_failure;
  EXPECT_EQ(client->ledger().lost(false) + client->ledger().lost(true), 0u);
  EXPECT_GT(Ask(0, {"DBSIZE"}).integer, 0);
  CleanUp();
  EXPECT_EQ(Ask(0, {"DBSIZE"}).integer, 0);
}

TEST_F(DrillPrimaryClientTest, FollowsToWhoeverIsPromotedAndCountsTheOutage) {
  Begin(3);
  ASSERT_TRUE(AllHave(20));
  client->ledger().Broken(Now());
  servers_[0]->Signal(SIGKILL);
  servers_[0]->Reap();
  EXPECT_TRUE(Eventually([&] { return range().plain.failed > 3; }));
  Promote(1);
  Follow(2, 1);
  EXPECT_TRUE(AllServeAgain());
  End();
  EXPECT_TRUE(range().plain.outage);
  EXPECT_FALSE(range().plain.first_failure.empty());
  CleanUp();
}

TEST_F(DrillPrimaryClientTest, IsNotHeldUpByOneThatIsFrozen) {
  Begin(2);
  ASSERT_TRUE(AllHave(20));
  client->ledger().Broken(Now());
  servers_[0]->Signal(SIGSTOP);
  Promote(1);
  EXPECT_TRUE(AllServeAgain());
  servers_[0]->Signal(SIGKILL);
  End();
  CleanUp();
}

TEST_F(DrillPrimaryClientTest, CountsNothingThatAFencedMemberRefuses) {
  Begin(2);
  ASSERT_TRUE(AllHave(20));
  client->ledger().Broken(Now());
  Fence(0);
  EXPECT_TRUE(Eventually([&] { return range().plain.failed > 20; }));
  EXPECT_THAT(range().plain.first_failure, HasSubstr("is no primary"));
  Promote(0);
  EXPECT_TRUE(AllServeAgain());
  End();
  EXPECT_EQ(client->ledger().lost(false) + client->ledger().lost(true), 0u);
  CleanUp();
}

// What a replica still has isn't there any more.
TEST_F(DrillPrimaryClientTest, ReadsBackFromThePrimaryOnly) {
  Begin(2);
  ASSERT_TRUE(AllHave(20));
  Stop();
  const size_t had = range().plain.acknowledged.size();
  Fence(1);
  Ask(0, {"FLUSHALL"});
  End();
  EXPECT_THAT(range().plain.lost, SizeIs(had));
  CleanUp();
}

TEST_F(DrillPrimaryClientTest, TakesNothingForConfirmedThatNoReplicaHas) {
  Begin(1);
  ASSERT_TRUE(AllHave(60));
  EXPECT_TRUE(Eventually([&] { return range().confirmed.unconfirmed > 0; }));
  End();
  EXPECT_THAT(range().confirmed.acknowledged, IsEmpty());
  CleanUp();
}

TEST_F(DrillPrimaryClientTest, SaysThatThereIsNoPrimary) {
  redis::RedisServer& server = StartRedis({});
  EXPECT_TRUE(Call(server, {"REPLICAOF", kFenceHost, std::to_string(kFencePort)}).is_ok());
  DrillClient::Setup setup{.loop = &loop_, .members = {}, .name = "test", .forget_after = 600s};
  Instance instance;
  instance.address = "127.0.0.1";
  instance.ports["port"] = {.first = server.port()};
  setup.members.push_back(instance);
  client = MakeDrillClient(std::move(setup));
  const Status begun = loop_.RunTask(client->Begin());
  ASSERT_FALSE(begun.ok());
  EXPECT_EQ(begun.error().code(), "drill-client");
  EXPECT_THAT(begun.error().Text(), HasSubstr("no primary"));
}

}  // namespace
}  // namespace muster::redis_primary
