#include "api/json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace muster::api {
namespace {

Instance Full() {
  Instance instance{.name = "app-1",
                    .service = "app",
                    .kind = "app",
                    .host = "h1",
                    .address = "127.77.1.1",
                    .ordinal = 1,
                    .ports = {{"http", {80, 2, true}}},
                    .argv = {"a", "b"},
                    .env = {{"X", "y"}}};
  instance.files = {{.path = "conf/x", .content = "c", .mode = 0600, .impact = Impact::kReload}};
  instance.artifact = {.name = "a.jar", .sha256 = "12", .executable = true};
  instance.probe = {.kind = Probe::Kind::kHttp, .target = "/health", .port = 80, .every = 1s};
  instance.limits = {.memory_bytes = 1 << 20, .cpus = 0.5, .open_files = 100};
  instance.parts = {{"env", "ff"}};
  return instance;
}

TEST(ModelJson, InstancesComeBackAsTheyWent) {
  const Json json = ToJson(Full());
  const auto back = InstanceFrom(json);
  ASSERT_TRUE(back.ok()) << back.error().Text();
  EXPECT_EQ(ToJson(*back), json);
  EXPECT_EQ(back->files, Full().files);
  EXPECT_EQ(back->probe, Full().probe);
  EXPECT_EQ(back->ports, Full().ports);
}

TEST(ModelJson, PlansComeBackAsTheyWent) {
  Plan plan{.id = "1", .cluster = "c", .revision = 3, .notes = {"n"}, .renderer_only = 2};
  plan.steps = {{.id = "a.stop",
                 .instance = "a",
                 .verb = "stop",
                 .args = {{"k", "v"}},
                 .impact = Impact::kRestart,
                 .put_back = "start",
                 .needs = {"b.stop"},
                 .deadline = 5s}};
  plan.drift = {{"a", {.path = "x", .what = "changed", .difference = {"-1", "+2"}}}};
  const Json json = ToJson(plan);
  const auto back = PlanFrom(json);
  ASSERT_TRUE(back.ok()) << back.error().Text();
  EXPECT_EQ(ToJson(*back), json);
}

TEST(ModelJson, ObservationsAndErrorsComeBackAsTheyWent) {
  const Observed observed{.name = "a",
                          .state = InstanceState::kBackoff,
                          .pid = 7,
                          .since = WallTime(Duration(5)),
                          .evidence = {"x"},
                          .facts = {{"role", "primary"}}};
  EXPECT_EQ(ToJson(*ObservedFrom(ToJson(observed))), ToJson(observed));
  const Error error = Error::Conflict("port-taken", "taken").Hint("h").Evidence({"e"});
  EXPECT_EQ(ErrorFrom(ToJson(error)), error);
}

TEST(ModelJson, UnknownFieldsAreIgnoredAndMissingOnesDefault) {
  const auto step = StepFrom(*ParseJson(R"({"id":"x","of_a_later_version":[1]})"));
  ASSERT_TRUE(step.ok());
  EXPECT_EQ(step->deadline, Step{}.deadline);
}

TEST(ModelJson, WrongTypesAreErrorsThatNameTheField) {
  const auto bad = StepFrom(*ParseJson(R"({"id":5})"));
  EXPECT_EQ(bad.error().code(), "bad-message");
  EXPECT_EQ(bad.error().message(), "step: id is not text");
  EXPECT_FALSE(InstanceFrom(*ParseJson(R"({"ports":{"http":{"first":99999999999}}})")).ok());
  EXPECT_FALSE(InstanceFrom(*ParseJson(R"({"probe":{"kind":99}})")).ok());
  EXPECT_FALSE(PlacementFrom(*ParseJson("[]")).ok());
}

// Every field of every struct replaced by every type: an error or a value, never anything else.
TEST(ModelJson, SurvivesEveryFieldOfAWrongType) {
  const Json whole = ToJson(Full());
  for (const auto& [name, value] : whole.items()) {
    for (const char* other : {"null", "5", "-1.5", "\"x\"", "[1]", "{\"a\":1}", "true"}) {
      Json changed = whole;
      changed[name] = Json::parse(other);
      (void)InstanceFrom(changed).ok();
    }
  }
}

TEST(ParseJson, RefusesWhatIsNoJsonOrTooDeep) {
  EXPECT_EQ(ParseJson("{").error().code(), "bad-json");
  EXPECT_EQ(ParseJson("").error().code(), "bad-json");
  EXPECT_EQ(ParseJson(std::string(100'000, '[')).error().code(), "bad-json");
  EXPECT_EQ(ParseJson(std::string(65, '[') + std::string(65, ']')).error().code(), "bad-json");
  EXPECT_TRUE(ParseJson(std::string(64, '[') + std::string(64, ']')).ok());
  // Brackets in texts nest nothing.
  EXPECT_TRUE(ParseJson(R"(["\"", "[{)" + std::string(100, '[') + R"(\\", []])").ok());
  EXPECT_EQ(ParseJson(R"(["\\", )" + std::string(100, '[')).error().code(), "bad-json");
}

}  // namespace
}  // namespace muster::api
