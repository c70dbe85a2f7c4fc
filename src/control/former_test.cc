// Runs that end before all that isn't wanted any more is gone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "control/testing_controller.h"

namespace muster::control {
namespace {

using testing::HasSubstr;
using testing::Not;

using FormerTest = ControllerTest;

// It may hold the only copy of something.
TEST_F(FormerTest, WhatACancelledRunHasLeftStandingKeepsItsNameAndItsHost) {
  Service four = Web("run");
  for (auto& entry : four.settings.entries) {
    if (entry.key == "instances") entry.value = Scalar("4");
  }
  BringUp("v1", Mall({four, Edge()}));
  const std::string before = StoredCluster().placement;
  Service two_on_a = Web("run");
  two_on_a.hosts = {"a"};
  world_.hold.insert("web-2.stop");
  const auto started = Up(File("v2", Mall({two_on_a, Edge()})));
  ASSERT_TRUE(started.ok()) << started.error().Text();
  RunUntilHeld("b");
  ASSERT_TRUE(server_->controller->Cancel(started->run).ok());
  server_->fakes["b"]->Release("web-2.stop");
  world_.hold.clear();
  RunUntilFinished(2);
  EXPECT_THAT(StoredCluster().placement, HasSubstr("former"));
  KillServer();
  StartNextServer();
  BringUp("v3", Mall({four, Edge()}));
  EXPECT_EQ(StoredCluster().placement, before);

  // Through to its end it leaves nothing behind.
  BringUp("v4", Mall({two_on_a, Edge()}));
  EXPECT_THAT(StoredCluster().placement, Not(HasSubstr("web-2")));
  EXPECT_THAT(StoredCluster().placement, Not(HasSubstr("former")));
}

Service CacheWith(const std::string& replicas) {
  Service cache;
  cache.name = "cache";
  cache.kind = "redis";
  cache.settings = Map({{"kind", Scalar("redis")}, {"replicas", Scalar(replicas)}, {"port", Scalar("6379")}});
  return cache;
}

// A primary that has no place in the file any more went down with what its replica lacks.
TEST_F(FormerTest, NobodyIsPromotedOverAPrimaryThatIsToComeUpOnceMoreAndWhoseHostIsSilent) {
  reach_within_ = 300ms;
  KillServer();
  StartServer({.key = "mall", .name = "mall", .epoch = 1});
  ASSERT_TRUE(Up(File("v1", Mall({CacheWith("1")}))).ok());
  const auto ready = [this](const char* name) { return world_.StateOf(name) == InstanceState::kReady; };
  RunUntil([&] { return ready("cache-1") && ready("cache-2"); });
  ASSERT_TRUE(Act("down").ok());
  RunUntil([this] { return server_->controller->down() && server_->controller->idle(); });

  world_.hosts["b"].silent = true;
  const auto started = Up(File("v2", Mall({CacheWith("0")})));
  ASSERT_TRUE(started.ok()) << started.error().Text();
  EXPECT_THAT(StoredCluster().placement, HasSubstr("returning"));
  RunUntil([&] { return ready("cache-1"); });
  for (int server = 0; server < 2; ++server) {  // whoever decides
    KillServer();
    world_.hosts["a"].instances["cache-1"].facts = {{"role", "fenced"}, {"term", "3"},     {"copy", "3"},
                                                    {"was", "replica"}, {"synced", "yes"}, {"offset", "10"}};
    world_.orders.clear();
    StartNextServer();
    RunUntil([this] {
      const auto states = server_->controller->ServiceStates();
      return !states.empty() && !states[0].health.reasons.empty() && server_->controller->connected("a");
    });
    const auto reasons = server_->controller->ServiceStates()[0].health.reasons;
    EXPECT_THAT(reasons, testing::Contains(HasSubstr("cache-2")));
    EXPECT_THAT(world_.Told(), Not(testing::Contains(HasSubstr("promote"))));
  }
}

}  // namespace
}  // namespace muster::control
