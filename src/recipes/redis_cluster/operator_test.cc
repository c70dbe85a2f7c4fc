// Real redis-servers: asked how they are, set, formed into a cluster, and ordered about.
#include "recipes/redis/slots.h"
#include "recipes/redis_cluster/testing_member.h"

namespace muster::redis_cluster {
namespace {

class RedisClusterOperator : public MembersTest {};

net::Task<bool> Answer(bool yes) { co_return yes; }

TEST_F(RedisClusterOperator, TellsOfANodeByItself) {
  TestMember& member = StartMember();
  EXPECT_EQ(Health(member), "");
  EXPECT_EQ(Fact(member, "role"), "master");
  EXPECT_EQ(IdOf(member), Ask(member, {"CLUSTER", "MYID"}).text);
  EXPECT_EQ(Fact(member, "cluster"), "fail");
  EXPECT_EQ(Fact(member, "empty"), "yes");
  EXPECT_EQ(Fact(member, "write"), "ok");
  EXPECT_EQ(Fact(member, "epoch"), "0");
  EXPECT_EQ(Fact(member, "view"),
            fmt::format("{} 127.0.0.1:{} master - 0 connected", IdOf(member), member.server->port()));
  EXPECT_EQ(member.redis->Measures(Context(member)).at("keys"), "0");
  // Of an earlier process nothing is told.
  Operator::Context later = Context(member);
  later.pid += 1;
  EXPECT_TRUE(member.redis->Facts(later).empty());
}

TEST_F(RedisClusterOperator, TakesNoOtherServerForItsOwn) {
  TestMember& member = StartMember();
  Operator::Context another = Context(member);
  another.pid = StartMember().server->pid();
  const Status status = loop_.RunTask(member.redis->Health(another));
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code(), "port-taken");
  EXPECT_THAT(status.error().Text(), HasSubstr(std::to_string(member.server->pid())));
  EXPECT_TRUE(member.redis->Facts(another).empty());
  const auto ordered = loop_.RunTask(member.redis->Perform(another, "leave", {}));
  ASSERT_FALSE(ordered.ok());
  EXPECT_EQ(ordered.error().code(), "port-taken");
}

TEST_F(RedisClusterOperator, SaysThatThePasswordIsWrong) {
  TestMember& member = StartMember();
  SetPassword(member, "");
  EXPECT_THAT(Health(member), HasSubstr("redis-denied"));
  SetPassword(member, "not this");
  EXPECT_THAT(Health(member),
              ::testing::AllOf(HasSubstr("redis-denied"), ::testing::Not(HasSubstr("not this"))));
  SetPassword(member, kPassword);
  EXPECT_EQ(Health(member), "");
}

TEST_F(RedisClusterOperator, SetsWhatDiffersAndThePasswordToo) {
  TestMember& member = StartMember();
  member.instance.extra = {{"set maxmemory", "104857600"}, {"set appendonly", "yes"}};
  ASSERT_EQ(Health(member), "");
  ASSERT_TRUE(loop_.RunTask(member.redis->Reload(Context(member))).ok());
  EXPECT_EQ(Setting(member, "maxmemory"), "104857600");
  EXPECT_EQ(Setting(member, "appendonly"), "yes");

  // What isn't set any more is as Redis has it.
  member.instance.extra.erase("set maxmemory");
  SetPassword(member, "another one");
  const Status reloaded = loop_.RunTask(member.redis->Reload(Context(member)));
  ASSERT_TRUE(reloaded.ok()) << reloaded.error().Text();
  EXPECT_EQ(Call(*member.server, {"CONFIG", "GET", "maxmemory"}, "another one").AsPairs()->front().second,
            "0");
  EXPECT_EQ(Call(*member.server, {"CONFIG", "GET", "masterauth"}, "another one").AsPairs()->front().second,
            "another one");
  EXPECT_EQ(Health(member), "");

  // Where the connection is lost before the password is set, the one before still opens the door.
  SetPassword(member, "a third");
  EXPECT_TRUE(Try(member, "look", {}).ok());
  Call(*member.server, {"CLIENT", "KILL", "TYPE", "normal"}, "another one");
  ASSERT_TRUE(Eventually([&] { return Look(member); }));
  ASSERT_TRUE(loop_.RunTask(member.redis->Reload(Context(member))).ok());
  EXPECT_EQ(Call(*member.server, {"PING"}, "a third").text, "PONG");
}

TEST_F(RedisClusterOperator, NamesTheSettingThatRedisDoesNotTake) {
  TestMember& member = StartMember();
  member.instance.extra = {{"set maxmemory-policy", "sometimes"}};
  const Status reloaded = loop_.RunTask(member.redis->Reload(Context(member)));
  ASSERT_FALSE(reloaded.ok());
  EXPECT_EQ(reloaded.error().code(), "setting-refused");
  EXPECT_THAT(reloaded.error().message(), HasSubstr("maxmemory-policy"));
  EXPECT_EQ(Refusal(member, "set", {{"maxmemory-policy", "never"}}).code(), "setting-refused");
  Order(member, "set", {{"maxmemory-policy", "allkeys-lru"}, {"within_ms", "5000"}});
  EXPECT_EQ(Setting(member, "maxmemory-policy"), "allkeys-lru");
  // What can't be set while it runs has been restarted for, or is the same in other words.
  member.instance.extra = {{"set databases", "1 "}};
  EXPECT_TRUE(loop_.RunTask(member.redis->Reload(Context(member))).ok());
}

TEST_F(RedisClusterOperator, IsNotReadyWhileItLoadsItsDataFirst) {
  TestMember& member = StartMember({{"save", {"3600 1"}},
                                    {"rdbcompression", {"no"}},
                                    {"key-load-delay", {"100000"}},
                                    {"loading-process-events-interval-bytes", {"1024"}}});
  Order(member, "own", {{"slots", "0-16383"}});
  ASSERT_TRUE(Eventually([&] { return Look(member) && Fact(member, "cluster") == "ok"; }));
  for (int i = 0; i < 20; ++i) {
    Ask(member, {"SET", std::to_string(i), std::string(4096, 'x')});
  }
  ASSERT_TRUE(Ask(member, {"SAVE"}).is_ok());
  member.server->Signal(SIGKILL);
  member.server->Reap();
  member.server->Start();
  std::string said;
  ASSERT_TRUE(Eventually([&] { return (said = Health(member)).find("redis-loading") != std::string::npos; }));
  EXPECT_EQ(Fact(member, "loading"), "yes");
  EXPECT_EQ(Refusal(member, "leave", {}).code(), "redis-loading");
  ASSERT_TRUE(Eventually([&] { return Look(member); }));
  EXPECT_EQ(Fact(member, "loading"), "");
  EXPECT_EQ(member.redis->Measures(Context(member)).at("keys"), "20");
}

TEST_F(RedisClusterOperator, StaysReadyWhileItTakesOverItsMastersDataAnew) {
  const redis::ConfSettings slow = {{"key-load-delay", {"20000"}},
                                    {"rdbcompression", {"no"}},
                                    {"loading-process-events-interval-bytes", {"1024"}}};
  TestMember& master = StartMember(slow);
  Order(master, "own", {{"slots", "0-16383"}});
  ASSERT_TRUE(Eventually([&] { return Look(master) && Fact(master, "cluster") == "ok"; }));
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(Ask(master, {"SET", std::to_string(i), std::string(4096, 'x')}).is_ok());
  }
  TestMember& replica = StartMember(slow);
  ASSERT_TRUE(Look(replica));
  Order(master, "meet", {{"nodes", SeatOf(replica)}});
  Order(replica, "follow", {{"node", IdOf(master)}});
  const std::string node = IdOf(replica);
  ASSERT_TRUE(Eventually([&] { return Look(replica) && Fact(replica, "loading") == "yes"; }));
  EXPECT_EQ(IdOf(replica), node);
  // An agent that starts now knows it, too.
  replica.redis = MakeRedisClusterOperator();
  EXPECT_EQ(Health(replica), "");
  EXPECT_EQ(Fact(replica, "loading"), "yes");
  ASSERT_TRUE(Eventually([&] { return Look(replica) && Fact(replica, "loading").empty(); }));
  EXPECT_EQ(Fact(replica, "link"), "up");
}

TEST_F(RedisClusterOperator, SaysWhyWritesAreNotTaken) {
  TestMember& member = StartMember();
  Ask(member, {"CONFIG", "SET", "min-replicas-to-write", "1"});
  ASSERT_EQ(Health(member), "");
  EXPECT_THAT(Fact(member, "write"), HasSubstr("min-replicas-to-write"));
  Ask(member, {"CONFIG", "SET", "min-replicas-to-write", "0"});
  // It can't save, and takes nothing that it couldn't.
  Ask(member, {"CONFIG", "SET", "save", "3600 1"});
  ASSERT_TRUE(MakeFolder(member.server->folder() + "/dump.rdb/in-the-way").ok());
  Ask(member, {"BGSAVE"});
  ASSERT_TRUE(Eventually([&] { return Look(member) && Fact(member, "write").starts_with("MISCONF"); }))
      << Fact(member, "write");
}

TEST_F(RedisClusterOperator, FormsAClusterByOrdersThatMayBeRepeated) {
  Form(1);
  EXPECT_EQ(members_.size(), 6u);
  EXPECT_EQ(Fact(*members_[4], "role"), "replica");
  EXPECT_EQ(Fact(*members_[4], "primary"), IdOf(*members_[1]));
  EXPECT_EQ(Fact(*members_[4], "link"), "up");
  // Formed is what all agree about, though one's link to another may still be on its way up.
  ASSERT_TRUE(Eventually([&] {
    return Look(*members_[4]) && Fact(*members_[4], "view").find("disconnected") == std::string::npos;
  }));
  const std::string view = Fact(*members_[4], "view");
  std::string seats;
  for (const auto& member : members_) seats += SeatOf(*member) + " ";
  Order(*members_[0], "meet", {{"nodes", seats}});
  Order(*members_[1], "own", {{"slots", "0-16383"}});
  Order(*members_[1], "epoch", {{"number", "2"}});
  Order(*members_[4], "follow", {{"node", IdOf(*members_[1])}});
  Order(*members_[2], "forget", {{"nodes", std::string(40, 'a') + " " + IdOf(*members_[2])}});
  Order(*members_[1], "stable", {{"slots", "0-16383"}});
  Order(*members_[0], "claim", {{"slots", redis::EvenSlots(3)[1].Text()}, {"node", IdOf(*members_[1])}});
  EXPECT_TRUE(Look(*members_[4]));
  EXPECT_EQ(Fact(*members_[4], "view"), view);

  // Redis would drop the marks with the node that they name, and what has come from it would be nobody's.
  Order(*members_[0], "import", {{"slots", "16000"}, {"from", IdOf(*members_[2])}});
  EXPECT_EQ(Refusal(*members_[0], "forget", {{"nodes", IdOf(*members_[2])}}).code(), "slots-on-their-way");
  Order(*members_[0], "stable", {{"slots", "16000"}});

  // Nobody's data goes by an order that came too late.
  EXPECT_EQ(Refusal(*members_[1], "leave", {}).code(), "not-empty");
  EXPECT_EQ(Refusal(*members_[1], "reset", {{"hard", "yes"}}).code(), "not-empty");
  EXPECT_EQ(Refusal(*members_[1], "follow", {{"node", IdOf(*members_[0])}}).code(), "not-empty");
  EXPECT_EQ(Refusal(*members_[1], "epoch", {{"number", "9"}}).code(), "redis-refused");
  EXPECT_EQ(Refusal(*members_[1], "dance", {}).code(), "unknown-verb");
  EXPECT_EQ(Refusal(*members_[1], "own", {{"slots", "all"}}).code(), "bad-args");
}

TEST_F(RedisClusterOperator, TakesOverAsItIsTold) {
  Form(1);
  TestMember &master = *members_[0], &replica = *members_[3];
  const std::string of = IdOf(master);
  EXPECT_EQ(Refusal(replica, "take-over", {{"how", "plain"}, {"of", IdOf(*members_[1])}}).code(),
            "failover-denied");
  const std::string key = "{" + redis::SlotTags()[0] + "}";
  ASSERT_TRUE(Ask(master, {"SET", key, "x"}).is_ok());
  ASSERT_TRUE(Eventually([&] { return Look(replica) && Fact(replica, "empty").empty(); }));
  const Error full = Refusal(replica, "take-over", {{"how", "takeover"}, {"of", of}, {"only", "empty"}});
  EXPECT_EQ(full.code(), "not-empty");
  EXPECT_EQ(Fact(replica, "role"), "replica");
  ASSERT_TRUE(Ask(master, {"FLUSHALL"}).is_ok());
  ASSERT_TRUE(Eventually([&] { return Look(replica) && Fact(replica, "empty") == "yes"; }));
  Order(replica, "take-over", {{"how", "plain"}, {"of", of}, {"only", "empty"}});
  EXPECT_EQ(Fact(replica, "role"), "master");
  Order(replica, "take-over", {{"how", "plain"}, {"of", of}});
  ASSERT_TRUE(Eventually([&] { return Agreed(); }));
  EXPECT_EQ(Fact(master, "role"), "replica");

  // A dead master's replica: plainly it can't.
  replica.server->Signal(SIGKILL);
  replica.server->Reap();
  ASSERT_TRUE(Eventually([&] { return Look(master) && Fact(master, "link") == "down"; }));
  const Error denied = Refusal(master, "take-over", {{"how", "plain"}});
  EXPECT_EQ(denied.code(), "failover-denied");
  EXPECT_THAT(denied.message(), HasSubstr("not up"));
  // Those who voted a moment ago don't vote again; whoever knows it dead takes over without them.
  const auto forced = Try(master, "take-over", {{"how", "force"}});
  if (!forced.ok()) {
    EXPECT_EQ(forced.error().code(), "failover-denied");
    EXPECT_FALSE(forced.error().evidence().empty());
  }
  const Time begun = Now();
  Order(master, "take-over", {{"how", "takeover"}});
  EXPECT_LT(Now() - begun, 2s);
  EXPECT_EQ(Fact(master, "role"), "master");
}

TEST_F(RedisClusterOperator, PutsNobodyInPlaceOfAMasterThatLives) {
  Form(1);
  TestMember &master = *members_[0], &replica = *members_[3];
  for (const char* how : {"force", "takeover"}) {
    const Error refused = Refusal(replica, "take-over", {{"how", how}, {"of", IdOf(master)}});
    EXPECT_EQ(refused.code(), "failover-denied") << how;
    EXPECT_THAT(refused.message(), HasSubstr("that one lives")) << how;
    EXPECT_TRUE(Look(replica));
    EXPECT_EQ(Fact(replica, "role"), "replica") << how;
  }
  EXPECT_EQ(Ask(master, {"CLUSTER", "INFO"}).text.find("cluster_my_epoch:1\r\n") != std::string::npos, true);
}

TEST_F(RedisClusterOperator, DoesNotCarryOutWhatNobodyWaitsForAnyMore) {
  Form(1);
  TestMember &master = *members_[0], &replica = *members_[3];
  const std::string of = IdOf(master);
  master.server->Signal(SIGKILL);
  master.server->Reap();
  for (const char* how : {"plain", "force", "takeover"}) {
    Operator::Context late = Context(replica);
    int asked = 0;
    late.still_wanted = [&asked] {
      ++asked;
      return Answer(false);
    };
    const auto done = loop_.RunTask(replica.redis->Perform(late, "take-over", {{"how", how}, {"of", of}}));
    ASSERT_FALSE(done.ok()) << how;
    // Plainly it isn't even begun without a link.
    const bool plain = std::string(how) == "plain";
    EXPECT_EQ(done.error().code(), plain ? "failover-denied" : "order-stale") << how;
    EXPECT_EQ(asked, plain ? 0 : 1) << how;
    EXPECT_TRUE(Look(replica));
    EXPECT_EQ(Fact(replica, "role"), "replica") << how;
  }
  Operator::Context wanted = Context(replica);
  wanted.still_wanted = [] { return Answer(true); };
  const auto done =
      loop_.RunTask(replica.redis->Perform(wanted, "take-over", {{"how", "takeover"}, {"of", of}}));
  ASSERT_TRUE(done.ok()) << done.error().Text();
  EXPECT_EQ(Fact(replica, "role"), "master");
}

TEST_F(RedisClusterOperator, IsNotStoppedWhereItOwnsSlotsAgain) {
  Form(1);
  TestMember &master = *members_[0], &replica = *members_[3];
  const Status owner = loop_.RunTask(master.redis->MayStop(Context(master)));
  ASSERT_FALSE(owner.ok());
  EXPECT_EQ(owner.error().code(), "owns-slots");
  EXPECT_THAT(owner.error().message(), HasSubstr("0-5460"));
  EXPECT_TRUE(loop_.RunTask(replica.redis->MayStop(Context(replica))).ok());
  // It hears within moments that another has them.
  Order(replica, "take-over", {{"how", "plain"}, {"of", IdOf(master)}});
  EXPECT_TRUE(loop_.RunTask(master.redis->MayStop(Context(master))).ok());
  const Status heir = loop_.RunTask(replica.redis->MayStop(Context(replica)));
  ASSERT_FALSE(heir.ok());
  EXPECT_EQ(heir.error().code(), "owns-slots");
  // Who doesn't answer serves nobody.
  replica.server->Signal(SIGKILL);
  replica.server->Reap();
  EXPECT_TRUE(loop_.RunTask(replica.redis->MayStop(Context(replica))).ok());
}

TEST_F(RedisClusterOperator, TellsUntilWhenAMasterTookWritesAndSinceWhenItsReplicaIsWithoutIt) {
  Form(1);
  TestMember &master = *members_[0], &replica = *members_[3];
  const auto measure = [&](TestMember& member, const char* name, bool dead = false) {
    Operator::Context context = Context(member);
    if (dead) context.pid = 0;
    (void)member.redis->Facts(context);
    const Values told = member.redis->Measures(context);
    const auto found = told.find(name);
    return found == told.end() ? std::string() : found->second;
  };
  ASSERT_TRUE(Look(master));
  EXPECT_NE(Fact(master, "history"), "");
  EXPECT_EQ(Fact(master, "history"), Fact(replica, "history"));
  EXPECT_EQ(measure(master, "answered_ms") + measure(replica, "unlinked_ms"), "");
  const std::string offset = measure(master, "offset"), history = Fact(master, "history");
  master.server->Signal(SIGKILL);
  master.server->Reap();
  EXPECT_LT(std::stoll(measure(master, "answered_ms", true)), 30'000);
  EXPECT_EQ(measure(master, "offset", true), offset);
  EXPECT_EQ(measure(master, "history", true), history);
  ASSERT_TRUE(Eventually([&] { return Look(replica) && Fact(replica, "link") == "down"; }));
  EXPECT_LT(std::stoll(measure(replica, "unlinked_ms")), 30'000);
  EXPECT_GE(std::stoll(measure(replica, "offset")), std::stoll(offset));
  // Agents that are started now know it as well.
  const std::string record = master.records + "/redis-last";
  ASSERT_TRUE(Eventually([&] { return ReadFile(record).ok(); }));
  master.redis = MakeRedisClusterOperator();
  replica.redis = MakeRedisClusterOperator();
  EXPECT_LT(std::stoll(measure(master, "answered_ms", true)), 30'000);
  EXPECT_EQ(measure(master, "offset", true), offset);
  ASSERT_TRUE(Look(replica));
  EXPECT_LT(std::stoll(measure(replica, "unlinked_ms")), 30'000);
  // It is of no use any more once it is there again.
  master.server->Start();
  ASSERT_TRUE(Eventually([&] { return Look(master); }));
  EXPECT_EQ(measure(master, "answered_ms"), "");
  EXPECT_FALSE(ReadFile(record).ok());
}

TEST_F(RedisClusterOperator, LeavesWithoutTakingTheLastCopyAlong) {
  Form(1);
  TestMember &master = *members_[0], &replica = *members_[3];
  const std::string key = "{" + redis::SlotTags()[0] + "}";
  ASSERT_TRUE(Ask(master, {"SET", key, "x"}).is_ok());
  ASSERT_EQ(Ask(master, {"WAIT", "1", "5000"}).text.empty(), true);
  const std::string was = IdOf(replica);
  master.server->Signal(SIGSTOP);
  ASSERT_TRUE(
      Eventually([&] { return Look(replica) && Fact(replica, "view").find("fail") != std::string::npos; }));
  EXPECT_EQ(Refusal(replica, "leave", {}).code(), "not-empty");
  EXPECT_EQ(Refusal(replica, "follow", {{"node", IdOf(*members_[1])}}).code(), "not-empty");
  master.server->Signal(SIGCONT);
  ASSERT_TRUE(Eventually([&] { return Agreed(); }));
  TestMember& left = Fact(replica, "role") == "replica" ? replica : master;
  Order(left, "leave", {});
  EXPECT_NE(IdOf(left), was);
  EXPECT_EQ(Fact(left, "role"), "master");
  EXPECT_EQ(Fact(left, "empty"), "yes");
  const std::string id = IdOf(left);
  if (Fact(left, "view").find('\n') == std::string::npos) {
    Order(left, "leave", {});
    EXPECT_EQ(IdOf(left), id);
  }
}

TEST_F(RedisClusterOperator, ALookWaitsAMomentForTheLinkOfADeadMastersReplicaToEnd) {
  Form(1);
  TestMember &master = *members_[0], &replica = *members_[3];
  EXPECT_EQ(Order(replica, "look", {{"until", "unlinked"}}).at("linked"), "yes");
  master.server->Signal(SIGKILL);
  master.server->Reap();
  EXPECT_TRUE(Eventually([&] {
    return Order(replica, "look", {{"until", "unlinked"}}).at("linked") == "no";
  }));
  EXPECT_EQ(Fact(replica, "link"), "down");
}

TEST_F(RedisClusterOperator, ANodeWithoutKeysTakesTheSlotsOfOneThatIsGoneAndAllBelieveIt) {
  Form(1);
  TestMember &master = *members_[0], &replica = *members_[3], &other = *members_[1];
  const std::string gone = IdOf(master), was = IdOf(replica), slots = redis::EvenSlots(3)[0].Text();
  EXPECT_EQ(Refusal(replica, "own", {{"slots", slots}, {"of", gone}}).code(), "not-primary");
  EXPECT_EQ(Ask(other, {"CLUSTER", "COUNTKEYSINSLOT", "0"}).integer, 0);
  Order(replica, "leave", {});
  EXPECT_NE(IdOf(replica), was);
  EXPECT_EQ(Fact(replica, "was"), was + ">" + gone);
  replica.redis = MakeRedisClusterOperator();  // as with another agent
  ASSERT_TRUE(Look(replica));
  EXPECT_EQ(Fact(replica, "was"), was + ">" + gone);
  master.server->Signal(SIGKILL);
  master.server->Reap();
  std::string seats;
  for (const size_t i : {1, 2, 4, 5}) seats += SeatOf(*members_[i]) + " ";
  ASSERT_TRUE(Eventually([&] {
    Order(replica, "meet", {{"nodes", seats}});
    Look(other);
    return std::stoull("0" + Fact(replica, "epoch")) >= std::stoull("0" + Fact(other, "epoch")) &&
           Fact(other, "view").find(IdOf(replica) + " 127.0.0.1") != std::string::npos;
  }));
  const uint64_t epoch = std::stoull(Fact(replica, "epoch"));
  Order(replica, "own", {{"slots", slots}, {"of", gone}});
  EXPECT_GT(std::stoull(Fact(replica, "epoch")), epoch);
  EXPECT_TRUE(Eventually([&] {
    for (const size_t i : {1, 2, 4, 5}) {
      auto view = redis::ParseClusterNodes(Ask(*members_[i], {"CLUSTER", "NODES"}).text);
      const redis::ClusterNode* owner = view.ok() ? view->OwnerOf(0) : nullptr;
      if (!owner || owner->id != IdOf(replica) || owner->slots.Text() != slots) return false;
    }
    return true;
  })) << Fact(other, "view");
  // Once more changes nothing.
  Order(replica, "own", {{"slots", slots}, {"of", gone}});
}

TEST_F(RedisClusterOperator, VerifiesThroughEachMember) {
  Form(1);
  for (const size_t who : {0, 3}) {
    const auto checks = loop_.RunTask(members_[who]->redis->Verify(Context(*members_[who]), {}));
    EXPECT_EQ(checks.size(), who == 0 ? 6u : 7u);
    for (const Check& check : checks) {
      EXPECT_TRUE(check.passed) << check.name << ": " << ::testing::PrintToString(check.evidence);
      EXPECT_FALSE(check.evidence.empty()) << check.name;
    }
  }
  for (const auto& member : members_) EXPECT_EQ(Ask(*member, {"DBSIZE"}).integer, 0);

  members_[4]->server->Signal(SIGKILL);
  members_[4]->server->Reap();
  members_[1]->server->Signal(SIGKILL);
  members_[1]->server->Reap();
  ASSERT_TRUE(Eventually([&] { return Look(*members_[0]) && Fact(*members_[0], "cluster") == "fail"; }));
  const auto checks = loop_.RunTask(members_[0]->redis->Verify(Context(*members_[0]), {}));
  int failed = 0;
  for (const Check& check : checks) failed += check.passed ? 0 : 1;
  EXPECT_GE(failed, 3);
}

}  // namespace
}  // namespace muster::redis_cluster
