// Who is kept out of the upstreams.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "recipes/nginx/layout.h"

namespace muster::nginx {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class NginxMenderTest : public ::testing::Test {
 protected:
  NginxMenderTest() {
    Instance edge;
    edge.name = "edge-1";
    edge.fronts = {"app-1", "app-2", "app-3"};
    desired_ = {edge};
    Set("edge-1", InstanceState::kReady);
    for (const char* app : {"app-1", "app-2", "app-3"}) Set(app, InstanceState::kReady);
  }

  void Set(const std::string& name, InstanceState state) { observed_[name].state = state; }
  std::vector<Order> On(std::vector<std::string> busy = {}) {
    Mender::Input input{};
    input.desired = &desired_;
    input.observed = &observed_;
    input.busy = std::move(busy);
    input.missing = missing_;
    return mender_->On(input).orders;
  }

  std::vector<Instance> desired_;
  std::map<std::string, Observed> observed_;
  std::set<std::string> missing_;
  std::unique_ptr<Mender> mender_ = MakeMender();
};

TEST_F(NginxMenderTest, HasNothingToDoWhereAllAreReady) { EXPECT_THAT(On(), IsEmpty()); }

TEST_F(NginxMenderTest, TakesOutWhoIsNotReadyInOneOrder) {
  Set("app-2", InstanceState::kBackoff);
  Set("app-3", InstanceState::kUnknown);
  const auto orders = On();
  ASSERT_EQ(orders.size(), 1u);
  EXPECT_EQ(orders[0].instance, "edge-1");
  EXPECT_EQ(orders[0].verb, "backends");
  EXPECT_EQ(orders[0].args.at("out"), "app-2,app-3");
  EXPECT_EQ(orders[0].reason, "app-2, app-3 are not ready");
  observed_["edge-1"].facts["health"] = "app-2,app-3";
  EXPECT_THAT(On(), IsEmpty());
}

TEST_F(NginxMenderTest, LooksAfterGuestsToo) {
  observed_["edge-1"].facts["guests"] = "app-x1";
  Set("app-x1", InstanceState::kReady);
  EXPECT_THAT(On(), IsEmpty());
  Set("app-x1", InstanceState::kBackoff);
  ASSERT_EQ(On().size(), 1u);
  EXPECT_EQ(On()[0].args.at("out"), "app-x1");
}

TEST_F(NginxMenderTest, LetsThemInAgain) {
  observed_["edge-1"].facts["health"] = "app-2";
  const auto orders = On();
  ASSERT_EQ(orders.size(), 1u);
  EXPECT_EQ(orders[0].args.at("out"), "");
  EXPECT_EQ(orders[0].reason, "app-2 is ready again");
}

TEST_F(NginxMenderTest, OrdersAgainWhatNginxHasNotTakenUp) {
  observed_["edge-1"].facts["health"] = "app-2";
  Set("app-2", InstanceState::kBackoff);
  EXPECT_THAT(On(), IsEmpty());
  observed_["edge-1"].facts["stale"] = "yes";
  const auto orders = On();
  ASSERT_EQ(orders.size(), 1u);
  EXPECT_EQ(orders[0].verb, "backends");
  EXPECT_EQ(orders[0].args.at("out"), "app-2");
  EXPECT_EQ(orders[0].reason, "it has not taken up its members yet");
  const ServiceHealth health = HealthOf(desired_, observed_);
  EXPECT_EQ(health.health, Health::kYellow);
  EXPECT_THAT(health.reasons, ElementsAre("edge-1 has not taken up its members yet"));
  observed_["edge-1"].facts.erase("stale");
  EXPECT_EQ(HealthOf(desired_, observed_).health, Health::kGreen);
}

TEST_F(NginxMenderTest, CountsMembersUnderAStep) {
  Set("app-1", InstanceState::kStopping);
  ASSERT_EQ(On({"app-1", "edge-1"}).size(), 1u);
}

TEST_F(NginxMenderTest, WaitsForNginxItself) {
  Set("app-1", InstanceState::kFailed);
  Set("edge-1", InstanceState::kStarting);
  EXPECT_THAT(On(), IsEmpty());
}

TEST_F(NginxMenderTest, KeepsWhatNobodyHasToldAbout) {
  observed_.erase("app-1");
  observed_.erase("app-2");
  observed_["edge-1"].facts["health"] = "app-2";
  EXPECT_THAT(On(), IsEmpty());
}

TEST_F(NginxMenderTest, TakesOutWhoIsKnownNotToBeThere) {
  observed_.erase("app-1");
  observed_.erase("app-2");
  missing_ = {"app-2"};
  const auto orders = On();
  ASSERT_EQ(orders.size(), 1u);
  EXPECT_EQ(orders[0].args.at("out"), "app-2");
  observed_["edge-1"].facts["health"] = "app-2";
  EXPECT_THAT(On(), IsEmpty());
}

}  // namespace
}  // namespace muster::nginx
