// Members of a real Redis Cluster, each with its operator, for tests of what is done to one.
#pragma once

#include "recipes/redis/cluster_view.h"
#include "recipes/redis/testing_redis.h"
#include "recipes/redis_cluster/operator.h"

namespace muster::redis_cluster {

using ::testing::HasSubstr;

// A server, what an agent would hold of it, and its operator.
struct TestMember {
  redis::RedisServer* server = nullptr;
  std::string records;
  Instance instance;
  std::unique_ptr<Operator> redis = MakeRedisClusterOperator();
};

class MembersTest : public redis::RedisTest {
 protected:
  using Values = std::map<std::string, std::string>;
  static constexpr const char* kPassword = "top\"secret word";

  void TearDown() override {
    for (const auto& member : members_) (void)RemoveTree(member->records);
    members_.clear();
    RedisTest::TearDown();
  }

  TestMember& StartMember(redis::ConfSettings settings = {}) {
    settings["cluster-enabled"] = {"yes"};
    settings["cluster-config-file"] = {"nodes.conf"};
    settings["cluster-announce-ip"] = {"127.0.0.1"};
    settings.try_emplace("cluster-node-timeout", std::vector<std::string>{"2000"});
    settings["requirepass"] = {kPassword};
    settings["masterauth"] = {kPassword};
    members_.push_back(std::make_unique<TestMember>());
    TestMember& member = *members_.back();
    member.server = &StartRedis(settings);
    EXPECT_TRUE(MakeFolder(member.server->folder() + "/logs").ok());
    EXPECT_EQ(link((member.server->folder() + "/log").c_str(),
                   (member.server->folder() + "/logs/current.log").c_str()),
              0);
    char made[] = "/tmp/muster-redis-XXXXXX";
    member.records = mkdtemp(made);
    member.instance.name = "cache-" + std::to_string(members_.size());
    member.instance.service = "cache";
    member.instance.address = "127.0.0.1";
    member.instance.ports["port"] = {.first = member.server->port()};
    member.instance.probe.timeout = 10s;
    SetPassword(member, kPassword);
    return member;
  }

  static void SetPassword(TestMember& member, const std::string& password) {
    const std::string content = redis::RenderConf({{"requirepass", {password}}, {"masterauth", {password}}});
    member.instance.files = {{.path = "secret.conf", .content = content}};
  }

  // Three masters, each with so many replicas, all agreed: members 0, 1, 2, then the replicas of each in
  // turn.
  void Form(int replicas) {
    for (int i = 0; i < 3 * (1 + replicas); ++i) StartMember();
    std::string seats;
    for (const auto& member : members_) seats += SeatOf(*member) + " ";
    for (const auto& member : members_) EXPECT_TRUE(Look(*member));
    for (size_t i = 0; i < members_.size(); ++i) {
      Order(*members_[i], "epoch", {{"number", std::to_string(i + 1)}});
    }
    Order(*members_[0], "meet", {{"nodes", seats}});
    for (size_t i = 0; i < 3; ++i) Order(*members_[i], "own", {{"slots", redis::EvenSlots(3)[i].Text()}});
    for (size_t i = 3; i < members_.size(); ++i) {
      const std::string master = IdOf(*members_[i % 3]);
      EXPECT_TRUE(Eventually([&] { return Knows(*members_[i], master); }))
          << "members don't hear of each other";
      Order(*members_[i], "follow", {{"node", master}});
    }
    EXPECT_TRUE(Eventually([&] { return Agreed(); })) << Fact(*members_[0], "view");
  }

  bool Knows(TestMember& member, const std::string& id) {
    auto view = redis::ParseClusterNodes(Call(*member.server, {"CLUSTER", "NODES"}, kPassword).text);
    const redis::ClusterNode* node = view.ok() ? view->Find(id) : nullptr;
    return node && !node->handshake;
  }

  bool Agreed() {
    std::set<std::string> views;
    for (const auto& member : members_) {
      if (!Look(*member) || Fact(*member, "cluster") != "ok") return false;
      if (Fact(*member, "role") == "replica" && Fact(*member, "link") != "up") return false;
      if (Fact(*member, "view").find("handshake") != std::string::npos) return false;
      auto view = redis::ParseClusterNodes(Call(*member->server, {"CLUSTER", "NODES"}, kPassword).text);
      if (!view.ok() || view->nodes.size() != members_.size()) return false;
      views.insert(redis::SharedView(*view));
    }
    return views.size() == 1;
  }

  static std::string SeatOf(const TestMember& member) {
    return fmt::format("127.0.0.1:{}@{}", member.server->port(), member.server->port() + 10000);
  }

  Operator::Context Context(const TestMember& member) {
    return {.loop = &loop_,
            .instance = &member.instance,
            .folder = member.server->folder(),
            .records = member.records,
            .pid = member.server->pid(),
            .uid = geteuid(),
            .gid = getegid()};
  }

  bool Look(TestMember& member) { return loop_.RunTask(member.redis->Health(Context(member))).ok(); }
  std::string Health(TestMember& member) {
    const Status status = loop_.RunTask(member.redis->Health(Context(member)));
    return status.ok() ? "" : status.error().Text();
  }
  Result<Values> Try(TestMember& member, const std::string& verb, Values args) {
    return loop_.RunTask(member.redis->Perform(Context(member), verb, std::move(args)));
  }
  // One that has to work.
  Values Order(TestMember& member, const std::string& verb, Values args) {
    auto values = Try(member, verb, std::move(args));
    EXPECT_TRUE(values.ok()) << verb << ": " << values.error().Text();
    return values.ok() ? *values : Values();
  }
  // One that mustn't.
  Error Refusal(TestMember& member, const std::string& verb, Values args) {
    auto values = Try(member, verb, std::move(args));
    EXPECT_FALSE(values.ok()) << verb;
    if (values.ok()) return Error::Internal("done", "it was done");
    EXPECT_THAT(values.error().Text(), ::testing::Not(HasSubstr(kPassword)));
    return values.error();
  }

  std::string Fact(TestMember& member, const std::string& name) {
    const Values facts = member.redis->Facts(Context(member));
    const auto found = facts.find(name);
    return found == facts.end() ? "" : found->second;
  }
  std::string IdOf(TestMember& member) { return Fact(member, "node"); }
  net::resp::Value Ask(TestMember& member, net::resp::Command command) {
    return Call(*member.server, std::move(command), kPassword);
  }
  std::string Setting(TestMember& member, const std::string& name) {
    const auto pairs = Ask(member, {"CONFIG", "GET", name}).AsPairs();
    return pairs && !pairs->empty() ? pairs->front().second : "?";
  }

  std::vector<std::unique_ptr<TestMember>> members_;
};

}  // namespace muster::redis_cluster
