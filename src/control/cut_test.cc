#include <gmock/gmock.h>

#include "control/testing_controller.h"

namespace muster::control {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class CutTest : public ControllerTest {
 protected:
  void Rehearse() {
    StartServer({.key = "mall", .name = "mall", .rehearsal = true, .block = 3, .epoch = 1});
    Cluster mall = Mall({Web("run old"), Edge()});
    mall.hosts[0].address = "127.77.3.1";
    mall.hosts[1].address = "127.77.3.2";
    BringUp("v1", mall);
  }
  Status Cut(const std::string& host, bool cut = true) {
    return server_->loop.RunTask(server_->controller->CutHost(host, cut, "ann"));
  }
  bool connected(const std::string& host) { return server_->controller->connected(host); }
};

TEST_F(CutTest, CutsNoHostOffThatIsNoRehearsedOne) {
  BringUpFirst();
  EXPECT_EQ(Cut("b").error().code(), "not-a-rehearsal");
  EXPECT_TRUE(connected("b"));
  EXPECT_THAT(server_->links_cut, IsEmpty());
}

TEST_F(CutTest, CutsLinkAndAgentUntilItIsHealed) {
  Rehearse();
  ASSERT_TRUE(Cut("b").ok());
  EXPECT_THAT(server_->links_cut, ElementsAre("b"));
  EXPECT_FALSE(connected("b"));
  EXPECT_TRUE(connected("a"));
  EXPECT_THAT(KeptOf(StoredCluster()).cut, ElementsAre("b"));
  EXPECT_TRUE(Cut("b").ok()) << "twice is fine";

  ASSERT_TRUE(Cut("b", false).ok());
  EXPECT_THAT(server_->links_cut, IsEmpty());
  EXPECT_THAT(KeptOf(StoredCluster()).cut, IsEmpty());
  RunUntil([this] { return connected("b"); });
}

TEST_F(CutTest, NamesTheHostsThatThereAre) {
  Rehearse();
  const Status unknown = Cut("c");
  EXPECT_EQ(unknown.error().code(), "unknown-host");
  EXPECT_EQ(unknown.error().hint(), "known are: a, b");
}

TEST_F(CutTest, LeavesNothingCutWhereTheLinkStaysUp) {
  Rehearse();
  server_->link_stuck = Error::Conflict("cut-impossible", "no namespaces");
  EXPECT_EQ(Cut("b").error().code(), "cut-impossible");
  EXPECT_THAT(KeptOf(StoredCluster()).cut, IsEmpty());
  RunUntil([this] { return connected("b"); });
}

TEST_F(CutTest, StaysCutWhereTheLinkDoesNotComeUp) {
  Rehearse();
  ASSERT_TRUE(Cut("b").ok());
  server_->link_stuck = Error::Internal("host-network-failed", "no ip");
  EXPECT_EQ(Cut("b", false).error().code(), "host-network-failed");
  EXPECT_THAT(KeptOf(StoredCluster()).cut, ElementsAre("b"));
  EXPECT_FALSE(connected("b"));
}

TEST_F(CutTest, IsKeptByTheNextServer) {
  Rehearse();
  ASSERT_TRUE(Cut("b").ok());
  KillServer();
  StartNextServer();
  RunUntil([this] { return connected("a") && server_->links_cut.contains("b"); });
  EXPECT_FALSE(connected("b"));
  EXPECT_THAT(server_->controller->cut_hosts(), ElementsAre("b"));
  ASSERT_TRUE(Cut("b", false).ok());
  RunUntil([this] { return connected("b"); });
}

TEST_F(CutTest, EndsWhenTheClusterGoesDown) {
  Rehearse();
  ASSERT_TRUE(Cut("b").ok());
  ASSERT_TRUE(Act("down").ok());
  RunUntilFinished(2);
  EXPECT_EQ(server_->finished.back().row.state, "done");
  EXPECT_THAT(server_->links_cut, IsEmpty());
  EXPECT_EQ(world_.StateOf("web-2"), InstanceState::kAbsent);
}

}  // namespace
}  // namespace muster::control
