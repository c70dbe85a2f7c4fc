#include "recipes/redis_cluster/facts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace muster::redis_cluster {
namespace {

using net::resp::Type;
using ::testing::HasSubstr;

const std::string kOne(40, 'a'), kTwo(40, 'b');

net::resp::Value Text(std::string text) { return {.type = Type::kBulk, .text = std::move(text)}; }
net::resp::Value Refused(std::string text) { return {.type = Type::kError, .text = std::move(text)}; }

// What a healthy replica answers.
std::vector<net::resp::Value> Healthy() {
  return {{.type = Type::kSimple, .text = "PONG"},
          Text("# Server\r\nredis_version:7.0.15\r\nrun_id:cafe\r\nprocess_id:7\r\n"),
          Text("# Persistence\r\nloading:0\r\naof_last_write_status:ok\r\n"),
          Text("# Memory\r\nused_memory:1000\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n"),
          Text("# "
               "Replication\r\nrole:slave\r\nmaster_replid:beef\r\nmaster_link_status:up\r\nslave_read_repl_"
               "offset:120\r\n"
               "slave_repl_offset:100\r\nmaster_repl_offset:100\r\n"),
          Text("# Keyspace\r\ndb0:keys=4,expires=0,avg_ttl=0\r\n"),
          Text("cluster_state:ok\r\ncluster_slots_assigned:16384\r\ncluster_slots_ok:16384\r\n"
               "cluster_slots_pfail:0\r\ncluster_slots_fail:0\r\ncluster_known_nodes:2\r\ncluster_size:1\r\n"
               "cluster_current_epoch:3\r\ncluster_my_epoch:2\r\n"),
          Text(kTwo + " 10.0.0.2:7001@17001 myself,slave " + kOne + " 0 5 2 connected\n" + kOne +
               " 10.0.0.1:7001@17001 master,fail? - 9 8 2 connected 0-100 102 104-16383\n"),
          {.type = Type::kArray, .items = {Text("min-replicas-to-write"), Text("0")}}};
}

TEST(RedisFacts, TellRoleViewAndState) {
  const auto told = ReadAnswers(Healthy());
  ASSERT_TRUE(told.ok()) << told.error().Text();
  auto facts = told->facts;
  EXPECT_EQ(facts["view"], kOne + " 10.0.0.1:7001 master,fail? - 2 connected 0-100 102 104-16383\n" + kTwo +
                               " 10.0.0.2:7001 slave " + kOne + " 2 connected");
  facts.erase("view");
  EXPECT_EQ(facts, (std::map<std::string, std::string>{{"cluster", "ok"},
                                                       {"epoch", "3"},
                                                       {"history", "beef"},
                                                       {"link", "up"},
                                                       {"node", kTwo},
                                                       {"primary", kOne},
                                                       {"role", "replica"},
                                                       {"run", "cafe"},
                                                       {"version", "7.0.15"},
                                                       {"write", "ok"}}));
  EXPECT_EQ(told->measures, (std::map<std::string, std::string>{
                                {"behind", "20"}, {"keys", "4"}, {"memory", "1000"}, {"offset", "100"}}));
}

// Restarted where the others have lost its master's address, Redis tells in INFO that it is a master.
TEST(RedisFacts, AReplicaWithNowhereToAskIsOne) {
  std::vector<net::resp::Value> answers = Healthy();
  answers[4] = Text("# Replication\r\nrole:master\r\nmaster_replid:beef\r\nmaster_repl_offset:0\r\n");
  answers[7] = Text(kTwo + " 10.0.0.2:7001@17001 myself,slave " + kOne + " 0 5 2 connected\n" + kOne +
                    " :0@0 master,noaddr - 9 8 2 disconnected 0-100\n");
  const auto told = ReadAnswers(answers);
  ASSERT_TRUE(told.ok()) << told.error().Text();
  EXPECT_EQ(told->facts.at("role"), "replica");
  EXPECT_EQ(told->facts.at("link"), "down");
  EXPECT_EQ(told->facts.at("primary"), kOne);
  EXPECT_TRUE(told->info.replica && !told->info.master && !told->info.link_up && !told->takes_writes);
}

TEST(RedisFacts, KeepApartWhatLivesAndWhatRefuses) {
  std::vector<net::resp::Value> answers = Healthy();
  answers[0] = Refused("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.");
  EXPECT_TRUE(ReadAnswers(answers).ok());
  answers[0] = Refused("MISCONF Errors writing to the AOF file: No space left on device");
  EXPECT_THAT(ReadAnswers(answers)->facts.at("write"), HasSubstr("No space left"));
  answers[0] = Refused("NOAUTH Authentication required.");
  EXPECT_EQ(ReadAnswers(answers).error().code(), "redis-denied");

  answers[0] = Refused("LOADING Redis is loading the dataset in memory");
  answers[2] = Text("loading:1\r\n");
  answers[6] = answers[7] = answers[8] = answers[0];
  const auto loading = ReadAnswers(answers);
  ASSERT_TRUE(loading.ok());
  EXPECT_TRUE(loading->loading);
  EXPECT_EQ(loading->facts.at("loading"), "yes");
  EXPECT_FALSE(loading->facts.contains("view"));
  answers.pop_back();
  EXPECT_EQ(ReadAnswers(answers).error().code(), "bad-answer");
}

TEST(RedisFacts, ViewTellsOwnMovesAndWhoIsMissing) {
  const auto view = redis::ParseClusterNodes(
      kOne + " 10.0.0.1:7001@17001 myself,master - 0 0 2 connected 5 [5->-" + kTwo + "] [9-<-" + kTwo +
      "]\n" + kTwo + " :0@0 master,fail,noaddr - 1 1 3 disconnected\n");
  ASSERT_TRUE(view.ok());
  EXPECT_EQ(ViewText(*view), kOne + " 10.0.0.1:7001 master - 2 connected 5 [5->-" + kTwo + "] [9-<-" + kTwo +
                                 "]\n" + kTwo + " :0 master,fail,noaddr - 3 disconnected");
}

TEST(RedisFacts, AMemberOfAClusterThatServedMayHaveLostKeysWhereItKnowsOfNoneAnyMore) {
  Answers alone, joined, serves;
  alone.facts["cluster"] = "fail";
  alone.view.nodes = {redis::ClusterNode{}};
  alone.view.nodes.front().myself = true;
  joined = alone;
  joined.view.nodes.front().slots = redis::SlotSet::All();
  Answers full = alone;
  alone.facts["empty"] = joined.facts["empty"] = "yes";
  serves = joined;
  serves.facts["cluster"] = "ok";
  Answers loading = alone;
  loading.loading = true;
  EXPECT_TRUE(HadKeys(false, full));
  EXPECT_FALSE(HasLostKeys(true, full));
  EXPECT_TRUE(HadKeys(true, loading));
  EXPECT_FALSE(HadKeys(false, alone));
  EXPECT_TRUE(HadKeys(true, alone));
  EXPECT_TRUE(HasLostKeys(true, alone));
  EXPECT_FALSE(HasLostKeys(false, alone));
  EXPECT_FALSE(HadKeys(false, joined));
  EXPECT_TRUE(HadKeys(false, serves));
  EXPECT_FALSE(HasLostKeys(true, serves));
}

TEST(RedisFacts, TellsWhichNodesAMemberWas) {
  const std::vector<FormerNode> nodes = {{"a", ""}, {"b", "a"}};
  EXPECT_EQ(FormerNodesText(nodes), "a b>a");
  EXPECT_EQ(ReadFormerNodes("a b>a\n"), nodes);
  EXPECT_TRUE(ReadFormerNodes("").empty());
  EXPECT_TRUE(HadKeysOf({{"b", "a"}}, "a"));
  EXPECT_TRUE(HadKeysOf({{"b", "a"}}, "b"));
  EXPECT_FALSE(HadKeysOf({{"b", "a"}}, "c"));
}

}  // namespace
}  // namespace muster::redis_cluster
