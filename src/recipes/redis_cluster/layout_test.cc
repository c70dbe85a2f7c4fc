// What a cluster file says, as Redis gets it, and what is wrong with it.
#include "recipes/redis_cluster/layout.h"

#include <gmock/gmock.h>

#include "model/secret.h"
#include "recipes/redis_cluster/testing_cluster.h"

namespace muster::redis_cluster {
namespace {

using testing::Cache;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::Hosts;
using ::testing::IsEmpty;
using testing::LayOut;
using ::testing::Not;
using ::testing::Pair;

const InstanceFile* FileOf(const Instance& instance, const std::string& path) {
  for (const InstanceFile& file : instance.files) {
    if (file.path == path) return &file;
  }
  return nullptr;
}

std::string ConfigOf(const Instance& instance) { return FileOf(instance, kConfigFile)->content; }

TEST(RedisClusterLayout, SpreadsMastersAndReplicasOverTheHosts) {
  const auto members = LayOut(Cache(), Hosts(3));
  ASSERT_EQ(members.size(), 6u);
  std::map<std::string, int> by_host;
  for (const Instance& member : members) ++by_host[member.host];
  EXPECT_THAT(by_host, ElementsAre(Pair("h1", 2), Pair("h2", 2), Pair("h3", 2)));
  EXPECT_EQ(members[0].name, "cache-1");
  EXPECT_EQ(members[0].ports.at("port").first, 7001);
  EXPECT_EQ(members[0].ports.at("bus").first, 17001);
  EXPECT_EQ(members[3].host, "h1");
  EXPECT_EQ(members[3].ports.at("port").first, 7002);
  EXPECT_EQ(members[3].ports.at("bus").first, 17002);
}

TEST(RedisClusterLayout, AMasterThatKeepsNothingOnDiskIsStartedAgainOnlyAfterRedisOwnVote) {
  const auto first = [](testing::Settings more, const char* appendonly) {
    more.emplace_back("settings", Map({{"appendonly", Scalar(appendonly)}}));
    more.emplace_back("node_timeout", Scalar("5s"));
    return LayOut(Cache(std::move(more)), Hosts(3))[0].restart;
  };
  EXPECT_EQ(first({}, "no").backoff_first, 12s);
  EXPECT_GE(first({}, "no").backoff_most, 12s);
  EXPECT_LT(first({}, "yes").backoff_first, 5s);
  // Whoever says so knows it better.
  EXPECT_EQ(first({{"restart", Map({{"first", Scalar("1s")}})}}, "no").backoff_first, 1s);
}

TEST(RedisClusterLayout, OneHostGetsSixPortsInARow) {
  const auto members = LayOut(Cache(), Hosts(1));
  ASSERT_EQ(members.size(), 6u);
  for (int i = 0; i < 6; ++i) EXPECT_EQ(members[static_cast<size_t>(i)].ports.at("port").first, 7001 + i);
}

TEST(RedisClusterLayout, WhoIsPlacedStaysWhenThereAreMore) {
  const RedisClusterLayout layout;
  const Cluster cluster = Hosts(3);
  const auto before = layout.PlaceMembers(Cache(), cluster, {});
  const auto after = layout.PlaceMembers(Cache({{"masters", Scalar("4")}}), cluster, *before);
  ASSERT_EQ(after->size(), 8u);
  for (const auto& [name, place] : *before) EXPECT_EQ(after->at(name), place);
  const auto back = layout.PlaceMembers(Cache(), cluster, *after);
  EXPECT_EQ(*back, *before);
}

TEST(RedisClusterLayout, TellsRedisWhoItIs) {
  const auto members = LayOut(Cache({{"node_timeout", Scalar("1500ms")}}), Hosts(3));
  const Instance& second = members[1];
  EXPECT_THAT(second.argv, ElementsAre("redis-server", "{folder}/redis.conf"));
  const std::string config = ConfigOf(second);
  for (const char* line :
       {"\nbind 10.0.0.2\n", "\nport 7001\n", "\ndir \"{data}\"\n", "\ncluster-enabled yes\n",
        "\ncluster-announce-ip 10.0.0.2\n", "\ncluster-announce-port 7001\n",
        "\ncluster-announce-bus-port 17001\n", "\ncluster-node-timeout 1500\n", "\nappendonly yes\n",
        "\nsave \"\"\n", "\nrepl-diskless-sync-delay 0\n", "\nshutdown-timeout 0\n", "\nprotected-mode no\n",
        "\ndaemonize no\n"}) {
    EXPECT_THAT(config, HasSubstr(line));
  }
  EXPECT_THAT(config, Not(HasSubstr("logfile")));
  EXPECT_THAT(config, Not(HasSubstr("include")));
  EXPECT_EQ(second.probe.kind, Probe::Kind::kOperator);
  EXPECT_EQ(second.probe.port, 7001);
  EXPECT_EQ(second.probe.every, 1s);
  EXPECT_TRUE(second.probe.kill_when_hung);
}

TEST(RedisClusterLayout, ThePasswordStandsInAFileOfItsOwn) {
  const auto members = LayOut(Cache({{"password", Scalar("{{secret.cache}}")}}), Hosts(3));
  const Instance& first = members[0];
  EXPECT_THAT(ConfigOf(first), HasSubstr("\ninclude \"{folder}/secret.conf\"\n"));
  EXPECT_THAT(ConfigOf(first), Not(HasSubstr("secret:")));
  const InstanceFile* secret = FileOf(first, kSecretFile);
  ASSERT_NE(secret, nullptr);
  EXPECT_EQ(secret->mode, 0600);
  EXPECT_TRUE(secret->secret);
  EXPECT_EQ(secret->content,
            "requirepass \"" + SecretMarker("cache") + "\"\nmasterauth \"" + SecretMarker("cache") + "\"\n");
  for (const auto& [name, value] : first.extra) EXPECT_THAT(value, Not(HasSubstr("secret")));
}

TEST(RedisClusterLayout, SettingsReachRedisAsTheyAreMeant) {
  Value save;
  save.type = Value::Type::kList;
  save.items = {Scalar("900 1"), Scalar("300 10")};
  const auto members =
      LayOut(Cache({{"settings", Map({{"appendonly", Scalar("no")},
                                      {"save", save},
                                      {"maxmemory", Scalar("100mb")},
                                      {"proc-title-template", Scalar("{title} \"a\" {data}")},
                                      {"slave-priority", Scalar("10")}})}}),
             Hosts(3));
  const std::string config = ConfigOf(members[0]);
  EXPECT_THAT(config, HasSubstr("\nappendonly no\n"));
  EXPECT_THAT(config, HasSubstr("\nsave 900 1\nsave 300 10\n"));
  EXPECT_THAT(config, HasSubstr("\nmaxmemory 100mb\n"));
  EXPECT_THAT(config, HasSubstr("\nproc-title-template \"{title} \\\"a\\\" {brace}data}\"\n"));
  const auto& extra = members[0].extra;
  EXPECT_EQ(extra.at("set appendonly"), "no");
  EXPECT_EQ(extra.at("set save"), "900 1 300 10");
  EXPECT_EQ(extra.at("set maxmemory"), "104857600");
  EXPECT_EQ(extra.at("set replica-priority"), "10");
  EXPECT_EQ(extra.at("set cluster-node-timeout"), "5000");
}

TEST(RedisClusterLayout, AChangeCostsWhatRedisNeedsForIt) {
  const RedisClusterLayout layout;
  EXPECT_EQ(layout.ImpactOf("extra:set maxmemory"), Impact::kReload);
  EXPECT_EQ(layout.ImpactOf("extra:set io-threads"), Impact::kRestart);
  EXPECT_EQ(layout.ImpactOf("extra:set nobody-knows"), Impact::kRestart);
  EXPECT_EQ(layout.ImpactOf("file:redis.conf"), Impact::kNone);
  EXPECT_EQ(layout.ImpactOf("file:secret.conf"), Impact::kReload);
  EXPECT_EQ(layout.ImpactOf("probe"), Impact::kLive);
  EXPECT_EQ(layout.ImpactOf("artifact"), Impact::kRestart);
  EXPECT_EQ(layout.ImpactOf("ports"), Impact::kRestart);
}

TEST(RedisClusterLayout, AProgramOfOnesOwnIsSentAlong) {
  Cluster cluster = Hosts(3);
  cluster.files["bin/redis-7.4"] = {.sha256 = "abc", .size = 1 << 24, .executable = true, .text = ""};
  const auto sent = LayOut(Cache({{"artifact", Scalar("bin/redis-7.4")}}), cluster);
  EXPECT_EQ(sent[0].argv[0], "{artifact}");
  EXPECT_EQ(sent[0].artifact.name, "redis-7.4");
  EXPECT_EQ(sent[0].artifact.sha256, "abc");
  EXPECT_EQ(LayOut(Cache({{"program", Scalar("/opt/redis-server")}}), cluster)[0].argv[0],
            "/opt/redis-server");
}

TEST(RedisClusterLayout, TellsOthersWhereAllMembersAre) {
  const RedisClusterLayout layout;
  const Cluster cluster = Hosts(3);
  const auto placement = layout.PlaceMembers(Cache(), cluster, {});
  EXPECT_EQ(layout.Export("endpoints", Cache(), cluster, *placement),
            "10.0.0.1:7001,10.0.0.2:7001,10.0.0.3:7001,10.0.0.1:7002,10.0.0.2:7002,10.0.0.3:7002");
  EXPECT_EQ(layout.Export("password", Cache(), cluster, *placement), std::nullopt);
}

using Found = std::vector<std::pair<std::string, Severity>>;
constexpr Severity kError = Severity::kError, kWarning = Severity::kWarning;

std::vector<Finding> Check(testing::Settings settings, const Cluster& cluster = Hosts(3),
                           bool password = true) {
  if (password) settings.emplace_back("password", Scalar("{{secret.cache}}"));
  const Service service = Cache(std::move(settings));
  auto findings = RedisClusterLayout().Check(service, cluster, WallTime{});
  for (const Finding& finding : findings) {
    EXPECT_FALSE(finding.message.empty() || finding.fix.empty()) << finding.code;
    EXPECT_GT(finding.mark.line, 0) << finding.code;
  }
  return findings;
}

Found CodesOf(testing::Settings settings, const Cluster& cluster = Hosts(3), bool password = true) {
  Found found;
  for (const Finding& finding : Check(std::move(settings), cluster, password)) {
    found.emplace_back(finding.code, finding.severity);
  }
  return found;
}

Found CodesOfSetting(const std::string& name, const std::string& value) {
  return CodesOf({{"settings", Map({{name, Scalar(value)}})}});
}

TEST(RedisClusterCheck, FindsNothingWhereAllIsWell) { EXPECT_THAT(CodesOf({}), IsEmpty()); }

TEST(RedisClusterCheck, FewerThanThreeMastersAreRefused) {
  EXPECT_THAT(CodesOf({{"masters", Scalar("2")}}), ElementsAre(Pair("too-few-masters", kError)));
  EXPECT_THAT(CodesOf({{"masters", Scalar("1")}}), ElementsAre(Pair("too-few-masters", kError)));
}

TEST(RedisClusterCheck, SaysWhatFewHostsMean) {
  EXPECT_THAT(CodesOf({}, Hosts(1)), ElementsAre(Pair("replica-beside-master", kWarning)));
  EXPECT_THAT(CodesOf({}, Hosts(2)), ElementsAre(Pair("quorum-on-one-host", kWarning)));
  Cluster here = Hosts(1);
  here.hosts_left_out = true;
  EXPECT_THAT(CodesOf({}, here), IsEmpty());
  Cluster rehearsed = Hosts(2);
  rehearsed.rehearsal = true;
  EXPECT_THAT(CodesOf({}, rehearsed, false), IsEmpty());
}

TEST(RedisClusterCheck, AsksForAPasswordThatIsASecret) {
  EXPECT_THAT(CodesOf({}, Hosts(3), false), ElementsAre(Pair("no-password", kWarning)));
  Cluster loopback = Hosts(3);
  for (Host& host : loopback.hosts) host.address = "127.0.0." + host.name.substr(1);
  EXPECT_THAT(CodesOf({}, loopback, false), IsEmpty());
  EXPECT_THAT(CodesOf({{"password", Scalar("hunter2")}}, Hosts(3), false),
              ElementsAre(Pair("password-in-clear", kWarning)));
  for (const Finding& finding : Check({{"password", Scalar("hunter2")}}, Hosts(3), false)) {
    EXPECT_THAT(finding.message + finding.fix, Not(HasSubstr("hunter2")));
  }
  EXPECT_THAT(CodesOf({{"password", Scalar("{{secrets.cache}}")}}, Hosts(3), false),
              Contains(Pair("unknown-variable", kError)));
}

TEST(RedisClusterCheck, TheBusNeedsAPortToo) {
  Service service = Cache({{"password", Scalar("{{secret.cache}}")}});
  service.settings.entries.back().value = Scalar("60000");
  const auto findings = RedisClusterLayout().Check(service, Hosts(3), WallTime{});
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].code, "out-of-range");
  EXPECT_THAT(findings[0].message, HasSubstr("70000"));
}

TEST(RedisClusterCheck, NobodyCanStandInForAMember) {
  Service service = Cache({{"password", Scalar("{{secret.cache}}")}});
  service.update.max_surge = {1, false};
  const auto findings = RedisClusterLayout().Check(service, Hosts(3), WallTime{});
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].code, "surge-identity");
}

TEST(RedisClusterCheck, LooksAtEverySetting) {
  EXPECT_THAT(CodesOfSetting("maxmemory-polcy", "allkeys-lru"),
              ElementsAre(Pair("redis-setting-unknown", kError)));
  EXPECT_THAT(CodesOfSetting("requirepass", "x"), ElementsAre(Pair("redis-setting-owned", kError)));
  EXPECT_THAT(CodesOfSetting("cluster-announce-ip", "10.0.0.9"),
              ElementsAre(Pair("redis-setting-owned", kError)));
  EXPECT_THAT(CodesOfSetting("appendonly", "perhaps"), ElementsAre(Pair("redis-setting-value", kError)));
  EXPECT_THAT(CodesOfSetting("appendonly", "no"), ElementsAre(Pair("no-appendonly", kWarning)));
  EXPECT_THAT(CodesOfSetting("maxmemory", "100mb"), ElementsAre(Pair("maxmemory-policy", kWarning)));
  EXPECT_THAT(CodesOfSetting("notify-keyspace-events", "{{secret.x}}"), Contains(Pair("bad-value", kError)));
  EXPECT_THAT(CodesOfSetting("protected-mode", "yes"), IsEmpty());
  EXPECT_THAT(CodesOf({{"settings", Map({{"protected-mode", Scalar("yes")}})}}, Hosts(3), false),
              Contains(Pair("bad-value", kError)));
}

TEST(RedisClusterCheck, TwoWordsForOneThingAreOneTooMany) {
  EXPECT_THAT(CodesOf({{"node_timeout", Scalar("5s")},
                       {"settings", Map({{"cluster-node-timeout", Scalar("5000")}})}}),
              ElementsAre(Pair("bad-value", kError)));
  EXPECT_THAT(CodesOf({{"program", Scalar("redis-server")}, {"artifact", Scalar("bin/redis")}}),
              ElementsAre(Pair("bad-value", kError)));
  EXPECT_THAT(
      CodesOf({{"settings", Map({{"slave-priority", Scalar("1")}, {"replica-priority", Scalar("2")}})}}),
      ElementsAre(Pair("redis-setting-twice", kError)));
  EXPECT_THAT(CodesOf({{"program", Scalar("bin/redis-server")}}), ElementsAre(Pair("bad-value", kError)));
}

TEST(RedisClusterCheck, MemoryThatTheKernelWouldNotGiveIsTold) {
  EXPECT_THAT(CodesOf({{"limits", Map({{"memory", Scalar("64m")}})},
                       {"settings",
                        Map({{"maxmemory", Scalar("100mb")}, {"maxmemory-policy", Scalar("allkeys-lru")}})}}),
              ElementsAre(Pair("bad-value", kWarning)));
}

}  // namespace
}  // namespace muster::redis_cluster
