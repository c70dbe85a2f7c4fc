#include "push/spear/settings.h"

#include <gtest/gtest.h>

#include "push/spear/auth.h"

namespace muster::push {
namespace {

Loaded Read(const std::string& text, const std::string& profile = "", const Environment& environment = {}) {
  Loaded loaded = ReadSettings("spear.yaml", text, profile, environment);
  CompleteSettings(loaded);
  return loaded;
}

std::string FirstProblem(const std::string& text) {
  const Loaded loaded = Read(text);
  return loaded.problems.empty() ? "" : loaded.problems[0].where + " " + loaded.problems[0].error.Text();
}

TEST(SpearSettings, AreGoodWithNothingSaid) {
  EXPECT_TRUE(Read("").problems.empty());
  EXPECT_EQ(Read("").settings.ping_interval, 25s);
}

TEST(SpearSettings, AreOverriddenByProfileAndThatByTheEnvironment) {
  const std::string text =
      "listen: 127.0.0.1:1\nheartbeat: {interval: 5s}\nprofiles:\n  test:\n    heartbeat: {interval: 6s}\n   "
      " shards: 3\n";
  EXPECT_EQ(Read(text).settings.ping_interval, 5s);
  EXPECT_EQ(Read(text, "test").settings.ping_interval, 6s);
  EXPECT_EQ(Read(text, "test").settings.shards, 3);
  const Loaded loaded = Read(text, "test",
                             {{"MUSTER_PUSH_HEARTBEAT_INTERVAL", "7s"},
                              {"MUSTER_PUSH_LISTEN", "127.0.0.1:2, 127.0.0.1:3"},
                              {"MUSTER_PUSH_ADMIN_TOKEN", "secret"}});
  EXPECT_EQ(loaded.settings.ping_interval, 7s);
  EXPECT_EQ(loaded.settings.listen, (std::vector<std::string>{"127.0.0.1:2", "127.0.0.1:3"}));
  EXPECT_EQ(loaded.settings.admin_token, "secret");
}

TEST(SpearSettings, SayAllThatIsWrongAndWhere) {
  const Loaded loaded =
      Read("shards: many\nheartbeet: 1\nslow:\n  policy: ignore\nauth: {secret: x, mode: signed}\n");
  ASSERT_EQ(loaded.problems.size(), 5u);
  EXPECT_EQ(loaded.problems[0].where, "spear.yaml:1");
  EXPECT_EQ(loaded.problems[1].error.code(), "unknown-setting");
  EXPECT_EQ(loaded.problems[2].where, "spear.yaml:4");
  EXPECT_EQ(loaded.problems[3].where, "spear.yaml:5");
  EXPECT_EQ(loaded.problems[4].where, "auth.mode");
}

TEST(SpearSettings, RefuseEachWrongValue) {
  for (const char* text : {"listen: 7",
                           "listen: []",
                           "heartbeat: {interval: 25}",
                           "heartbeat: {interval: 1ms}",
                           "path: socket.io",
                           "transports: [pigeon]",
                           "namespaces: [chat]",
                           "namespaces: [\"/a,b\"]",
                           "upgrades: perhaps",
                           "shards: 65",
                           "node: {id: 1024}",
                           "max_payload: 1",
                           "max_payload: lots",
                           "cors: {credentials: true}",
                           "tls: {key: a}",
                           "auth: {mode: md5}",
                           "auth: {mode: guess}",
                           "slow: {bytes: 1}",
                           "admin: {listen: nowhere}",
                           "log: {level: all}",
                           "heartbeat: 5s",
                           "listen: {a: b}",
                           "- a",
                           "a: [",
                           "profile: none",
                           "admin: {token_file: /none/such}"}) {
    EXPECT_NE(FirstProblem(text), "") << text;
  }
}

TEST(SpearSettings, HelpWithTheNearestName) {
  EXPECT_NE(FirstProblem("max_paylod: 1m").find("`max_payload`"), std::string::npos);
}

TEST(SpearSettings, DescribeThemselvesAsAFileThatIsGood) {
  const Loaded loaded = Read(DescribeSettings());
  EXPECT_TRUE(loaded.problems.empty()) << loaded.problems[0].where << loaded.problems[0].error.Text();
}

TEST(SpearAddresses, AreReadInAllForms) {
  EXPECT_EQ(ParseHostPort("[::1]:80")->host, "::1");
  EXPECT_EQ(ParseHostPort(":80")->host, "0.0.0.0");
  EXPECT_EQ(ParseHostPort("a:80")->port, 80);
  for (const char* bad : {"a", "a:", "a:x", "a:70000", "a:-1"}) EXPECT_FALSE(ParseHostPort(bad).ok()) << bad;
}

TEST(SpearAuth, BelievesASignedTokenUntilItExpires) {
  Settings settings;
  settings.auth = AuthMode::kSigned;
  settings.auth_secret = "s";
  const WallTime now{Duration(1'000'000)};
  Claim claim{.id = "7",
              .name = "Ann",
              .app_type = "web",
              .token = SignedToken("s", "7", "web", 2000),
              .token_1 = ""};
  EXPECT_EQ(WhyNot(claim, settings, now), "");
  EXPECT_EQ(WhyNot(claim, settings, now + 1000s), "the token has expired");
  claim.id = "8";
  EXPECT_EQ(WhyNot(claim, settings, now), "bad token");
  claim = {.id = "7", .name = "", .app_type = "web", .token = "9999.00", .token_1 = ""};
  EXPECT_EQ(WhyNot(claim, settings, now), "bad token");
  claim.token = "9999";
  EXPECT_EQ(WhyNot(claim, settings, now), "bad token");
}

TEST(SpearAuth, KnowsTheTwoTokensOfGru) {
  Settings settings;
  settings.auth = AuthMode::kMd5;
  settings.auth_secret = "salt1";
  settings.auth_secret_2 = "salt2";
  const std::string first = Md5Hex("7_Ann_web_salt1");
  Claim claim{.id = "7",
              .name = "Ann",
              .app_type = "web",
              .token = Md5Hex("7_Ann_web_" + first + "_salt2"),
              .token_1 = first};
  EXPECT_EQ(WhyNot(claim, settings, WallTime()), "");
  claim.name = "Bob";
  EXPECT_NE(WhyNot(claim, settings, WallTime()), "");
}

}  // namespace
}  // namespace muster::push
