#include "net/http.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

namespace muster::net {
namespace {

// Echoes; /stream sends three pieces; /forever streams until its client leaves; /silent never answers.
struct TestServer {
  explicit TestServer(Loop& the_loop, Endpoint where = {.socket_path = "", .host = "127.0.0.1"},
                      HttpLimits limits = {})
      : loop(the_loop) {
    auto listening = HttpServer::Listen(
        loop, where, [this](Exchange& exchange) { return Handle(this, exchange); }, limits);
    EXPECT_TRUE(listening.ok());
    server = std::move(*listening);
    endpoint = where;
    endpoint.port = server->port();
  }
  static Task<void> Handle(TestServer* self, Exchange& exchange) {
    const std::string path = exchange.request().path();
    if (path == "/stream") {
      Response head;
      (void)co_await exchange.Start(head);
      for (const char* piece : {"one ", "two ", "three"}) (void)co_await exchange.Write(piece);
      (void)co_await exchange.Finish();
    } else if (path == "/forever") {
      Response head;
      (void)co_await exchange.Start(head);
      const Promised<bool> gone;
      exchange.OnGone([gone] { gone.Set(true); });
      (void)co_await exchange.Write("hello");
      co_await gone;
      self->gone.Set(exchange.peer_gone());
    } else if (path == "/silent") {
      co_await self->never;
    } else {
      Response response;
      response.headers["x-query"] = exchange.request().query()["a b"];
      response.body = exchange.request().method + " " + path + " " + exchange.request().body;
      (void)co_await exchange.Send(response);
    }
  }
  Loop& loop;
  Endpoint endpoint;
  std::unique_ptr<HttpServer> server;
  Promised<bool> gone;
  Promised<bool> never;
};

Request Get(std::string target) { return {.method = "GET", .target = std::move(target)}; }

TEST(Http, AnswersOverTcpAndOverAUnixSocket) {
  Loop loop;
  TestServer tcp(loop);
  TestServer local(loop, {.socket_path = fmt::format("/tmp/muster-http-{}.sock", getpid())});
  for (TestServer* server : {&tcp, &local}) {
    auto answer = loop.RunTask(
        Fetch(loop, server->endpoint, {.method = "POST", .target = "/x%20y?a+b=c%26d", .body = "data"}, 2s));
    ASSERT_TRUE(answer.ok()) << answer.error().Text();
    EXPECT_EQ(answer->body, "POST /x y data");
    EXPECT_EQ(answer->headers["x-query"], "c&d");
  }
}

TEST(Http, StreamsInPieces) {
  Loop loop;
  TestServer server(loop);
  std::string body;
  auto answer = loop.RunTask(FetchStream(
      loop, server.endpoint, Get("/stream"),
      [&](std::string_view piece) {
        body += piece;
        return true;
      },
      2s));
  ASSERT_TRUE(answer.ok()) << answer.error().Text();
  EXPECT_EQ(body, "one two three");
}

TEST(Http, NoticesAClientThatLeavesInMidStream) {
  Loop loop;
  TestServer server(loop);
  auto answer = loop.RunTask(FetchStream(
      loop, server.endpoint, Get("/forever"), [](std::string_view) { return false; }, 2s));
  ASSERT_TRUE(answer.ok());
  auto wait = [](Promised<bool> gone) -> Task<bool> { co_return co_await gone; };
  EXPECT_TRUE(loop.RunTask(wait(server.gone)));
}

TEST(Http, EndsARequestThatIsNotAnsweredInTime) {
  Loop loop;
  TestServer server(loop);
  auto answer = loop.RunTask(Fetch(loop, server.endpoint, Get("/silent"), 50ms));
  ASSERT_FALSE(answer.ok());
  EXPECT_EQ(answer.error().code(), "timeout");
  server.never.Set(true);
}

TEST(Http, SaysThatNobodyListens) {
  Loop loop;
  auto answer = loop.RunTask(Fetch(loop, {.host = "127.0.0.1", .port = 1}, Get("/"), 1s));
  ASSERT_FALSE(answer.ok());
  EXPECT_EQ(answer.error().code(), "connect-failed");
  EXPECT_FALSE(loop.RunTask(TryConnect(loop, {.host = "127.0.0.1", .port = 1}, 1s)).ok());
}

std::string Raw(int port, const std::string& bytes) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::string answer;
  if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) {
    (void)!::write(fd, bytes.data(), bytes.size());
    char buffer[4096];
    for (ssize_t got; (got = ::read(fd, buffer, sizeof buffer)) > 0;)
      answer.append(buffer, static_cast<size_t>(got));
  }
  ::close(fd);
  return answer;
}

TEST(Http, RefusesWhatIsNotHttpAndGoesOn) {
  Loop loop;
  TestServer server(loop, {.host = "127.0.0.1"},
                    {.header_max_bytes = 1000, .body_max_bytes = 100, .idle = 300ms});
  const auto raw = [&](std::string bytes) {
    std::function<std::string()> work = [port = server.endpoint.port, bytes] { return Raw(port, bytes); };
    return loop.RunTask(loop.Blocking(std::move(work)));
  };
  EXPECT_TRUE(raw("garbage\r\n\r\n").starts_with("HTTP/1.1 400"));
  EXPECT_TRUE(raw("GET / HTTP/1.1\r\nx: " + std::string(3000, 'y') + "\r\n\r\n").starts_with("HTTP/1.1 431"));
  EXPECT_TRUE(raw("POST / HTTP/1.1\r\ncontent-length: 5000\r\n\r\n" + std::string(200, 'z'))
                  .starts_with("HTTP/1.1 413"));
  EXPECT_EQ(raw("GET / HT"), "");  // the idle time-out ends it
  const std::string two = raw("GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\nconnection: close\r\n\r\n");
  EXPECT_NE(two.find("GET /1 "), std::string::npos);
  EXPECT_NE(two.find("GET /2 "), std::string::npos);
}

TEST(Http, AnswersManyAtOnce) {
  Loop loop;
  TestServer server(loop);
  int done = 0;
  const Promised<bool> all;
  for (int i = 0; i < 100; ++i) {
    SpawnThen(Fetch(loop, server.endpoint, Get("/" + std::to_string(i)), 5s),
              [&, i](Result<Response> answer) {
                EXPECT_TRUE(answer.ok() && answer->body == fmt::format("GET /{} ", i));
                if (++done == 100) all.Set(true);
              });
  }
  auto wait = [](Promised<bool> gone) -> Task<bool> { co_return co_await gone; };
  EXPECT_TRUE(loop.RunTask(wait(all)));
}

TEST(Sse, SplitsEventsAtEveryByte) {
  const std::string stream =
      ": hello\r\n\r\nevent: a\r\ndata: 1\r\ndata: 2\r\n\r\n" + FormatSse("b", "x\ny", "7");
  for (size_t cut = 0; cut <= stream.size(); ++cut) {
    SseParser parser;
    auto events = parser.Feed(stream.substr(0, cut));
    for (auto& event : parser.Feed(stream.substr(cut))) events.push_back(event);
    ASSERT_EQ(events.size(), 2u) << cut;
    EXPECT_EQ(events[0].name, "a");
    EXPECT_EQ(events[0].data, "1\n2");
    EXPECT_EQ(events[1].data, "x\ny");
    EXPECT_EQ(events[1].id, "7");
  }
}

TEST(Url, EncodesAndDecodes) {
  EXPECT_EQ(UrlEncode("mall@rehearsal/ä"), "mall%40rehearsal%2F%C3%A4");
  EXPECT_EQ(UrlDecode("mall%40re%zz%4"), "mall@re%zz%4");
}

}  // namespace
}  // namespace muster::net
