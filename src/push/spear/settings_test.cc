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

TEST(SpearSettings, RefuseVariablesThatAreNone) {
  const Loaded loaded = Read("", "",
                             {{"MUSTER_PUSH_HEARTBEAT_INTERVALL", "7s"},
                              {"MUSTER_PUSH_PROFILE", ""},
                              {"MUSTER_PUSH_LOG_LEVEL", "warn"},
                              {"MUSTER_PUSH_QQQQQQQQQQQQ", "secret"},
                              {"OTHER", "1"}});
  ASSERT_EQ(loaded.problems.size(), 2u);
  EXPECT_EQ(loaded.problems[0].where, "MUSTER_PUSH_HEARTBEAT_INTERVALL");
  EXPECT_EQ(loaded.problems[0].error.code(), "unknown-setting");
  EXPECT_NE(loaded.problems[0].error.Text().find("`MUSTER_PUSH_HEARTBEAT_INTERVAL`"), std::string::npos);
  EXPECT_EQ(loaded.problems[1].error.Text().find("secret"), std::string::npos);
}

TEST(SpearSettings, LeaveOutTheVariablesOfAServiceOfTheirName) {
  const Environment of_service = {{"MUSTER_PUSH_SERVICE_HOST", "10.0.0.1"},
                                  {"MUSTER_PUSH_SERVICE_PORT", "31001"},
                                  {"MUSTER_PUSH_SERVICE_PORT_CLIENTS_2", "31001"},
                                  {"MUSTER_PUSH_PORT", "tcp://10.0.0.1:31001"},
                                  {"MUSTER_PUSH_PORT_31001_TCP", "tcp://10.0.0.1:31001"},
                                  {"MUSTER_PUSH_PORT_31001_TCP_ADDR", "10.0.0.1"},
                                  {"MUSTER_PUSH_PORT_31001_UDP_PORT", "31001"},
                                  {"MUSTER_PUSH_PORT_31001_SCTP_PROTO", "sctp"}};
  const Loaded loaded = Read("", "", of_service);
  EXPECT_TRUE(loaded.problems.empty()) << loaded.problems[0].where;
  EXPECT_EQ(loaded.left_out.size(), of_service.size());
  for (const auto& [name, value] : Environment{{"MUSTER_PUSH_PORT", "31001"},
                                               {"MUSTER_PUSH_SERVICE_HOSTS", "a"},
                                               {"MUSTER_PUSH_SERVICE", "a"},
                                               {"MUSTER_PUSH_SERVICE_PORT_", "1"},
                                               {"MUSTER_PUSH_SERVICE_PORT_x", "1"},
                                               {"MUSTER_PUSH_PORTS", "tcp://10.0.0.1:1"},
                                               {"MUSTER_PUSH_PORT_31001", "tcp://10.0.0.1:1"},
                                               {"MUSTER_PUSH_PORT_A_TCP", "tcp://10.0.0.1:1"},
                                               {"MUSTER_PUSH_PORT_31001_QUIC", "1"},
                                               {"MUSTER_PUSH_PORT_31001_TCP_ADDRESS", "1"},
                                               {"MUSTER_PUSH_PORT_31001_TCP_ADDR_X", "1"}}) {
    const Loaded slip = Read("", "", {{name, value}});
    EXPECT_EQ(slip.problems.size(), 1u) << name;
    EXPECT_TRUE(slip.left_out.empty()) << name;
  }
}

TEST(SpearSettings, CheckProfilesThatAreNotSelected) {
  const std::string text =
      "profile: good\nprofiles:\n  good: {shards: 2}\n  empty:\n  bad:\n    shards: many\n    slow: {policy: "
      "no}\n    shardz: 2\n  worse: 7\n";
  const Loaded loaded = Read(text);
  ASSERT_EQ(loaded.problems.size(), 4u);
  EXPECT_EQ(loaded.problems[0].where, "spear.yaml:9");  // by kind: what is no profile comes first
  EXPECT_EQ(loaded.problems[1].where, "spear.yaml:6");
  EXPECT_EQ(loaded.problems[2].where, "spear.yaml:7");
  EXPECT_NE(loaded.problems[3].error.Text().find("`shards`"), std::string::npos);
  EXPECT_EQ(loaded.settings.shards, 2) << "only the selected one holds";
  EXPECT_EQ(Read("profiles: 7\n").problems.size(), 1u);
  // Each problem is told once, also of the one that is selected.
  EXPECT_EQ(Read("profile: a\nprofiles:\n  a: {shards: many}\n").problems.size(), 1u);
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

TEST(SpearAuth, LetsIntoAGroupByATokenOfThatGroupAndUserOnly) {
  Settings settings;
  settings.auth = AuthMode::kSigned;
  settings.auth_secret = "s";
  const WallTime now(1000s);
  const std::string token = GroupToken("s", "club", "7", 2000);
  EXPECT_EQ(WhyNotIn("club", "7", token, settings, now), "");
  EXPECT_EQ(WhyNotIn("club", "7", token, settings, now + 1000s), "the token has expired");
  EXPECT_EQ(WhyNotIn("club", "8", token, settings, now), "bad token");
  EXPECT_EQ(WhyNotIn("cluc", "7", token, settings, now), "bad token");
  EXPECT_EQ(WhyNotIn("club", "7", "", settings, now), "bad token");
  EXPECT_EQ(WhyNotIn("club", "7", SignedToken("s", "7", "", 2000), settings, now), "bad token");
  EXPECT_NE(WhyNotIn("club\n7", "x", GroupToken("s", "club\n7", "x", 2000), settings, now), "");
}

TEST(SpearAuth, AnExpiryBeyondAllTimesIsNone) {
  Settings settings;
  settings.auth = AuthMode::kSigned;
  settings.auth_secret = "s";
  const std::string token = GroupToken("s", "club", "7", 9'223'372'036'854'775'807);
  EXPECT_EQ(WhyNotIn("club", "7", token, settings, WallTime(1000s)), "bad token");
}

TEST(SpearSettings, GroupsAreClosedOnlyWhereTokensAreSigned) {
  Loaded loaded = ReadSettings("s.yaml", "groups: {open: false}", "", {});
  CompleteSettings(loaded);
  ASSERT_EQ(loaded.problems.size(), 1u);
  EXPECT_EQ(loaded.problems[0].where, "groups.open");
  loaded = ReadSettings("s.yaml", "groups: {open: false}\nauth: {mode: signed}", "",
                        {{"MUSTER_PUSH_AUTH_SECRET", "s"}});
  CompleteSettings(loaded);
  EXPECT_TRUE(loaded.problems.empty());
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

TEST(SpearAuth, RefusesControlCharactersWhichWouldMakeOneClaimReadAsAnother) {
  Settings settings;
  settings.auth = AuthMode::kSigned;
  settings.auth_secret = "s";
  const WallTime now{Duration(1'000'000)};
  // The same text is signed of both.
  const std::string token = SignedToken("s", "7\nadmin", "web", 2000);
  ASSERT_EQ(token, SignedToken("s", "7", "admin\nweb", 2000));
  EXPECT_NE(
      WhyNot({.id = "7", .name = "", .app_type = "admin\nweb", .token = token, .token_1 = ""}, settings, now),
      "");
  EXPECT_NE(
      WhyNot({.id = "7\nadmin", .name = "", .app_type = "web", .token = token, .token_1 = ""}, settings, now),
      "");
  settings.auth = AuthMode::kOpen;
  for (const std::string& id :
       {std::string("a\nb"), std::string("a\0", 2), std::string("\x7f"), std::string("\t")}) {
    EXPECT_NE(WhyNot({.id = id, .name = "", .app_type = "", .token = "", .token_1 = ""}, settings, now), "")
        << id;
  }
  EXPECT_EQ(
      WhyNot({.id = "Ann \xc3\xa4", .name = "", .app_type = "", .token = "", .token_1 = ""}, settings, now),
      "");
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
