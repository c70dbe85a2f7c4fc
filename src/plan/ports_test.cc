#include "plan/ports.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "model/listens.h"
#include "model/testing_values.h"

namespace muster::plan {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using Names = std::vector<std::string>;

Service App(const std::string& name, const std::string& instances, const std::string& port) {
  Service service;
  service.name = name;
  service.kind = "app";
  service.settings = Map({{"kind", Scalar("app")},
                          {"command", Scalar("run --port={{ports.http}}")},
                          {"instances", Scalar(instances)},
                          {"ports", Map({{"http", Scalar(port)}})}});
  service.update.max_unavailable = {1, false};
  return service;
}

Service Edge(const std::string& name, const std::string& to, const std::string& listen = "8080") {
  Service service;
  service.name = name;
  service.kind = "nginx";
  Value routes;
  routes.type = Value::Type::kList;
  routes.items.push_back(Map({{"path", Scalar("/")}, {"to", Scalar(to)}}));
  service.settings = Map({{"kind", Scalar("nginx")}, {"listen", Scalar(listen)}, {"routes", routes}});
  return service;
}

Cluster One(std::vector<Service> services, const std::string& host = "a") {
  Cluster cluster;
  cluster.name = "c";
  cluster.hosts = {{.name = host, .address = "10.0.0.1", .mark = {}}};
  cluster.services = std::move(services);
  return cluster;
}

Desired LaidOut(const Cluster& cluster, const Placement& so_far = {}) {
  auto desired = LayOutCluster(cluster, so_far, {});
  if (!desired.ok()) throw std::runtime_error(desired.error().Text());
  return std::move(desired.value());
}

Observed Standing(const Instance& instance) {
  Observed one{.name = instance.name, .service = instance.service, .host = instance.host};
  one.state = InstanceState::kReady;
  one.hash = one.running_hash = instance.hash;
  one.parts = instance.parts;
  one.renderer = instance.renderer;
  one.facts[kListensFact] = FormatListens(instance.address, instance.ports);
  return one;
}

Situation AllReady(const Desired& desired) {
  Situation situation;
  for (const Instance& instance : desired.instances) {
    situation.observed[instance.name] = Standing(instance);
  }
  return situation;
}

Names Ids(const Plan& plan) {
  Names ids;
  for (const Step& step : plan.steps) ids.push_back(step.id);
  return ids;
}

const Step& Find(const Plan& plan, const std::string& id) {
  for (const Step& step : plan.steps) {
    if (step.id == id) return step;
  }
  ADD_FAILURE() << "no step " << id;
  static const Step none;
  return none;
}

// From all of `before` well to `after`.
Plan Moved(const Cluster& before, const Cluster& after) {
  const Desired stood = LaidOut(before);
  const Desired wanted = LaidOut(after, stood.placement);
  auto plan = MakePlan(after, wanted, AllReady(stood));
  if (!plan.ok()) throw std::runtime_error(plan.error().Text());
  return std::move(plan.value());
}

// Whoever plays the steps one by one never starts somebody on a port that another has.
void ExpectPlayable(const Plan& plan, const Desired& stood, const Desired& wanted) {
  std::map<int, std::string> holders;
  std::map<std::string, const Instance*> installed, desired;
  for (const Instance& instance : stood.instances) {
    installed[instance.name] = &instance;
    for (const auto& [name, range] : instance.ports) holders[range.first] = instance.name;
  }
  for (const Instance& instance : wanted.instances) desired[instance.name] = &instance;
  for (const Step& step : plan.steps) {
    if (step.verb == "install" && step.impact == Impact::kRestart) {
      installed[step.instance] = desired.at(step.instance);
    }
    if (step.verb == "stop") {
      std::erase_if(holders, [&](const auto& holder) { return holder.second == step.instance; });
    }
    if (step.verb != "start") continue;
    for (const auto& [name, range] : installed.at(step.instance)->ports) {
      EXPECT_TRUE(!holders.contains(range.first) || holders[range.first] == step.instance)
          << step.id << " on " << range.first << ", which " << holders[range.first] << " has";
      holders[range.first] = step.instance;
    }
  }
}

TEST(Ports, OfAServiceWithAnotherNameAreFreedBeforeTheNewOneStarts) {
  const Plan plan = Moved(One({App("web", "1", "9101"), Edge("edge", "web")}),
                          One({App("site", "1", "9101"), Edge("edge", "site")}));
  EXPECT_EQ(Ids(plan), (Names{"site-1.install", "web-1.stop", "site-1.start", "edge-1.install",
                              "edge-1.reload", "web-1.remove"}));
  EXPECT_EQ(Find(plan, "web-1.stop").needs, Names{"site-1.install"});
  EXPECT_THAT(plan.outages,
              ElementsAre("nothing answers on port 9101 from when web-1 stops until site-1, which "
                          "takes it over, is ready"));
}

TEST(Ports, OfALoadBalancerWithAnotherNameAreFreedLate) {
  const Plan plan = Moved(One({App("web", "1", "9101"), Edge("edge", "web")}),
                          One({App("web", "1", "9101"), Edge("front", "web")}));
  EXPECT_EQ(Ids(plan), (Names{"front-1.install", "edge-1.stop", "front-1.start", "edge-1.remove"}));
  EXPECT_EQ(plan.outages.size(), 1u);
}

TEST(Ports, OfAHostWithAnotherNameAndTheSameAddressAreFreed) {
  const Cluster before = One({App("web", "3", "9951"), Edge("edge", "web")});
  const Cluster after = One({App("web", "3", "9951"), Edge("edge", "web")}, "me");
  const Plan plan = Moved(before, after);
  const Desired stood = LaidOut(before);
  ExpectPlayable(plan, stood, LaidOut(after, stood.placement));
  EXPECT_THAT(Find(plan, "edge-2.start").needs, Contains("edge-1.stop"));
  EXPECT_EQ(Find(plan, "edge-1.stop").needs, Names{"edge-2.install"});
  EXPECT_EQ(plan.outages.size(), 2u);
}

TEST(Ports, ThatMoveAlongWithinAServiceAreHandedOnFromTheLast) {
  const Cluster before = One({App("web", "3", "8101"), Edge("edge", "web")});
  const Cluster after = One({App("web", "3", "8102"), Edge("edge", "web")});
  const Plan plan = Moved(before, after);
  EXPECT_THAT(Ids(plan), ElementsAre("edge-1.drain.web-3", "web-3.stop", "web-3.install", "web-3.start",
                                     "edge-1.restore.web-3", "edge-1.drain.web-2", "web-2.stop",
                                     "web-2.install", "web-2.start", "edge-1.restore.web-2",
                                     "edge-1.drain.web-1", "web-1.stop", "web-1.install", "web-1.start",
                                     "edge-1.restore.web-1", "edge-1.install", "edge-1.reload"));
  EXPECT_EQ(Find(plan, "edge-1.restore.web-3").args.at("at"), "web=10.0.0.1:8104");
  EXPECT_THAT(plan.outages, IsEmpty());
}

TEST(Ports, OfANewMemberMayBeThoseOfOneThatServesYet) {
  const Cluster before = One({App("web", "2", "8101")});
  const Cluster after = One({App("web", "3", "8100")});
  const Plan plan = Moved(before, after);
  EXPECT_EQ(Ids(plan), (Names{"web-1.stop", "web-1.install", "web-1.start", "web-2.stop", "web-2.install",
                              "web-2.start", "web-3.install", "web-3.start"}));
  EXPECT_THAT(plan.outages, IsEmpty());
}

// A member that has to hand over first can't, as others are to take what it has who wait for its port.
TEST(Ports, OfWhoHandsOverAreNotTakenFromItEarly) {
  const auto cache = [](const std::string& masters, const std::string& port) {
    Service service;
    service.name = "cache";
    service.kind = "redis-cluster";
    service.settings =
        Map({{"kind", Scalar("redis-cluster")}, {"masters", Scalar(masters)}, {"port", Scalar(port)}});
    return One({service});
  };
  const Desired stood = LaidOut(cache("3", "7001"));
  Situation situation = AllReady(stood);
  const auto moved = [&](const Cluster& after) {
    return MakePlan(after, LaidOut(after, stood.placement), situation);
  };
  EXPECT_TRUE(moved(cache("3", "7000")).ok());
  EXPECT_TRUE(moved(cache("4", "7001")).ok());
  const auto circle = moved(cache("4", "7000"));
  ASSERT_FALSE(circle.ok());
  EXPECT_EQ(circle.error().code(), "port-waits");
}

TEST(Ports, ThatTwoServicesSwapCostTheSecondAnOutage) {
  Service second = App("b", "2", "9971");
  second.uses = {"a"};
  Service later = App("b", "2", "9961");
  later.uses = {"a"};
  const Cluster before = One({App("a", "2", "9961"), second});
  const Cluster after = One({App("a", "2", "9971"), later});
  const Plan plan = Moved(before, after);
  const Desired stood = LaidOut(before);
  ExpectPlayable(plan, stood, LaidOut(after, stood.placement));
  EXPECT_EQ(Find(plan, "b-1.stop").needs, Names{"a-1.install"});
  EXPECT_THAT(Find(plan, "b-1.install").needs, testing::IsSupersetOf(Names{"b-1.stop", "a-2.start"}));
  EXPECT_THAT(plan.outages,
              ElementsAre("b-1, b-2 stop early, as a-1, a-2 take their ports, and are out until their turn"));
}

TEST(Ports, AreThoseThatStandAndNotThoseThatWereDecidedLast) {
  // An earlier run got as far as web-1, which failed: web-2 has its old port yet.
  const Cluster before = One({App("web", "2", "8101")});
  const Cluster after = One({App("web", "2", "8102")});
  const Desired stood = LaidOut(before);
  const Desired wanted = LaidOut(after, stood.placement);
  Situation situation = AllReady(wanted);
  situation.observed["web-1"].state = InstanceState::kFailed;
  situation.observed["web-2"] = Standing(stood.instances[1]);
  const auto plan = MakePlan(after, wanted, situation);
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(Ids(*plan), (Names{"web-2.stop", "web-2.install", "web-2.start", "web-1.start"}));
}

TEST(Ports, AreFreedByAReloadWhereThatIsAllItTakes) {
  const Plan plan =
      Moved(One({Edge("edge", "web"), App("web", "1", "9101")}),
            One({Edge("edge", "web", "8081"), App("web", "1", "9101"), App("api", "1", "8080")}));
  EXPECT_EQ(Ids(plan), (Names{"edge-1.install", "edge-1.reload", "api-1.install", "api-1.start"}));
  EXPECT_THAT(Find(plan, "api-1.start").needs, Contains("edge-1.reload"));
}

TEST(Ports, ThatALoadBalancerOpensByAReloadAreFreedBefore) {
  const Plan plan = Moved(One({App("web", "1", "9101"), App("old", "1", "8081"), Edge("edge", "web")}),
                          One({App("web", "1", "9101"), Edge("edge", "web", "8081")}));
  EXPECT_EQ(Ids(plan), (Names{"edge-1.install", "old-1.stop", "edge-1.reload", "old-1.remove"}));
}

TEST(Ports, ThatALoadBalancerSwapsWithTheServiceBehindItCostARestart) {
  const Cluster before = One({App("web", "1", "9101"), Edge("edge", "web", "8080")});
  const Cluster after = One({App("web", "1", "8080"), Edge("edge", "web", "9101")});
  const Plan plan = Moved(before, after);
  const Desired stood = LaidOut(before);
  ExpectPlayable(plan, stood, LaidOut(after, stood.placement));
  EXPECT_EQ(Find(plan, "edge-1.start").impact, Impact::kRestart);
  EXPECT_THAT(Find(plan, "edge-1.install").needs, Contains("edge-1.stop"));
  EXPECT_THAT(plan.outages, Contains(testing::HasSubstr("edge-1 stops early, as web-1 takes its port")));
}

TEST(Ports, OfUdpAndOfOtherAddressesAreOthers) {
  const Plan udp = Moved(One({App("old", "1", "9101/udp")}), One({App("new", "1", "9101")}));
  EXPECT_EQ(Find(udp, "old-1.stop").needs, Names{});
  Cluster elsewhere = One({App("new", "1", "9101")});
  elsewhere.hosts[0].name = "b";
  elsewhere.hosts[0].address = "10.0.0.2";
  EXPECT_EQ(Find(Moved(One({App("old", "1", "9101")}), elsewhere), "old-1.stop").needs, Names{});
  EXPECT_EQ(Find(Moved(One({App("old", "1", "9101")}), One({App("new", "1", "9101")})), "old-1.stop").needs,
            Names{"new-1.install"});
}

TEST(Ports, ThatSomebodyKeepsAreRefused) {
  // What is acted on is web-1 alone; web-2 stays as installed, on a port that web-1 was moved to.
  const Cluster before = One({App("web", "2", "8101")});
  const Cluster after = One({App("web", "2", "8102")});
  const Desired stood = LaidOut(before);
  Desired wanted = LaidOut(after, stood.placement);
  Situation situation = AllReady(wanted);
  situation.observed["web-1"].state = InstanceState::kFailed;
  situation.observed["web-2"].facts = Standing(stood.instances[1]).facts;
  const auto plan = MakePlan(after, wanted, situation);
  ASSERT_FALSE(plan.ok());
  EXPECT_EQ(plan.error().code(), "port-held");
  EXPECT_EQ(plan.error().message(),
            "port 8102 at 10.0.0.1 that web-1 wants is still held by web-2, which stays as it is");
  // Of a host that is silent nobody knows whether it is there at all.
  situation.observed["web-2"].host = "gone";
  situation.unreachable = {"gone"};
  EXPECT_TRUE(MakePlan(after, wanted, situation).ok());
}

TEST(Ports, OfOneThatLeftWhileItsHostWasAwayAreFreedBeforeTheNewOneStartsThere) {
  struct Case {
    std::vector<Service> before, after;
    std::string holder, taker;
  };
  const Case renamed{{App("web", "2", "8101")}, {App("site", "2", "8101")}, "web-2", "site-2"};
  const Case fewer{
      {App("web", "4", "8101")}, {App("web", "2", "8101"), App("pay", "2", "8102")}, "web-4", "pay-2"};
  for (const Case& one : {renamed, fewer}) {
    const auto two_hosts = [](const std::vector<Service>& services) {
      Cluster cluster = One(services);
      cluster.hosts.push_back({.name = "b", .address = "10.0.0.2", .mark = {}});
      return cluster;
    };
    const Cluster after = two_hosts(one.after);
    const Desired stood = LaidOut(two_hosts(one.before));
    const Desired wanted = LaidOut(after, stood.placement);
    Situation situation = AllReady(stood);
    ASSERT_EQ(situation.observed.at(one.holder).host, "b");
    situation.unreachable = {"b"};
    const auto away = MakePlan(after, wanted, situation);
    ASSERT_TRUE(away.ok()) << away.error().Text();
    ASSERT_FALSE(away->steps.empty());
    for (const Step& step : away->steps) EXPECT_EQ(step.host, "a") << step.id;
    // Later runs know nothing of who has left but what its agent tells once it is back.
    const Desired later = LaidOut(after, wanted.placement);
    EXPECT_FALSE(later.placement.contains(one.holder));
    situation.unreachable.clear();
    const auto back = MakePlan(after, later, situation);
    ASSERT_TRUE(back.ok()) << back.error().Text();
    EXPECT_EQ(Find(*back, one.taker + ".start").host, "b");
    EXPECT_THAT(Find(*back, one.taker + ".start").needs, Contains(one.holder + ".stop"));
  }
}

TEST(Ports, OfManyMembersAreOrderedInTime) {
  const Cluster before = One({App("web", "3000", "10000")});
  const Cluster after = One({App("site", "3000", "10000")});
  const Plan plan = Moved(before, after);
  const Desired stood = LaidOut(before);
  ExpectPlayable(plan, stood, LaidOut(after, stood.placement));
  EXPECT_EQ(plan.outages.size(), 1u);

  const Cluster along = One({App("web", "3000", "10001")});
  EXPECT_THAT(Moved(before, along).outages, IsEmpty());
  const Cluster swapped = One({App("web", "1100", "20000"), App("site", "1100", "10000")});
  const Cluster first = One({App("web", "1100", "10000"), App("site", "1100", "20000")});
  const Desired stood_first = LaidOut(first);
  ExpectPlayable(Moved(first, swapped), stood_first, LaidOut(swapped, stood_first.placement));
}

}  // namespace
}  // namespace muster::plan
