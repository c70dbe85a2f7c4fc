#include "plan/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "model/testing_values.h"
#include "plan/explain.h"
#include "plan/secrets.h"

namespace muster::plan {
namespace {

std::vector<Finding> CheckOf(const Cluster& cluster) { return CheckCluster(cluster, WallTime{}); }

using Names = std::vector<std::string>;

Service App(const std::string& name, const std::string& instances = "2", const std::string& port = "8101",
            const std::string& command = "run --port={{ports.http}}") {
  Service service;
  service.name = name;
  service.kind = "app";
  service.settings = Map({{"kind", Scalar("app")},
                          {"command", Scalar(command)},
                          {"instances", Scalar(instances)},
                          {"ports", Map({{"http", Scalar(port)}})}});
  return service;
}

Cluster Two(std::vector<Service> services) {
  Cluster cluster;
  cluster.name = "c";
  cluster.hosts = {{.name = "a", .address = "10.0.0.1", .mark = {}},
                   {.name = "b", .address = "10.0.0.2", .mark = {}}};
  cluster.services = std::move(services);
  return cluster;
}

Service Edge(const std::string& to) {
  Service service;
  service.name = "edge";
  service.kind = "nginx";
  service.hosts = {"a"};
  Value routes;
  routes.type = Value::Type::kList;
  routes.items.push_back(Map({{"path", Scalar("/")}, {"to", Scalar(to)}}));
  service.settings = Map({{"kind", Scalar("nginx")}, {"listen", Scalar("8080")}, {"routes", routes}});
  return service;
}

// Everything that is desired stands and is well.
Situation AllReady(const Desired& desired) {
  Situation situation;
  for (const Instance& instance : desired.instances) {
    Observed one{.name = instance.name, .service = instance.service, .host = instance.host};
    one.state = InstanceState::kReady;
    one.hash = one.running_hash = instance.hash;
    one.parts = instance.parts;
    one.renderer = instance.renderer;
    situation.observed[instance.name] = one;
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

TEST(LayOut, FillsInVariablesAndSetsHashes) {
  const Cluster cluster = Two({App("web", "2", "8101", "run --id={{instance}} --peers={{peers.http}}")});
  const auto desired = LayOutCluster(cluster, {}, {});
  ASSERT_TRUE(desired.ok());
  ASSERT_EQ(desired->instances.size(), 2u);
  EXPECT_EQ(desired->instances[1].argv, (Names{"run", "--id=web-2", "--peers=10.0.0.1:8101,10.0.0.2:8101"}));
  EXPECT_NE(desired->instances[0].hash, desired->instances[1].hash);
  EXPECT_EQ(LayOutCluster(cluster, desired->placement, {})->instances[0].hash, desired->instances[0].hash);
}

TEST(LayOut, AsksForTheSecretThatIsMissingAndNoticesOneThatChanged) {
  Service app = App("web");
  app.settings.entries.push_back(
      {.key = "env", .key_mark = {}, .value = Map({{"T", Scalar("{{secret.token}}")}})});
  const Cluster cluster = Two({app});
  const auto missing = LayOutCluster(cluster, {}, {});
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().code(), "secret-missing");
  EXPECT_EQ(missing.error().hint(), "muster secret set token -c c");
  const auto one = LayOutCluster(cluster, {}, {{"token", "d1"}});
  const auto two = LayOutCluster(cluster, {}, {{"token", "d2"}});
  EXPECT_NE(one->instances[0].hash, two->instances[0].hash);
  EXPECT_NE(one->instances[0].parts.at("env"), two->instances[0].parts.at("env"));
}

TEST(LayOut, NamesAllSecretsThatAreMissingWithTheirPlaces) {
  const auto at = [](std::string_view text, int line, int column) {
    Value value = Scalar(std::string(text));
    value.mark = {.line = line, .column = column};
    return value;
  };
  Service app = App("web");
  app.settings.entries.push_back({.key = "env",
                                  .key_mark = {},
                                  .value = Map({{"A", at("{{secret.one}}", 7, 10)},
                                                {"B", at("u:{{secret.two}}@{{secret.one}}", 8, 10)},
                                                {"C", at("{{secret.set}}", 9, 10)}})});
  app.settings.entries.push_back({.key = "env_file", .key_mark = {}, .value = at("app.env", 10, 15)});
  Cluster cluster = Two({app});
  cluster.rehearsal = true;
  cluster.files["app.env"].text = "X=1\nY={{secret.three}}\n";
  const auto missing = LayOutCluster(cluster, {}, {{"set", "d"}});
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().message(), "c@rehearsal needs 3 secrets that are not set: one, three, two");
  EXPECT_EQ(missing.error().hint(),
            "muster secret set one -c c@rehearsal; muster secret set two -c c@rehearsal; "
            "muster secret set three -c c@rehearsal");
  EXPECT_EQ(missing.error().evidence(),
            (Names{"7:10: the secret one of c@rehearsal is not set; it is needed at 8:27 too",
                   "8:12: the secret two of c@rehearsal is not set",
                   "app.env:2:3: the secret three of c@rehearsal is not set"}));
}

TEST(Secrets, OneThatASettingNamesHasItsPlaceToo) {
  Value name = Scalar("edge-key");
  name.mark = {.line = 9, .column = 42};
  Service edge = App("edge");
  edge.settings.entries.push_back({.key = "tls", .key_mark = {}, .value = Map({{"key_secret", name}})});
  const auto findings = SecretFindings(Two({edge}), {"edge-key"});
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].mark, (Mark{.line = 9, .column = 42}));
}

TEST(Explain, NamesWhatChangedInTheEnvironmentAndNoValue) {
  const auto with = [](std::vector<std::pair<std::string, Value>> env) {
    Service app = App("web", "1");
    app.settings.entries.push_back({.key = "env", .key_mark = {}, .value = Map(std::move(env))});
    return Two({app});
  };
  const SecretDigests secrets = {{"t", "d1"}};
  const Cluster before = with({{"KEPT", Scalar("a")}, {"PORT_X", Scalar("v1")}, {"OLD", Scalar("v2")}});
  const Cluster after =
      with({{"KEPT", Scalar("a")}, {"PORT_X", Scalar("v3")}, {"NEW", Scalar("{{secret.t}}")}});
  const auto stood = LayOutCluster(before, {}, secrets);
  const auto wanted = LayOutCluster(after, stood->placement, secrets);
  ASSERT_TRUE(stood.ok() && wanted.ok());
  Situation situation = AllReady(*stood);
  for (const Instance& instance : stood->instances) situation.observed[instance.name].parts = instance.parts;
  auto plan = MakePlan(after, *wanted, situation);
  ASSERT_TRUE(plan.ok());
  const std::string id = plan->id;
  ExplainChanges({.cluster = &before, .instances = &stood->instances},
                 {.cluster = &after, .instances = &wanted->instances}, situation.observed, *plan);
  EXPECT_EQ(plan->steps[0].reason, "env: PORT_X changed, NEW added, OLD removed");
  EXPECT_EQ(plan->id, id);
  EXPECT_THAT(FormatPlan(*plan, false), testing::Not(testing::HasSubstr("v3")));

  // Another secret under the same name.
  const auto rotated = LayOutCluster(after, stood->placement, {{"t", "d2"}});
  EXPECT_EQ(ChangesOfEnv(wanted->instances[0], rotated->instances[0]), "a secret in NEW changed");

  // What stands is of yet another revision: nothing is said that isn't known.
  situation.observed["web-1"].parts["env"] = "other";
  plan = MakePlan(after, *wanted, situation);
  ASSERT_TRUE(plan.ok());
  ExplainChanges({.cluster = &before, .instances = &stood->instances},
                 {.cluster = &after, .instances = &wanted->instances}, situation.observed, *plan);
  EXPECT_EQ(plan->steps[0].reason, "env changed");
}

TEST(Explain, NamesTheServiceThatAVariableFollows) {
  const auto with = [](const std::string& count, const std::string& nodes) {
    Service app = App("web", "1");
    app.settings.entries.push_back(
        {.key = "env", .key_mark = {}, .value = Map({{"NODES", Scalar(nodes)}, {"LEVEL", Scalar("low")}})});
    return Two({App("cache", count, "8201"), app});
  };
  const auto reason = [&](const Cluster& before, const Cluster& after) -> std::string {
    const auto stood = LayOutCluster(before, {}, {});
    const auto wanted = LayOutCluster(after, stood->placement, {});
    Situation situation = AllReady(*stood);
    for (const Instance& instance : stood->instances)
      situation.observed[instance.name].parts = instance.parts;
    auto plan = MakePlan(after, *wanted, situation);
    if (!plan.ok()) return plan.error().Text();
    ExplainChanges({.cluster = &before, .instances = &stood->instances},
                   {.cluster = &after, .instances = &wanted->instances}, situation.observed, *plan);
    const auto step = std::find_if(plan->steps.begin(), plan->steps.end(),
                                   [](const Step& one) { return one.instance == "web-1"; });
    return step == plan->steps.end() ? "" : step->reason;
  };
  const std::string text = "{{cache.endpoints}}";
  EXPECT_EQ(reason(with("1", text), with("2", text)), "env: NODES follows cache");
  EXPECT_EQ(reason(with("1", text), with("2", text + ",x")), "env: NODES changed") << "by hand, too";
}

TEST(Plan, ShowsNoDifferenceOfAFileThatHoldsASecret) {
  const Cluster cluster = Two({App("web", "1")});
  auto desired = LayOutCluster(cluster, {}, {});
  ASSERT_TRUE(desired.ok());
  desired->instances[0].files = {{.path = "open", .content = "x"},
                                 {.path = "key", .content = "x", .secret = true},
                                 {.path = "own", .content = "x", .mode = 0600}};
  Situation situation = AllReady(*desired);
  // As an agent of an earlier release tells it.
  auto& drift = situation.observed["web-1"].drift;
  for (const char* path : {"open", "key", "own"}) {
    drift.push_back({.path = path, .what = "changed", .difference = {std::string("+canary of ") + path}});
  }
  drift.push_back({.path = "key", .what = "mode", .difference = {"+mode 644"}});
  const auto plan = MakePlan(cluster, *desired, situation);
  ASSERT_TRUE(plan.ok());
  const std::string text = FormatPlan(*plan, false);
  EXPECT_THAT(text, testing::HasSubstr("canary of open"));
  EXPECT_THAT(text, testing::HasSubstr("+mode 644"));
  EXPECT_THAT(text, testing::Not(testing::HasSubstr("canary of key")));
  EXPECT_THAT(text, testing::Not(testing::HasSubstr("canary of own")));
  // Of what isn't wanted any more nobody knows what its files held.
  EXPECT_THAT(ShownDrift(nullptr, drift)[0].difference[0], testing::HasSubstr("not shown"));
}

TEST(Plan, IsEmptyWhereAllIsThere) {
  const Cluster cluster = Two({App("web"), Edge("web")});
  const auto desired = LayOutCluster(cluster, {}, {});
  ASSERT_TRUE(desired.ok());
  const auto plan = MakePlan(cluster, *desired, AllReady(*desired));
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(Ids(*plan), Names{});
}

TEST(Plan, StartsWhatIsUsedFirst) {
  Service web = App("web", "1");
  web.uses = {"db"};
  const Cluster cluster = Two({web, App("db", "2", "9000")});
  const auto desired = LayOutCluster(cluster, {}, {});
  const auto plan = MakePlan(cluster, *desired, {});
  EXPECT_EQ(Ids(*plan), (Names{"db-1.install", "db-1.start", "db-2.install", "db-2.start", "web-1.install",
                               "web-1.start"}));
  EXPECT_EQ(Find(*plan, "web-1.install").needs, (Names{"db-1.start", "db-2.start"}));
}

TEST(Plan, TakesEachMemberOutOfTheBalancerBeforeItStops) {
  Cluster cluster = Two({App("web"), Edge("web")});
  cluster.services[0].update.max_unavailable = {1, false};
  const auto before = LayOutCluster(cluster, {}, {});
  cluster.services[0].settings.entries[1].value.text += " --more";
  const auto after = LayOutCluster(cluster, before->placement, {});
  const auto plan = MakePlan(cluster, *after, AllReady(*before));
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(Ids(*plan), (Names{"edge-1.drain.web-1", "web-1.stop", "web-1.install", "web-1.start",
                               "edge-1.restore.web-1", "edge-1.drain.web-2", "web-2.stop", "web-2.install",
                               "web-2.start", "edge-1.restore.web-2"}));
  EXPECT_EQ(Find(*plan, "web-1.stop").needs, Names{"edge-1.drain.web-1"});
  EXPECT_EQ(Find(*plan, "edge-1.drain.web-2").needs, Names{"edge-1.restore.web-1"});
  EXPECT_EQ(Find(*plan, "edge-1.drain.web-1").put_back, "restore");
}

TEST(Plan, ABalancerThatRestartsServesUntilItsMembersHave) {
  Cluster cluster = Two({App("web"), Edge("web")});
  cluster.services[0].update.max_unavailable = {1, false};
  const auto desired = LayOutCluster(cluster, {}, {});
  Situation situation = AllReady(*desired);
  situation.restart = {"web-1", "web-2", "edge-1"};
  const auto plan = MakePlan(cluster, *desired, situation);
  ASSERT_TRUE(plan.ok()) << plan.error().Text();
  EXPECT_EQ(Ids(*plan), (Names{"edge-1.drain.web-1", "web-1.stop", "web-1.start", "edge-1.restore.web-1",
                               "edge-1.drain.web-2", "web-2.stop", "web-2.start", "edge-1.restore.web-2",
                               "edge-1.stop", "edge-1.start"}));
  EXPECT_EQ(Find(*plan, "edge-1.stop").needs, Names{"edge-1.restore.web-2"});
  // One that is to stay down takes no orders.
  situation.restart = {"web-1"};
  situation.held = {{"edge-1", "stopped"}};
  EXPECT_EQ(Ids(*MakePlan(cluster, *desired, situation)),
            (Names{"web-1.stop", "web-1.start", "edge-1.stop"}));
}

// A roll of two members with a guest, before and after.
struct SurgeRoll {
  Cluster cluster = Two({App("web"), Edge("web")});
  Desired before, after;
  SurgeRoll() {
    cluster.services[0].update.max_unavailable = {0, false};
    cluster.services[0].update.max_surge = {1, false};
    before = LayOutCluster(cluster, {}, {}).value();
    cluster.services[0].settings.entries[1].value.text += " --more";
    after = LayOutCluster(cluster, before.placement, {}).value();
  }
};

TEST(Plan, AGuestIsInTheBalancerBeforeAMemberIsTakenOutAndLeavesItFirst) {
  const SurgeRoll roll;
  const auto plan = MakePlan(roll.cluster, roll.after, AllReady(roll.before));
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(Ids(*plan),
            (Names{"web-x1.install", "web-x1.start", "edge-1.admit.web-x1", "edge-1.drain.web-1",
                   "web-1.stop", "web-1.install", "web-1.start", "edge-1.restore.web-1", "edge-1.drain.web-2",
                   "web-2.stop", "web-2.install", "web-2.start", "edge-1.restore.web-2",
                   "edge-1.dismiss.web-x1", "web-x1.stop", "web-x1.remove"}));
  EXPECT_EQ(Find(*plan, "edge-1.drain.web-1").needs, Names{"edge-1.admit.web-x1"});
  EXPECT_EQ(Find(*plan, "edge-1.dismiss.web-x1").needs, Names{"edge-1.restore.web-2"});
  EXPECT_EQ(Find(*plan, "web-x1.stop").needs, Names{"edge-1.dismiss.web-x1"});
  const Step& admit = Find(*plan, "edge-1.admit.web-x1");
  EXPECT_EQ(admit.args.at("at"), "web=10.0.0.1:8102");
  EXPECT_EQ(admit.put_back, "dismiss");
  EXPECT_NE(FormatPlan(*plan, false)
                .find("+ web-x1  a  new      install → start → into edge-1 → "
                      "out of edge-1 → stop → remove  (stands in meanwhile)"),
            std::string::npos)
      << FormatPlan(*plan, false);
}

TEST(Plan, AGuestWaitsForWhatItsServiceUsesAndTheBalancersNewFileForTheGuest) {
  SurgeRoll roll;
  roll.cluster.services.push_back(App("db", "1", "9000"));
  roll.cluster.services[0].uses = {"db"};
  roll.cluster.services[0].settings.entries[2].value.text = "3";
  const auto after = LayOutCluster(roll.cluster, roll.before.placement, {});
  const auto plan = MakePlan(roll.cluster, *after, AllReady(roll.before));
  ASSERT_TRUE(plan.ok()) << plan.error().Text();
  EXPECT_EQ(Find(*plan, "web-x1.install").needs, (Names{"web-3.start"}));
  EXPECT_EQ(Find(*plan, "web-3.install").needs, Names{"db-1.start"});
  EXPECT_EQ(Find(*plan, "edge-1.install").needs, Names{"web-x1.remove"});
}

TEST(Plan, TakesAwayTheGuestsThatAnEarlierRunLeft) {
  const SurgeRoll roll;
  Situation situation = AllReady(roll.after);
  EXPECT_TRUE(MakePlan(roll.cluster, roll.after, situation)->empty());
  situation.observed["edge-1"].facts["guests"] = "web-x1,web-x2";
  situation.observed["web-x1"] = {
      .name = "web-x1", .service = "web", .host = "a", .state = InstanceState::kReady};
  const auto plan = MakePlan(roll.cluster, roll.after, situation);
  EXPECT_EQ(Ids(*plan),
            (Names{"edge-1.dismiss.web-x1", "web-x1.stop", "web-x1.remove", "edge-1.dismiss.web-x2"}));
}

TEST(Plan, GuestsChangeNothingThatIsDesired) {
  const SurgeRoll roll;
  Cluster without = roll.cluster;
  without.services[0].update.max_surge = {0, false};
  const auto plain = LayOutCluster(without, roll.after.placement, {});
  EXPECT_EQ(plain->placement, roll.after.placement);
  ASSERT_EQ(plain->instances.size(), roll.after.instances.size());
  for (size_t i = 0; i < plain->instances.size(); ++i) {
    EXPECT_EQ(plain->instances[i].hash, roll.after.instances[i].hash);
  }
  EXPECT_TRUE(plain->guests.empty());
  EXPECT_EQ(roll.after.guests.size(), 2u);
}

TEST(Plan, ScalingDownTellsTheBalancerFirst) {
  Cluster cluster = Two({App("web", "3"), Edge("web")});
  const auto before = LayOutCluster(cluster, {}, {});
  cluster.services[0].settings.entries[2].value.text = "2";
  const auto after = LayOutCluster(cluster, before->placement, {});
  const auto plan = MakePlan(cluster, *after, AllReady(*before));
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(Ids(*plan),
            (Names{"edge-1.install", "edge-1.reload", "edge-1.dismiss.web-3", "web-3.stop", "web-3.remove"}));
  EXPECT_EQ(Find(*plan, "edge-1.dismiss.web-3").needs, Names{"edge-1.reload"});
  EXPECT_EQ(Find(*plan, "web-3.stop").needs, Names{"edge-1.dismiss.web-3"});
}

TEST(Plan, ScalingUpTellsTheBalancerLast) {
  Cluster cluster = Two({App("web", "1"), Edge("web")});
  const auto before = LayOutCluster(cluster, {}, {});
  cluster.services[0].settings.entries[2].value.text = "2";
  const auto after = LayOutCluster(cluster, before->placement, {});
  const auto plan = MakePlan(cluster, *after, AllReady(*before));
  EXPECT_EQ(Ids(*plan), (Names{"web-2.install", "web-2.start", "edge-1.install", "edge-1.reload"}));
}

TEST(Plan, GivesRequestsUnderWayTheTimeThatTheFileSays) {
  Cluster cluster = Two({App("web", "2"), Edge("web")});
  const auto before = LayOutCluster(cluster, {}, {});
  cluster.services[0].update.drain = 20s;
  Situation situation = AllReady(*before);
  situation.restart = {"web-1"};
  const auto plan = MakePlan(cluster, *before, situation);
  const auto drain = std::find_if(plan->steps.begin(), plan->steps.end(),
                                  [](const Step& step) { return step.verb == "drain"; });
  ASSERT_NE(drain, plan->steps.end());
  EXPECT_EQ(drain->args.at("within_ms"), "20000");
  EXPECT_EQ(drain->deadline, 80s);
}

TEST(Plan, AnotherDeadlineIsTakenOverWithoutARestart) {
  Cluster cluster = Two({App("web", "1")});
  const auto before = LayOutCluster(cluster, {}, {});
  cluster.services[0].update.deadline = 90s;
  const auto after = LayOutCluster(cluster, before->placement, {});
  const auto plan = MakePlan(cluster, *after, AllReady(*before));
  ASSERT_EQ(Ids(*plan), Names{"web-1.install"});
  EXPECT_EQ(plan->steps[0].impact, Impact::kLive);
  EXPECT_EQ(plan->steps[0].reason, "update.deadline changed");
}

TEST(Plan, GoesDownFromTheFront) {
  Service web = App("web", "1");
  web.uses = {"db"};
  const Cluster cluster = Two({App("db", "1", "9000"), web});
  const auto desired = LayOutCluster(cluster, {}, {});
  Situation situation = AllReady(*desired);
  situation.remove_all = true;
  const auto plan = MakePlan(cluster, *desired, situation);
  EXPECT_EQ(Ids(*plan), (Names{"web-1.stop", "web-1.remove", "db-1.stop", "db-1.remove"}));
  EXPECT_EQ(Find(*plan, "db-1.remove").args.at("delete_data"), "no");
}

TEST(Plan, StopsFromTheFrontAndStartsFromTheBack) {
  Service web = App("web", "1");
  web.uses = {"db"};
  const Cluster cluster = Two({App("db", "1", "9000"), web});
  const auto desired = LayOutCluster(cluster, {}, {});
  Situation situation = AllReady(*desired);
  situation.held = {{"db-1", "stopped"}, {"web-1", "stopped"}};
  EXPECT_EQ(Ids(*MakePlan(cluster, *desired, situation)), (Names{"web-1.stop", "db-1.stop"}));
  EXPECT_EQ(Find(*MakePlan(cluster, *desired, situation), "db-1.stop").needs, Names{"web-1.stop"});
  situation.held.clear();
  for (auto& [name, observed] : situation.observed) observed.state = InstanceState::kStopped;
  EXPECT_EQ(Ids(*MakePlan(cluster, *desired, situation)), (Names{"db-1.start", "web-1.start"}));
}

TEST(Plan, RemovesAServiceThatTheFileHasNoMore) {
  const Cluster before = Two({App("web", "1"), App("old", "1", "9000")});
  const auto was = LayOutCluster(before, {}, {});
  const Cluster after = Two({App("web", "1")});
  const auto desired = LayOutCluster(after, was->placement, {});
  Situation situation = AllReady(*was);
  const auto plan = MakePlan(after, *desired, situation);
  EXPECT_EQ(Ids(*plan), (Names{"old-1.stop", "old-1.remove"}));
  EXPECT_EQ(plan->notes, Names{});
  situation.observed["old-1"].facts[kDataFact] = "box";
  EXPECT_EQ(MakePlan(after, *desired, situation)->notes,
            Names{"the data of old-1 stays; only members of the same names find it again"});
}

TEST(Plan, RefusesWhereTooFewHostsAnswer) {
  Cluster cluster = Two({App("web")});
  cluster.services[0].require.kind = Require::Kind::kAll;
  const auto desired = LayOutCluster(cluster, {}, {});
  Situation situation;
  situation.unreachable = {"b"};
  const auto refused = MakePlan(cluster, *desired, situation);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), "require-not-met");
  EXPECT_EQ(refused.error().kind(), ErrorKind::kRefused);
  EXPECT_EQ(refused.error().hint(), "bring the host back, or set `require: 1` on web");
  situation.unreachable = {"a", "b"};
  EXPECT_EQ(MakePlan(cluster, *desired, situation).error().hint(),
            "bring the hosts back, or give web others: `hosts`");
  situation.unreachable = {"b"};
  cluster.services[0].require.kind = Require::Kind::kDefault;
  const auto plan = MakePlan(cluster, *desired, situation);
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(Ids(*plan), (Names{"web-1.install", "web-1.start"}));
  EXPECT_EQ(plan->notes.size(), 1u);
}

TEST(Plan, ChangesItsIdWithWhatIsObserved) {
  const Cluster cluster = Two({App("web")});
  const auto desired = LayOutCluster(cluster, {}, {});
  Situation situation;
  const std::string first = MakePlan(cluster, *desired, situation)->id;
  EXPECT_EQ(MakePlan(cluster, *desired, situation)->id, first);
  situation.observed = AllReady(*desired).observed;
  EXPECT_NE(MakePlan(cluster, *desired, situation)->id, first);
}

TEST(Plan, RefusesACircleThroughTheBalancerInsteadOfLosingSteps) {
  Service web = App("web", "1");
  web.uses = {"edge"};
  const Cluster cluster = Two({web, Edge("web")});
  const auto desired = LayOutCluster(cluster, {}, {});
  ASSERT_TRUE(desired.ok());
  const auto plan = MakePlan(cluster, *desired, {});
  ASSERT_FALSE(plan.ok());
  EXPECT_EQ(plan.error().code(), "plan-circle");
}

TEST(LayOut, RefusesAPortThatAMemberWhichStandsStillHas) {
  const Cluster cluster = Two({App("web", "1", "8101"), App("api", "1", "8102")});
  Placement so_far = LayOutCluster(cluster, {}, {})->placement;
  so_far.at("web-1").slot = 1;
  const auto desired = LayOutCluster(cluster, so_far, {});
  ASSERT_FALSE(desired.ok());
  EXPECT_EQ(desired.error().code(), "port-twice");
}

TEST(Check, TellsWhichTwoWantAPort) {
  const auto findings = CheckOf(Two({App("web", "2 per host", "8101"), App("api", "1", "8102")}));
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].code, "port-twice");
  EXPECT_EQ(findings[0].message, "port 8102 on a is wanted by web-2 and api-1");
  EXPECT_EQ(findings[0].mark, (Mark{7, 14}));
}

TEST(Check, TellsAHostWithTooManyMembers) {
  EXPECT_TRUE(CheckOf(Two({App("web", "250 per host"), App("api", "250 per host", "9101")})).empty());
  const auto findings = CheckOf(Two({App("web", "250 per host"), App("api", "501", "9101")}));
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].code, "too-many-on-host");
  EXPECT_EQ(findings[0].message, "a would hold 501 members with those of api: more than 500");
}

TEST(Check, TellsAHostThatHoldsTheMajority) {
  Service app = App("zoo", "3");
  app.settings.entries.push_back({.key = "quorum", .key_mark = {}, .value = Scalar("yes")});
  const auto findings = CheckOf(Two({app}));
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].code, "quorum-on-one-host");
}

Names Codes(const std::vector<Finding>& findings) {
  Names codes;
  for (const Finding& finding : findings) codes.push_back(finding.code);
  return codes;
}

TEST(Check, TellsUnknownVariablesAtTheirColumn) {
  const auto findings = CheckOf(Two({App("web", "1", "8101", "run {{ports.htp}} {{db.endpoints}}")}));
  ASSERT_EQ(findings.size(), 2u);
  EXPECT_EQ(findings[0].code, "unknown-variable");
  EXPECT_EQ(findings[0].mark, (Mark{7, 18}));
  EXPECT_EQ(findings[0].fix, "did you mean {{ports.http}}?");
}

TEST(Check, TellsWhatTheGuidesWarnOf) {
  EXPECT_EQ(Codes(CheckOf(Two({App("web", "1", "8101", "run --db-password={{secret.db}}")}))),
            Names{"secret-in-command"});
  EXPECT_EQ(Codes(CheckOf(Two({App("web", "1", "8101", "run --api=http://localhost:9000/")}))),
            Names{"localhost-peer"});
  EXPECT_EQ(Codes(CheckOf(Two({App("web", "3", "8101", "run --seeds=10.0.0.1:8101,10.0.0.2:8101")}))),
            Names{"seeds-incomplete"});
  Service same = App("web", "2");
  same.settings.entries.push_back({.key = "id", .key_mark = {}, .value = Scalar("gateway")});
  EXPECT_EQ(Codes(CheckOf(Two({same}))), Names{"id-not-unique"});
  Service loose = App("web", "2");
  loose.settings.entries.push_back(
      {.key = "id", .key_mark = {}, .value = Scalar("gw-$(uuidgen)-{{ordinal}}")});
  EXPECT_EQ(Codes(CheckOf(Two({loose}))), Names{"id-not-fixed"});
  Service surge = App("web", "2", "8101", "run {{instance}}");
  surge.update.max_surge = {1, false};
  EXPECT_EQ(Codes(CheckOf(Two({surge}))), Names{"surge-identity"});
}

TEST(Format, GroupsByServiceAndSaysWhy) {
  const Cluster cluster = Two({App("web")});
  const auto desired = LayOutCluster(cluster, {}, {});
  const auto plan = MakePlan(cluster, *desired, {});
  const std::string text = FormatPlan(*plan, false);
  EXPECT_NE(text.find("web\n  + web-1  a  new      install → start  (new)\n"), std::string::npos) << text;
  EXPECT_NE(text.find("4 steps on 2 instances"), std::string::npos) << text;
}

}  // namespace
}  // namespace muster::plan
