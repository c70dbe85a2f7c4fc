#include "net/resp_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "net/asio.h"

namespace muster::net {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using tcp = asio::ip::tcp;

// Answers on a port of its own what `answer` says to each command, byte for byte.
class FakeRedis {
 public:
  using Answer = std::function<std::string(const std::vector<std::string>& command)>;

  FakeRedis(Loop& loop, Answer answer)
      : loop_(loop),
        acceptor_(Io(loop), tcp::endpoint(asio::ip::address_v4::loopback(), 0)),
        answer_(std::move(answer)) {
    Accept();
  }

  int port() const { return acceptor_.local_endpoint().port(); }
  // From where the last client came.
  std::string peer() const { return peer_; }
  std::string greeting;  // what a client gets without having asked
  bool hangs_up = false;
  void HangUp() {
    for (auto& socket : sockets_) socket->close();
  }

 private:
  void Accept() {
    auto socket = std::make_shared<tcp::socket>(Io(loop_));
    acceptor_.async_accept(*socket, [this, socket](error_code error) {
      if (error) return;
      peer_ = socket->remote_endpoint().address().to_string();
      sockets_.push_back(socket);
      if (!greeting.empty()) asio::write(*socket, asio::buffer(greeting));
      if (hangs_up) socket->close();
      if (!hangs_up) Read(socket, std::make_shared<resp::Parser>());
      Accept();
    });
  }

  void Read(std::shared_ptr<tcp::socket> socket, std::shared_ptr<resp::Parser> parser) {
    auto bytes = std::make_shared<std::string>(4096, '\0');
    socket->async_read_some(asio::buffer(*bytes), [=, this](error_code error, size_t length) {
      if (error) return;
      const auto commands = parser->Feed(std::string_view(*bytes).substr(0, length));
      ASSERT_TRUE(commands.ok());
      for (const resp::Value& command : *commands) {
        asio::write(*socket, asio::buffer(answer_(*command.AsTexts())));
      }
      Read(socket, parser);
    });
  }

  Loop& loop_;
  tcp::acceptor acceptor_;
  Answer answer_;
  std::string peer_;
  std::vector<std::shared_ptr<tcp::socket>> sockets_;
};

std::string Echo(const std::vector<std::string>& command) {
  return fmt::format("${}\r\n{}\r\n", command[0].size(), command[0]);
}

Result<std::unique_ptr<RespClient>> Connect(Loop& loop, int port, RespOptions options = {}) {
  return loop.RunTask(RespClient::Connect(loop, "127.0.0.1", port, std::move(options), 5s));
}

std::vector<std::string> Texts(const Result<std::vector<resp::Value>>& values) {
  if (!values.ok()) return {values.error().code()};
  std::vector<std::string> texts;
  for (const resp::Value& value : *values) texts.push_back(resp::Describe(value));
  return texts;
}

TEST(RespClient, GetsTheAnswersOfAPipelineInOrder) {
  Loop loop;
  FakeRedis redis(loop, Echo);
  auto client = Connect(loop, redis.port());
  ASSERT_TRUE(client.ok()) << client.error().Text();
  EXPECT_THAT(Texts(loop.RunTask((*client)->Pipeline({{"a"}, {"b", "x"}, {"c\r\n"}}, 5s))),
              ElementsAre("a", "b", "c??"));
  EXPECT_THAT(Texts(loop.RunTask((*client)->Pipeline({}, 5s))), ElementsAre());
  const auto one = loop.RunTask((*client)->Command({"d"}, 5s));
  ASSERT_TRUE(one.ok());
  EXPECT_EQ(one->text, "d");
}

TEST(RespClient, CarriesMoreThanBuffersHold) {
  Loop loop;
  FakeRedis redis(
      loop, [](const auto& command) { return fmt::format("${}\r\n{}\r\n", command[1].size(), command[1]); });
  auto client = Connect(loop, redis.port());
  ASSERT_TRUE(client.ok());
  std::string big(3 << 20, 'x');
  big[1000] = '\r';
  const auto answer = loop.RunTask((*client)->Command({"ECHO", big}, 20s));
  ASSERT_TRUE(answer.ok()) << answer.error().Text();
  EXPECT_EQ(answer->text, big);
}

TEST(RespClient, ServesSeveralTasksAtATime) {
  Loop loop;
  FakeRedis redis(loop, Echo);
  auto client = Connect(loop, redis.port());
  ASSERT_TRUE(client.ok());
  std::vector<std::string> heard;
  const Promised<bool> all;
  for (const char* word : {"a", "b", "c"}) {
    SpawnThen((*client)->Command({word}, 5s), [&heard, all](Result<resp::Value> answer) {
      heard.push_back(answer.ok() ? answer->text : answer.error().code());
      if (heard.size() == 3) all.Set(true);
    });
  }
  const auto wait = [](Promised<bool> promised) -> Task<bool> { co_return co_await promised; };
  loop.RunTask(wait(all));
  EXPECT_THAT(heard, ElementsAre("a", "b", "c"));
}

TEST(RespClient, TakesARefusalForAnAnswerAndDropsWhatIsPushed) {
  Loop loop;
  FakeRedis redis(loop, [](const auto&) { return ">1\r\n+invalidate\r\n-MOVED 1 127.0.0.1:7\r\n"; });
  auto client = Connect(loop, redis.port());
  ASSERT_TRUE(client.ok());
  EXPECT_THAT(Texts(loop.RunTask((*client)->Pipeline({{"a"}, {"b"}}, 5s))),
              ElementsAre("(error) MOVED 1 127.0.0.1:7", "(error) MOVED 1 127.0.0.1:7"));
}

TEST(RespClient, SaysItsPasswordFirstAndNeverInAnError) {
  Loop loop;
  std::vector<std::string> first;
  std::string told = "+OK\r\n";
  FakeRedis redis(loop, [&](const auto& command) {
    if (first.empty()) first = command;
    return told;
  });
  EXPECT_TRUE(Connect(loop, redis.port(), {.password = "s3cret"}).ok());
  EXPECT_THAT(first, ElementsAre("AUTH", "s3cret"));
  first.clear();
  EXPECT_TRUE(Connect(loop, redis.port(), {.password = "s3cret", .user = "muster"}).ok());
  EXPECT_THAT(first, ElementsAre("AUTH", "muster", "s3cret"));

  told = "-WRONGPASS invalid username-password pair\r\n";
  const auto wrong = Connect(loop, redis.port(), {.password = "s3cret"});
  ASSERT_FALSE(wrong.ok());
  EXPECT_EQ(wrong.error().code(), "redis-denied");
  EXPECT_EQ(wrong.error().kind(), ErrorKind::kDenied);
  EXPECT_THAT(wrong.error().Text(), HasSubstr("invalid username"));
  told = "-ERR unknown command 'AUTH', with args beginning with: 's3cret'\r\n";
  const auto repeated = Connect(loop, redis.port(), {.password = "s3cret"});
  ASSERT_FALSE(repeated.ok());
  EXPECT_THAT(repeated.error().Text(), Not(HasSubstr("s3cret")));
}

TEST(RespClient, ComesFromTheAddressItIsBoundTo) {
  Loop loop;
  FakeRedis redis(loop, Echo);
  auto client = Connect(loop, redis.port(), {.source_address = "127.77.0.3"});
  ASSERT_TRUE(client.ok()) << client.error().Text();
  ASSERT_TRUE(loop.RunTask((*client)->Command({"a"}, 5s)).ok());
  EXPECT_EQ(redis.peer(), "127.77.0.3");
}

TEST(RespClient, SaysThatNobodyListens) {
  Loop loop;
  int port = 0;
  {
    const FakeRedis gone(loop, Echo);
    port = gone.port();
  }
  const auto client = Connect(loop, port);
  ASSERT_FALSE(client.ok());
  EXPECT_EQ(client.error().code(), "redis-unreachable");
  EXPECT_THAT(client.error().message(), HasSubstr(fmt::format("127.0.0.1:{}", port)));
}

TEST(RespClient, ClosesWhereAnAnswerDoesNotComeInTime) {
  Loop loop;
  FakeRedis redis(loop, [](const auto& command) { return command[0] == "slow" ? "" : "+OK\r\n"; });
  auto client = Connect(loop, redis.port());
  ASSERT_TRUE(client.ok());
  std::string behind;
  SpawnThen((*client)->Command({"slow"}, 50ms), [](const auto&) {});
  SpawnThen((*client)->Command({"b"}, 5s),
            [&](Result<resp::Value> answer) { behind = answer.error().code(); });
  const auto slow = loop.RunTask((*client)->Pipeline({{"slow"}}, 20ms));
  ASSERT_FALSE(slow.ok());
  EXPECT_EQ(slow.error().code(), "redis-timeout");
  EXPECT_EQ(behind, "redis-closed");
  EXPECT_TRUE((*client)->closed());
  const auto after = loop.RunTask((*client)->Command({"a"}, 5s));
  ASSERT_FALSE(after.ok());
  EXPECT_EQ(after.error().code(), "redis-closed");
  EXPECT_THAT(after.error().message(), HasSubstr("no answer in time"));
}

TEST(RespClient, TimesOutWhereThePasswordIsNotAnswered) {
  Loop loop;
  FakeRedis redis(loop, [](const auto&) { return ""; });
  const auto client =
      loop.RunTask(RespClient::Connect(loop, "127.0.0.1", redis.port(), {.password = "s3cret"}, 50ms));
  ASSERT_FALSE(client.ok());
  EXPECT_EQ(client.error().code(), "redis-timeout");
}

TEST(RespClient, RepeatsWhyTheServerHangsUp) {
  Loop loop;
  FakeRedis redis(loop, Echo);
  redis.greeting = "-ERR max number of clients reached\r\n";
  redis.hangs_up = true;
  auto client = Connect(loop, redis.port());
  ASSERT_TRUE(client.ok());
  const auto wait = [](Loop& waiting, RespClient& of) -> Task<bool> {
    for (const Time end = Now() + 5s; !of.closed() && Now() < end;) co_await waiting.Sleep(1ms);
    co_return of.closed();
  };
  ASSERT_TRUE(loop.RunTask(wait(loop, **client)));
  const auto answer = loop.RunTask((*client)->Command({"a"}, 5s));
  ASSERT_FALSE(answer.ok());
  EXPECT_EQ(answer.error().code(), "redis-closed");
  EXPECT_THAT(answer.error().message(), HasSubstr("max number of clients"));
}

TEST(RespClient, TellsWhoeverWaitsThatTheServerIsGone) {
  Loop loop;
  FakeRedis* self = nullptr;
  FakeRedis redis(loop, [&](const auto&) {
    loop.Post([&] { self->HangUp(); });
    return "";
  });
  self = &redis;
  auto client = Connect(loop, redis.port());
  ASSERT_TRUE(client.ok());
  const auto answer = loop.RunTask((*client)->Command({"SHUTDOWN"}, 5s));
  ASSERT_FALSE(answer.ok());
  EXPECT_EQ(answer.error().code(), "redis-closed");
}

TEST(RespClient, ClosesWhereSomethingElseAnswers) {
  Loop loop;
  FakeRedis http(loop, [](const auto&) { return "HTTP/1.1 400 Bad Request\r\n\r\n"; });
  auto client = Connect(loop, http.port());
  ASSERT_TRUE(client.ok());
  const auto answer = loop.RunTask((*client)->Command({"PING"}, 5s));
  ASSERT_FALSE(answer.ok());
  EXPECT_EQ(answer.error().code(), "bad-resp");
  EXPECT_TRUE((*client)->closed());
}

TEST(RespClient, MayBeLetGoWhileItIsWaitedFor) {
  Loop loop;
  FakeRedis redis(loop, [](const auto&) { return ""; });
  auto client = Connect(loop, redis.port());
  ASSERT_TRUE(client.ok());
  loop.Post([&] { client->reset(); });
  const auto answer = loop.RunTask((*client)->Command({"a"}, 5s));
  ASSERT_FALSE(answer.ok());
  EXPECT_EQ(answer.error().code(), "redis-closed");
}

TEST(RespClient, GoesOnWhereATaskThatWaitedIsEnded) {
  Loop loop;
  FakeRedis redis(loop, Echo);
  auto client = Connect(loop, redis.port());
  ASSERT_TRUE(client.ok());
  const auto give_up = [](Loop& on, RespClient& with) -> Task<bool> {
    {
      // Started by hand and destroyed before its answer can come.
      Task<Result<resp::Value>> asked = with.Command({"lost"}, 5s);
      asked.await_suspend(std::noop_coroutine()).resume();
    }
    co_await on.Sleep(1ms);
    co_return true;
  };
  ASSERT_TRUE(loop.RunTask(give_up(loop, **client)));
  const auto answer = loop.RunTask((*client)->Command({"next"}, 5s));
  ASSERT_TRUE(answer.ok()) << answer.error().Text();
  EXPECT_EQ(answer->text, "next");
}

}  // namespace
}  // namespace muster::net
