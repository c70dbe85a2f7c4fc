#include "recipes/redis/settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "model/secret.h"

namespace muster::redis {
namespace {

using ::testing::HasSubstr;

std::vector<Finding> Check(const std::string& name, std::vector<std::string> values) {
  return CheckSettings({{.name = name, .values = std::move(values)}});
}

std::string CodeOf(const std::string& name, std::vector<std::string> values) {
  const auto findings = Check(name, std::move(values));
  return findings.empty() ? "" : findings.front().code;
}

TEST(RedisSettings, AreSortedSoThatTheyAreFound) {
  const auto all = AllSettings();
  EXPECT_TRUE(std::is_sorted(all.begin(), all.end(),
                             [](const Setting& one, const Setting& other) { return one.name < other.name; }));
  for (const Setting& setting : all) {
    EXPECT_EQ(FindSetting(setting.name), &setting);
    EXPECT_EQ(setting.cost == Cost::kOwned, !setting.instead.empty()) << setting.name;
    EXPECT_EQ(setting.form == Form::kWord, !setting.words.empty()) << setting.name;
  }
}

TEST(RedisSettings, AreKnownByEarlierNamesAndInAnyCase) {
  EXPECT_EQ(FindSetting("MaxMemory")->name, "maxmemory");
  EXPECT_EQ(FindSetting("slave-priority")->name, "replica-priority");
  EXPECT_EQ(FindSetting("slaveof")->name, "replicaof");
  EXPECT_EQ(FindSetting("hash-max-ziplist-entries")->name, "hash-max-listpack-entries");
  EXPECT_EQ(FindSetting("lua-time-limit")->name, "busy-reply-threshold");
  EXPECT_EQ(FindSetting("maxmemori"), nullptr);
}

TEST(RedisSettings, TellWhatAChangeCosts) {
  EXPECT_EQ(FindSetting("maxmemory")->cost, Cost::kLive);
  EXPECT_EQ(FindSetting("cluster-node-timeout")->cost, Cost::kLive);
  EXPECT_EQ(FindSetting("io-threads")->cost, Cost::kRestart);
  EXPECT_EQ(FindSetting("databases")->cost, Cost::kRestart);
  for (const char* name : {"port", "bind", "dir", "cluster-enabled", "cluster-config-file", "requirepass",
                           "masterauth", "daemonize", "pidfile", "logfile", "replicaof",
                           "cluster-announce-ip", "include", "rename-command", "user", "tls-port"}) {
    EXPECT_EQ(FindSetting(name)->cost, Cost::kOwned) << name;
  }
}

TEST(CheckRedisSettings, RefusesWhatMusterWritesAndSaysWhatToWriteInstead) {
  const auto findings = Check("port", {"7001"});
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].code, "redis-setting-owned");
  EXPECT_THAT(findings[0].fix, HasSubstr("`port`"));
  EXPECT_THAT(Check("slaveof", {"h 1"})[0].fix, HasSubstr("replicas"));
}

TEST(CheckRedisSettings, NamesTheNearestOfAnUnknownOne) {
  const auto findings = Check("maxmemory-polcy", {"x"});
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].code, "redis-setting-unknown");
  EXPECT_THAT(findings[0].fix, HasSubstr("maxmemory-policy"));
  EXPECT_EQ(CodeOf("qqqqqqqqqqqq", {"1"}), "redis-setting-unknown");
}

TEST(CheckRedisSettings, LooksAtValuesWhereThatIsCheap) {
  const std::string bad = "redis-setting-value";
  EXPECT_EQ(CodeOf("appendonly", {"yes"}), "");
  EXPECT_EQ(CodeOf("appendonly", {"YES"}), "");
  EXPECT_EQ(CodeOf("appendonly", {"true"}), bad);
  EXPECT_EQ(CodeOf("timeout", {"300"}), "");
  for (const char* wrong : {"5s", "", "-1", "+1", "007", "1.5", "2147483648"}) {
    EXPECT_EQ(CodeOf("timeout", {wrong}), bad) << wrong;
  }
  EXPECT_EQ(CodeOf("slowlog-log-slower-than", {"-1"}), "");
  EXPECT_EQ(CodeOf("list-max-listpack-size", {"-2"}), "");
  for (const char* good : {"0", "100mb", "1G", "12Kb", "77", "5b"})
    EXPECT_EQ(CodeOf("maxmemory", {good}), "");
  for (const char* wrong : {"", "mb", "1.5gb", "-1", "100 mb", "1tb", "99999999999gb", "5%"}) {
    EXPECT_EQ(CodeOf("maxmemory", {wrong}), bad) << wrong;
  }
  EXPECT_EQ(CodeOf("maxmemory-clients", {"5%"}), "");
  EXPECT_EQ(CodeOf("maxmemory-clients", {"101%"}), bad);
  EXPECT_EQ(CodeOf("client-query-buffer-limit", {"1kb"}), bad);
  EXPECT_EQ(CodeOf("maxmemory-policy", {"allkeys-lru"}), "");
  EXPECT_THAT(Check("maxmemory-policy", {"lru"})[0].message, HasSubstr("allkeys-lru"));
  EXPECT_EQ(CodeOf("shutdown-on-sigterm", {"nosave now"}), "");
  EXPECT_EQ(CodeOf("shutdown-on-sigterm", {"nosave soon"}), bad);
  EXPECT_EQ(CodeOf("save", {"900 1", "300 10"}), "");
  EXPECT_EQ(CodeOf("save", {"900 1 300 10"}), "");
  EXPECT_EQ(CodeOf("save", {""}), "");
  for (const char* wrong : {"900", "0 1", "a b", "900 -1"}) EXPECT_EQ(CodeOf("save", {wrong}), bad) << wrong;
  EXPECT_EQ(CodeOf("client-output-buffer-limit", {"normal 0 0 0", "replica 256mb 64mb 60"}), "");
  EXPECT_EQ(CodeOf("client-output-buffer-limit", {"normal 0 0"}), bad);
  EXPECT_EQ(CodeOf("client-output-buffer-limit", {"master 0 0 0"}), bad);
  EXPECT_EQ(CodeOf("unixsocketperm", {"770"}), "");
  EXPECT_EQ(CodeOf("unixsocketperm", {"rwx"}), bad);
  EXPECT_EQ(CodeOf("timeout", {"1", "2"}), bad);
  EXPECT_EQ(CodeOf("proc-title-template", {"a\nb"}), bad);
  EXPECT_EQ(CodeOf("timeout", {SecretMarker("t")}), "");
}

TEST(CheckRedisSettings, FindsASettingUnderTwoNames) {
  const auto findings = CheckSettings(
      {{.name = "slave-priority", .values = {"1"}}, {.name = "replica-priority", .values = {"2"}}});
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].code, "redis-setting-twice");
}

TEST(RunningValue, IsAsConfigGetSaysIt) {
  const auto running = [](const char* name, std::vector<std::string> values) {
    return RunningValue(*FindSetting(name), values);
  };
  EXPECT_EQ(running("maxmemory", {"100mb"}), "104857600");
  EXPECT_EQ(running("maxmemory", {"100m"}), "100000000");
  EXPECT_EQ(running("maxmemory", {}), "0");
  EXPECT_EQ(running("maxmemory-clients", {"5%"}), "5%");
  EXPECT_EQ(running("appendonly", {"YES"}), "yes");
  EXPECT_EQ(running("save", {"900 1", "300 10"}), "900 1 300 10");
  EXPECT_EQ(running("save", {"900 1", ""}), "");
  EXPECT_EQ(running("save", {}), "3600 1 300 100 60 10000");
  EXPECT_EQ(running("client-output-buffer-limit", {"replica 1mb 1kb 60"}),
            "normal 0 0 0 slave 1048576 1024 60 pubsub 33554432 8388608 60");
  EXPECT_EQ(running("shutdown-on-sigterm", {"now NOSAVE"}), "nosave now");
}

}  // namespace
}  // namespace muster::redis
