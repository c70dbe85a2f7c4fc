// Values, findings, shares, states, secrets and templates.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/cluster.h"
#include "model/finding.h"
#include "model/instance.h"
#include "model/secret.h"
#include "model/template.h"
#include "model/testing_values.h"
#include "model/words.h"

namespace muster {
namespace {

using ::testing::ElementsAre;

TEST(Values, AreReadWithAFallback) {
  Value map;
  map.type = Value::Type::kMap;
  map.entries = {{"port", {}, Scalar("80")}, {"on", {}, Scalar("yes")}, {"bad", {}, Scalar("8x")}};
  EXPECT_EQ(map.Integer("port", 1), 80);
  EXPECT_EQ(map.Integer("bad", 1), 1);
  EXPECT_EQ(map.Integer("none", 7), 7);
  EXPECT_TRUE(map.Bool("on", false));
  EXPECT_THAT(map.Texts("port"), ElementsAre("80"));
  EXPECT_EQ(map.Text("none", "x"), "x");
}

TEST(Findings, NamePlaceCodeAndFix) {
  const Finding finding{.code = "port-twice",
                        .mark = {9, 15},
                        .message = "port 80 twice",
                        .fix = "take another",
                        .file = "a.yaml"};
  EXPECT_EQ(FormatFinding(finding), "a.yaml:9:15: error: port 80 twice [port-twice]\n  fix: take another");
  EXPECT_TRUE(HasErrors({finding}));
  EXPECT_FALSE(HasErrors({{.severity = Severity::kWarning}}));
}

TEST(Shares, RoundAsTheirUseAsks) {
  EXPECT_EQ((Share{25, true}.RoundDown(10)), 2);
  EXPECT_EQ((Share{25, true}.RoundUp(10)), 3);
  EXPECT_EQ((Share{3, false}.RoundUp(10)), 3);
}

TEST(States, HaveNamesThatCanBeReadBack) {
  for (int i = 0; i < 9; ++i) {
    const auto state = static_cast<InstanceState>(i);
    EXPECT_EQ(StateNamed(StateName(state)), state);
  }
  EXPECT_EQ(StateNamed("of a later version"), InstanceState::kUnknown);
  EXPECT_EQ(ImpactNamed("reload"), Impact::kReload);
}

TEST(Secrets, AreMarkersUntilReplaced) {
  const std::string text = "a=" + SecretMarker("db") + ";b=" + SecretMarker("api") + SecretMarker("db");
  EXPECT_THAT(SecretNamesIn(text), ElementsAre("db", "api"));
  EXPECT_EQ(MaskMarkers(text), "a={{secret.db}};b={{secret.api}}{{secret.db}}");
  EXPECT_EQ(ReplaceSecrets(text, [](auto name) { return std::string(name) + "!"; }), "a=db!;b=api!db!");
  EXPECT_EQ(MaskMarkers("\x01secret:open"), "\x01secret:open");
}

std::string FilledIn(const std::string& text) {
  return FillWords(text, [](std::string_view word) -> std::optional<std::string> {
    if (word == "artifact") return std::nullopt;
    return "/h/" + std::string(word) + "{logs}";
  });
}

TEST(Words, StandForPathsOnlyWhereMusterPutThem) {
  const std::string users = "import {data} from '{folder}'; {{artifact}} {brace} {brace}data} {other} {";
  const std::string sealed = SealWords(PathMarker("data") + "/db; " + users);
  EXPECT_EQ(FilledIn(sealed), "/h/data{logs}/db; " + users);
}

TEST(Words, AreFilledInOnceFromLeftToRight) {
  EXPECT_EQ(FilledIn("{folder}:{artifact}:{data"), "/h/folder{logs}:{artifact}:{data");
  EXPECT_EQ(FilledIn("{{data}}"), "{/h/data{logs}}");
  EXPECT_EQ(FilledIn(""), "");
}

TEST(Words, LeaveWhatIsNoWordAsItStands) {
  EXPECT_EQ(SealWords("{ \"a\": {} }"), "{ \"a\": {} }");
  EXPECT_EQ(SealWords(SealWords("{data}")), "{brace}brace}data}");
}

TEST(Templates, KnowPlacesAndLeaveTheUnknown) {
  const auto variables = VariablesIn("x {{ ports.http }} {{id}} {{open");
  ASSERT_EQ(variables.size(), 3u);
  EXPECT_EQ(variables[0].name, "ports.http");
  EXPECT_EQ(variables[0].offset, 2u);
  EXPECT_EQ(variables[2].name, "");
  const auto lookup = [](std::string_view name) -> std::optional<std::string> {
    if (name == "a") return "{{b}}";
    return std::nullopt;
  };
  EXPECT_EQ(Expand("<{{a}}|{{b}}>", lookup), "<{{b}}|{{b}}>");  // what came out isn't expanded again
}

}  // namespace
}  // namespace muster
