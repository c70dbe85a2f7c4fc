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

}  // namespace
}  // namespace muster::control
