// A master that dies while it hands its role over, with real redis-servers.
#include "recipes/redis/slots.h"
#include "recipes/redis_cluster/testing_member.h"

namespace muster::redis_cluster {
namespace {

using Outcome = std::optional<Result<std::map<std::string, std::string>>>;

net::Task<void> Keep(net::Task<Result<std::map<std::string, std::string>>> task, Outcome* outcome) {
  *outcome = co_await std::move(task);
}

class RedisHandOverOfARole : public MembersTest {};

// Writes one key at one server, and goes by no redirect: it ends with the first write that is taken, or with
// "ASK".
class Insistent {
 public:
  Insistent(std::unique_ptr<net::RespClient> client, std::string key)
      : client_(std::move(client)), key_(std::move(key)) {}

  net::Task<void> Run() {
    while (true) {
      const net::resp::Command write = {"HSET", key_, "late", "1"};
      const auto answer = co_await client_->Command(write, 20s);
      last_ = !answer.ok() ? answer.error().Text() : answer->is_error() ? answer->text : "taken";
      if (!answer.ok() || !answer->is_error() || last_.starts_with("ASK")) break;
    }
    ended_ = true;
  }
  bool ended() const { return ended_; }
  const std::string& last() const { return last_; }

 private:
  std::unique_ptr<net::RespClient> client_;
  std::string key_, last_;
  bool ended_ = false;
};

TEST_F(RedisHandOverOfARole, NoWriteIsTakenBeforeSlotsOnTheirWayAreMarked) {
  Form(1);
  TestMember& taker = *members_[1];
  struct Case {
    size_t master, replica;
    const char* how;
    int slot;
  };
  for (const Case& one : std::vector<Case>{{0, 3, "takeover", 5}, {2, 5, "force", 11000}}) {
    SCOPED_TRACE(one.how);
    TestMember &master = *members_[one.master], &replica = *members_[one.replica];
    const std::string slots = fmt::format("{}-{}", one.slot, one.slot + 200), of = IdOf(master);
    const std::string tag = redis::SlotTags()[static_cast<size_t>(one.slot)];
    Order(taker, "import", {{"slots", slots}, {"from", of}});
    auto client = Connect(*replica.server, kPassword);
    ASSERT_TRUE(client.ok());
    Insistent writer(std::move(*client), "{" + tag + "}:gone");
    net::Spawn(writer.Run());
    master.server->Signal(SIGKILL);
    master.server->Reap();
    const Values args = {{"how", one.how}, {"of", of}, {"slots", slots}, {"to", IdOf(taker)}};
    Order(replica, "take-over", args);
    EXPECT_THAT(Fact(replica, "view"), HasSubstr(fmt::format("[{}->-{}]", one.slot + 200, IdOf(taker))));
    ASSERT_TRUE(Eventually([&] { return writer.ended(); })) << writer.last();
    EXPECT_THAT(writer.last(), HasSubstr("ASK "));
    EXPECT_EQ(Fact(replica, "drained"), slots) << "all of them can be claimed";
    // Others aren't held back any more, and the same order changes nothing.
    const std::string other = redis::SlotTags()[static_cast<size_t>(one.slot) + 300];
    EXPECT_TRUE(Ask(replica, {"SET", "{" + other + "}", "x"}).is_ok());
    Order(replica, "take-over", args);
    EXPECT_EQ(Fact(replica, "drained"), slots);
  }
}

// Nobody votes within the time of the order, and Redis goes on with it: who becomes a master then has no
// marks.
TEST_F(RedisHandOverOfARole, NoWriteIsTakenAfterAVoteThatComesLateEither) {
  Form(1);
  TestMember &master = *members_[0], &replica = *members_[3], &taker = *members_[1];
  const std::string of = IdOf(master), tag = redis::SlotTags()[5];
  Order(taker, "import", {{"slots", "5-99"}, {"from", of}});
  auto client = Connect(*replica.server, kPassword);
  ASSERT_TRUE(client.ok());
  Insistent writer(std::move(*client), "{" + tag + "}:gone");
  net::Spawn(writer.Run());
  for (const size_t one : {0u, 2u}) {
    members_[one]->server->Signal(SIGKILL);
    members_[one]->server->Reap();
  }
  const Error denied =
      Refusal(replica, "take-over", {{"how", "force"}, {"of", of}, {"slots", "5-99"}, {"to", IdOf(taker)}});
  EXPECT_EQ(denied.code(), "failover-denied");
  for (const size_t one : {3u, 5u}) {
    ASSERT_TRUE(Ask(*members_[one], {"CLUSTER", "FAILOVER", "TAKEOVER"}).is_ok());
  }
  const std::string other = "{" + redis::SlotTags()[9000] + "}";  // the taker's own
  ASSERT_TRUE(Eventually([&] { return Ask(taker, {"SET", other, "x"}).is_ok(); }));
  ASSERT_TRUE(Eventually([&] { return Look(replica) && Fact(replica, "cluster") == "ok"; }));
  EXPECT_FALSE(writer.ended()) << writer.last();
  Order(replica, "mark", {{"slots", "5-99"}, {"to", IdOf(taker)}});
  ASSERT_TRUE(Eventually([&] { return writer.ended(); })) << writer.last();
  EXPECT_THAT(writer.last(), HasSubstr("ASK "));
  EXPECT_TRUE(Ask(replica, {"SET", "{" + redis::SlotTags()[300] + "}", "x"}).is_ok());
}

TEST_F(RedisHandOverOfARole, OfAMasterThatLivesMarksThemAsWell) {
  Form(1);
  TestMember &master = *members_[0], &replica = *members_[3], &taker = *members_[1];
  Order(taker, "import", {{"slots", "0-99"}, {"from", IdOf(master)}});
  Order(replica, "take-over",
        {{"how", "plain"}, {"of", IdOf(master)}, {"slots", "0-99"}, {"to", IdOf(taker)}});
  EXPECT_EQ(Fact(replica, "drained"), "0-99");
}

TEST_F(RedisHandOverOfARole, WhoTookOverByItselfIsToldWhichSlotsAreOnTheirWay) {
  Form(0);
  TestMember &owner = *members_[0], &taker = *members_[1];
  Ask(owner, {"CLUSTER", "SETSLOT", "7", "MIGRATING", IdOf(*members_[2])});
  // What it gives to another, and what isn't its own, stays as it is.
  const Values args = {{"slots", "5-8,9000"}, {"to", IdOf(taker)}};
  EXPECT_EQ(Order(owner, "mark", args).at("slots"), "5-6,8");
  EXPECT_EQ(Order(owner, "mark", args).at("slots"), "");
  EXPECT_THAT(Fact(owner, "view"), HasSubstr(fmt::format("[7->-{}]", IdOf(*members_[2]))));
  EXPECT_EQ(Refusal(owner, "mark", {{"slots", "5"}}).code(), "bad-args");
}

TEST_F(RedisHandOverOfARole, EndsWithTheMasterWhereTheReplicaLags) {
  Form(1);
  TestMember &master = *members_[0], &replica = *members_[3];
  const std::string of = IdOf(master);
  ASSERT_TRUE(Ask(replica, {"CLIENT", "PAUSE", "20000", "WRITE"}).is_ok());
  ASSERT_TRUE(Ask(master, {"SET", "{" + redis::SlotTags()[0] + "}", "x"}).is_ok());
  Outcome outcome;
  const Values args = {{"how", "plain"}, {"of", of}};
  net::Spawn(Keep(replica.redis->Perform(Context(replica), "take-over", args), &outcome));
  // The master has heard of it once it holds writes back.
  ASSERT_TRUE(Eventually([&] {
    return master.server->log().find("Manual failover requested by replica") != std::string::npos;
  }));
  EXPECT_FALSE(outcome);
  const Time died = Now();
  master.server->Signal(SIGKILL);
  master.server->Reap();
  ASSERT_TRUE(Eventually([&] { return outcome.has_value(); }));
  EXPECT_LT(Now() - died, 2s);
  ASSERT_FALSE(outcome->ok());
  EXPECT_EQ(outcome->error().code(), "failover-denied");
  EXPECT_THAT(outcome->error().message(), HasSubstr("ended before it had all"));
  // Now it can be forced.
  Order(replica, "take-over", {{"how", "takeover"}, {"of", of}});
  EXPECT_EQ(Fact(replica, "role"), "master");
}

}  // namespace
}  // namespace muster::redis_cluster
