#include "recipes/redis/data_check.h"

#include <gmock/gmock.h>

#include "model/testing_values.h"
#include "recipes/recipe.h"

namespace muster::redis {
namespace {

using ::testing::HasSubstr;

// The findings of `kind` with these settings, of those that are about the data.
std::vector<Finding> FindingsOf(const std::string& kind, const std::string& settings_key,
                                const std::string& settings_value,
                                std::vector<std::pair<std::string, Value>> more = {}) {
  Cluster cluster;
  cluster.name = "mall";
  for (const char* host : {"1", "2", "3"}) {
    cluster.hosts.push_back({.name = std::string("h") + host, .address = std::string("10.0.0.") + host});
  }
  Service service;
  service.name = "cache";
  service.kind = kind;
  service.mark = {.line = 5, .column = 3};
  more.emplace_back("port", Scalar("7001"));
  more.emplace_back("password", Scalar("{{secret.cache}}"));
  std::vector<std::pair<std::string, Value>> settings = {{settings_key, Scalar(settings_value)}};
  if (settings_key == "save") settings.emplace_back("appendonly", Scalar("no"));
  more.emplace_back("settings", Map(std::move(settings)));
  service.settings = Map(std::move(more));
  cluster.services.push_back(service);
  std::vector<Finding> found;
  for (Finding& finding : FindRecipe(kind)->layout->Check(service, cluster, WallTime{})) {
    if (finding.code == "no-appendonly") found.push_back(std::move(finding));
  }
  return found;
}

TEST(RedisDataCheck, WarnsWhereAMemberWouldComeBackEmpty) {
  for (const char* kind : {"redis", "redis-cluster"}) {
    SCOPED_TRACE(kind);
    const auto findings = FindingsOf(kind, "appendonly", "no");
    ASSERT_EQ(findings.size(), 1u);
    EXPECT_EQ(findings[0].severity, Severity::kWarning);
    EXPECT_EQ(findings[0].mark, (Mark{7, 14}));
    EXPECT_THAT(findings[0].message, HasSubstr("comes back empty"));
    EXPECT_TRUE(FindingsOf(kind, "appendonly", "yes").empty());
    EXPECT_TRUE(FindingsOf(kind, "maxmemory-policy", "noeviction").empty()) << "muster's own is yes";
  }
}

TEST(RedisDataCheck, SaysWhatASnapshotKeeps) {
  const auto findings = FindingsOf("redis", "save", "60 1000");
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_THAT(findings[0].message, HasSubstr("last snapshot"));
}

TEST(RedisDataCheck, SaysWhatMusterDoesThen) {
  EXPECT_THAT(FindingsOf("redis-cluster", "appendonly", "no", {{"node_timeout", Scalar("2s")}})[0].fix,
              HasSubstr("6s"));
  EXPECT_THAT(FindingsOf("redis", "appendonly", "no", {{"replicas", Scalar("1")}})[0].fix,
              HasSubstr("linked replica"));
  EXPECT_THAT(FindingsOf("redis", "appendonly", "no")[0].fix, HasSubstr("nobody else has"));
}

}  // namespace
}  // namespace muster::redis
