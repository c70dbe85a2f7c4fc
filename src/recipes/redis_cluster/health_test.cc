// What is told of a Redis Cluster, from the facts of its members.
#include "recipes/redis_cluster/health.h"

#include <gmock/gmock.h>

#include "base/text.h"
#include "model/not_asked.h"
#include "recipes/redis_cluster/picture.h"
#include "recipes/redis_cluster/testing_cluster.h"

namespace muster::redis_cluster {
namespace {

using testing::Cache;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::Hosts;
using ::testing::IsEmpty;
using testing::LayOut;
using testing::NodeId;
using ::testing::Not;
using ::testing::Pair;
using testing::World;

class RedisClusterHealthTest : public ::testing::Test {
 protected:
  ServiceHealth Look() const { return HealthOf(desired_, world_.Observe()); }

  const std::vector<Instance> desired_ = LayOut(Cache(), Hosts(3));
  World world_{desired_, 3};
};

TEST_F(RedisClusterHealthTest, AllIsWell) {
  const ServiceHealth health = Look();
  EXPECT_EQ(health.health, Health::kGreen);
  EXPECT_THAT(health.reasons, IsEmpty());
  EXPECT_THAT(health.unsettled, IsEmpty());
}

TEST_F(RedisClusterHealthTest, RolesAreToldByName) {
  world_.nodes["cache-5"].link = false;
  world_.nodes["cache-6"].more["behind"] = "2048";
  EXPECT_THAT(RolesOf(desired_, world_.Observe()),
              ElementsAre(Pair("cache-1", "primary of 0-5460"), Pair("cache-2", "primary of 5461-10922"),
                          Pair("cache-3", "primary of 10923-16383"),
                          Pair("cache-4", "replica of cache-1, 0 B behind"),
                          Pair("cache-5", "replica of cache-2, not linked"),
                          Pair("cache-6", "replica of cache-3, 2.0 KiB behind")));
  world_.nodes["cache-1"].slots = {};
  EXPECT_EQ(RolesOf(desired_, world_.Observe()).at("cache-1"), "primary without slots");
}

TEST_F(RedisClusterHealthTest, AMasterWhoseHostIsSilentIsNotGoneUnlessOthersMissIt) {
  auto observed = world_.Observe();
  observed["cache-1"].state = InstanceState::kUnknown;
  const ServiceHealth silent = HealthOf(desired_, observed);
  EXPECT_EQ(silent.health, Health::kYellow) << Join(silent.reasons, "; ");
  EXPECT_THAT(silent.reasons,
              Contains("cache-1's host is silent: whether slots 0-5460 are served is not known"));
  EXPECT_THAT(silent.reasons, Not(Contains(HasSubstr("gone"))));
  std::string& view = observed["cache-2"].facts["view"];
  const size_t line = view.find(NodeId("cache-1"));
  view.replace(view.find(" master ", line), 8, " master,fail ");
  const ServiceHealth missed = HealthOf(desired_, observed);
  EXPECT_EQ(missed.health, Health::kRed);
  EXPECT_THAT(missed.reasons, Contains(HasSubstr("slots 0-5460 are out: cache-1 is gone")));
}

// What an agent that has just started knows of them: they run, and were ready.
TEST_F(RedisClusterHealthTest, AMasterWhoseAgentHasJustComeBackIsNotGoneUnlessOthersMissIt) {
  auto observed = world_.Observe();
  observed["cache-1"].facts.clear();
  observed["cache-5"].facts = {{kNotAskedFact, "yes"}};
  const ServiceHealth back = HealthOf(desired_, observed);
  EXPECT_EQ(back.health, Health::kYellow);
  EXPECT_THAT(
      back.reasons,
      ElementsAre("cache-1's agent has just come back: whether slots 0-5460 are served is not known yet",
                  "the agent of cache-5 has just come back: whether it is linked to cache-2 is not "
                  "known yet"));
  std::string& view = observed["cache-2"].facts["view"];
  const size_t line = view.find(NodeId("cache-1"));
  view.replace(view.find(" master ", line), 8, " master,fail ");
  const ServiceHealth missed = HealthOf(desired_, observed);
  EXPECT_EQ(missed.health, Health::kRed);
  EXPECT_THAT(missed.reasons, Contains(HasSubstr("slots 0-5460 are out: cache-1 is gone")));
}

// Its agent is connected, and what the server has of it is older than that.
TEST_F(RedisClusterHealthTest, AMasterWhoseAgentHasYetToTellIsNotSaidToBeOnASilentHost) {
  auto observed = world_.Observe();
  observed["cache-1"].state = InstanceState::kUnknown;
  observed["cache-1"].facts[kNotAskedFact] = "yes";
  const ServiceHealth health = HealthOf(desired_, observed);
  EXPECT_EQ(health.health, Health::kYellow);
  EXPECT_THAT(health.reasons, Contains(HasSubstr("cache-1's agent has just come back")));
  EXPECT_THAT(health.reasons, Not(Contains(HasSubstr("silent"))));
}

TEST_F(RedisClusterHealthTest, AMasterThatIsKnownToHaveEndedIsRedThoughItsAgentHasJustComeBack) {
  auto observed = world_.Observe();
  Observed& master = observed["cache-1"];
  const auto look = [&] { return HealthOf(desired_, observed).health; };
  master.facts.clear();
  master.state = InstanceState::kStarting;  // started by this agent
  EXPECT_EQ(look(), Health::kRed);
  master.facts = {{kNotAskedFact, "yes"}};  // by the one before, and may have come to serve since
  EXPECT_EQ(look(), Health::kYellow);
  master.last_exit = "signal 9";
  EXPECT_EQ(look(), Health::kRed);
  master.facts.clear();
  master.state = InstanceState::kBackoff;
  EXPECT_EQ(look(), Health::kRed);
}

TEST_F(RedisClusterHealthTest, WhereAllAgentsHaveJustComeBackNothingIsKnown) {
  auto observed = world_.Observe();
  for (auto& [name, seen] : observed) seen.facts.clear();
  const ServiceHealth health = HealthOf(desired_, observed);
  EXPECT_EQ(health.health, Health::kYellow);
  EXPECT_THAT(health.reasons,
              ElementsAre("the agents of cache-1, cache-2, cache-3, cache-4, cache-5, cache-6 have just come "
                          "back: whether all slots are served is not known yet"));
}

TEST_F(RedisClusterHealthTest, BeforeItIsFormedNothingIsServed) {
  for (auto& [name, node] : world_.nodes) node.slots = {};
  const ServiceHealth health = Look();
  EXPECT_EQ(health.health, Health::kRed);
  EXPECT_THAT(health.reasons, ElementsAre(HasSubstr("not formed")));
}

TEST_F(RedisClusterHealthTest, WhereAllDataFoldersAreLostItSaysSoAndWhatToDo) {
  for (auto& [name, node] : world_.nodes) {
    node.slots = {};
    node.follows = "";
    node.more = {{"empty", "yes"}, {"lost", "yes"}};
  }
  ServiceHealth health = Look();
  EXPECT_EQ(health.health, Health::kRed);
  EXPECT_THAT(health.reasons, Contains(HasSubstr("muster failover cache --accept-loss")));
  world_.nodes.begin()->second.more.erase("empty");  // it may have keys
  health = Look();
  EXPECT_EQ(health.health, Health::kRed);
  EXPECT_THAT(health.reasons, Contains(HasSubstr("the cluster is not formed")));
}

TEST_F(RedisClusterHealthTest, WhereNobodyHasSaidAnythingTheMembersStatesAreAllThereIs) {
  const ServiceHealth health = HealthOf(desired_, {});
  EXPECT_EQ(health.health, Health::kRed);
  EXPECT_EQ(health.reasons.size(), 6u);
}

TEST_F(RedisClusterHealthTest, SlotsThatNobodyHasAreRed) {
  world_.nodes["cache-1"].slots -= redis::SlotSet::Range(100, 200);
  const ServiceHealth health = Look();
  EXPECT_EQ(health.health, Health::kRed);
  EXPECT_THAT(health.reasons, ElementsAre("nobody has slots 100-200"));
}

TEST_F(RedisClusterHealthTest, ADeadMasterIsRedUntilItsReplicaHasTakenOver) {
  world_.nodes["cache-1"].state = InstanceState::kBackoff;
  ServiceHealth health = Look();
  EXPECT_EQ(health.health, Health::kRed);
  EXPECT_THAT(health.reasons,
              ElementsAre("slots 0-5460 are out: cache-1 is gone, and cache-4 has not taken over yet",
                          "cache-1 is backoff"));
  // Now it has.
  world_.nodes["cache-4"].slots = std::exchange(world_.nodes["cache-1"].slots, {});
  world_.nodes["cache-4"].follows = "";
  world_.nodes["cache-4"].epoch = 9;
  health = Look();
  EXPECT_EQ(health.health, Health::kYellow);
  EXPECT_THAT(health.reasons,
              ElementsAre("slots 0-5460 of cache-4 have no replica that is linked", "cache-1 is backoff"));
}

TEST_F(RedisClusterHealthTest, AWipedMemberIsMissedUntilItIsBack) {
  World alone(std::vector<Instance>{desired_[3]}, 1);
  alone.nodes["cache-4"].slots = {};
  auto observed = world_.Observe();
  const std::string id(40, 'a');
  std::string view = alone.View();
  view.replace(0, 40, id);
  observed["cache-4"].facts = {{"role", "master"}, {"node", id}, {"view", view}, {"cluster", "fail"}};
  for (auto& [name, seen] : observed) {
    std::string& others = seen.facts["view"];
    const size_t at = others.find(NodeId("cache-4"));
    if (at != std::string::npos) others.erase(at, others.find('\n', at) + 1 - at);
  }
  const ServiceHealth health = HealthOf(desired_, observed);
  EXPECT_THAT(health.reasons, Contains("slots 0-5460 of cache-1 have no replica that is linked"));
  EXPECT_THAT(health.reasons, Contains("cache-4 does not belong to the cluster yet"));
  EXPECT_EQ(health.health, Health::kYellow);
}

TEST_F(RedisClusterHealthTest, AShardThatIsGoneIsSaidPlainly) {
  world_.nodes["cache-1"].state = world_.nodes["cache-4"].state = InstanceState::kFailed;
  const ServiceHealth health = Look();
  EXPECT_EQ(health.health, Health::kRed);
  EXPECT_EQ(health.reasons.front(),
            "slots 0-5460 are out: neither cache-1 nor cache-4 is there, and nobody else has their keys");
}

// Who comes back without a folder is another node; what they were is known by its id or address only.
TEST_F(RedisClusterHealthTest, AShardWhoseDataFoldersAreLostIsSaidPlainly) {
  auto observed = world_.Observe();
  std::vector<Instance> desired = desired_;
  for (const char* lost : {"cache-1", "cache-4"}) {
    observed.erase(lost);
    std::erase_if(desired, [&](const Instance& instance) { return instance.name == lost; });
  }
  const ServiceHealth health = HealthOf(desired, observed);
  EXPECT_EQ(health.health, Health::kRed);
  EXPECT_THAT(health.reasons.front(), AllOf(HasSubstr("slots 0-5460 are out: they belong to node "),
                                            HasSubstr("loss of a data folder")));
}

// Their agents remember which nodes they were.
TEST_F(RedisClusterHealthTest, AShardWhoseDataFoldersAreLostIsToldByTheNamesOfWhoHadIt) {
  auto observed = world_.Observe();
  const std::string was_1 = NodeId("cache-1"), was_4 = NodeId("cache-4") + ">" + was_1;
  const auto lose = [&](const std::string& name, const std::string& was, char id) {
    observed[name].facts = {{"role", "master"}, {"node", std::string(40, id)}, {"was", was}};
    observed[name].facts["view"] =
        std::string(40, id) + " " + observed["cache-2"].host + ":1 master - 0 connected";
  };
  lose("cache-1", was_1, 'a');
  lose("cache-4", was_4, 'b');
  EXPECT_EQ(
      HealthOf(desired_, observed).reasons.front(),
      "slots 0-5460 are out: cache-1 and cache-4 had them, and lost their data folders; nobody has a copy of "
      "their keys: muster failover cache --accept-loss gives them out again, empty");
}

TEST_F(RedisClusterHealthTest, AReplicaThatIsNotLinkedIsYellow) {
  world_.nodes["cache-5"].link = false;
  const ServiceHealth health = Look();
  EXPECT_EQ(health.health, Health::kYellow);
  EXPECT_THAT(health.reasons, ElementsAre("slots 5461-10922 of cache-2 have no replica that is linked",
                                          "cache-5 is not linked to its primary cache-2"));
}

TEST_F(RedisClusterHealthTest, AReplicaAtTheWrongMasterLeavesAnotherWithout) {
  world_.nodes["cache-5"].follows = "cache-1";
  const ServiceHealth health = Look();
  EXPECT_EQ(health.health, Health::kYellow);
  EXPECT_THAT(health.reasons, ElementsAre("slots 5461-10922 of cache-2 have no replica that is linked"));
}

TEST_F(RedisClusterHealthTest, AMasterThatRefusesWritesIsRed) {
  world_.nodes["cache-2"].more["write"] = "the disk is full";
  EXPECT_EQ(Look().health, Health::kRed);
  EXPECT_THAT(Look().reasons, ElementsAre("cache-2 refuses writes: the disk is full"));
  world_.nodes["cache-2"].more.clear();
  world_.nodes["cache-5"].more["write"] = "the disk is full";
  EXPECT_EQ(Look().health, Health::kYellow);
}

TEST_F(RedisClusterHealthTest, AClusterThatCallsItselfDownIsRed) {
  world_.nodes["cache-2"].more["cluster"] = "fail";
  EXPECT_EQ(Look().health, Health::kRed);
  EXPECT_THAT(Look().reasons, ElementsAre("cache-2 says that the cluster is down (cluster_state:fail)"));
  world_.nodes["cache-2"].more.clear();
  world_.nodes["cache-5"].more["cluster"] = "fail";
  EXPECT_EQ(Look().health, Health::kYellow);
}

TEST_F(RedisClusterHealthTest, OwnersThatAreSeenDifferentlyAreYellow) {
  World before = world_;
  before.nodes["cache-1"].slots -= redis::SlotSet::Range(0, 9);
  before.nodes["cache-2"].slots |= redis::SlotSet::Range(0, 9);
  world_.nodes["cache-6"].more["view"] = before.View();
  const ServiceHealth health = Look();
  EXPECT_EQ(health.health, Health::kYellow);
  EXPECT_THAT(health.reasons, ElementsAre("not all members agree who has slots 0-9"));
  EXPECT_THAT(health.unsettled, ElementsAre("cache-6 sees not the same as the others yet"));
}

TEST_F(RedisClusterHealthTest, WordThatHasNotGoneRoundIsUnsettledAndGreen) {
  World before = world_;
  before.nodes["cache-2"].epoch = 1;
  world_.nodes["cache-6"].more["view"] = before.View();
  const ServiceHealth health = Look();
  EXPECT_EQ(health.health, Health::kGreen);
  EXPECT_THAT(health.unsettled, ElementsAre("cache-6 sees not the same as the others yet"));
}

TEST_F(RedisClusterHealthTest, SlotsOnTheirWayAndStrangersAreUnsettled) {
  std::string view = world_.View();
  const std::string end = "0-5460\n";
  view.replace(view.find(end), end.size(), fmt::format("0-5460 [5->-{}]\n", NodeId("cache-2")));
  world_.nodes["cache-1"].more["view"] = view;
  world_.nodes["cache-3"].more["view"] = world_.View() + std::string(40, 'e') +
                                         " 10.0.0.9:7001 master - 0 disconnected\n" + std::string(40, 'f') +
                                         " 10.0.0.8:7001 handshake - 0 connected\n";
  const ServiceHealth health = Look();
  EXPECT_EQ(health.health, Health::kGreen);
  EXPECT_THAT(health.unsettled, Contains("slot 5 is on the way from cache-1 to cache-2"));
  EXPECT_THAT(health.unsettled, Contains("cache-3 knows 10.0.0.9:7001, which is no member"));
  EXPECT_THAT(health.unsettled, Contains("cache-3 has not met 10.0.0.8:7001 yet"));
}

TEST_F(RedisClusterHealthTest, MembersThatAreToLeaveCountAsLongAsTheyHaveSlots) {
  const auto four = LayOut(Cache({{"masters", Scalar("4")}}), Hosts(3));
  const World world(four, 4);
  const ServiceHealth health = HealthOf(desired_, world.Observe());
  EXPECT_EQ(health.health, Health::kGreen);
  EXPECT_EQ(RolesOf(desired_, world.Observe()).at("cache-8"), "replica of cache-4, 0 B behind");
}

TEST_F(RedisClusterHealthTest, AReplicaThatTakesOverItsDataIsNamed) {
  auto observed = world_.Observe();
  for (const char* fact : {"node", "view", "cluster", "write", "primary"})
    observed["cache-4"].facts.erase(fact);
  observed["cache-4"].facts["loading"] = "yes";
  observed["cache-4"].facts["link"] = "down";
  EXPECT_EQ(RolesOf(desired_, observed).at("cache-4"), "replica of cache-1, takes over its data");
  EXPECT_EQ(HealthOf(desired_, observed).health, Health::kYellow);
}

TEST(RedisClusterPicture, ReadsTheViewInAllItsForms) {
  const std::string one(40, '1'), two(40, '2');
  const std::string line = one + " 10.0.0.1:7001 master - 3 connected 0-5 9";
  const auto view = ReadView(line + "\n" + two + " 10.0.0.2:7001 master,fail - 4 disconnected\n");
  ASSERT_TRUE(view.has_value());
  EXPECT_EQ(view->Find(one)->slots.Text(), "0-5,9");
  EXPECT_EQ(view->Find(one)->config_epoch, 3u);
  EXPECT_TRUE(view->Find(two)->failed);
  EXPECT_TRUE(ReadView(one + " 10.0.0.1:7001@17001 myself,master - 0 1795325716286 3 connected 0-5\n"));
  EXPECT_EQ(ReadView(line + fmt::format("\n[7->-{}]\n", two))->Find(one)->migrating.at(7), two);
  EXPECT_FALSE(ReadView("nonsense").has_value());
  EXPECT_FALSE(ReadView("").has_value());
}

}  // namespace
}  // namespace muster::redis_cluster
