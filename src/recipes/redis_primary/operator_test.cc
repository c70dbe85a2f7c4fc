// Real redis-servers, ordered about as by a mender: who takes writes, in which term, and for how long.
#include "recipes/redis_primary/operator.h"

#include <fmt/format.h>

#include "base/text.h"
#include "recipes/redis/testing_redis.h"
#include "recipes/redis/words.h"
#include "recipes/redis_primary/layout.h"
#include "recipes/redis_primary/lease.h"
#include "recipes/redis_primary/record.h"
#include "recipes/redis_primary/role_change.h"

namespace muster::redis_primary {
namespace {

using ::testing::HasSubstr;
using Values = std::map<std::string, std::string>;

// A server, what an agent would hold of it, and its operator.
struct TestMember {
  redis::RedisServer* server = nullptr;
  std::string records;
  Instance instance;
  std::unique_ptr<Operator> redis = MakeRedisPrimaryOperator();
  Time heard = Time::min();  // the server, by its agent
  bool wanted = true;        // an order, still
};

class RedisPrimaryOperator : public redis::RedisTest {
 protected:
  static constexpr const char* kPassword = "top\"secret word";

  void TearDown() override {
    for (const auto& member : members_) (void)RemoveTree(member->records);
    members_.clear();
    RedisTest::TearDown();
  }

  TestMember& StartMember() {
    members_.push_back(std::make_unique<TestMember>());
    TestMember& member = *members_.back();
    member.server = &StartRedis({{"requirepass", {kPassword}},
                                 {"masterauth", {kPassword}},
                                 {"appendonly", {"yes"}},
                                 {"repl-ping-replica-period", {"1"}},
                                 {"replica-announce-ip", {"127.0.0.1"}},
                                 {"replicaof", {fmt::format("{} {}", kFenceHost, kFencePort)}}});
    EXPECT_TRUE(MakeFolder(member.server->folder() + "/data").ok());
    char made[] = "/tmp/muster-redis-XXXXXX";
    member.records = mkdtemp(made);
    Instance& instance = member.instance;
    instance.name = "cache-" + std::to_string(members_.size());
    instance.service = "cache";
    instance.host = "h" + std::to_string(members_.size());
    instance.address = "127.0.0.1";
    instance.ports["port"] = {.first = member.server->port()};
    instance.probe.timeout = 10s;
    const std::string secret = redis::RenderConf({{"requirepass", {kPassword}}, {"masterauth", {kPassword}}});
    instance.files = {{.path = "secret.conf", .content = secret}};
    return member;
  }

  // Each knows the others, as LayOut would tell it.
  void Introduce(Duration lease) {
    for (const auto& member : members_) {
      std::vector<std::string> peers;
      for (const auto& other : members_) {
        if (other != member)
          peers.push_back(fmt::format("{}=127.0.0.1:{}", other->instance.host, other->server->port()));
      }
      member->instance.extra["lease_ms"] = std::to_string(lease.count());
      member->instance.extra["hosts"] = std::to_string(members_.size());
      member->instance.extra["peers"] = Join(peers, " ");
    }
  }

  Operator::Context Context(TestMember& member) {
    return {.loop = &loop_,
            .instance = &member.instance,
            .folder = member.server->folder(),
            .records = member.records,
            .pid = member.server->pid(),
            .uid = geteuid(),
            .gid = getegid(),
            .heard = [&member] { return member.heard; },
            .still_wanted = [&member] { return Answer(member.wanted); }};
  }
  static net::Task<bool> Answer(bool answer) { co_return answer; }

  bool Look(TestMember& member) { return loop_.RunTask(member.redis->Health(Context(member))).ok(); }
  Result<Values> Try(TestMember& member, const std::string& verb, Values args) {
    return loop_.RunTask(member.redis->Perform(Context(member), verb, std::move(args)));
  }
  void Order(TestMember& member, const std::string& verb, Values args) {
    const auto values = Try(member, verb, std::move(args));
    EXPECT_TRUE(values.ok()) << verb << ": " << values.error().Text();
  }
  // The code of one that mustn't be done.
  std::string Refusal(TestMember& member, const std::string& verb, Values args) {
    const auto values = Try(member, verb, std::move(args));
    return values.ok() ? "done" : values.error().code();
  }
  Values Following(TestMember& primary, const std::string& term) {
    return {{"term", term}, {"host", "127.0.0.1"}, {"port", std::to_string(primary.server->port())}};
  }
  std::string Fact(TestMember& member, const std::string& name) {
    const Values facts = member.redis->Facts(Context(member));
    const auto found = facts.find(name);
    return found == facts.end() ? "" : found->second;
  }
  bool IsLinked(TestMember& member) { return Look(member) && Fact(member, "link") == "up"; }
  net::resp::Value Ask(TestMember& member, net::resp::Command command) {
    return Call(*member.server, std::move(command), kPassword);
  }
  // "OK", or the code with which it refuses.
  std::string Write(TestMember& member, const std::string& key) {
    const net::resp::Value answer = Ask(member, {"SET", key, "1"});
    return answer.is_error() ? std::string(answer.error_code()) : answer.text;
  }
  void Guard(TestMember& member) { loop_.RunTask(GuardTask(member)); }
  net::Task<bool> GuardTask(TestMember& member) {
    co_await member.redis->Guard(Context(member));
    co_return true;
  }

  // The first is the primary of term 5, the others follow it and are linked.
  void Form(int members) {
    for (int i = 0; i < members; ++i) StartMember();
    Order(*members_[0], "promote", {{"term", "5"}, {"copy", "0"}});
    for (size_t i = 1; i < members_.size(); ++i) {
      Order(*members_[i], "follow", Following(*members_[0], "5"));
      ASSERT_TRUE(Eventually([&] { return IsLinked(*members_[i]); }));
    }
  }

  std::vector<std::unique_ptr<TestMember>> members_;
};

TEST_F(RedisPrimaryOperator, TakesNoWritesUntilItIsToldThatItIsThePrimary) {
  TestMember& member = StartMember();
  ASSERT_TRUE(Look(member));
  EXPECT_EQ(Fact(member, "role"), "fenced");
  EXPECT_EQ(Write(member, "key"), "READONLY");
  EXPECT_EQ(Refusal(member, "promote", {{"copy", "0"}}), "bad-args");
  Order(member, "promote", {{"term", "5"}, {"copy", "0"}});
  EXPECT_EQ(Write(member, "key"), "OK");
  EXPECT_EQ(Fact(member, "role"), "primary");
  EXPECT_EQ(Fact(member, "copy"), "5");
  EXPECT_EQ(Fact(member, "was"), "primary");
  // The same once more, as when the answer to the first was lost.
  Order(member, "promote", {{"term", "5"}, {"copy", "0"}});
}

TEST_F(RedisPrimaryOperator, IsFencedAgainAfterARestartAndRemembersWhatItHas) {
  Form(1);
  TestMember& member = *members_[0];
  ASSERT_EQ(Write(member, "key"), "OK");
  member.server->Signal(SIGKILL);
  member.server->Reap();
  member.server->Start();
  member.redis = MakeRedisPrimaryOperator();  // its agent, too
  EXPECT_EQ(Fact(member, "role"), "fenced");
  ASSERT_TRUE(Eventually([&] { return Look(member); }));
  EXPECT_EQ(Fact(member, "role"), "fenced");
  EXPECT_EQ(Fact(member, "copy"), "5");
  EXPECT_EQ(Fact(member, "was"), "primary");
  EXPECT_EQ(Write(member, "key"), "READONLY");
  EXPECT_EQ(Refusal(member, "promote", {{"term", "4"}, {"copy", "5"}}), "old-term");
  EXPECT_EQ(Refusal(member, "promote", {{"term", "6"}, {"copy", "0"}}), "copy-differs");
  Order(member, "promote", {{"term", "6"}, {"copy", "5"}});
  EXPECT_EQ(Ask(member, {"GET", "key"}).text, "1");
}

TEST_F(RedisPrimaryOperator, FollowsAndKnowsWhoIsLinked) {
  Form(2);
  TestMember &primary = *members_[0], &replica = *members_[1];
  ASSERT_EQ(Write(primary, "key"), "OK");
  EXPECT_TRUE(Eventually([&] { return Ask(replica, {"GET", "key"}).text == "1"; }));
  EXPECT_EQ(Write(replica, "key"), "READONLY");
  EXPECT_EQ(Fact(replica, "primary"), fmt::format("127.0.0.1:{}", primary.server->port()));
  EXPECT_EQ(Fact(replica, "copy"), "5");
  EXPECT_EQ(Fact(replica, "was"), "replica");
  EXPECT_EQ(Fact(replica, "synced"), "yes");
  const std::string seat = fmt::format("127.0.0.1:{}", replica.server->port());
  EXPECT_TRUE(Eventually([&] { return Look(primary) && Fact(primary, "linked") == seat; }));
  // A primary of its term follows nobody in it.
  EXPECT_EQ(Refusal(primary, "follow", Following(replica, "5")), "old-term");
  EXPECT_EQ(Write(primary, "key"), "OK");
}

TEST_F(RedisPrimaryOperator, RefusesOrdersOfOldTermsAndOfServersThatAreGone) {
  Form(2);
  TestMember &primary = *members_[0], &replica = *members_[1];
  Order(primary, "fence", {{"term", "7"}});
  EXPECT_EQ(Write(primary, "key"), "READONLY");
  EXPECT_EQ(Fact(primary, "role"), "fenced");
  EXPECT_EQ(Refusal(primary, "promote", {{"term", "6"}, {"copy", "5"}}), "old-term");
  EXPECT_EQ(Refusal(primary, "fence", {{"term", "6"}}), "old-term");
  EXPECT_EQ(Write(primary, "key"), "READONLY");
  // What was under way while its host was cut off.
  replica.wanted = false;
  EXPECT_EQ(Refusal(replica, "promote", {{"term", "8"}, {"copy", "5"}}), "order-stale");
  EXPECT_EQ(Write(replica, "key"), "READONLY");
  replica.wanted = true;
  Order(replica, "promote", {{"term", "8"}, {"copy", "5"}});
  EXPECT_EQ(Write(replica, "key"), "OK");
}

TEST_F(RedisPrimaryOperator, AsksOnceMoreWhetherItIsWantedRightBeforeItTakesWrites) {
  Form(2);
  TestMember &primary = *members_[0], &replica = *members_[1];
  Order(primary, "fence", {{"term", "7"}});
  const Record before = ReadRecord(replica.records, replica.server->folder());
  int asked = 0;
  bool remembered = false;
  Operator::Context late = Context(replica);
  late.still_wanted = [&] {
    remembered = ReadRecord(replica.records, replica.server->folder()).aim == "primary";
    return Answer(++asked == 1);
  };
  const auto done = loop_.RunTask(replica.redis->Perform(late, "promote", {{"term", "8"}, {"copy", "5"}}));
  ASSERT_FALSE(done.ok());
  EXPECT_EQ(done.error().code(), "order-stale");
  EXPECT_EQ(asked, 2);
  EXPECT_TRUE(remembered) << "it was asked too early";
  EXPECT_EQ(Write(replica, "key"), "READONLY");
  EXPECT_EQ(ReadRecord(replica.records, replica.server->folder()), before);
  EXPECT_EQ(Fact(replica, "copy"), "5");
  Order(replica, "promote", {{"term", "8"}, {"copy", "5"}});
  EXPECT_EQ(Write(replica, "key"), "OK");
}

TEST_F(RedisPrimaryOperator, TellsHowLongAReplicaHasHeardNothingAndWhatItsPrimaryHadInTheEnd) {
  Form(2);
  TestMember &primary = *members_[0], &replica = *members_[1];
  const auto measure = [&](TestMember& member, const std::string& name, bool ended = false) {
    Operator::Context context = Context(member);
    if (ended) context.pid = 0;
    return redis::TextAt(member.redis->Measures(context), name);
  };
  ASSERT_TRUE(Look(primary) && Look(replica));
  EXPECT_EQ(measure(primary, "answered_ms") + measure(replica, "unheard_ms"), "");
  EXPECT_NE(measure(primary, "answered_ms", true), "");
  EXPECT_GE(std::stoll(measure(primary, "answered_offset", true)), 0);
  EXPECT_THAT(measure(primary, "answered_behind", true), HasSubstr("127.0.0.1:"));
  Order(replica, "fence", {{"term", "7"}});
  EXPECT_LT(std::stoll(measure(replica, "unheard_ms")), 30'000);
}

TEST_F(RedisPrimaryOperator, TellsAFolderThatWasEmptiedFromOneThatNoSnapshotWasMadeIntoYet) {
  struct Case {
    const char *appendonly, *save;
    bool marked, lost;
  };
  TestMember& member = StartMember();
  member.instance.files.clear();  // its password is one that no file could hold
  const Owner owner{.uid = geteuid(), .gid = getegid()};
  const Record had{
      .term = 5, .aim = "primary", .follows = "", .pid = 1, .copy = 5, .was = "primary", .linked = "a:1"};
  for (const Case& one :
       {Case{"yes", "", true, true}, Case{"yes", "3600 1", false, true}, Case{"no", "", true, false},
        Case{"no", "", false, false}, Case{"no", "3600 1", true, false}, Case{"no", "3600 1", false, true}}) {
    SCOPED_TRACE(fmt::format("{} {} {}", one.appendonly, one.save, one.marked));
    Operator::Context context = Context(member);
    context.pid = 0;
    context.folder = member.records + "/instance";
    (void)RemoveTree(context.folder);
    ASSERT_TRUE(MakeFolder(context.folder).ok() && MakeFolder(context.folder + "/data").ok());
    ASSERT_TRUE(WriteRecord(member.records, had, true).ok());
    if (one.marked) {
      ASSERT_TRUE(MarkData(context.folder, had, owner).ok());
    }
    member.instance.extra["set appendonly"] = one.appendonly;
    member.instance.extra["set save"] = one.save;
    const auto fresh = MakeRedisPrimaryOperator();
    ASSERT_TRUE(loop_.RunTask(fresh->Prepare(context)).ok());
    const Record now = ReadRecord(member.records, context.folder);
    EXPECT_EQ(now.copy, 0);
    EXPECT_EQ(now.lost, one.lost ? 5 : 0);
    EXPECT_EQ(now.linked, one.lost ? "a:1" : "") << "who had it as well";
  }
}

// Counts up a number by one connection, as fast as it is answered, for as long as writes are taken.
class Counter {
 public:
  Counter(net::Loop& loop, std::shared_ptr<net::RespClient> client)
      : loop_(loop), client_(std::move(client)) {}
  net::Task<bool> Run() {
    while (true) {
      const net::resp::Command command = {"INCR", "number"};
      const auto answer = co_await client_->Command(command, 10s);
      if (!answer.ok() || answer->is_error()) {
        end_ = answer.ok() ? answer->error_code() : answer.error().code();
        co_return true;
      }
      last_ = answer->AsInteger().value_or(-1);
      co_await loop_.Sleep(1ms);
    }
  }
  int64_t last() const { return last_; }
  const std::string& end() const { return end_; }

 private:
  net::Loop& loop_;
  std::shared_ptr<net::RespClient> client_;
  int64_t last_ = 0;
  std::string end_;
};

TEST_F(RedisPrimaryOperator, HandsOverWithoutALostWrite) {
  Form(2);
  TestMember &primary = *members_[0], &replica = *members_[1];
  EXPECT_EQ(Refusal(replica, "hand-over", Following(primary, "6")), "not-primary");
  auto client = Connect(*primary.server, kPassword);
  ASSERT_TRUE(client.ok());
  auto counter = std::make_shared<Counter>(loop_, std::shared_ptr<net::RespClient>(std::move(*client)));
  net::SpawnThen(counter->Run(), [counter](bool) {});
  ASSERT_TRUE(Eventually([&] { return counter->last() > 20; }));
  Order(primary, "hand-over", Following(replica, "6"));
  EXPECT_EQ(Fact(primary, "role"), "fenced");
  ASSERT_TRUE(Eventually([&] { return !counter->end().empty(); }));
  EXPECT_THAT(counter->end(), ::testing::AnyOf("READONLY", "UNBLOCKED"));
  Order(primary, "hand-over", Following(replica, "6"));  // the same once more
  Order(replica, "promote", {{"term", "6"}, {"copy", "5"}});
  EXPECT_EQ(Ask(replica, {"GET", "number"}).text, std::to_string(counter->last()));
  Order(primary, "follow", Following(replica, "6"));
  ASSERT_TRUE(Eventually([&] { return IsLinked(primary); }));
  EXPECT_EQ(Ask(primary, {"GET", "number"}).text, std::to_string(counter->last()));
  // It had all, and went on from there.
  EXPECT_THAT(Ask(replica, {"INFO", "stats"}).text, HasSubstr("sync_partial_ok:1"));
  EXPECT_EQ(Write(replica, "key"), "OK");
}

TEST_F(RedisPrimaryOperator, GoesOnWhereTheReplicaDoesNotCatchUp) {
  Form(2);
  TestMember &primary = *members_[0], &replica = *members_[1];
  Order(replica, "fence", {{"term", "5"}});  // it follows nobody any more
  ASSERT_EQ(Write(primary, "key"), "OK");
  EXPECT_EQ(Refusal(primary, "hand-over", Following(replica, "6")), "not-caught-up");
  EXPECT_EQ(Write(primary, "key"), "OK");
  EXPECT_EQ(Fact(primary, "role"), "primary");
}

// As one whose agent died while writes waited: what it has left can't outlast what is decided next.
TEST_F(RedisPrimaryOperator, EndsAPauseWithTheNextChangeOfItsRole) {
  Form(2);
  TestMember &primary = *members_[0], &replica = *members_[1];
  ASSERT_TRUE(Ask(primary, {"CLIENT", "PAUSE", "600000", "WRITE"}).is_ok());
  primary.redis = MakeRedisPrimaryOperator();
  Order(primary, "fence", {{"term", "6"}});
  EXPECT_EQ(Write(primary, "key"), "READONLY");
  Order(replica, "promote", {{"term", "6"}, {"copy", "5"}});
  EXPECT_EQ(Write(replica, "key"), "OK");
  Order(primary, "promote", {{"term", "7"}, {"copy", "5"}});
  EXPECT_EQ(Write(primary, "key"), "OK");
}

TEST_F(RedisPrimaryOperator, EndsAPauseByItselfWithinTheLease) {
  Form(2);
  Introduce(1s);
  TestMember& primary = *members_[0];
  const std::string pause = std::to_string(PauseFor(1s).count());
  const Time begin = Now();
  ASSERT_TRUE(Ask(primary, {"CLIENT", "PAUSE", pause, "WRITE"}).is_ok());
  EXPECT_EQ(Write(primary, "key"), "OK");  // once it is over
  EXPECT_GE(Now(), begin + PauseFor(1s) / 2);
  EXPECT_LT(Now(), LeaseOver(1s, begin, begin));
}

// Its agent wrote down that it is fenced, and died before it told it so.
TEST_F(RedisPrimaryOperator, FencesOneThatTakesWritesThoughItWasNotOrderedTo) {
  Form(2);
  TestMember &primary = *members_[0], &replica = *members_[1];
  ASSERT_TRUE(Eventually([&] { return Look(primary) && !Fact(primary, "linked").empty(); }));
  Record record = ParseRecord(*ReadFile(primary.records + "/redis-term"));
  record.aim = "fenced";
  record.term = 6;
  ASSERT_TRUE(WriteRecord(primary.records, record, true).ok());
  primary.redis = MakeRedisPrimaryOperator();
  ASSERT_EQ(Write(primary, "key"), "OK");
  ASSERT_TRUE(Eventually([&] { return Look(primary) && Fact(primary, "role") == "fenced"; }));
  EXPECT_EQ(Write(primary, "key"), "READONLY");
  EXPECT_EQ(Fact(primary, "linked"), "") << "nobody is known to have what it took";
  // And what a hand did.
  ASSERT_TRUE(Ask(replica, {"REPLICAOF", "NO", "ONE"}).is_ok());
  ASSERT_TRUE(Eventually([&] { return Look(replica) && Fact(replica, "role") == "fenced"; }));
  EXPECT_EQ(Write(replica, "key"), "READONLY");
}

TEST_F(RedisPrimaryOperator, LetsGoBeforeItsLeaseIsOverWhereNobodyIsHeard) {
  Form(3);
  constexpr Duration kLease = 1s;
  Introduce(kLease);
  TestMember& primary = *members_[0];
  primary.heard = Now();
  EXPECT_GT(primary.redis->GuardEvery(primary.instance), 0ms);
  EXPECT_LE(primary.redis->GuardEvery(primary.instance), kLease / 4);
  Guard(primary);
  EXPECT_EQ(Write(primary, "key"), "OK");
  // The server is gone; a majority follows.
  primary.heard = Now() - 10 * kLease;
  Order(*members_[2], "fence", {{"term", "5"}});
  Guard(primary);
  EXPECT_EQ(Write(primary, "key"), "OK");
  // And doesn't any more.
  Order(*members_[1], "fence", {{"term", "6"}});
  const Time cut = Now();
  ASSERT_TRUE(Eventually([&] {
    Guard(primary);
    return Write(primary, "key") == "READONLY";
  }));
  EXPECT_LT(Now(), LeaseOver(kLease, cut, cut));
  EXPECT_EQ(Fact(primary, "role"), "fenced");
  EXPECT_EQ(ParseRecord(*ReadFile(primary.records + "/redis-term")).aim, "fenced");
  // It takes an order of a later term all the same.
  Order(primary, "promote", {{"term", "7"}, {"copy", "5"}});
  EXPECT_EQ(Write(primary, "key"), "OK");
}

TEST_F(RedisPrimaryOperator, KillsAPrimaryThatCannotBeToldThatItsLeaseIsOver) {
  Form(2);
  Introduce(1s);
  TestMember& primary = *members_[0];
  primary.heard = Now() - 10s;
  Order(*members_[1], "fence", {{"term", "5"}});
  primary.server->Signal(SIGSTOP);
  ASSERT_TRUE(Eventually([&] {
    Guard(primary);
    return primary.server->HasEnded();
  }));
  primary.server->Start();
  ASSERT_TRUE(Eventually([&] { return Look(primary); }));
  EXPECT_EQ(Fact(primary, "role"), "fenced");
  EXPECT_EQ(Write(primary, "key"), "READONLY");
}

TEST_F(RedisPrimaryOperator, IsVerified) {
  Form(2);
  for (const auto& member : members_) {
    const auto verified = loop_.RunTask(member->redis->Verify(Context(*member), {}));
    EXPECT_GE(verified.size(), 2u);
    for (const Check& check : verified) {
      EXPECT_TRUE(check.passed) << check.name << ": " << Join(check.evidence, "; ");
    }
  }
  EXPECT_EQ(Ask(*members_[0], {"DBSIZE"}).AsInteger(), 0);
  Order(*members_[1], "fence", {{"term", "5"}});
  const auto verified = loop_.RunTask(members_[1]->redis->Verify(Context(*members_[1]), {}));
  ASSERT_FALSE(verified.empty());
  EXPECT_FALSE(verified.front().passed);
}

}  // namespace
}  // namespace muster::redis_primary
