#include "control/controller.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "api/json.h"
#include "control/testing_controller.h"

namespace muster::control {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

TEST_F(ControllerTest, UpBringsUpWhatTheFileSaysAndRemembersIt) {
  BringUp("v1", Mall({Web("run"), Edge()}));
  for (const char* name : {"web-1", "web-2", "edge-1"}) {
    EXPECT_EQ(world_.StateOf(name), InstanceState::kReady) << name;
  }
  EXPECT_EQ(StoredCluster().revision, 1);
  const store::RunRow run = StoredRun(server_->finished[0].row.id);
  EXPECT_EQ(run.state, "done");
  EXPECT_EQ(run.author, "ann");
  const auto steps = store_->Steps(run.id);
  ASSERT_TRUE(steps.ok());
  EXPECT_EQ(steps->size(), server_->finished[0].total);
  for (const store::StepRow& step : *steps) {
    EXPECT_NE(step.settled, WallTime{}) << step.step;
    EXPECT_EQ(step.error, "");
  }
}

TEST_F(ControllerTest, UpOfTheSameFileDoesNothing) {
  BringUpFirst();
  const auto again = Up(File("v1", files_["v1"]));
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->run, "");
  EXPECT_TRUE(again->plan.empty());
  EXPECT_EQ(StoredCluster().revision, 1);
  EXPECT_EQ(Revisions(), 1u);
  EXPECT_THAT(world_.Told(), IsEmpty());
}

TEST_F(ControllerTest, APlanWritesAndOrdersNothing) {
  BringUpFirst();
  const store::ClusterRow before = StoredCluster();
  const Bundle changed = File("v2", Mall({Web("run new"), Edge()}));
  const auto plan = server_->loop.RunTask(server_->controller->MakePlan(changed, {}));
  ASSERT_TRUE(plan.ok());
  EXPECT_FALSE(plan->empty());
  const auto only = Up(changed, {.plan_only = true});
  ASSERT_TRUE(only.ok());
  EXPECT_EQ(only->run, "");
  EXPECT_EQ(only->plan.id, plan->id);
  EXPECT_EQ(StoredCluster().placement, before.placement);
  EXPECT_EQ(Revisions(), 1u);
  EXPECT_EQ(store_->Runs("mall", 10).value().size(), 1u);
  EXPECT_THAT(world_.Told(), IsEmpty());
}

TEST_F(ControllerTest, UpWithAPlanThatHasMovedIsRefused) {
  BringUpFirst();
  const Bundle changed = File("v2", Mall({Web("run new"), Edge()}));
  const auto moved = Up(changed, {}, "0123456789ab");
  ASSERT_FALSE(moved.ok());
  EXPECT_EQ(moved.error().code(), "plan-moved");
  EXPECT_EQ(Revisions(), 1u);
  EXPECT_TRUE(server_->controller->idle());
  const auto plan = server_->loop.RunTask(server_->controller->MakePlan(changed, {}));
  EXPECT_TRUE(Up(changed, {}, plan->id).ok());
  RunUntilFinished(2);
}

TEST_F(ControllerTest, ARollTakesEachMemberOutAndGivesItBackBeforeTheNext) {
  BringUpFirst();
  BringUp("v2", Mall({Web("run new"), Edge()}));
  EXPECT_THAT(world_.Told(), ElementsAre("drain edge-1 web-1", "stop web-1", "install web-1", "start web-1",
                                         "restore edge-1 web-1", "drain edge-1 web-2", "stop web-2",
                                         "install web-2", "start web-2", "restore edge-1 web-2"));
  EXPECT_EQ(world_.FactOf("edge-1", "run"), "");
  EXPECT_THAT(store_->PutBacks(server_->finished.back().row.id).value(), IsEmpty());
}

TEST_F(ControllerTest, AFailureStopsTheRunAndHandsBackWhatItTook) {
  BringUpFirst();
  world_.fail.emplace("web-1.start", Error::Timeout("not-ready", "web-1 was not ready in time"));
  const auto started = Up(File("v2", Mall({Web("run new"), Edge()})));
  ASSERT_TRUE(started.ok());
  RunUntilFinished(2);
  EXPECT_THAT(world_.Told(), ElementsAre("drain edge-1 web-1", "stop web-1", "install web-1", "start web-1",
                                         "restore edge-1 web-1"));
  const store::RunRow run = StoredRun(started->run);
  EXPECT_EQ(run.state, "failed");
  EXPECT_THAT(run.error, HasSubstr("not-ready"));
  EXPECT_THAT(store_->PutBacks(run.id).value(), IsEmpty());
  EXPECT_EQ(world_.StateOf("web-2"), InstanceState::kReady);
  // The balancer's own watch keeps out what isn't ready.
  RunUntil([this] { return world_.FactOf("edge-1", "health") == "web-1"; });
}

TEST_F(ControllerTest, CancelGivesUpAStartThatWaitsAndPutsBack) {
  BringUpFirst();
  const std::string run = UpHeldAt("web-1.start");
  const Status other = server_->controller->Cancel("nobody");
  ASSERT_FALSE(other.ok());
  EXPECT_EQ(other.error().code(), "run-not-active");
  EXPECT_FALSE(server_->controller->ActiveRun()->cancelling);
  ASSERT_TRUE(server_->controller->Cancel(run).ok());
  ASSERT_TRUE(server_->controller->ActiveRun());
  EXPECT_TRUE(server_->controller->ActiveRun()->cancelling);
  RunUntilFinished(2);
  EXPECT_EQ(StoredRun(run).state, "cancelled");
  EXPECT_THAT(world_.Told(), ElementsAre("drain edge-1 web-1", "stop web-1", "install web-1", "start web-1",
                                         "restore edge-1 web-1"));
}

TEST_F(ControllerTest, OneThingAtATime) {
  BringUpFirst();
  const std::string run = UpHeldAt("web-1.start");
  const auto second = Up(File("v3", Mall({Web("run newer"), Edge()})));
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code(), "run-active");
  EXPECT_THAT(second.error().Text(), HasSubstr(run));
  EXPECT_EQ(Act("restart").error().code(), "run-active");
  EXPECT_EQ(StoredCluster().revision, 2);
  server_->fakes["a"]->Release("web-1.start");
  RunUntilFinished(2);
  EXPECT_EQ(StoredRun(run).state, "done");
}

TEST_F(ControllerTest, WhatIsPlannedAtTheSameMomentIsRefusedToo) {
  std::optional<Result<StartedRun>> first, second;
  const auto begin = [&](std::optional<Result<StartedRun>>& into, const std::string& text) {
    Bundle bundle = File(text, Mall({Web("run " + text)}));
    net::SpawnThen(server_->controller->Up(std::move(bundle), "", {}),
                   [&into](Result<StartedRun> started) { into.emplace(std::move(started)); });
  };
  begin(first, "v1");
  world_.hold.insert("web-1.install");
  begin(second, "v2");
  RunUntil([&] { return first && second; });
  ASSERT_TRUE(first->ok());
  ASSERT_FALSE(second->ok());
  EXPECT_EQ(second->error().code(), "run-active");
  RunUntilHeld("a");
  server_->fakes["a"]->Release("web-1.install");
  RunUntilFinished(1);
}

TEST_F(ControllerTest, OneThatAnotherHasReplacedSaysSoAndTakesNoRelease) {
  BringUpFirst();
  world_.hosts["a"].epoch = 9;
  StartNextServer();
  RunUntil([&] { return server_->agents->epoch_seen("mall", "a") == 9; });
  const auto up = Up(File("v2", Mall({Web("run new"), Edge()})));
  ASSERT_FALSE(up.ok());
  EXPECT_EQ(up.error().code(), "epoch-old");
  const std::vector<ServiceStatus> states = server_->controller->ServiceStates();
  ASSERT_FALSE(states.empty());
  EXPECT_EQ(states[0].health.health, Health::kRed);
  EXPECT_THAT(states[0].health.reasons, ElementsAre(HasSubstr("another server has taken mall over")));
}

TEST_F(ControllerTest, OneWhoseStoreCameFromABackupIsObeyedAgainOnceAPersonSaysSo) {
  BringUpFirst();
  const Status early = server_->controller->RuleAgain("test");
  ASSERT_FALSE(early.ok());
  EXPECT_EQ(early.error().code(), "not-replaced");
  world_.hosts["a"].epoch = 9;
  StartNextServer();
  RunUntil([&] { return server_->agents->epoch_seen("mall", "a") == 9; });
  ASSERT_TRUE(server_->controller->RuleAgain("test").ok());
  EXPECT_EQ(StoredCluster().epoch, 10);
  RunUntil([&] { return world_.hosts["a"].epoch == 10; });
  ASSERT_TRUE(Up(File("v2", Mall({Web("run new"), Edge()}))).ok());
  RunUntilFinished(1);
  EXPECT_EQ(world_.orders.back().second.epoch, 10);
}

TEST_F(ControllerTest, AServiceKeepsItsKindAsLongAsItIsThere) {
  BringUpFirst();
  Service edge = Edge();
  edge.kind = "app";
  edge.settings = Web("run").settings;
  const auto refused = Up(File("v2", Mall({Web("run"), edge})));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), "kind-changed");
  EXPECT_THAT(refused.error().Text(), HasSubstr("edge is of kind"));
  EXPECT_EQ(StoredCluster().revision, 1);
  ASSERT_TRUE(Act("down").ok());
  RunUntilFinished(2);
  EXPECT_EQ(Up(File("v2", Mall({Web("run"), edge}))).error().code(), "kind-changed")
      << "its data is there still";
}

TEST_F(ControllerTest, ARunThatItsServerLeftIsSettledByTheNext) {
  BringUpFirst();
  const std::string run = UpHeldAt("web-1.install");
  const int64_t epoch = world_.hosts["a"].epoch;
  const std::string order = world_.orders.back().second.id;
  KillServer();

  settle_within_ = 0ms;
  StartNextServer();
  RunUntilHeld("a");
  EXPECT_GT(world_.hosts["a"].epoch, epoch);
  EXPECT_EQ(StoredCluster().epoch, world_.hosts["a"].epoch);
  // Sent again under its id, so that the agent does it once.
  EXPECT_EQ(world_.orders.back().second.id, order);
  EXPECT_EQ(world_.orders.back().second.epoch, world_.hosts["a"].epoch);
  const auto meanwhile = Up(File("v3", Mall({Web("run newer"), Edge()})));
  ASSERT_FALSE(meanwhile.ok());
  EXPECT_THAT(meanwhile.error().Text(), HasSubstr(run));

  world_.hold.clear();
  server_->fakes["a"]->Release("web-1.install");
  RunUntilFinished(1);
  EXPECT_EQ(server_->finished[0].row.state, "paused");
  EXPECT_EQ(StoredRun(run).state, "paused");
  // The start is sent last, and nobody waits until it is ready.
  RunUntil([&] { return world_.Told().size() == 3; });
  EXPECT_THAT(world_.Told(),
              testing::UnorderedElementsAre("install web-1", "start web-1", "restore edge-1 web-1"));
  EXPECT_EQ(world_.FactOf("edge-1", "run"), "");
  EXPECT_THAT(OpenSteps(run), IsEmpty());

  // The rest of the way.
  world_.orders.clear();
  ASSERT_TRUE(server_->loop.RunTask(server_->controller->Resume("ann")).ok());
  RunUntilFinished(2);
  EXPECT_EQ(server_->finished[1].row.state, "done");
  EXPECT_THAT(world_.Told(), ElementsAre("drain edge-1 web-2", "stop web-2", "install web-2", "start web-2",
                                         "restore edge-1 web-2"));
}

TEST_F(ControllerTest, WhoeverComesWhileARunIsSettledWaitsForIt) {
  BringUpFirst();
  const std::string run = UpHeldAt("web-1.install");
  KillServer();

  StartNextServer();
  RunUntilHeld("a");
  std::optional<Result<StartedRun>> next;
  net::SpawnThen(server_->controller->Up(File("v3", Mall({Web("run newer"), Edge()})), "", {}),
                 [&next](Result<StartedRun> begun) { next.emplace(std::move(begun)); });
  EXPECT_FALSE(next.has_value());
  world_.hold.clear();
  server_->fakes["a"]->Release("web-1.install");
  RunUntilFinished(2);
  EXPECT_EQ(server_->finished[0].row.id, run);
  EXPECT_EQ(server_->finished[0].row.state, "paused");
  ASSERT_TRUE(next && next->ok());
  EXPECT_EQ(server_->finished[1].row.id, (*next)->run);
  EXPECT_EQ(server_->finished[1].row.state, "done");
}

TEST_F(ControllerTest, AStartThatItsServerLeftIsNotWaitedFor) {
  BringUpFirst();
  const std::string run = UpHeldAt("web-1.start");
  KillServer();

  StartNextServer();
  RunUntilFinished(1);
  EXPECT_EQ(StoredRun(run).state, "paused");
  for (const auto& [host, order] : world_.orders) EXPECT_NE(order.step.id, "web-1.start");
  EXPECT_THAT(world_.Told(), Contains("restore edge-1 web-1"));
  EXPECT_EQ(world_.FactOf("edge-1", "run"), "");
  EXPECT_THAT(OpenSteps(run), IsEmpty());
}

TEST_F(ControllerTest, ARunWhoseLastStepWentOnWithoutItsServerIsNotLeftPaused) {
  BringUpFirst();
  const std::string run = UpHeldAt("web-2.start", "b");
  KillServer();
  world_.hold.clear();

  StartNextServer();
  RunUntilFinished(1);
  EXPECT_EQ(StoredRun(run).state, "paused");
  RunUntil([&] { return world_.StateOf("web-2") == InstanceState::kReady; });
  const auto again = Up(File("v2", Mall({Web("run new"), Edge()})));
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->run, "");
  EXPECT_EQ(StoredRun(run).state, "done");
  EXPECT_THAT(StoredCluster().extra, HasSubstr("\"good\":2"));
}

TEST_F(ControllerTest, ADownGoesOnWhereAnInstanceWasRemovedButNobodyHeardOfIt) {
  BringUpFirst();
  world_.hold.insert("edge-1.remove");
  const auto started = Act("down");
  ASSERT_TRUE(started.ok());
  RunUntilHeld("a");
  KillServer();
  world_.hold.clear();
  world_.hosts["a"].held.clear();
  world_.hosts["a"].instances.erase("edge-1");  // it is gone, and so is the agent that removed it

  StartNextServer();
  RunUntilFinished(1);
  ASSERT_EQ(StoredRun(started->run).state, "paused");
  const auto again = Act("down");
  ASSERT_TRUE(again.ok()) << again.error().Text();
  RunUntilFinished(2);
  EXPECT_EQ(server_->finished[1].row.state, "done") << server_->finished[1].row.error;
  EXPECT_TRUE(server_->controller->down());
}

TEST_F(ControllerTest, ASecretIsInTheOrderAndNowhereElse) {
  const Bundle file = File("v1", Mall({Web("run", "key={{secret.token}}")}));
  const auto missing = Up(file);
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().code(), "secret-missing");

  ASSERT_TRUE(store_->PutSecret("mall", "token", "hunter2-hunter2").ok());
  const auto started = Up(file);
  ASSERT_TRUE(started.ok()) << started.error().Text();
  RunUntilFinished(1);
  size_t told = 0;
  for (const auto& [host, order] : world_.orders) {
    if (!order.instance) continue;
    ++told;
    EXPECT_EQ(order.instance->env.at("TOKEN"), "key=hunter2-hunter2");
  }
  EXPECT_GE(told, 2u);
  EXPECT_THAT(EverythingOnDisk(), Not(HasSubstr("hunter2")));
  for (const auto& [name, data] : server_->events) EXPECT_THAT(data, Not(HasSubstr("hunter2")));
  EXPECT_THAT(api::ToJson(started->plan).dump(), Not(HasSubstr("hunter2")));

  // Another value is another desired state.
  ASSERT_TRUE(store_->PutSecret("mall", "token", "correct-horse").ok());
  world_.orders.clear();
  ASSERT_TRUE(Up(file).ok());
  RunUntilFinished(2);
  EXPECT_THAT(world_.Told(), Contains("start web-1"));
  EXPECT_EQ(world_.orders.back().second.instance->env.at("TOKEN"), "key=correct-horse");
  EXPECT_THAT(EverythingOnDisk(), Not(HasSubstr("correct-horse")));
}

TEST_F(ControllerTest, DownTakesEverythingAwayAndKeepsTheData) {
  BringUpFirst();
  const auto started = Act("down");
  ASSERT_TRUE(started.ok());
  RunUntilFinished(2);
  const Lines told = world_.Told();
  ASSERT_EQ(told.size(), 6u);
  EXPECT_EQ(told[0], "stop edge-1");  // whoever sends requests goes first
  EXPECT_THAT(told, Contains("remove web-2"));
  for (const auto& [host, order] : world_.orders) {
    if (order.step.verb != "remove") continue;
    EXPECT_EQ(order.step.args.at("delete_data"), "no");
  }
  RunUntil([this] { return world_.hosts["a"].left == 1 && world_.hosts["b"].left == 1; });
  EXPECT_TRUE(server_->controller->down());
  EXPECT_THAT(server_->removed_hosts, IsEmpty());
  EXPECT_EQ(StoredCluster().revision, 1);

  // Nothing was interrupted that could go on.
  const auto resumed = server_->loop.RunTask(server_->controller->Resume("ann"));
  ASSERT_FALSE(resumed.ok());
  EXPECT_EQ(resumed.error().code(), "cluster-down");
  EXPECT_EQ(world_.StateOf("web-1"), InstanceState::kAbsent);

  // Once more is nothing; up brings it all back.
  const auto again = Act("down");
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->run, "");
  BringUp("v1", files_["v1"]);
  EXPECT_FALSE(server_->controller->down());
  EXPECT_EQ(world_.StateOf("edge-1"), InstanceState::kReady);
}

TEST_F(ControllerTest, DownWithItsDataForgetsTheCluster) {
  BringUpFirst();
  const auto started = Act("down", {}, {.delete_data = true});
  ASSERT_TRUE(started.ok());
  RunUntilFinished(2);
  for (const auto& [host, order] : world_.orders) {
    if (order.step.verb != "remove") continue;
    EXPECT_EQ(order.step.args.at("delete_data"), "yes");
  }
  EXPECT_THAT(server_->removed_hosts, ElementsAre("mall"));
  EXPECT_FALSE(store_->FindCluster("mall").value().has_value());
  EXPECT_EQ(Revisions(), 0u);
}

TEST_F(ControllerTest, DownSaysWhatASilentHostStillRunsAndGoesOnOnceItAnswers) {
  BringUpFirst();
  reach_within_ = 200ms;
  StartNextServer();
  RunUntil([this] { return server_->controller->observed().size() == 3; });
  world_.hosts["b"].silent = true;
  ASSERT_TRUE(Act("down", {}, {.delete_data = true}).ok());
  RunUntilFinished(1);
  const store::RunRow run = server_->finished[0].row;
  EXPECT_EQ(run.state, "failed");
  EXPECT_THAT(run.error, HasSubstr("1 instance on b still runs"));
  EXPECT_THAT(run.error, HasSubstr("muster down --delete-data again"));
  EXPECT_THAT(run.error, HasSubstr("web-2"));
  EXPECT_EQ(world_.StateOf("web-1"), InstanceState::kAbsent);
  EXPECT_EQ(world_.StateOf("web-2"), InstanceState::kReady);
  EXPECT_THAT(server_->removed_hosts, IsEmpty());
  EXPECT_TRUE(server_->controller->going_down());
  EXPECT_FALSE(server_->controller->down());
  EXPECT_THAT(server_->controller->ServiceStates().at(0).health.reasons,
              ElementsAre(HasSubstr("going down")));
  EXPECT_EQ(Act("start").error().code(), "cluster-down");

  // Another server knows of it, and goes on by itself when the host is back.
  StartNextServer();
  EXPECT_TRUE(server_->controller->going_down());
  world_.hosts["b"].silent = false;
  RunUntilFinished(1);
  EXPECT_EQ(server_->finished[0].row.state, "done");
  EXPECT_EQ(world_.StateOf("web-2"), InstanceState::kAbsent);
  EXPECT_THAT(server_->removed_hosts, ElementsAre("mall"));
  EXPECT_FALSE(store_->FindCluster("mall").value().has_value());
}

TEST_F(ControllerTest, DataThatCanNotBeDeletedIsSaidToStay) {
  BringUpFirst();
  ASSERT_TRUE(Act("down").ok());
  RunUntilFinished(2);
  server_->stuck = Error::Unavailable("host-unreachable", "the agent of a has not left");
  EXPECT_EQ(Act("down", {}, {.delete_data = true}).error().code(), "host-unreachable");
  EXPECT_EQ(StoredCluster().revision, 1);
  EXPECT_TRUE(server_->controller->idle());
  server_->stuck.reset();
  EXPECT_TRUE(Act("down", {}, {.delete_data = true}).ok());
  EXPECT_FALSE(store_->FindCluster("mall").value().has_value());
}

TEST_F(ControllerTest, DownDoesNotWaitForWhatIsOnItsWayUp) {
  BringUpFirst();
  const std::string run = UpHeldAt("web-1.start");
  const auto down = Act("down");
  ASSERT_TRUE(down.ok());
  EXPECT_THAT(down->plan.notes, Contains(HasSubstr("run " + run + " (up by ")));
  RunUntilFinished(3);
  EXPECT_EQ(StoredRun(run).state, "cancelled");
  EXPECT_THAT(StoredRun(run).error, HasSubstr("cancelled-by-down"));
  EXPECT_EQ(server_->finished[2].row.state, "done");
  EXPECT_EQ(world_.StateOf("web-1"), InstanceState::kAbsent);
}

TEST_F(ControllerTest, ASecondDownJoinsTheFirst) {
  BringUpFirst();
  world_.hold.insert("web-1.stop");
  const auto first = Act("down");
  ASSERT_TRUE(first.ok());
  RunUntilHeld("a");
  const auto second = Act("down");
  ASSERT_TRUE(second.ok()) << second.error().Text();
  EXPECT_EQ(second->run, first->run);
  EXPECT_EQ(second->plan.steps.size(), first->plan.steps.size());
  EXPECT_THAT(second->plan.notes, Contains(HasSubstr("already: run " + first->run + " (down by ann)")));

  // Whose data is to go as well takes it over.
  std::optional<Result<StartedRun>> third;
  PlanOptions delete_data;
  delete_data.delete_data = true;
  net::SpawnThen(server_->controller->Act("down", {}, delete_data, "bob"),
                 [&third](Result<StartedRun> begun) { third.emplace(std::move(begun)); });
  world_.hold.clear();
  RunUntil([&] { return third.has_value(); });
  ASSERT_TRUE(third->ok()) << third->error().Text();
  EXPECT_EQ(StoredRun(first->run).state, "cancelled");
  EXPECT_THAT(StoredRun(first->run).error, HasSubstr("bob takes mall down too, and deletes its data"));
  EXPECT_THAT(StoredRun(first->run).error, Not(HasSubstr("brings it up")));
  RunUntilFinished(3);
  EXPECT_EQ(server_->removed_hosts, Lines{"mall"});
}

TEST_F(ControllerTest, ADownThatDeletesTheDataIsNotCancelledForOneThatKeepsIt) {
  BringUpFirst();
  world_.hold.insert("web-1.stop");
  const auto first = Act("down", {}, {.delete_data = true});
  ASSERT_TRUE(first.ok());
  RunUntilHeld("a");
  const auto second = Act("down");
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code(), "run-active");
  EXPECT_THAT(second.error().message(), HasSubstr(first->run));
  world_.hold.clear();
  server_->fakes["a"]->Release("web-1.stop");
  RunUntilFinished(2);
  EXPECT_EQ(server_->removed_hosts, Lines{"mall"});
}

TEST_F(ControllerTest, DownDoesNotWaitForAProof) {
  const std::string run = UpHeldAtItsProof();
  const auto down = Act("down");
  ASSERT_TRUE(down.ok()) << down.error().Text();
  RunUntilFinished(3);
  EXPECT_EQ(StoredRun(run).state, "cancelled");
  EXPECT_THAT(StoredRun(run).error, HasSubstr("cancelled-by-down"));
  EXPECT_EQ(server_->finished[2].row.state, "done");
}

TEST_F(ControllerTest, ARunIsSaidToBeCancelledForADownOnlyWhereItEndsForIt) {
  BringUpFirst();
  const std::string run = UpHeldAt("edge-1.drain.web-1");
  const auto wait = [&]() -> net::Task<Status> {
    Error why = Error::Conflict("cancelled-by-down", "bob takes mall down");
    co_await server_->controller->CancelAndWait(std::move(why), 0ms);
    co_return Done();
  };
  ASSERT_TRUE(server_->loop.RunTask(wait()).ok());
  ASSERT_EQ(server_->controller->active_run(), run);
  server_->fakes["a"]->Release("edge-1.drain.web-1");
  RunUntilFinished(2);
  EXPECT_EQ(StoredRun(run).state, "cancelled");
  EXPECT_EQ(StoredRun(run).error, "");
}

TEST_F(ControllerTest, WhatLacksASecretCanBeStopped) {
  ASSERT_TRUE(store_->PutSecret("mall", "token", "hunter2-hunter2").ok());
  BringUp("v1", Mall({Web("run", "key={{secret.token}}")}));
  ASSERT_TRUE(store_->DeleteSecret("mall", "token").ok());
  const auto stopped = Act("stop", {"web-2"});
  ASSERT_TRUE(stopped.ok()) << stopped.error().Text();
  RunUntilFinished(2);
  EXPECT_EQ(world_.StateOf("web-2"), InstanceState::kStopped);
  EXPECT_EQ(world_.StateOf("web-1"), InstanceState::kReady);
  EXPECT_EQ(Act("start", {"web-2"}).error().code(), "secret-missing");
}

TEST_F(ControllerTest, WhatIsStoppedByHandStaysStoppedUntilItIsLetGo) {
  BringUpFirst();
  ASSERT_TRUE(Act("stop", {"web-2"}).ok());
  RunUntilFinished(2);
  EXPECT_EQ(world_.StateOf("web-2"), InstanceState::kStopped);
  BringUp("v2", Mall({Web("run new"), Edge()}));
  EXPECT_EQ(world_.StateOf("web-2"), InstanceState::kStopped);
  EXPECT_EQ(Act("start", {"web-9"}).error().code(), "unknown-instance");
  ASSERT_TRUE(Act("start", {"web-2"}).ok());
  RunUntilFinished(4);
  EXPECT_EQ(world_.StateOf("web-2"), InstanceState::kReady);
  EXPECT_EQ(StoredCluster().revision, 2);
}

TEST_F(ControllerTest, APausedRunIsNoLongerPausedOnceAnotherCameInItsPlace) {
  BringUpFirst();
  const std::string run = UpHeldAt("web-2.start", "b");
  KillServer();
  world_.hold.clear();
  StartNextServer();
  RunUntilFinished(1);
  EXPECT_EQ(StoredRun(run).state, "paused");
  BringUp("v3", Mall({Web("run old"), Edge()}));
  EXPECT_EQ(StoredRun(run).state, "cancelled");
  EXPECT_THAT(StoredRun(run).error, HasSubstr("came in its place"));
}

TEST_F(ControllerTest, AScaleAfterAFailedReleaseSaysThatItGoesOnWithIt) {
  BringUpFirst();
  world_.fail.emplace("web-1.start", Error::Timeout("not-ready", "it was not ready in time"));
  ASSERT_TRUE(Up(File("v2", Mall({Web("run new"), Edge()}))).ok());
  RunUntilFinished(2);
  Service three = Web("run new");
  for (auto& entry : three.settings.entries) {
    if (entry.key == "instances") entry.value = Scalar("3");
  }
  Bundle scaled = File("v2, three", Mall({three, Edge()}));
  scaled.action = "scale";
  scaled.scales = "web";
  const auto started = Up(std::move(scaled));
  ASSERT_TRUE(started.ok()) << started.error().Text();
  EXPECT_THAT(started->plan.notes, Contains(HasSubstr("web-3 gets what the last release says")));
  EXPECT_THAT(started->plan.notes, Contains(HasSubstr("web-2 stays as installed")));
  RunUntilFinished(3);
}

TEST_F(ControllerTest, WhatIsStoppedByHandIsForgottenWithItsInstance) {
  BringUpFirst();
  ASSERT_TRUE(Act("stop", {"web-2"}).ok());
  RunUntilFinished(2);
  const store::ClusterRow with_hold = StoredCluster();
  EXPECT_THAT(with_hold.held, HasSubstr("web-2"));
  Service one = Web("run old");
  for (auto& entry : one.settings.entries) {
    if (entry.key == "instances") entry.value = Scalar("1");
  }
  BringUp("v2", Mall({one, Edge()}));
  EXPECT_EQ(world_.StateOf("web-2"), InstanceState::kAbsent);
  EXPECT_THAT(server_->controller->held(), IsEmpty());
  EXPECT_EQ(StoredCluster().held, "{}");

  // Nor does what an earlier release left in the store hold anything that is there no more.
  store::ClusterRow earlier = StoredCluster();
  earlier.held = with_hold.held;
  ASSERT_TRUE(store_->PutCluster(earlier).ok());
  KillServer();
  StartNextServer();
  EXPECT_THAT(server_->controller->held(), IsEmpty());
  BringUp("v3", Mall({Web("run old"), Edge()}));
  EXPECT_EQ(world_.StateOf("web-2"), InstanceState::kReady);
}

}  // namespace
}  // namespace muster::control
