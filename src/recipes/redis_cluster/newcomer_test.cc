// Who begins anew where another master stood gives its data to nobody who looks for that one.
#include "recipes/redis_cluster/newcomer.h"

#include "recipes/redis_cluster/testing_member.h"

namespace muster::redis_cluster {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr const char* kMe = "1111111111111111111111111111111111111111";
constexpr const char* kOther = "2222222222222222222222222222222222222222";
constexpr const char* kGone = "3333333333333333333333333333333333333333";

std::string Line(const std::string& id, int port, const std::string& rest) {
  return fmt::format("{} 10.0.0.1:{}@{} {}\n", id, port, port + 10000, rest);
}
std::string Myself(const std::string& slots = "") {
  return Line(kMe, 7001, "myself,master - 0 0 1 connected" + slots);
}
std::string Follower(const std::string& of, int port = 7002) {
  return Line(kOther, port, "slave " + of + " 0 0 1 connected");
}

Answers Seen(const std::string& nodes, std::vector<redis::ReplicaLink> asking = {}) {
  Answers now;
  now.view = redis::ParseClusterNodes(nodes).value();
  now.info.replicas = std::move(asking);
  return now;
}

redis::ReplicaLink From(int port, const std::string& address = "10.0.0.1") {
  return {.address = address, .port = port, .state = "wait_bgsave"};
}

TEST(Newcomer, GivesNothingBeforeItIsSomebody) {
  EXPECT_FALSE(MayGive(Seen(Myself())));
  EXPECT_TRUE(MayGive(Seen(Myself(" 0-5460"))));
  EXPECT_TRUE(MayGive(Seen(Myself() + Follower(kMe))));
  EXPECT_FALSE(MayGive(Seen(Myself() + Follower(kGone))));
  const std::string follows = Line(kMe, 7001, fmt::format("myself,slave {} 0 0 1 connected", kOther));
  EXPECT_TRUE(MayGive(Seen(follows)));
  Answers loading = Seen(Myself(" 0-5460"));
  loading.loading = true;
  EXPECT_FALSE(MayGive(loading));
}

TEST(Newcomer, GivesNothingToWhoFollowsAnotherNode) {
  const Answers stranger = Seen(Myself(" 0-5460") + Follower(kGone), {From(7002)});
  EXPECT_THAT(Strangers(stranger), ElementsAre("10.0.0.1:7002"));
  EXPECT_FALSE(MayGive(stranger));
  // Though it follows another itself by now, and those who look for the one before try again later.
  const std::string moved = Line(kMe, 7001, fmt::format("myself,slave {} 0 0 1 connected", kOther));
  EXPECT_THAT(Strangers(Seen(moved + Follower(kGone), {From(7002)})), ElementsAre("10.0.0.1:7002"));
  const std::string away = Line(kGone, 7005, "master - 0 0 1 connected");
  const std::string here = Line(kGone, 7001, "master,fail - 0 0 1 disconnected");
  const std::string nowhere = fmt::format("{} :0@0 master,noaddr - 0 0 1 disconnected\n", kGone);
  const std::string failed = Line(kOther, 7002, fmt::format("slave,fail {} 0 0 1 disconnected", kGone));
  for (const std::string& me : {moved, Myself(" 0-5460")}) {
    EXPECT_FALSE(MayGive(Seen(me + Follower(kGone))));
    EXPECT_FALSE(MayGive(Seen(me + Follower(kGone) + here)));
    EXPECT_FALSE(MayGive(Seen(me + Follower(kGone) + nowhere)));
    EXPECT_TRUE(MayGive(Seen(me + Follower(kGone) + away)));
    EXPECT_TRUE(MayGive(Seen(me + failed))) << "it isn't there to ask";
  }
  const Answers unknown = Seen(Myself(" 0-5460"), {From(7009, "10.0.0.9")});
  EXPECT_THAT(Strangers(unknown), ElementsAre("10.0.0.9:7009"));
  EXPECT_FALSE(MayGive(unknown));

  EXPECT_TRUE(MayGive(Seen(Myself(" 0-5460") + Follower(kMe), {From(7002)})));
  EXPECT_TRUE(MayGive(Seen(Myself() + Follower(kMe), {From(7002, "172.17.0.1")})))
      << "behind another address";
  EXPECT_TRUE(MayGive(Seen(Myself(" 0-5460"), {From(0)}))) << "a client that takes a copy";
}

TEST(Newcomer, IsThatByItsDataFolder) {
  char made[] = "/tmp/muster-newcomer-XXXXXX";
  const std::string folder = mkdtemp(made);
  Instance instance;
  const Operator::Context context{.loop = nullptr, .instance = &instance, .folder = folder, .records = ""};
  EXPECT_TRUE(StartsAsNewcomer(context)) << "there is none";
  ASSERT_TRUE(MakeFolder(folder + "/data").ok());
  EXPECT_TRUE(StartsAsNewcomer(context));
  const auto with = [&](const std::string& nodes) {
    EXPECT_TRUE(WriteFile(folder + "/data/nodes.conf", nodes, {.mode = 0600}).ok());
    return StartsAsNewcomer(context);
  };
  EXPECT_TRUE(with(""));
  EXPECT_TRUE(with(Myself() + "vars currentEpoch 1 lastVoteEpoch 0\n")) << "it got no further, or has left";
  EXPECT_TRUE(with(Myself() + Follower(kGone)));
  EXPECT_FALSE(with(Myself(" 0-5460")));
  EXPECT_FALSE(with(Myself() + Follower(kMe)));
  EXPECT_FALSE(with("what Redis itself complains of"));
  instance.ports["port"] = {.first = 7001};
  instance.address = "10.0.0.1";
  EXPECT_FALSE(with(Myself(" 0-5460")));
  instance.ports["port"] = {.first = 7002};
  EXPECT_TRUE(with(Myself(" 0-5460"))) << "another may have been at that port";
  EXPECT_TRUE(with(Line(kMe, 7001, fmt::format("myself,slave {} 0 0 1 connected", kOther))));
  instance.ports["port"] = {.first = 7001};
  instance.address = "10.0.0.2";
  EXPECT_TRUE(with(Myself(" 0-5460"))) << "or at that address";
  instance.extra["file cluster-config-file"] = "another.conf";
  EXPECT_TRUE(StartsAsNewcomer(context));
  (void)RemoveTree(folder);
}

TEST(Newcomer, HasTheSettingsOfItsFileAgain) {
  Instance instance;
  EXPECT_EQ(GivingSettings(instance, "6.2.14").at("repl-diskless-sync"), "no");
  EXPECT_EQ(GivingSettings(instance, "7.0.15").at("repl-diskless-sync"), "yes");
  instance.extra = {{"set repl-diskless-sync-delay", "0"}, {"set repl-diskless-sync-max-replicas", "1"}};
  EXPECT_EQ(GivingSettings(instance, "7.0.15").at("repl-diskless-sync-delay"), "0");
  EXPECT_EQ(GivingSettings(instance, "7.0.15").at("repl-diskless-sync-max-replicas"), "1");
  EXPECT_THAT(WithholdingWords(instance), Contains("--repl-diskless-sync-max-replicas"));
}

class NewcomerTest : public MembersTest {
 protected:
  int64_t KeysOf(TestMember& member) {
    EXPECT_TRUE(Look(member));
    return std::stoll(member.redis->Measures(Context(member)).at("keys"));
  }
};

// The replica asks at the address of its master, where an empty node is now.
TEST_F(NewcomerTest, DoesNotEmptyTheReplicaOfWhoStoodThereBefore) {
  Form(1);
  TestMember &master = *members_[0], &replica = *members_[3];
  ASSERT_TRUE(Ask(master, {"SET", "3", "kept"}).is_ok());  // of slot 1584
  ASSERT_TRUE(Eventually([&] { return KeysOf(replica) == 1; }));
  const std::string before = IdOf(master);
  master.server->Signal(SIGKILL);
  master.server->Reap();
  (void)RemoveTree(master.server->folder() + "/nodes.conf");
  master.server->Set("repl-diskless-sync", "yes");
  master.server->Set("repl-diskless-sync-delay", kWithheldDelay);
  master.server->Start();
  const std::string seat = fmt::format("127.0.0.1:{}", replica.server->port());
  ASSERT_TRUE(Eventually([&] { return Look(master) && Fact(master, "withheld") == seat; }));
  EXPECT_NE(IdOf(master), before);

  // Nor where its settings are loaded anew.
  master.instance.extra = {{"set repl-diskless-sync-delay", "0"}};
  ASSERT_TRUE(loop_.RunTask(master.redis->Reload(Context(master))).ok());
  EXPECT_EQ(Setting(master, "repl-diskless-sync-delay"), kWithheldDelay);
  EXPECT_EQ(KeysOf(replica), 1);

  // Once that one has taken over, it follows it, and is no newcomer any more.
  Order(replica, "take-over", {{"how", "takeover"}});
  ASSERT_TRUE(Eventually([&] { return Look(replica) && Fact(replica, "role") == "master"; }));
  ASSERT_TRUE(Eventually([&] {
    // As long as it takes the one before for there, it meets nobody at that address.
    Order(*members_[1], "meet", {{"nodes", SeatOf(master)}});
    return Knows(master, IdOf(replica));
  }));
  Order(master, "follow", {{"node", IdOf(replica)}});
  ASSERT_TRUE(Eventually([&] { return KeysOf(master) == 1; }));
  // Once it has heard that nobody follows the one before any more.
  ASSERT_TRUE(Eventually([&] { return Look(master) && Setting(master, "repl-diskless-sync-delay") == "0"; }));
  EXPECT_EQ(Fact(master, "withheld"), "");
  EXPECT_THAT(Strangers(Seen(Myself())), IsEmpty());
}

}  // namespace
}  // namespace muster::redis_cluster
