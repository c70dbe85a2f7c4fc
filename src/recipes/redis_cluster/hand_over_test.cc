// Slots on their way between real redis-servers.
#include "recipes/redis/slots.h"
#include "recipes/redis_cluster/testing_member.h"

namespace muster::redis_cluster {
namespace {

class RedisHandOver : public MembersTest {
 protected:
  void SetUp() override {
    MembersTest::SetUp();
    if (IsSkipped()) return;
    StartMember({{"enable-debug-command", {"yes"}}});
    StartMember();
    for (const auto& member : members_) ASSERT_TRUE(Look(*member));
    Order(from(), "own", {{"slots", "0-16383"}});
    Order(from(), "meet", {{"nodes", SeatOf(to())}});
    Order(to(), "epoch", {{"number", "0"}});
    ASSERT_TRUE(Eventually([&] { return Agreed(); })) << Fact(from(), "view");
  }

  TestMember& from() { return *members_[0]; }
  TestMember& to() { return *members_[1]; }
  Values HandOverArgs(const std::string& slots) {
    return {{"slots", slots},
            {"to", IdOf(to())},
            {"host", "127.0.0.1"},
            {"port", std::to_string(to().server->port())}};
  }
  void Import(const std::string& slots) { Order(to(), "import", {{"slots", slots}, {"from", IdOf(from())}}); }
  void Claim(const std::string& slots) {
    Order(to(), "claim", {{"slots", slots}, {"node", IdOf(to())}});
    Order(from(), "claim", {{"slots", slots}, {"node", IdOf(to())}});
  }
  void Fill(int keys) {
    ASSERT_TRUE(Ask(from(), {"DEBUG", "POPULATE", std::to_string(keys), "key", "16"}).is_ok());
  }
  int64_t Keys(TestMember& member) { return Ask(member, {"DBSIZE"}).integer; }
};

TEST_F(RedisHandOver, MovesSlotsWithAllTheirKeys) {
  Fill(20000);
  Import("0-8191");
  const Values moved = Order(from(), "hand-over", HandOverArgs("0-8191"));
  EXPECT_EQ(moved.at("done"), "0-8191");
  EXPECT_EQ(moved.at("left"), "");
  EXPECT_EQ(Fact(from(), "drained"), "0-8191");
  EXPECT_EQ(Keys(from()) + Keys(to()), 20000);
  EXPECT_EQ(moved.at("keys"), std::to_string(Keys(to())));
  EXPECT_GT(Keys(to()), 9000);
  Claim("0-8191");
  EXPECT_EQ(Fact(from(), "drained"), "");
  ASSERT_TRUE(Eventually([&] { return Agreed(); }));
  EXPECT_THAT(Fact(to(), "view"), HasSubstr(" 0-8191"));
  // Once more: there is nothing left to do.
  EXPECT_EQ(Order(from(), "hand-over", HandOverArgs("0-8191")).at("done"), "0-8191");
  Import("8192-8200");
  Order(to(), "stable", {{"slots", "8192-8200"}});
  EXPECT_THAT(Fact(to(), "view"), ::testing::Not(HasSubstr("[")));
}

TEST_F(RedisHandOver, GoesOnFromWhateverIsLeft) {
  const std::string tag = redis::SlotTags()[5];
  for (int i = 0; i < 2500; ++i) Ask(from(), {"SET", fmt::format("{{{}}}:{}", tag, i), "x"});
  Import("0-99");
  // One is marked already, one of its keys is there, in an older form, and one is gone.
  Ask(from(), {"CLUSTER", "SETSLOT", "5", "MIGRATING", IdOf(to())});
  const std::string there = fmt::format("{{{}}}:7", tag), gone = fmt::format("{{{}}}:8", tag);
  Ask(from(), {"DEL", gone});
  auto client = Connect(*to().server, kPassword);
  ASSERT_TRUE(client.ok());
  const std::vector<net::resp::Command> older = {{"ASKING"}, {"SET", there, "older"}};
  ASSERT_TRUE(loop_.RunTask((*client)->Pipeline(older, 5s)).ok());
  const Values moved = Order(from(), "hand-over", HandOverArgs("0-99"));
  EXPECT_EQ(moved.at("left"), "");
  Claim("0-99");
  EXPECT_EQ(Ask(to(), {"GET", there}).text, "x");
  EXPECT_EQ(Ask(to(), {"CLUSTER", "COUNTKEYSINSLOT", "5"}).integer, 2499);
  EXPECT_TRUE(Ask(to(), {"GET", gone}).is_null());
}

// Who began to give the slot away is gone, and with it the mark: this node has taken its place, and writes.
TEST_F(RedisHandOver, OverwritesNothingWhereItHasTakenTheGiversPlace) {
  TestMember& giver = StartMember();
  ASSERT_TRUE(Look(giver));
  Order(from(), "meet", {{"nodes", SeatOf(giver)}});
  ASSERT_TRUE(Eventually([&] { return Knows(to(), IdOf(giver)); }));
  Order(to(), "import", {{"slots", "5-6"}, {"from", IdOf(giver)}});
  const std::string tag = redis::SlotTags()[5], other_tag = redis::SlotTags()[6];
  const auto name = [&](const char* what) { return fmt::format("{{{}}}:{}", tag, what); };
  auto client = Connect(*to().server, kPassword);
  ASSERT_TRUE(client.ok());
  const std::vector<net::resp::Command> moved = {{"ASKING"},
                                                 {"HSET", name("cart"), "apples", "3", "pears", "4"},
                                                 {"ASKING"},
                                                 {"SET", name("same"), "x"}};
  ASSERT_TRUE(loop_.RunTask((*client)->Pipeline(moved, 5s)).ok());
  Ask(from(), {"HSET", name("cart"), "plums", "1"});
  Ask(from(), {"SET", name("same"), "x"});
  Ask(from(), {"SET", name("own"), "y"});
  Ask(from(), {"SET", fmt::format("{{{}}}:own", other_tag), "z"});

  const Error refused = Refusal(from(), "hand-over", HandOverArgs("5-6"));
  EXPECT_EQ(refused.code(), "keys-differ") << refused.Text();
  EXPECT_THAT(refused.message(), HasSubstr(name("cart")));
  EXPECT_THAT(refused.message(), ::testing::Not(HasSubstr("same")));
  EXPECT_EQ(Keys(from()), 1) << "all else has gone";
  EXPECT_EQ(Keys(to()), 4);
  EXPECT_EQ(Ask(from(), {"HLEN", name("cart")}).integer, 1);

  // A person has said which.
  EXPECT_EQ(Ask(from(), {"DEL", name("cart")}).integer, 1);
  EXPECT_EQ(Order(from(), "hand-over", HandOverArgs("5-6")).at("left"), "");
  Claim("5-6");
  EXPECT_EQ(Ask(to(), {"HLEN", name("cart")}).integer, 2);
  EXPECT_EQ(Ask(to(), {"GET", name("own")}).text, "y");
}

// The target's mark tells of the giver that died; where the target has been replaced since, nothing does but
// what this node wrote down when it took that one's place.
TEST_F(RedisHandOver, RemembersWhatItInheritedThoughTheTargetHasForgotten) {
  const std::string tag = redis::SlotTags()[5], key = fmt::format("{{{}}}:cart", tag);
  Ask(from(), {"HSET", key, "plums", "1"});
  Order(from(), "mark", {{"slots", "5"}, {"to", IdOf(to())}});
  Import("5");
  auto client = Connect(*to().server, kPassword);
  ASSERT_TRUE(client.ok());
  const std::vector<net::resp::Command> there = {{"ASKING"}, {"HSET", key, "apples", "3"}};
  ASSERT_TRUE(loop_.RunTask((*client)->Pipeline(there, 5s)).ok());
  EXPECT_EQ(Refusal(from(), "hand-over", HandOverArgs("5")).code(), "keys-differ");
  Ask(from(), {"DEL", key});
  EXPECT_EQ(Order(from(), "hand-over", HandOverArgs("5")).at("left"), "");
  // From then on it is a slot as any other.
  Ask(from(), {"CLUSTER", "SETSLOT", "5", "STABLE"});
  Ask(from(), {"HSET", key, "plums", "2"});
  Order(from(), "hand-over", HandOverArgs("5"));
  Claim("5");
  EXPECT_EQ(Ask(to(), {"HGET", key, "plums"}).text, "2") << "what an earlier try left there is older";
}

// What DUMP gives isn't the same for the same: a table's order is its process'. Nor does it tell of times to
// live.
TEST_F(RedisHandOver, TakesForTheSameWhatAClientReadsAsTheSame) {
  TestMember& giver = StartMember();
  ASSERT_TRUE(Look(giver));
  Order(from(), "meet", {{"nodes", SeatOf(giver)}});
  ASSERT_TRUE(Eventually([&] { return Knows(to(), IdOf(giver)); }));
  Order(to(), "import", {{"slots", "5"}, {"from", IdOf(giver)}});
  const std::string tag = redis::SlotTags()[5];
  const auto name = [&](const char* what) { return fmt::format("{{{}}}:{}", tag, what); };
  net::resp::Command hash = {"HSET", name("hash")}, set = {"SADD", name("set")};
  net::resp::Command other_set = {"SADD", name("other-set")};
  for (int i = 0; i < 700; ++i) {
    const std::string one = fmt::format("a field that is long enough for a table of its own, whatever {}", i);
    hash.insert(hash.end(), {one, std::to_string(i)});
    set.push_back(one);
    other_set.push_back(one);
  }
  std::vector<net::resp::Command> same = {hash,
                                          set,
                                          {"RPUSH", name("list"), "a", "b"},
                                          {"ZADD", name("zset"), "1", "a", "2", "b"},
                                          {"SET", name("soon"), "x", "EX", "1000"}};
  auto client = Connect(*to().server, kPassword);
  ASSERT_TRUE(client.ok());
  std::vector<net::resp::Command> there;
  for (const auto& command : same) {
    Ask(from(), command);
    there.insert(there.end(), {{"ASKING"}, command});
  }
  Ask(from(), other_set);
  other_set.back() = "another";
  Ask(from(), {"SET", name("ends"), "x", "EX", "10"});
  Ask(from(), {"SET", name("stays"), "x"});
  for (const net::resp::Command& command :
       {other_set, {"SET", name("ends"), "x", "EX", "100000"}, {"SET", name("stays"), "x", "EX", "100000"}}) {
    there.insert(there.end(), {{"ASKING"}, command});
  }
  ASSERT_TRUE(loop_.RunTask((*client)->Pipeline(there, 5s)).ok());
  ASSERT_NE(Ask(from(), {"DUMP", name("set")}).text, "");

  const Error refused = Refusal(from(), "hand-over", HandOverArgs("5"));
  EXPECT_EQ(refused.code(), "keys-differ") << refused.Text();
  for (const char* what : {"other-set", "ends", "stays"}) {
    EXPECT_THAT(refused.message(), HasSubstr(name(what)));
    EXPECT_EQ(Ask(from(), {"EXISTS", name(what)}).integer, 1) << what;
  }
  EXPECT_EQ(Keys(from()), 3) << refused.Text();
  EXPECT_EQ(Keys(to()), 8);
}

TEST_F(RedisHandOver, MovesBigKeysAlone) {
  const std::string tag = redis::SlotTags()[3];
  std::vector<std::string> command = {"RPUSH", "{" + tag + "}:big"};
  for (int i = 0; i < 200; ++i) command.push_back(std::string(100'000, 'v'));
  ASSERT_EQ(Ask(from(), command).integer, 200);
  for (int i = 0; i < 50; ++i)
    Ask(from(), {"SET", fmt::format("{{{}}}:{}", tag, i), std::string(200'000, 'x')});
  Ask(from(), {"SET", "{" + tag + "}:soon", "x", "PX", "3600000"});
  Import("0-10");
  EXPECT_EQ(Order(from(), "hand-over", HandOverArgs("0-10")).at("keys"), "52");
  Claim("0-10");
  EXPECT_EQ(Ask(to(), {"LLEN", "{" + tag + "}:big"}).integer, 200);
  EXPECT_GT(Ask(to(), {"PTTL", "{" + tag + "}:soon"}).integer, 1000);
}

TEST_F(RedisHandOver, EndsInTimeAndSaysHowFarItGot) {
  Fill(60000);
  Import("0-16383");
  const Time begun = Now();
  Values args = HandOverArgs("0-16383");
  args["within_ms"] = "300";
  const Values moved = Order(from(), "hand-over", args);
  EXPECT_LT(Now() - begun, 5s);
  ASSERT_NE(moved.at("left"), "");
  const auto done = redis::SlotSet::Parse(moved.at("done")), left = redis::SlotSet::Parse(moved.at("left"));
  ASSERT_TRUE(done.ok() && left.ok());
  EXPECT_GT(done->count(), 0);
  EXPECT_TRUE((*done | *left).all());
  EXPECT_TRUE((*done & *left).empty());
  Values rest = Order(from(), "hand-over", HandOverArgs("0-16383"));
  while (!rest.at("left").empty()) rest = Order(from(), "hand-over", HandOverArgs("0-16383"));
  EXPECT_EQ(Keys(from()), 0);
  EXPECT_EQ(Keys(to()), 60000);
}

// Of its replica, which has nothing of it, nobody could take over what has gone.
TEST_F(RedisHandOver, SendsNoMoreThanAReplicaOfTheTargetHas) {
  TestMember& replica = StartMember();
  ASSERT_TRUE(Look(replica));
  Order(replica, "meet", {{"nodes", SeatOf(to())}});
  Order(replica, "follow", {{"node", IdOf(to())}});
  ASSERT_TRUE(Eventually([&] { return Look(replica) && Fact(replica, "link") == "up"; }));
  Fill(20000);
  Import("0-16383");
  replica.server->Signal(SIGSTOP);
  Values args = HandOverArgs("0-16383");
  args["within_ms"] = "3000";
  const Values moved = Order(from(), "hand-over", args);
  EXPECT_NE(moved.at("left"), "");
  EXPECT_GT(Keys(to()), 0);
  EXPECT_LE(Keys(to()), 6 * 200);
  EXPECT_EQ(Keys(from()) + Keys(to()), 20000);
  replica.server->Signal(SIGCONT);
  Values rest = Order(from(), "hand-over", HandOverArgs("0-16383"));
  while (!rest.at("left").empty()) rest = Order(from(), "hand-over", HandOverArgs("0-16383"));
  EXPECT_EQ(Keys(to()), 20000);
}

// It had one when the order was given.
TEST_F(RedisHandOver, WaitsForTheTargetsReplicaToComeBack) {
  Fill(20000);
  Import("0-16383");
  Values args = HandOverArgs("0-16383");
  args["replica"] = "yes";
  args["within_ms"] = "3000";
  const Values moved = Order(from(), "hand-over", args);
  EXPECT_NE(moved.at("left"), "");
  EXPECT_GT(Keys(to()), 0);
  EXPECT_LE(Keys(to()), 6 * 200);
  EXPECT_EQ(Keys(from()) + Keys(to()), 20000);
}

TEST_F(RedisHandOver, MovesTheSlotWithTheFewestKeysWhereOneIsToGoFirst) {
  for (int slot = 0; slot < 100; ++slot) {
    const std::string& tag = redis::SlotTags()[static_cast<size_t>(slot)];
    for (int i = 0; i < (slot == 77 ? 1 : 3); ++i) {
      Ask(from(), {"SET", fmt::format("{{{}}}:{}", tag, i), "x"});
    }
  }
  Import("0-99");
  Values args = HandOverArgs("0-99");
  args["smallest"] = "yes";
  const Values moved = Order(from(), "hand-over", args);
  EXPECT_EQ(moved.at("done"), "77");
  EXPECT_EQ(moved.at("keys"), "1");
  EXPECT_EQ(Fact(from(), "drained"), "77");
  EXPECT_EQ(Keys(to()), 1);
}

net::Task<bool> Answer(bool yes) { co_return yes; }

TEST_F(RedisHandOver, StopsInTheMiddleWhereNobodyWaitsForItAnyMore) {
  constexpr int kMany = 400'000;  // takes several times as long as the server isn't asked again
  Fill(kMany);
  Import("0-16383");
  Operator::Context context = Context(from());
  int asked = 0;
  context.still_wanted = [&asked] { return Answer(++asked == 1); };
  const auto stopped = loop_.RunTask(from().redis->Perform(context, "hand-over", HandOverArgs("0-16383")));
  ASSERT_FALSE(stopped.ok());
  EXPECT_EQ(stopped.error().code(), "order-stale");
  EXPECT_EQ(asked, 2);
  EXPECT_GT(Keys(from()), 0);
  EXPECT_EQ(Keys(from()) + Keys(to()), kMany);
}

net::Task<void> Keep(net::Task<Result<std::map<std::string, std::string>>> task,
                     std::optional<Result<std::map<std::string, std::string>>>* result) {
  *result = co_await std::move(task);
}

TEST_F(RedisHandOver, EndsAnOrderBetweenTwoRoundsWhenANewerOneComes) {
  Fill(60000);
  Import("0-16383");
  std::optional<Result<Values>> first, second, third;
  net::Spawn(Keep(from().redis->Perform(Context(from()), "hand-over", HandOverArgs("0-16383")), &first));
  ASSERT_TRUE(Eventually([&] { return Keys(to()) > 0; }));
  ASSERT_FALSE(first);
  net::Spawn(Keep(from().redis->Perform(Context(from()), "stable", {{"slots", "1"}}), &second));
  net::Spawn(Keep(from().redis->Perform(Context(from()), "hand-over", HandOverArgs("0-16383")), &third));
  // Who only looks isn't in anybody's way.
  EXPECT_TRUE(Try(from(), "look", {}).ok());
  ASSERT_TRUE(Eventually([&] { return first && second && third; }));
  ASSERT_FALSE(first->ok());
  EXPECT_EQ(first->error().code(), "order-stale");
  ASSERT_FALSE(second->ok());
  EXPECT_EQ(second->error().code(), "order-stale");
  ASSERT_TRUE(third->ok()) << third->error().Text();
  EXPECT_EQ((*third)->at("left"), "");
  EXPECT_EQ(Keys(from()), 0);
  EXPECT_EQ(Keys(to()), 60000);
}

TEST_F(RedisHandOver, GivesNothingToAnybodyElse) {
  Fill(2000);
  // It doesn't import them.
  const Error refused = Refusal(from(), "hand-over", HandOverArgs("0-99"));
  EXPECT_EQ(refused.code(), "move-failed");
  EXPECT_THAT(refused.message(), HasSubstr("MOVED"));
  Values args = HandOverArgs("0-99");
  args["port"] = std::to_string(from().server->port());
  EXPECT_EQ(Refusal(from(), "hand-over", args).code(), "slots-elsewhere");
  args = HandOverArgs("0-99");
  args["to"] = std::string(40, 'a');
  EXPECT_EQ(Refusal(from(), "hand-over", args).code(), "slots-elsewhere");
  EXPECT_EQ(Refusal(to(), "hand-over",
                    {{"slots", "0"}, {"to", std::string(40, 'b')}, {"host", "127.0.0.1"}, {"port", "1"}})
                .code(),
            "slots-elsewhere");
  EXPECT_EQ(Refusal(from(), "hand-over", {{"slots", "0"}}).code(), "bad-args");
  EXPECT_EQ(Keys(from()), 2000);
  // Nobody is waited for who isn't there.
  args = HandOverArgs("0-99");
  to().server->Signal(SIGKILL);
  to().server->Reap();
  EXPECT_EQ(Refusal(from(), "hand-over", args).code(), "redis-unreachable");
  EXPECT_EQ(Keys(from()), 2000);
}

// Counts keys up, one after the other, going where it is sent.
class Counter {
 public:
  Counter(std::unique_ptr<net::RespClient> one, std::unique_ptr<net::RespClient> other, int other_port)
      : one_(std::move(one)), other_(std::move(other)), other_port_(other_port) {}

  net::Task<void> Run() {
    for (int turn = 0; !stopped_; ++turn) {
      const std::string key = "count:" + std::to_string(turn % kKeys);
      const net::resp::Value answer = co_await Increment(key);
      if (answer.is_error()) {
        errors_.push_back(answer.text);
      } else {
        ++acknowledged_;
        last_[key] = answer.integer;
      }
    }
    ended_ = true;
  }
  void Stop() { stopped_ = true; }

  static constexpr int kKeys = 500;
  bool ended() const { return ended_; }
  int64_t acknowledged() const { return acknowledged_; }
  const std::map<std::string, int64_t>& last() const { return last_; }
  const std::vector<std::string>& errors() const { return errors_; }

 private:
  net::Task<net::resp::Value> Increment(std::string key) {
    net::RespClient* client = one_.get();
    bool asking = false;
    for (int turn = 0; turn < 8; ++turn) {
      std::vector<net::resp::Command> commands;
      if (asking) commands.push_back({"ASKING"});
      commands.push_back({"INCR", key});
      auto answers = co_await client->Pipeline(std::move(commands), 20s);
      if (!answers.ok()) co_return Bad(answers.error().Text());
      net::resp::Value answer = std::move(answers->back());
      const auto redirect = redis::ParseRedirect(answer.is_error() ? answer.text : "");
      if (!redirect) co_return answer;
      asking = redirect->ask;
      client = redirect->port == other_port_ ? other_.get() : one_.get();
    }
    co_return Bad("sent about in a circle");
  }
  static net::resp::Value Bad(std::string text) {
    return {.type = net::resp::Type::kError, .text = std::move(text)};
  }

  std::unique_ptr<net::RespClient> one_, other_;
  int other_port_;
  bool stopped_ = false, ended_ = false;
  int64_t acknowledged_ = 0;
  std::map<std::string, int64_t> last_;
  std::vector<std::string> errors_;
};

TEST_F(RedisHandOver, LosesNoWriteAndShowsNoErrorBesideTraffic) {
  Fill(20000);
  auto one = Connect(*from().server, kPassword), other = Connect(*to().server, kPassword);
  ASSERT_TRUE(one.ok() && other.ok());
  Counter counter(std::move(*one), std::move(*other), to().server->port());
  net::Spawn(counter.Run());
  Import("0-5460");
  EXPECT_EQ(Order(from(), "hand-over", HandOverArgs("0-5460")).at("left"), "");
  const int64_t meanwhile = counter.acknowledged();
  Claim("0-5460");
  ASSERT_TRUE(Eventually([&] { return counter.acknowledged() > meanwhile + Counter::kKeys; }));
  counter.Stop();
  ASSERT_TRUE(Eventually([&] { return counter.ended(); }));
  EXPECT_GT(meanwhile, 0);
  EXPECT_THAT(counter.errors(), ::testing::IsEmpty());
  for (const auto& [key, value] : counter.last()) {
    TestMember& owner = redis::KeySlot(key) <= 5460 ? to() : from();
    EXPECT_EQ(Ask(owner, {"GET", key}).AsInteger(), value) << key;
  }
  EXPECT_EQ(Keys(from()) + Keys(to()), 20000 + Counter::kKeys);
}

TEST_F(RedisHandOver, KeepsTheOthersServedWhereTheTargetFreezes) {
  Fill(2000);
  Import("0-99");
  const Values args = HandOverArgs("0-99");
  to().server->Signal(SIGSTOP);
  const Time begun = Now();
  const Error refused = Refusal(from(), "hand-over", args);
  EXPECT_EQ(refused.kind(), ErrorKind::kTimeout) << refused.Text();
  EXPECT_LT(Now() - begun, 8s);
  EXPECT_EQ(Ask(from(), {"PING"}).text, "PONG");
  to().server->Signal(SIGCONT);
  EXPECT_EQ(Order(from(), "hand-over", args).at("left"), "");
  EXPECT_EQ(Keys(from()) + Keys(to()), 2000);
}

}  // namespace
}  // namespace muster::redis_cluster
