#include "plan/scope.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "model/testing_values.h"

namespace muster::plan {
namespace {

using Names = std::vector<std::string>;

// Apps `api` and `web` behind one nginx.
Cluster Shop(const std::string& api_command = "old", const std::string& api_instances = "4",
             const std::string& web_instances = "2") {
  Cluster cluster;
  cluster.name = "shop";
  cluster.hosts = {{.name = "a", .address = "10.0.0.1", .mark = {}}};
  for (const auto& [name, command, instances, port] :
       {std::tuple("api", api_command, api_instances, "8100"),
        std::tuple("web", std::string("web"), web_instances, "8200")}) {
    Service service;
    service.name = name;
    service.kind = "app";
    service.settings = Map({{"kind", Scalar("app")},
                            {"command", Scalar(command)},
                            {"instances", Scalar(instances)},
                            {"ports", Map({{"http", Scalar(port)}})}});
    cluster.services.push_back(std::move(service));
  }
  Service edge;
  edge.name = "edge";
  edge.kind = "nginx";
  Value routes;
  routes.type = Value::Type::kList;
  routes.items = {Map({{"path", Scalar("/api/")}, {"to", Scalar("api")}}),
                  Map({{"path", Scalar("/")}, {"to", Scalar("web")}})};
  edge.settings = Map({{"kind", Scalar("nginx")}, {"listen", Scalar("8080")}, {"routes", routes}});
  cluster.services.push_back(std::move(edge));
  return cluster;
}

// `old` stands and is well, but for api-1, which a failed release has brought to `next`.
Situation HalfDone(const Desired& old, const Desired& next) {
  Situation situation;
  for (const auto* desired : {&old, &next}) {
    for (const Instance& instance : desired->instances) {
      const bool released = instance.name == "api-1";
      if (released != (desired == &next)) continue;
      Observed one{.name = instance.name, .service = instance.service, .host = instance.host};
      one.state = released ? InstanceState::kFailed : InstanceState::kReady;
      one.hash = one.running_hash = instance.hash;
      one.parts = instance.parts;
      one.renderer = instance.renderer;
      situation.observed[instance.name] = one;
    }
  }
  return situation;
}

class Half : public testing::Test {
 protected:
  Names Ids(const Scope& scope) {
    const Narrowed narrowed =
        Narrow(scope, {.cluster = cluster, .desired = next, .situation = situation, .left = {}});
    left = narrowed.left;
    const auto plan = MakePlan(narrowed.cluster, narrowed.desired, narrowed.situation);
    if (!plan.ok()) return {plan.error().Text()};
    Names ids;
    for (const Step& step : plan->steps) ids.push_back(step.id);
    std::sort(ids.begin(), ids.end());
    return ids;
  }

  Cluster cluster = Shop("new");
  Desired old = LayOutCluster(Shop(), {}, {}).value();
  Desired next = LayOutCluster(cluster, old.placement, {}).value();
  Situation situation = HalfDone(old, next);
  Names left;
};

TEST_F(Half, UpWouldGoOnWithIt) {
  const Plan plan = MakePlan(cluster, next, situation).value();
  const auto installs = [](const Step& step) { return step.verb == "install"; };
  EXPECT_EQ(std::count_if(plan.steps.begin(), plan.steps.end(), installs), 3);  // api-2 to api-4
}

TEST_F(Half, StopStopsWhatItNames) {
  situation.held["api-1"] = "stopped";
  EXPECT_EQ(Ids({.instances = {"api-1"}, .install = false}), (Names{"api-1.stop", "edge-1.drain.api-1"}));
  EXPECT_EQ(left, (Names{"api-2", "api-3", "api-4"}));
}

TEST_F(Half, RestartKeepsWhatIsInstalled) {
  situation.restart = {"api-2"};
  EXPECT_EQ(Ids({.instances = {"api-2"}, .install = false}),
            (Names{"api-2.start", "api-2.stop", "edge-1.drain.api-2", "edge-1.restore.api-2"}));
}

TEST_F(Half, StartStartsWhatItNamesAlone) {
  situation.observed["web-1"].state = InstanceState::kStopped;
  situation.observed["web-2"].state = InstanceState::kStopped;
  EXPECT_EQ(Ids({.instances = {"web-1"}, .install = false}), Names{"web-1.start"});
}

TEST_F(Half, WhatIsHeldStaysOutOfOtherPeoplesActs) {
  situation.held["web-2"] = "stopped";  // it stands all the same: nobody has asked for it now
  EXPECT_EQ(Ids({.instances = {"web-1"}, .install = false}), Names{});
}

TEST_F(Half, WhatAnEarlierRunLeftOutIsNotLetInAlong) {
  situation.observed["edge-1"].facts["run"] = "api-3";
  EXPECT_EQ(Ids({.instances = {"web-1"}, .install = false}), Names{});
}

TEST_F(Half, WhatIsNotInstalledIsNotBrought) {
  situation.observed.erase("api-4");
  EXPECT_EQ(Ids({.instances = {"api-4", "api-3"}, .install = false}), Names{});
  EXPECT_EQ(left, (Names{"api-2", "api-3", "api-4"}));
}

TEST_F(Half, ScaleBringsNewMembersAndTellsTheirBalancers) {
  cluster = Shop("new", "4", "3");
  const Desired before = next;
  next = LayOutCluster(cluster, next.placement, {}).value();
  const auto touched = TouchedByScaling("web", before, next, situation.observed);
  EXPECT_EQ(touched, (std::set<std::string>{"edge-1", "web-3"}));
  EXPECT_EQ(Ids({.instances = touched}),
            (Names{"edge-1.install", "edge-1.reload", "web-3.install", "web-3.start"}));
  EXPECT_EQ(left, (Names{"api-2", "api-3", "api-4"}));
}

TEST_F(Half, ScaleTakesSurplusMembersAwayThoughTheReleaseDidNot) {
  cluster = Shop("new", "4", "1");
  const Desired before = LayOutCluster(cluster, next.placement, {}).value();
  next = before;
  const auto touched = TouchedByScaling("web", before, next, situation.observed);
  EXPECT_EQ(touched, (std::set<std::string>{"edge-1", "web-2"}));
  EXPECT_EQ(Ids({.instances = touched}),
            (Names{"edge-1.dismiss.web-2", "edge-1.install", "edge-1.reload", "web-2.remove", "web-2.stop"}));
}

TEST_F(Half, WhereTheRevisionStandsAMemberTakesItUp) {
  // api-3 was stopped by hand while all others were brought to what is there now.
  situation.observed["api-3"].state = InstanceState::kStopped;
  EXPECT_EQ(Ids({.instances = {"api-3"}, .install = true}), (Names{"api-3.install", "api-3.start"}));
}

TEST_F(Half, ScaleSaysThatItGoesOnWithTheRelease) {
  cluster = Shop("new", "5");
  const Desired before = next;
  next = LayOutCluster(cluster, next.placement, {}).value();
  situation.observed.erase("api-4");  // the release did not get there
  const Narrowed narrowed = Narrow({.instances = TouchedByScaling("api", before, next, situation.observed)},
                                   {.cluster = cluster, .desired = next, .situation = situation, .left = {}});
  const Plan plan = MakePlan(narrowed.cluster, narrowed.desired, narrowed.situation).value();
  EXPECT_EQ(
      GoesOnNote("api", plan, true),
      "api-4, api-5 get what the last release says, though that did not get to its end; muster rollback "
      "goes back");
  EXPECT_EQ(GoesOnNote("web", plan, true), "");
  EXPECT_TRUE(GoesOnNote("api", plan, false).ends_with("to its end"));
}

TEST(LeftNote, NamesAFewAndCountsMany) {
  EXPECT_TRUE(LeftNote({"a-1"}).starts_with("a-1 stays as installed: "));
  EXPECT_TRUE(LeftNote({"a-1", "a-2"}).starts_with("a-1, a-2 stay as installed: "));
  EXPECT_TRUE(LeftNote({"1", "2", "3", "4", "5"}).starts_with("5 instances stay "));
}

}  // namespace
}  // namespace muster::plan
