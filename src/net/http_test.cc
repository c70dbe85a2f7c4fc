#include "net/http.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <ctime>

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

TEST(Http, TellsWhoIsAtTheOtherEndOfAUnixSocketWhateverTheyClaim) {
  Loop loop;
  std::vector<std::string> peers;
  const HttpServer::Handler handler = [&](Exchange& exchange) -> Task<void> {
    const auto found = exchange.request().headers.find("x-muster-peer");
    peers.push_back(found == exchange.request().headers.end() ? "" : found->second);
    Response answer;
    const Status sent = co_await exchange.Send(std::move(answer));
    (void)sent;
  };
  const std::string path = fmt::format("/tmp/muster-peer-{}.sock", getpid());
  const auto local = HttpServer::Listen(loop, {.socket_path = path}, handler);
  const auto tcp = HttpServer::Listen(loop, {.host = "127.0.0.1"}, handler);
  ASSERT_TRUE(local.ok() && tcp.ok());
  Request request = Get("/");
  request.headers["x-muster-peer"] = "4242";
  ASSERT_TRUE(loop.RunTask(Fetch(loop, {.socket_path = path}, request, 2s)).ok());
  const Endpoint over_tcp{.host = "127.0.0.1", .port = (*tcp)->port()};
  ASSERT_TRUE(loop.RunTask(Fetch(loop, over_tcp, request, 2s)).ok());
  EXPECT_EQ(peers, (std::vector<std::string>{std::to_string(getuid()), ""}));
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

// The client's side of a connection by hand.
int Dial(int port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  return fd;
}

void SendAll(int fd, std::string_view bytes) {
  EXPECT_EQ(::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
}

std::string ReadToEnd(int fd) {
  std::string all;
  char buffer[4096];
  for (ssize_t got; (got = ::read(fd, buffer, sizeof buffer)) > 0;)
    all.append(buffer, static_cast<size_t>(got));
  return all;
}

Task<std::string> Work(Loop& loop, std::function<std::string()> work) {
  co_return co_await loop.Blocking(std::move(work));
}

Task<bool> Wait(Promised<bool> promised) { co_return co_await promised; }

TEST(Http, CountsTheIdleTimeFromByteToByte) {
  Loop loop;
  TestServer server(loop, {.host = "127.0.0.1"}, {.idle = 300ms});
  // Ten bytes, 60 ms apart: 600 ms in all.
  const auto trickle = [](Loop& on, int port) -> Task<std::string> {
    const int fd = Dial(port);
    SendAll(fd, "POST / HTTP/1.1\r\nconnection: close\r\ncontent-length: 10\r\n\r\n");
    for (int i = 0; i < 10; ++i) {
      co_await on.Sleep(60ms);
      SendAll(fd, "x");
    }
    std::function<std::string()> read = [fd] { return ReadToEnd(fd); };
    std::string answer = co_await on.Blocking(std::move(read));
    ::close(fd);
    co_return answer;
  };
  EXPECT_NE(loop.RunTask(trickle(loop, server.endpoint.port)).find("POST / xxxxxxxxxx"), std::string::npos);
}

TEST(Http, NoticesThatAClientLeavesThoughItHadSentMore) {
  Loop loop;
  TestServer server(loop);
  const int port = server.endpoint.port;
  std::function<std::string()> leave = [port] {
    const int fd = Dial(port);
    SendAll(fd, "GET /forever HTTP/1.1\r\n\r\n");
    char byte;
    EXPECT_EQ(::read(fd, &byte, 1), 1);  // the answer has begun
    SendAll(fd, "something else");
    ::close(fd);
    return std::string();
  };
  loop.RunTask(Work(loop, std::move(leave)));
  EXPECT_TRUE(loop.RunTask(Wait(server.gone)));
}

TEST(Http, StreamsUntilTheEndToAClientThatKnowsNoChunks) {
  Loop loop;
  TestServer server(loop);
  const int port = server.endpoint.port;
  const auto ask = [&](std::string head) {
    std::function<std::string()> work = [port, head] { return Raw(port, head); };
    return loop.RunTask(Work(loop, std::move(work)));
  };
  const std::string old = ask("GET /stream HTTP/1.0\r\n\r\n");
  EXPECT_EQ(old.find("chunked"), std::string::npos);
  EXPECT_TRUE(old.ends_with("\r\n\r\none two three")) << old;
  EXPECT_TRUE(ask("HEAD /stream HTTP/1.1\r\n\r\n").ends_with("\r\n\r\n"));
}

// Streams "one", nothing and "two", and counts the calls of OnGone.
Task<void> StreamWithAGap(Exchange& exchange, int* gone, Promised<bool> over) {
  Response head;
  (void)co_await exchange.Start(head);
  exchange.OnGone([gone] { ++*gone; });
  for (const char* piece : {"one", "", "two"}) (void)co_await exchange.Write(piece);
  (void)co_await exchange.Finish();
  over.Set(true);
}

TEST(Http, AnEmptyPieceEndsNoStreamAndNobodyIsGoneAfterItsEnd) {
  Loop loop;
  int gone = 0;
  const Promised<bool> over;
  const HttpServer::Handler handler = [&](Exchange& exchange) {
    return StreamWithAGap(exchange, &gone, over);
  };
  auto server = HttpServer::Listen(loop, {.host = "127.0.0.1"}, handler);
  ASSERT_TRUE(server.ok());
  const Endpoint endpoint{.host = "127.0.0.1", .port = (*server)->port()};
  auto answer = loop.RunTask(Fetch(loop, endpoint, Get("/"), 2s));
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(answer->body, "onetwo");
  EXPECT_TRUE(loop.RunTask(Wait(over)));
  const Promised<bool> later;  // posted behind whatever the end has posted
  loop.Post([&] { loop.Post([later] { later.Set(true); }); });
  EXPECT_TRUE(loop.RunTask(Wait(later)));
  EXPECT_EQ(gone, 0);
}

TEST(Http, AServerMayEndWhileItsConnectionsAreBusy) {
  Loop loop;
  auto server = std::make_unique<TestServer>(loop);
  const int idle = Dial(server->endpoint.port);
  const int half = Dial(server->endpoint.port);
  SendAll(half, "POST / HTTP/1.1\r\ncontent-length: 10\r\n\r\nxx");
  const Promised<bool> streaming, ended;
  const auto take = [streaming](std::string_view) {
    streaming.Set(true);
    return true;
  };
  SpawnThen(FetchStream(loop, server->endpoint, Get("/forever"), take, 5s), [ended](Result<Response> answer) {
    EXPECT_FALSE(answer.ok());
    ended.Set(true);
  });
  EXPECT_TRUE(loop.RunTask(Wait(streaming)));
  server->server.reset();
  EXPECT_TRUE(loop.RunTask(Wait(ended)));
  EXPECT_TRUE(loop.RunTask(Wait(server->gone)));  // the handler is told, so it ends too
  EXPECT_EQ(ReadToEnd(idle) + ReadToEnd(half), "");
  ::close(idle);
  ::close(half);
}

TEST(Http, WaitsWhenThereAreNoDescriptorsLeftAndGoesOnThen) {
  Loop loop;
  TestServer server(loop);
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const int next = ::dup(fd);
  ::close(next);
  rlimit none = before;
  none.rlim_cur = static_cast<rlim_t>(next);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(server.endpoint.port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  SendAll(fd, "GET /x HTTP/1.1\r\nconnection: close\r\n\r\n");
  const auto wait = [](Loop& on) -> Task<bool> {
    co_await on.Sleep(250ms);
    co_return true;
  };
  const std::clock_t begun = std::clock();
  loop.RunTask(wait(loop));
  const auto used = 1000 * (std::clock() - begun) / CLOCKS_PER_SEC;
  EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_LT(used, 100) << "ms of processor time";
  std::function<std::string()> read = [fd] { return ReadToEnd(fd); };
  EXPECT_NE(loop.RunTask(Work(loop, std::move(read))).find("GET /x "), std::string::npos);
  ::close(fd);
}

TEST(Http, NamesAnIpv6HostAsUrlsDo) {
  Loop loop;
  std::string host;
  const HttpServer::Handler handler = [&](Exchange& exchange) -> Task<void> {
    return [](Exchange& on, std::string* seen) -> Task<void> {
      *seen = on.request().headers.find("host")->second;
      Response none;
      none.status = 204;
      (void)co_await on.Send(none);
    }(exchange, &host);
  };
  auto server = HttpServer::Listen(loop, {.host = "::1"}, handler);
  if (!server.ok()) GTEST_SKIP() << "no IPv6 here";
  auto answer = loop.RunTask(Fetch(loop, {.host = "::1", .port = (*server)->port()}, Get("/"), 2s));
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(host, fmt::format("[::1]:{}", (*server)->port()));
  EXPECT_EQ(answer->status, 204);
  EXPECT_FALSE(answer->headers.contains("content-length"));
}

}  // namespace
}  // namespace muster::net
