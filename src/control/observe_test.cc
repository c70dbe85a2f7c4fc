// What the server makes of what it sees: instances that are unwell in a run, hosts, checks.
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
using testing::Not;

class ObserveTest : public ControllerTest {
 protected:
  static Cluster Three(const std::string& command, Duration deadline) {
    Service web = Web(command);
    web.settings.entries[2].value.text = "3";
    web.update.deadline = deadline;
    return Mall({web, Edge()});
  }
  void Becomes(const std::string& host, const std::string& name, InstanceState state) {
    server_->fakes.at(host)->Become(name, state);
  }
  // A roll in which web-3 stops answering while web-1 is replaced.
  void FallIllInARoll(Duration deadline) {
    BringUp("v1", Three("run old", deadline));
    world_.orders.clear();
    world_.hold = {"web-1.start"};
    ASSERT_TRUE(Up(File("v2", Three("run new", deadline))).ok());
    RunUntilHeld("a");
    Becomes("a", "web-3", InstanceState::kUnhealthy);
    RunUntil([this] { return Paused(); });
    world_.hold.clear();
    server_->fakes.at("a")->Release("web-1.start");
  }
  // A row of the audit wakes nobody up.
  void LookOften() {
    server_->loop.After(10ms, [this] {
      server_->Look();
      LookOften();
    });
  }
  // Rows of the audit that nobody asked for, oldest first.
  Lines Incidents() {
    Lines lines;
    const auto rows = store_->Audit("mall", 99);
    if (!rows.ok()) return {"the audit can't be read"};
    for (const store::AuditRow& row : *rows) {
      if (row.who == "ann" || row.who == "muster") continue;
      lines.insert(lines.begin(), row.who + " | " + row.action + " | " + row.detail);
    }
    return lines;
  }
  bool Paused() const {
    return std::any_of(server_->events.begin(), server_->events.end(),
                       [](const auto& event) { return event.first == "paused"; });
  }
};

TEST_F(ObserveTest, ARunWaitsForAnUnwellMemberAndGoesOnWhenItIsWell) {
  FallIllInARoll(600s);
  RunUntil([this] { return world_.FactOf("edge-1", "run").empty(); });
  EXPECT_THAT(world_.Told(), Not(Contains("drain edge-1 web-2")));
  EXPECT_THAT(server_->controller->ActiveRun()->paused.at("web"), "web-3 does not answer");
  Becomes("b", "web-2", InstanceState::kReady);  // another's being well says nothing
  Becomes("a", "web-3", InstanceState::kReady);
  RunUntilFinished(2);
  EXPECT_EQ(server_->finished.back().row.state, "done");
  EXPECT_THAT(world_.Told(), Contains("drain edge-1 web-2"));
}

TEST_F(ObserveTest, ARunFailsWithEvidenceWhereTheUnwellMemberStaysSo) {
  FallIllInARoll(50ms);
  RunUntilFinished(2);
  const RunProgress& run = server_->finished.back();
  EXPECT_EQ(run.row.state, "failed");
  EXPECT_THAT(run.row.error, HasSubstr("member-unwell"));
  EXPECT_THAT(run.row.error, HasSubstr("web-3 is unhealthy"));
  EXPECT_THAT(run.row.error, HasSubstr("a line"));  // of its log
  EXPECT_EQ(world_.StateOf("web-1"), InstanceState::kReady);
  EXPECT_EQ(world_.FactOf("edge-1", "run"), "");
  EXPECT_THAT(world_.Told(), Not(Contains("stop web-2")));
}

// It would be waited for in vain: nobody kills it for a check that may be what is wrong.
TEST_F(ObserveTest, ARunDoesNotWaitForWhoPassesItsChangedCheckNoMore) {
  BringUp("v1", Three("run old", 600s));
  world_.hold = {"web-2.start"};
  ASSERT_TRUE(Up(File("v2", Three("run new", 600s))).ok());
  RunUntilHeld("b");
  const std::map<std::string, std::string> facts{{kUnprovenFact, "yes"}, {kProbeFact, "status 500"}};
  server_->fakes.at("a")->Become("web-1", InstanceState::kUnhealthy, facts);
  RunUntil([this] { return Paused(); });
  world_.hold.clear();
  server_->fakes.at("b")->Release("web-2.start");
  RunUntilFinished(2);
  const RunProgress& run = server_->finished.back();
  EXPECT_EQ(run.row.state, "failed");
  EXPECT_THAT(run.row.error, HasSubstr("health-wrong"));
  EXPECT_THAT(run.row.error, HasSubstr("web-1 passes its changed health check no more: status 500"));
  EXPECT_THAT(world_.Told(), Not(Contains("stop web-3")));
}

// … also where an earlier run has brought the check, and this one doesn't get to that member.
TEST_F(ObserveTest, ARunDoesNotWaitForWhomAnEarlierOneGaveAWrongCheck) {
  BringUp("v1", Three("run old", 600s));
  world_.hold = {"web-1.start"};
  ASSERT_TRUE(Act("restart", {"web-1", "web-2"}).ok());
  RunUntilHeld("a");
  server_->fakes.at("a")->Become("web-3", InstanceState::kUnhealthy, {{kUnprovenFact, "yes"}});
  RunUntil([this] { return Paused(); });
  world_.hold.clear();
  server_->fakes.at("a")->Release("web-1.start");
  RunUntilFinished(2);
  const RunProgress& run = server_->finished.back();
  EXPECT_EQ(run.row.state, "failed");
  EXPECT_THAT(run.row.error, HasSubstr("web-3 passes its changed health check no more"));
  EXPECT_THAT(world_.Told(), Not(Contains("stop web-2")));
}

TEST_F(ObserveTest, ARunReplacesTheUnwellMemberItself) {
  BringUpFirst();
  world_.hold = {"web-1.start"};
  ASSERT_TRUE(Up(File("v2", Mall({Web("run new"), Edge()}))).ok());
  RunUntilHeld("a");
  Becomes("b", "web-2", InstanceState::kUnhealthy);
  server_->fakes.at("a")->Release("web-1.start");
  RunUntilFinished(2);
  EXPECT_EQ(server_->finished.back().row.state, "done");
  EXPECT_EQ(world_.StateOf("web-2"), InstanceState::kReady);
}

TEST_F(ObserveTest, ARunFailsWhereWhatItHasReleasedDiesAgain) {
  BringUp("v1", Three("run old", 600s));
  world_.orders.clear();
  world_.hold = {"web-2.start"};
  ASSERT_TRUE(Up(File("v2", Three("run new", 600s))).ok());
  RunUntilHeld("b");
  Becomes("a", "web-1", InstanceState::kBackoff);
  RunUntil([this] { return Paused(); });
  server_->fakes.at("b")->Release("web-2.start");
  Becomes("a", "web-1", InstanceState::kReady);
  Becomes("a", "web-1", InstanceState::kBackoff);
  RunUntilFinished(2);
  const RunProgress& run = server_->finished.back();
  EXPECT_EQ(run.row.state, "failed");
  EXPECT_THAT(run.row.error, HasSubstr("web-1 died again after it was ready"));
  EXPECT_THAT(run.row.error, HasSubstr("muster rollback"));
  EXPECT_THAT(world_.Told(), Not(Contains("stop web-3")));
}

TEST_F(ObserveTest, AReleaseIsNotDoneWhileWhatItBroughtIsNotWell) {
  BringUp("v1", Three("run old", 600s));
  world_.hold = {"web-3.start"};
  ASSERT_TRUE(Up(File("v2", Three("run new", 600s))).ok());
  RunUntilHeld("a");
  Becomes("b", "web-2", InstanceState::kBackoff);
  RunUntil([this] { return Paused(); });
  server_->fakes.at("a")->Release("web-3.start");
  RunUntil(
      [this] { return server_->controller->ActiveRun()->done == server_->controller->ActiveRun()->total; });
  EXPECT_EQ(server_->finished.size(), 1u);
  Becomes("b", "web-2", InstanceState::kReady);
  RunUntilFinished(2);
  EXPECT_EQ(server_->finished.back().row.state, "done");
}

TEST_F(ObserveTest, ARunFailsAtOnceWhereWhatItHasReleasedIsGivenUp) {
  BringUp("v1", Three("run old", 600s));
  world_.orders.clear();
  world_.hold = {"web-2.start"};
  ASSERT_TRUE(Up(File("v2", Three("run new", 600s))).ok());
  RunUntilHeld("b");
  Becomes("a", "web-1", InstanceState::kFailed);
  RunUntil([this] { return Paused(); });
  server_->fakes.at("b")->Release("web-2.start");
  RunUntilFinished(2);
  EXPECT_EQ(server_->finished.back().row.state, "failed");
  EXPECT_THAT(world_.Told(), Not(Contains("stop web-3")));
}

TEST_F(ObserveTest, VerifySaysWhatTheHealthCheckOfOneThatIsNotReadySays) {
  BringUpFirst();
  world_.unverifiable.insert("web-2");
  server_->fakes["b"]->Become("web-2", InstanceState::kUnhealthy, {{kProbeFact, "GET /health: status 500"}});
  RunUntil([&] { return server_->controller->observed().at("web-2").state == InstanceState::kUnhealthy; });
  const auto checks = server_->loop.RunTask(server_->controller->Verify(""));
  ASSERT_TRUE(checks.ok());
  size_t failed = 0;
  for (const auto& [service, check] : *checks) {
    if (check.passed) continue;
    ++failed;
    EXPECT_EQ(check.evidence.back(), "its health check: GET /health: status 500");
  }
  EXPECT_EQ(failed, 1u);
}

TEST_F(ObserveTest, VerifySaysThatItDoesNotAskWhoIsNoMemberAnyMore) {
  BringUpFirst();
  Observed& left = world_.hosts["b"].instances["web-9"];
  left.name = "web-9";
  left.service = "web";
  left.host = "b";
  server_->fakes["b"]->Become("web-9", InstanceState::kReady);
  RunUntil([&] { return server_->controller->observed().contains("web-9"); });
  const auto checks = server_->loop.RunTask(server_->controller->Verify("web"));
  ASSERT_TRUE(checks.ok());
  const api::CheckResult& last = checks->back().second;
  EXPECT_EQ(last.name, "web-9 is not asked");
  EXPECT_TRUE(last.skipped && last.passed);
  EXPECT_THAT(last.evidence, ElementsAre(testing::HasSubstr("has it no more; it is ready")));
  const auto others = server_->loop.RunTask(server_->controller->Verify("edge"));
  ASSERT_TRUE(others.ok());
  EXPECT_EQ(others->size(), 1u);
}

TEST_F(ObserveTest, WhatCannotBeVerifiedFailsAndHidesNothing) {
  BringUpFirst();
  world_.unverifiable = {"web-1"};
  const auto checks = server_->loop.RunTask(server_->controller->Verify(""));
  ASSERT_TRUE(checks.ok());
  Lines told;
  for (const auto& [service, check] : *checks)
    told.push_back(fmt::format("{} {} {}", service, check.name, check.passed ? "passed" : "failed"));
  EXPECT_THAT(told,
              ElementsAre("web web-1 can be asked failed", "web answers passed", "edge answers passed"));
  EXPECT_THAT((*checks)[0].second.evidence, ElementsAre("nobody is there"));
}

TEST_F(ObserveTest, TheAuditTellsWhoDiedAndCameBack) {
  BringUpFirst();
  EXPECT_THAT(Incidents(), ElementsAre());
  world_.hosts["b"].instances["web-2"].last_exit = "signal 9";
  Becomes("b", "web-2", InstanceState::kBackoff);
  RunUntil([this] { return Incidents().size() == 1; });
  Becomes("b", "web-2", InstanceState::kReady);
  RunUntil([this] { return Incidents().size() == 2; });
  EXPECT_THAT(Incidents(), ElementsAre("agent of b | died | web-2: signal 9",
                                       HasSubstr("agent of b | ready again | web-2: after ")));
  ASSERT_TRUE(Act("restart", {"web-2"}).ok());
  RunUntilFinished(2);
  EXPECT_EQ(Incidents().size(), 2u) << "what a run stops has not died";
}

TEST_F(ObserveTest, TheAuditTellsOfAHostThatFellSilentAndOfItsReturn) {
  BringUpFirst();
  LookOften();
  server_->agents->Cut("mall", "b", true);
  RunUntil([this] { return Incidents().size() == 1; });
  server_->agents->Cut("mall", "b", false);
  RunUntil([this] { return Incidents().size() == 2; });
  EXPECT_THAT(Incidents(), ElementsAre(HasSubstr("server | silent | host b: "),
                                       HasSubstr("server | answers again | host b: ")));
}

// While roles were changed the last server died: who is primary by now only the one agent knows.
TEST_F(ObserveTest, NobodyIsMadePrimaryBeforeAHostWhoseAgentHasComeHasTold) {
  Service cache;
  cache.name = "cache";
  cache.kind = "redis";
  cache.settings = Map({{"kind", Scalar("redis")}, {"replicas", Scalar("1")}, {"port", Scalar("6379")}});
  ASSERT_TRUE(Up(File("v1", Mall({cache}))).ok());
  RunUntil([this] {
    return world_.StateOf("cache-1") == InstanceState::kReady &&
           world_.StateOf("cache-2") == InstanceState::kReady;
  });
  KillServer();
  world_.hosts["a"].instances["cache-1"].facts = {{"role", "fenced"}, {"term", "3"},     {"copy", "3"},
                                                  {"was", "primary"}, {"synced", "yes"}, {"offset", "10"}};
  world_.hosts["b"].instances["cache-2"].facts = {{"role", "primary"}, {"term", "4"},     {"copy", "4"},
                                                  {"was", "primary"},  {"synced", "yes"}, {"offset", "20"}};
  world_.hosts["b"].silent = true;
  StartNextServer();
  RunUntil([this] { return server_->controller->connected("a") && server_->controller->connected("b"); });
  // Another host tells of something: the mender looks again.
  bool later = false;
  server_->fakes.at("a")->Become("cache-1", InstanceState::kReady);
  server_->loop.After(100ms, [&] {
    later = true;
    server_->Look();
  });
  RunUntil([&] { return later; });
  EXPECT_THAT(world_.Told(), ElementsAre());
  world_.hosts["b"].silent = false;
  server_->agents->Cut("mall", "b", true);
  server_->agents->Cut("mall", "b", false);
  RunUntil([this] { return !world_.orders.empty(); });
  EXPECT_EQ(world_.Told().front(), "follow cache-1");
}

// As where an earlier release has given its name to a new one.
TEST_F(ObserveTest, AnOrderGoesToTheHostWhereItsMemberStands) {
  Service cache;
  cache.name = "cache";
  cache.kind = "redis";
  cache.settings = Map({{"kind", Scalar("redis")}, {"replicas", Scalar("1")}, {"port", Scalar("6379")}});
  ASSERT_TRUE(Up(File("v1", Mall({cache}))).ok());
  RunUntil([this] {
    return world_.StateOf("cache-1") == InstanceState::kReady &&
           world_.StateOf("cache-2") == InstanceState::kReady;
  });
  KillServer();
  auto& a = world_.hosts["a"].instances;
  auto& b = world_.hosts["b"].instances;
  a["cache-1"].facts = {{"role", "fenced"}, {"term", "3"},     {"copy", "3"},
                        {"was", "primary"}, {"synced", "yes"}, {"offset", "10"}};
  b["cache-2"].facts = {{"role", "primary"}, {"term", "4"},     {"copy", "4"},
                        {"was", "primary"},  {"synced", "yes"}, {"offset", "20"}};
  b["cache-1"] = a["cache-1"];
  b["cache-1"].host = "b";
  a.erase("cache-1");
  world_.orders.clear();
  StartNextServer();
  RunUntil([this] { return !world_.orders.empty(); });
  EXPECT_EQ(world_.Told().front(), "follow cache-1");
  EXPECT_EQ(world_.orders.front().first, "b");
}

TEST_F(ObserveTest, AHostThatARunWentOnWithoutIsBroughtUpToDateAlsoByTheNextServer) {
  BringUpFirst();
  reach_within_ = 300ms;
  KillServer();
  StartNextServer();
  RunUntil([this] { return server_->controller->connected("a") && server_->controller->connected("b"); });
  world_.hosts["b"].silent = true;
  const size_t before = server_->finished.size();
  ASSERT_TRUE(Up(File("v2", Mall({Web("run new"), Edge()}))).ok());
  RunUntilFinished(before + 1);
  ASSERT_EQ(server_->finished.back().row.state, "done");
  world_.orders.clear();
  KillServer();
  world_.hosts["b"].silent = false;
  StartNextServer();
  RunUntilFinished(1);
  EXPECT_EQ(server_->finished[0].row.action, "converge");
  EXPECT_EQ(server_->finished[0].row.state, "done");
  EXPECT_THAT(world_.orders, testing::Contains(testing::Pair("b", testing::_)));
}

// Nobody asked for that run, so nobody is there to resume it.
TEST_F(ObserveTest, ARunOfItsOwnThatTheServersEndInterruptedIsGoneOnWithByTheNextOne) {
  BringUpFirst();
  reach_within_ = 300ms;
  KillServer();
  StartNextServer();
  RunUntil([this] { return server_->controller->connected("a") && server_->controller->connected("b"); });
  world_.hosts["b"].silent = true;
  const size_t before = server_->finished.size();
  ASSERT_TRUE(Up(File("v2", Mall({Web("run new"), Edge()}))).ok());
  RunUntilFinished(before + 1);
  KillServer();
  world_.hosts["b"].silent = false;
  world_.hold.insert("web-2.stop");
  StartNextServer();
  RunUntilHeld("b");
  KillServer();

  world_.hold.clear();
  world_.orders.clear();
  StartNextServer();
  RunUntilFinished(2);
  EXPECT_EQ(server_->finished[0].row.state, "paused");
  EXPECT_EQ(server_->finished[1].row.action, "converge");
  EXPECT_EQ(server_->finished[1].row.state, "done");
  EXPECT_EQ(world_.StateOf("web-2"), InstanceState::kReady);
}

// What is known is older than its agent: a member may have died since.
TEST_F(ObserveTest, NothingIsSaidToBeWellOnAHostWhoseAgentHasComeBeforeItHasTold) {
  BringUpFirst();
  const auto web = [this] { return server_->controller->ServiceStates().at(0); };
  ASSERT_EQ(web().health.health, Health::kGreen);
  world_.hosts["b"].silent = true;
  server_->agents->Cut("mall", "b", true);
  server_->agents->Cut("mall", "b", false);
  RunUntil([this] { return server_->controller->connected("b"); });
  EXPECT_EQ(web().health.health, Health::kYellow);
  EXPECT_THAT(web().health.reasons, ElementsAre(HasSubstr("web-2 is unknown")));
  EXPECT_EQ(web().ready, 1);
  LookOften();
  world_.hosts["b"].silent = false;
  server_->agents->Cut("mall", "b", true);
  server_->agents->Cut("mall", "b", false);
  RunUntil([&] { return web().health.health == Health::kGreen; });
}

TEST_F(ObserveTest, TheAuditDoesNotTellOfAnAgentThatIsBackSoon) {
  silent_after_ = 1h;
  StartServer({.key = "mall", .name = "mall", .epoch = 1});
  BringUpFirst();
  server_->agents->Cut("mall", "b", true);
  EXPECT_FALSE(server_->controller->connected("b"));
  server_->agents->Cut("mall", "b", false);
  RunUntil([this] { return server_->controller->connected("b"); });
  EXPECT_THAT(Incidents(), ElementsAre());
}

TEST_F(ObserveTest, TheAuditTellsOfAHostThatWasCutByWhoCutIt) {
  StartServer({.key = "mall", .name = "mall", .rehearsal = true, .block = 3, .epoch = 1});
  Cluster mall = Mall({Web("run old"), Edge()});
  mall.hosts[0].address = "127.77.3.1";
  mall.hosts[1].address = "127.77.3.2";
  BringUp("v1", mall);
  ASSERT_TRUE(server_->loop.RunTask(server_->controller->CutHost("b", true, "ann")).ok());
  bool later = false;
  server_->loop.After(100ms, [&] {
    later = true;
    server_->Look();
  });
  RunUntil([&] { return later; });
  EXPECT_THAT(Incidents(), ElementsAre());
}

TEST_F(ObserveTest, ARehearsedHostsNumberIsRememberedWhenItsFileLeavesItOut) {
  store::ClusterRow row{.key = "mall", .name = "mall", .epoch = 1};
  row.rehearsal = true;
  row.block = 7;
  StartServer(row);
  Cluster cluster = Mall({Web("run")});
  cluster.hosts[0].address = "127.77.7.1";
  cluster.hosts[1].address = "127.77.7.4";
  BringUp("v1", cluster);
  const std::map<std::string, int> numbers{{"a", 1}, {"b", 4}};
  EXPECT_EQ(KeptOf(StoredCluster()).numbers, numbers);
  cluster.hosts.pop_back();
  BringUp("v2", cluster);
  EXPECT_EQ(KeptOf(StoredCluster()).numbers, numbers);
  EXPECT_FALSE(KeptOf(StoredCluster()).hosts.contains("b"));
}

}  // namespace
}  // namespace muster::control
