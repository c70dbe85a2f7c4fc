// What follows a release that failed where `on_failure: rollback` is written.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "api/json.h"
#include "control/outcomes.h"
#include "control/testing_controller.h"

namespace muster::control {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::Not;

class WayBackTest : public ControllerTest {
 protected:
  static Service Careful(const std::string& command) {
    Service careful = Web(command);
    careful.update.rollback_on_failure = true;
    return careful;
  }
  void FailNext(const std::string& step) {
    world_.fail.emplace(step, Error::Timeout("not-ready", "it was not ready in time"));
  }
  // A careful release of which web-1 never gets ready.
  std::string UpThatFails() {
    BringUp("v1", Mall({Web("run old"), Edge()}));
    FailNext("web-1.start");
    const auto started = Up(File("v2", Mall({Careful("run broken"), Edge()})));
    EXPECT_TRUE(started.ok()) << started.error().Text();
    return started.ok() ? started->run : "";
  }
  // Runs the loop until the store says this of the run; who looks at the store is called by nobody.
  void RunUntilStored(const std::string& run, const std::string& state) {
    look_ = [this] {
      server_->Look();
      timer_ = server_->loop.After(1ms, look_);
    };
    look_();
    RunUntil([&] { return StoredRun(run).state == state; });
    server_->loop.Cancel(timer_);
  }

  std::function<void()> look_;
  net::Loop::TimerId timer_ = 0;
};

TEST_F(WayBackTest, AFailedReleaseGoesBackWhereTheFileSaysSo) {
  Service careful = Web("run old");
  careful.update.rollback_on_failure = true;
  BringUp("v1", Mall({careful, Edge()}));
  Service broken = Web("run broken");
  broken.update.rollback_on_failure = true;
  world_.fail.emplace("web-1.start", Error::Timeout("not-ready", "web-1 was not ready in time"));
  ASSERT_TRUE(Up(File("v2", Mall({broken, Edge()}))).ok());
  RunUntilFinished(3);
  EXPECT_EQ(server_->finished[1].row.state, "failed");
  EXPECT_EQ(server_->finished[2].row.state, "done");
  EXPECT_EQ(server_->finished[2].row.action, "rollback");
  EXPECT_EQ(StoredCluster().revision, 3);
  EXPECT_EQ((*store_->FindRevision("mall", 3).value()).text, "v1");
  EXPECT_EQ(world_.StateOf("web-1"), InstanceState::kReady);
  EXPECT_THAT(world_.Told(), Not(Contains("stop web-2")));
}

TEST_F(WayBackTest, WhatWasStoppedByHandStaysSoWhereTheReleaseFailsThatWouldTakeItAway) {
  BringUp("v1", Mall({Web("run old"), Edge()}));
  ASSERT_TRUE(Act("stop", {"web-2"}).ok());
  RunUntilFinished(2);
  Service one = Careful("run broken");
  for (auto& entry : one.settings.entries) {
    if (entry.key == "instances") entry.value = Scalar("1");
  }
  FailNext("web-1.start");
  ASSERT_TRUE(Up(File("v2", Mall({one, Edge()}))).ok());
  RunUntilFinished(4);
  EXPECT_EQ(server_->finished[2].row.state, "failed");
  EXPECT_EQ(server_->finished[3].row.state, "done");
  EXPECT_EQ(world_.StateOf("web-1"), InstanceState::kReady);
  EXPECT_EQ(world_.StateOf("web-2"), InstanceState::kStopped);
  KillServer();
  StartNextServer();
  EXPECT_EQ(server_->controller->held().count("web-2"), 1u);
}

TEST_F(WayBackTest, ARollbackThatFailsGoesBackOnceToWhatStoodBefore) {
  Service careful = Web("run one");
  BringUp("v1", Mall({careful, Edge()}));
  careful = Web("run two");
  careful.update.rollback_on_failure = true;
  BringUp("v2", Mall({careful, Edge()}));
  const auto not_ready = [&] {
    world_.fail.emplace("web-1.start", Error::Timeout("not-ready", "web-1 was not ready in time"));
  };
  Bundle back = File("v1", files_.at("v1"));
  back.action = "rollback";
  back.note = "rollback to 1";
  not_ready();
  const auto started = Up(back);
  ASSERT_TRUE(started.ok()) << started.error().Text();
  EXPECT_TRUE(started->goes_back);  // as what stands says
  RunUntilFinished(4);
  EXPECT_EQ(server_->finished[2].row.state, "failed");
  EXPECT_EQ(server_->finished[3].row.state, "done");
  EXPECT_EQ(server_->finished[3].row.author, "muster");
  EXPECT_EQ((*store_->FindRevision("mall", 4).value()).text, "v2");
  EXPECT_EQ((*store_->FindRevision("mall", 4).value()).note, "rollback to 2 after revision 3 failed");

  // What goes back by itself doesn't go on from there.
  back.instead_of = server_->finished[2];
  not_ready();
  const auto way_back = Up(back);
  ASSERT_TRUE(way_back.ok()) << way_back.error().Text();
  EXPECT_FALSE(way_back->goes_back);
  RunUntilFinished(6);  // the one that failed is told once more
  EXPECT_EQ(server_->finished[5].row.state, "failed");
  EXPECT_TRUE(server_->controller->idle());
}

// Whoever waits for the end of the one that failed is told by it what follows.
TEST_F(WayBackTest, TheEndOfTheRunNamesTheWayBack) {
  const std::string run = UpThatFails();
  RunUntilFinished(3);
  const store::RunRow& told = server_->finished[1].row;
  EXPECT_EQ(told.id, run);
  EXPECT_EQ(told.state, "failed");
  EXPECT_EQ(WayBackOf(told).run, server_->finished[2].row.id);
  EXPECT_EQ(WayBackOf(StoredRun(run)).run, server_->finished[2].row.id);
  EXPECT_FALSE(AwaitsWayBack(StoredRun(run)));
}

TEST_F(WayBackTest, TheEndOfTheRunSaysWhyNoneCouldBegin) {
  ASSERT_TRUE(store_->PutSecret("mall", "token", "hunter2-hunter2").ok());
  BringUp("v1", Mall({Web("run old", "key={{secret.token}}")}));
  ASSERT_TRUE(store_->DeleteSecret("mall", "token").ok());
  FailNext("web-1.start");
  const auto started = Up(File("v2", Mall({Careful("run broken")})));
  ASSERT_TRUE(started.ok()) << started.error().Text();
  EXPECT_TRUE(started->goes_back);
  RunUntilFinished(2);
  EXPECT_EQ(server_->finished[1].row.state, "failed");
  EXPECT_THAT(WayBackOf(server_->finished[1].row).error, HasSubstr("secret-missing"));
  EXPECT_THAT(WayBackOf(StoredRun(started->run)).error, HasSubstr("secret-missing"));
  EXPECT_EQ(StoredCluster().revision, 2);

  // It isn't tried again and again.
  KillServer();
  ASSERT_TRUE(store_->PutSecret("mall", "token", "hunter2-hunter2").ok());
  StartNextServer();
  EXPECT_TRUE(server_->controller->idle());
}

TEST_F(WayBackTest, ACancelledRunDoesNotGoBack) {
  BringUp("v1", Mall({Web("run old"), Edge()}));
  world_.hold.insert("edge-1.drain.web-1");
  const auto started = Up(File("v2", Mall({Careful("run broken"), Edge()})));
  ASSERT_TRUE(started.ok());
  RunUntilHeld("a");
  ASSERT_TRUE(server_->controller->Cancel(started->run).ok());
  FailNext("edge-1.drain.web-1");
  server_->fakes["a"]->Release("edge-1.drain.web-1");
  RunUntilFinished(2);
  EXPECT_EQ(StoredRun(started->run).state, "failed");  // of what went wrong meanwhile
  EXPECT_TRUE(server_->controller->idle());
  EXPECT_EQ(StoredCluster().revision, 2);
  KillServer();
  StartNextServer();
  EXPECT_TRUE(server_->controller->idle());
}

TEST_F(WayBackTest, TheNextServerGoesBackWhereThisOneDiedBetweenTheFailureAndThat) {
  BringUp("v1", Mall({Web("run old"), Edge()}));
  FailNext("web-1.start");
  world_.hold.insert("edge-1.drain.web-1");
  const auto started = Up(File("v2", Mall({Careful("run broken"), Edge()})));
  ASSERT_TRUE(started.ok());
  RunUntilHeld("a");
  world_.hosts["b"].silent = true;  // whom the plan of the way back waits for
  server_->fakes["a"]->Release("edge-1.drain.web-1");
  RunUntilStored(started->run, "failed");
  EXPECT_TRUE(AwaitsWayBack(StoredRun(started->run)));
  ASSERT_EQ(StoredCluster().revision, 2);
  KillServer();
  world_.hosts["b"].silent = false;
  world_.hold.clear();

  StartNextServer();
  RunUntilFinished(2);
  EXPECT_EQ(server_->finished[0].row.id, started->run);
  EXPECT_EQ(WayBackOf(StoredRun(started->run)).run, server_->finished[1].row.id);
  EXPECT_EQ(server_->finished[1].row.state, "done");
  EXPECT_EQ(StoredCluster().revision, 3);
  EXPECT_EQ((*store_->FindRevision("mall", 3).value()).text, "v1");
}

TEST_F(WayBackTest, AResumeGoesBackAsWhatItResumesWould) {
  BringUp("v1", Mall({Web("run old"), Edge()}));
  world_.hold.insert("web-1.start");
  const auto started = Up(File("v2", Mall({Careful("run broken"), Edge()})));
  ASSERT_TRUE(started.ok());
  RunUntilHeld("a");
  KillServer();
  world_.hold.clear();
  StartNextServer();
  RunUntilFinished(1);
  ASSERT_EQ(StoredRun(started->run).state, "paused");
  FailNext("web-2.start");
  const auto resumed = server_->loop.RunTask(server_->controller->Resume("ann"));
  ASSERT_TRUE(resumed.ok()) << resumed.error().Text();
  EXPECT_TRUE(resumed->goes_back);
  RunUntilFinished(3);
  EXPECT_EQ(server_->finished[1].row.action, "resume");
  EXPECT_EQ(server_->finished[1].row.state, "failed");
  EXPECT_EQ(server_->finished[2].row.state, "done");
  EXPECT_EQ((*store_->FindRevision("mall", 3).value()).text, "v1");
}

// The way back failed once, and is left to a person.
TEST_F(WayBackTest, AResumedWayBackDoesNotGoBack) {
  BringUp("v1", Mall({Web("run old"), Edge()}));
  FailNext("web-1.start");
  const auto started = Up(File("v2", Mall({Careful("run broken"), Edge()})));
  ASSERT_TRUE(started.ok());
  RunUntil([&] { return server_->finished.size() == 2; });
  FailNext("web-1.start");
  RunUntilFinished(3);
  ASSERT_EQ(server_->finished[2].row.action, "rollback");
  ASSERT_EQ(server_->finished[2].row.state, "failed");
  const auto resumed = server_->loop.RunTask(server_->controller->Resume("ann"));
  ASSERT_TRUE(resumed.ok()) << resumed.error().Text();
  EXPECT_FALSE(resumed->goes_back);
  RunUntilFinished(4);
  EXPECT_EQ(server_->finished[3].row.state, "done");
}

}  // namespace
}  // namespace muster::control
