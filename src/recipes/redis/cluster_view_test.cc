#include "recipes/redis/cluster_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

namespace muster::redis {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

const std::string kOne(40, '1'), kTwo(40, '2'), kThree(40, '3'), kFour(40, '4');

std::string Replaced(std::string text) {
  for (const auto& [name, id] : {std::pair("ONE", kOne), {"TWO", kTwo}, {"THREE", kThree}, {"FOUR", kFour}}) {
    for (size_t at; (at = text.find(name)) != std::string::npos;) text.replace(at, strlen(name), id);
  }
  return text;
}

ClusterView View(const std::string& text) {
  const auto view = ParseClusterNodes(Replaced(text));
  EXPECT_TRUE(view.ok()) << view.error().Text();
  return view.ok() ? *view : ClusterView{};
}

TEST(ClusterNodes, TellsRolesSlotsAndMovesOfARealAnswer) {
  const ClusterView view = View(
      "FOUR 127.0.0.1:17999@27999 handshake - 0 0 0 disconnected\n"
      "TWO 127.0.0.1:17102@27102,h-17102.example master - 0 1795325716286 0 connected 8001 8003-16383\n"
      "ONE 127.0.0.1:17101@27101,h-17101.example myself,master - 0 0 3 connected 0-8000 8002 [5->-TWO] "
      "[9-<-FOUR]\n"
      "THREE 127.0.0.1:17103@27103 slave ONE 1795325716000 1795325716299 3 connected\n");
  ASSERT_EQ(view.nodes.size(), 4u);
  const ClusterNode* me = view.myself();
  ASSERT_NE(me, nullptr);
  EXPECT_EQ(me->id, kOne);
  EXPECT_EQ(me->address, "127.0.0.1");
  EXPECT_EQ(me->port, 17101);
  EXPECT_EQ(me->bus_port, 27101);
  EXPECT_EQ(me->hostname, "h-17101.example");
  EXPECT_TRUE(me->master);
  EXPECT_FALSE(me->replica);
  EXPECT_EQ(me->config_epoch, 3u);
  EXPECT_TRUE(me->connected);
  EXPECT_EQ(me->slots.Text(), "0-8000,8002");
  EXPECT_THAT(me->migrating, ElementsAre(Pair(5, kTwo)));
  EXPECT_THAT(me->importing, ElementsAre(Pair(9, kFour)));

  const ClusterNode* replica = view.Find(kThree);
  ASSERT_NE(replica, nullptr);
  EXPECT_TRUE(replica->replica);
  EXPECT_EQ(replica->master_id, kOne);
  EXPECT_EQ(replica->ping_sent, 1795325716000);
  EXPECT_EQ(replica->pong_received, 1795325716299);
  EXPECT_EQ(replica->hostname, "");
  EXPECT_TRUE(view.Find(kFour)->handshake);
  EXPECT_FALSE(view.Find(kFour)->connected);

  EXPECT_EQ(view.At("127.0.0.1", 17102)->id, kTwo);
  EXPECT_EQ(view.At("h-17102.example", 17102)->id, kTwo);
  EXPECT_EQ(view.At("", 17102), nullptr);
  EXPECT_EQ(view.OwnerOf(8002), me);
  EXPECT_THAT(view.ReplicasOf(kOne), ElementsAre(replica));
  EXPECT_TRUE(view.Covered().all());
}

TEST(ClusterNodes, TellsWhoIsFailedSuspectedOrNowhere) {
  const ClusterView view = View(
      "ONE 10.0.0.1:7001@17001 myself,slave,nofailover TWO 0 0 1 connected\n"
      "TWO 10.0.0.2:7001@17001 master,fail - 1 2 1 disconnected 0-99\n"
      "THREE :0@0 master,fail?,noaddr - 1 2 7 disconnected 100\n");
  EXPECT_TRUE(view.Find(kOne)->no_failover);
  EXPECT_TRUE(view.Find(kTwo)->failed);
  EXPECT_FALSE(view.Find(kTwo)->suspected);
  EXPECT_TRUE(view.Find(kThree)->suspected);
  EXPECT_FALSE(view.Find(kThree)->failed);
  EXPECT_TRUE(view.Find(kThree)->no_address);
  EXPECT_EQ(view.Find(kThree)->address, "");
  EXPECT_EQ(view.Find(kThree)->port, 0);
  EXPECT_EQ(view.Covered().Text(), "100");
}

TEST(ClusterNodes, ReadsWhatOtherReleasesWriteAndTheFileOnDisk) {
  // Before 4, 7.2 with more behind the name, an address of IPv6, and nodes.conf's last line.
  const ClusterView view = View(
      "ONE 10.0.0.1:7001 myself,master - 0 0 1 connected\n"
      "TWO ::1:7002@17002,name,shard-id=abc master,newword - 0 0 2 connected\r\n"
      "THREE 10.0.0.3:7003@17003,,shard-id=abc noflags - 0 0 2 connected\n"
      "FOUR 10.0.0.4:7004@17004,shard-id=abc slave - 0 0 2 connected\n"
      "vars currentEpoch 1 lastVoteEpoch 0\n");
  ASSERT_EQ(view.nodes.size(), 4u);
  EXPECT_EQ(view.nodes[0].bus_port, 0);
  EXPECT_EQ(view.nodes[1].address, "::1");
  EXPECT_EQ(view.nodes[1].hostname, "name");
  EXPECT_EQ(view.nodes[2].hostname, "");
  EXPECT_EQ(view.nodes[3].hostname, "");
}

TEST(ClusterNodes, RefusesWhatIsNoSuchAnswer) {
  for (const char* text :
       {"", "vars currentEpoch 1 lastVoteEpoch 0\n", "ERR This instance has cluster support disabled",
        "ONE 10.0.0.1:7001@17001 master - 0 0 1\n", "short 10.0.0.1:7001@17001 master - 0 0 1 connected\n",
        "ONE 10.0.0.1@17001 master - 0 0 1 connected\n", "ONE 10.0.0.1:x@1 master - 0 0 1 connected\n",
        "ONE 10.0.0.1:70010@1 master - 0 0 1 connected\n", "ONE h:1@1 slave two 0 0 1 connected\n",
        "ONE h:1@1 master - 0 0 1 perhaps\n", "ONE h:1@1 master - 0 0 -1 connected\n",
        "ONE h:1@1 master - 0 0 1 connected 5-4\n", "ONE h:1@1 master - 0 0 1 connected [5->-x]\n",
        "ONE h:1@1 master - 0 0 1 connected [5-=-TWO]\n", "ONE h:1@1 master - 0 0 1 connected [5-\n"}) {
    const auto view = ParseClusterNodes(Replaced(text));
    ASSERT_FALSE(view.ok()) << text;
    EXPECT_EQ(view.error().code(), "bad-answer");
  }
}

TEST(SameView, IsOfWhatAllNodesCanAgreeOn) {
  const ClusterView one = View(
      "ONE h:1@2 myself,master - 0 0 1 connected 0-9 [5->-TWO]\n"
      "TWO h:3@4 slave ONE 0 17 1 connected\n");
  const ClusterView two = View(
      "TWO h:3@4 myself,slave ONE 0 0 1 connected\n"
      "ONE h:1@2 master - 5 19 1 connected 0-9\n");
  EXPECT_TRUE(SameView(one, two)) << SharedView(one) << SharedView(two);
  for (const char* other :
       {"TWO h:3@4 myself,slave ONE 0 0 1 connected\nONE h:1@2 master - 5 19 1 connected 0-8\n",
        "TWO h:3@4 myself,slave ONE 0 0 1 connected\nONE h:1@2 master - 5 19 2 connected 0-9\n",
        "TWO h:3@4 myself,slave ONE 0 0 1 connected\nONE h:1@2 master,fail? - 5 19 1 connected 0-9\n",
        "TWO h:3@4 myself,slave ONE 0 0 1 connected\nONE h:5@2 master - 5 19 1 connected 0-9\n",
        "TWO h:3@4 myself,master - 0 0 1 connected\nONE h:1@2 master - 5 19 1 connected 0-9\n",
        "TWO h:3@4 myself,slave ONE 0 0 1 connected\n"}) {
    EXPECT_FALSE(SameView(one, View(other))) << other;
  }
}

TEST(ClusterInfo, IsReadFromARealAnswer) {
  const auto info = ParseClusterInfo(
      "cluster_state:fail\r\ncluster_slots_assigned:16383\r\ncluster_slots_ok:10000\r\n"
      "cluster_slots_pfail:6000\r\ncluster_slots_fail:383\r\ncluster_known_nodes:6\r\ncluster_size:3\r\n"
      "cluster_current_epoch:9\r\ncluster_my_epoch:7\r\ncluster_stats_messages_sent:6\r\n");
  ASSERT_TRUE(info.ok()) << info.error().Text();
  EXPECT_EQ(*info, (ClusterInfo{.ok = false,
                                .slots_assigned = 16383,
                                .slots_ok = 10000,
                                .slots_suspected = 6000,
                                .slots_failed = 383,
                                .known_nodes = 6,
                                .size = 3,
                                .current_epoch = 9,
                                .my_epoch = 7}));
  for (const char* text : {"", "cluster_state:ok\r\n", "hello\x1b[2J"}) {
    const auto refused = ParseClusterInfo(text);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code(), "bad-answer");
    EXPECT_EQ(refused.error().message().find('\x1b'), std::string::npos);
  }
}

}  // namespace
}  // namespace muster::redis
