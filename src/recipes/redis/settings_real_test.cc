// What the table of settings says, held to a real redis-server; and the client of net/ against one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "recipes/redis/cluster_view.h"
#include "recipes/redis/info.h"
#include "recipes/redis/settings.h"
#include "recipes/redis/testing_redis.h"

namespace muster::redis {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class RealRedis : public RedisTest {
 protected:
  // Whether it is of the release that the table was made from.
  bool IsOfTheTable(const RedisServer& server) {
    return ParseInfo(Call(server, {"INFO", "server"}).text)->version.starts_with("7.0.");
  }
  std::string ConfigGet(const RedisServer& server, const std::string& name) {
    const auto pairs = Call(server, {"CONFIG", "GET", name}).AsPairs();
    return pairs && !pairs->empty() ? pairs->front().second : "(nothing)";
  }
};

TEST_F(RealRedis, HasTheSettingsOfTheTableWithTheirStandards) {
  // Without a setting that isn't the standard, but for those that muster owns.
  const RedisServer& server =
      StartRedis({{"save", {"3600 1 300 100 60 10000"}}, {"repl-diskless-sync-delay", {"5"}}});
  if (!IsOfTheTable(server)) GTEST_SKIP() << "another release than the table's";
  const auto pairs = Call(server, {"CONFIG", "GET", "*"}).AsPairs();
  ASSERT_TRUE(pairs);
  ASSERT_GT(pairs->size(), 150u);
  std::set<std::string_view> seen;
  for (const auto& [name, value] : *pairs) {
    const Setting* setting = FindSetting(name);
    ASSERT_NE(setting, nullptr) << name;
    seen.insert(setting->name);
    if (setting->cost == Cost::kOwned) continue;
    EXPECT_EQ(setting->standard, value) << name;
  }
  for (const Setting& setting : AllSettings()) {
    if (seen.contains(setting.name)) continue;
    // No settings, but lines of the file.
    EXPECT_THAT(std::vector<std::string>({"include", "loadmodule", "rename-command", "user"}),
                ::testing::Contains(std::string(setting.name)));
  }
}

TEST_F(RealRedis, TakesLiveWhatTheTableSaysAndNothingElse) {
  const RedisServer& server = StartRedis();
  if (!IsOfTheTable(server)) GTEST_SKIP() << "another release than the table's";
  for (const Setting& setting : AllSettings()) {
    if (setting.cost == Cost::kOwned || setting.name == "loadmodule") continue;
    const std::string name(setting.name);
    const net::resp::Value answer = Call(server, {"CONFIG", "SET", name, ConfigGet(server, name)});
    EXPECT_EQ(answer.is_ok(), setting.cost == Cost::kLive) << name << ": " << net::resp::Describe(answer);
  }
}

TEST_F(RealRedis, RefusesTheValuesThatAreRefusedHere) {
  const RedisServer& server = StartRedis();
  if (!IsOfTheTable(server)) GTEST_SKIP() << "another release than the table's";
  for (const Setting& setting : AllSettings()) {
    if (setting.cost != Cost::kLive || setting.name == "save") continue;
    const std::string name(setting.name);
    for (const std::string value :
         {"-99999999999", "nonsense", "0", "yes", "1mb", "007", "+1", "5%", "100000"}) {
      const bool here = CheckSettings({{.name = name, .values = {value}}}).empty();
      const net::resp::Value answer = Call(server, {"CONFIG", "SET", name, value});
      // What is refused here must be wrong there; not all that is wrong there is seen here.
      if (!here) {
        EXPECT_FALSE(answer.is_ok()) << name << " " << value;
      }
      if (!here || setting.form == Form::kText) continue;
      // What these need beside (memory of another kind, a number of files) is no matter of form.
      if (name == "activedefrag" || name == "maxclients") continue;
      EXPECT_TRUE(answer.is_ok()) << name << " " << value << ": " << net::resp::Describe(answer);
    }
  }
}

TEST_F(RealRedis, SaysOfItsSettingsWhatIsReckonedHere) {
  const ConfSettings settings = {{"maxmemory", {"100mb"}},
                                 {"maxmemory-clients", {"5%"}},
                                 {"repl-backlog-size", {"2M"}},
                                 {"appendfsync", {"ALWAYS"}},
                                 {"appendonly", {"YES"}},
                                 {"save", {"900 1", "300 10"}},
                                 {"client-output-buffer-limit", {"replica 1mb 1kb 60", "normal 1m 0 1"}},
                                 {"shutdown-on-sigterm", {"now nosave"}},
                                 {"latency-tracking-info-percentiles", {"50 99"}},
                                 {"unixsocketperm", {"0770"}},
                                 {"proc-title-template", {"{title} \"it's\""}},
                                 {"notify-keyspace-events", {"KEA"}},
                                 {"io-threads", {"2"}},
                                 {"slave-priority", {"7"}}};
  const RedisServer& server = StartRedis(settings);
  for (const auto& [name, values] : settings) {
    if (name == "notify-keyspace-events") continue;  // letters in an order of its own
    EXPECT_EQ(ConfigGet(server, name), RunningValue(*FindSetting(name), values)) << name;
  }
}

TEST_F(RealRedis, ReadsTheFileAsItWasMeant) {
  std::string password = " it's \"a\\b\" #1\t\x01{é}";
  const RedisServer& server = StartRedis({{"requirepass", {password}}});
  EXPECT_EQ(Call(server, {"PING"}).error_code(), "NOAUTH");
  EXPECT_EQ(Call(server, {"PING"}, password).text, "PONG");
  const auto wrong = Connect(server, "s3cret");
  ASSERT_FALSE(wrong.ok());
  EXPECT_EQ(wrong.error().code(), "redis-denied");
  EXPECT_THAT(wrong.error().Text(), ::testing::Not(HasSubstr("s3cret")));
}

TEST_F(RealRedis, AnswersAPipelineInBothVersionsOfTheProtocol) {
  const RedisServer& server = StartRedis();
  auto client = Connect(server);
  ASSERT_TRUE(client.ok()) << client.error().Text();
  const std::string bytes("a\r\n\0b", 5);
  for (const char* version : {"2", "3"}) {
    const auto answers = loop_.RunTask((*client)->Pipeline({{"HELLO", version},
                                                            {"FLUSHALL"},
                                                            {"SET", "k", bytes},
                                                            {"GET", "k"},
                                                            {"GET", "none"},
                                                            {"CONFIG", "GET", "maxmemory"},
                                                            {"INCR", "k"},
                                                            {"SADD", "s", "1"},
                                                            {"SMEMBERS", "s"},
                                                            {"COMMAND", "DOCS", "GET"}},
                                                           10s));
    ASSERT_TRUE(answers.ok()) << answers.error().Text();
    ASSERT_EQ(answers->size(), 10u);
    EXPECT_EQ((*answers)[3].text, bytes);
    EXPECT_TRUE((*answers)[4].is_null());
    EXPECT_EQ((*answers)[5].AsPairs()->front().second, "0");
    EXPECT_EQ((*answers)[6].error_code(), "ERR");
    EXPECT_EQ((*answers)[7].integer, 1);
    EXPECT_THAT(*(*answers)[8].AsTexts(), ElementsAre("1"));
  }
}

TEST_F(RealRedis, TellsOfAPrimaryAndItsReplica) {
  const RedisServer& primary = StartRedis();
  const RedisServer& replica = StartRedis({{"replicaof", {"127.0.0.1 " + std::to_string(primary.port())}}});
  ServerInfo info;
  ASSERT_TRUE(Eventually([&] {
    const auto read = ParseInfo(Call(replica, {"INFO"}).text);
    if (read.ok()) info = *read;
    return read.ok() && info.link_up;
  })) << replica.log();
  EXPECT_TRUE(info.replica);
  EXPECT_EQ(info.master_port, primary.port());
  EXPECT_EQ(info.pid, replica.pid());
  // In one connection: WAIT is about what its own has written.
  auto client = Connect(primary);
  ASSERT_TRUE(client.ok());
  const auto written = loop_.RunTask((*client)->Pipeline({{"SET", "a", "1"}, {"WAIT", "1", "10000"}}, 15s));
  ASSERT_TRUE(written.ok()) << written.error().Text();
  EXPECT_TRUE((*written)[0].is_ok());
  EXPECT_EQ((*written)[1].integer, 1);
  const auto of_primary = ParseInfo(Call(primary, {"INFO"}).text);
  ASSERT_TRUE(of_primary.ok());
  EXPECT_TRUE(of_primary->master);
  EXPECT_EQ(of_primary->keys, 1);
  ASSERT_EQ(of_primary->replicas.size(), 1u);
  EXPECT_EQ(of_primary->replicas[0].port, replica.port());
  EXPECT_EQ(of_primary->replicas[0].state, "online");
  EXPECT_GT(of_primary->replicas[0].offset, 0);
}

TEST_F(RealRedis, TellsOfAClusterAndWhereAKeyBelongs) {
  const RedisServer& one = StartRedis({{"cluster-enabled", {"yes"}}});
  const RedisServer& two = StartRedis({{"cluster-enabled", {"yes"}}});
  const auto halves = EvenSlots(2);
  for (const auto& [server, slots] : {std::pair(&one, halves[0]), {&two, halves[1]}}) {
    for (const auto& [first, last] : slots.Ranges()) {
      EXPECT_TRUE(
          Call(*server, {"CLUSTER", "ADDSLOTSRANGE", std::to_string(first), std::to_string(last)}).is_ok());
    }
  }
  EXPECT_TRUE(Call(one, {"CLUSTER", "MEET", "127.0.0.1", std::to_string(two.port())}).is_ok());
  const auto view = [&](const RedisServer& server) {
    auto read = ParseClusterNodes(Call(server, {"CLUSTER", "NODES"}).text);
    EXPECT_TRUE(read.ok()) << read.error().Text();
    return read.ok() ? *read : ClusterView{};
  };
  const auto info = [&](const RedisServer& server) {
    return ParseClusterInfo(Call(server, {"CLUSTER", "INFO"}).text);
  };
  ASSERT_TRUE(Eventually([&] {
    return SameView(view(one), view(two)) && view(one).Covered().all() && info(one)->ok && info(two)->ok;
  })) << SharedView(view(one))
      << SharedView(view(two));
  EXPECT_EQ(info(one)->size, 2);
  EXPECT_EQ(view(two).At("127.0.0.1", one.port())->slots, halves[0]);
  const std::string key = "{" + SlotTags()[16000] + "}";
  EXPECT_EQ(Call(one, {"CLUSTER", "KEYSLOT", key}).integer, 16000);
  EXPECT_EQ(ParseRedirect(Call(one, {"GET", key}).text),
            (Redirect{.ask = false, .slot = 16000, .host = "127.0.0.1", .port = two.port()}));
}

}  // namespace
}  // namespace muster::redis
