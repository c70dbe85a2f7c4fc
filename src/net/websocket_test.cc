#include "net/websocket.h"

#include <gtest/gtest.h>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/beast/core/buffers_to_string.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/websocket.hpp>
#include <boost/beast/websocket/ssl.hpp>
#include <thread>
#include <tuple>

#include "net/tls_server_for_test.h"

namespace muster::net {
namespace {

namespace asio = boost::asio;
namespace websocket = boost::beast::websocket;

// Echoes each message; "bye" makes it close with code 4001, "vanish" without a word. Serves one connection,
// on a thread of its own.
class EchoServer {
 public:
  EchoServer() : acceptor_(io_, {asio::ip::make_address("127.0.0.1"), 0}) {
    thread_ = std::thread([this] {
      websocket::stream<asio::ip::tcp::socket> stream(acceptor_.accept());
      boost::system::error_code error;
      stream.accept(error);
      while (!error) {
        boost::beast::flat_buffer buffer;
        stream.read(buffer, error);
        if (error) break;
        stream.text(stream.got_text());
        if (boost::beast::buffers_to_string(buffer.data()) == "vanish") return;
        if (boost::beast::buffers_to_string(buffer.data()) == "bye") {
          stream.close(websocket::close_reason(4001), error);
          break;
        }
        stream.write(buffer.data(), error);
      }
    });
  }
  ~EchoServer() { thread_.join(); }
  int port() const { return acceptor_.local_endpoint().port(); }

 private:
  asio::io_context io_;
  asio::ip::tcp::acceptor acceptor_;
  std::thread thread_;
};

Task<std::string> Talk(Loop& loop, int port) {
  const Endpoint endpoint{.host = "127.0.0.1", .port = port};
  auto client = co_await WebSocketClient::Connect(loop, endpoint, "/ws", {}, 2s);
  if (!client.ok()) co_return client.error().Text();
  std::string heard;
  (void)co_await (*client)->Send("text", false);
  auto first = co_await (*client)->Receive(2s);
  heard += first->data + (first->binary ? "b " : "t ");
  (void)co_await (*client)->Send(std::string("\0\1", 2), true);
  auto second = co_await (*client)->Receive(2s);
  heard += std::to_string(second->data.size()) + (second->binary ? "b " : "t ");
  (void)co_await (*client)->SendFragmented("in three frames", false, 6);
  auto third = co_await (*client)->Receive(2s);
  heard += third->data + " ";
  (void)co_await (*client)->Send("bye", false);
  auto last = co_await (*client)->Receive(2s);
  co_return heard + (last->close ? std::to_string(last->close_code) : "open");
}

TEST(WebSocket, SendsAndGetsTextBinaryFragmentedAndTheCloseCode) {
  EchoServer server;
  Loop loop;
  EXPECT_EQ(loop.RunTask(Talk(loop, server.port())), "textt 2b in three frames 4001");
}

TEST(WebSocket, TellsTheStatusOfAServerThatRefuses) {
  Loop loop;
  auto server = HttpServer::Listen(loop, {.host = "127.0.0.1"}, [](Exchange& exchange) -> Task<void> {
    Response response;
    response.status = 404;
    (void)co_await exchange.Send(response);
  });
  ASSERT_TRUE(server.ok());
  const Endpoint endpoint{.host = "127.0.0.1", .port = (*server)->port()};
  auto client = loop.RunTask(WebSocketClient::Connect(loop, endpoint, "/ws", {}, 2s));
  ASSERT_FALSE(client.ok());
  EXPECT_EQ(client.error().code(), "websocket-refused");
  EXPECT_NE(client.error().message().find("404"), std::string::npos);
}

Task<int> CloseCodeAfter(Loop& loop, int port, std::string word) {
  const Endpoint endpoint{.host = "127.0.0.1", .port = port};
  auto client = co_await WebSocketClient::Connect(loop, endpoint, "/ws", {}, 2s);
  if (!client.ok()) co_return -1;
  (void)co_await (*client)->Send(word, false);
  auto last = co_await (*client)->Receive(2s);
  co_return last.ok() && last->close ? last->close_code : -2;
}

TEST(WebSocket, TellsAPeerThatVanishesFromOneThatCloses) {
  EchoServer server;
  Loop loop;
  EXPECT_EQ(loop.RunTask(CloseCodeAfter(loop, server.port(), "vanish")), 1006);
}

Task<std::string> CloseFirst(Loop& loop, int port) {
  const Endpoint endpoint{.host = "127.0.0.1", .port = port};
  auto client = co_await WebSocketClient::Connect(loop, endpoint, "/ws", {}, 2s);
  if (!client.ok()) co_return client.error().Text();
  const Status closed = co_await (*client)->Close(1000);
  co_return closed.ok() ? "closed" : closed.error().Text();
}

TEST(WebSocket, ClosesFirst) {
  EchoServer server;
  Loop loop;
  EXPECT_EQ(loop.RunTask(CloseFirst(loop, server.port())), "closed");
}

// The frames of one message as they stand on the wire: (opcode, final, size). All are masked and small.
using Wire = std::vector<std::tuple<int, bool, int>>;

Wire ReadFrames(asio::ip::tcp::socket& from) {
  Wire wire;
  while (wire.empty() || !std::get<1>(wire.back())) {
    unsigned char head[6];
    asio::read(from, asio::buffer(head));
    std::string payload(head[1] & 0x7f, 0);
    asio::read(from, asio::buffer(payload));
    wire.emplace_back(head[0] & 0x0f, (head[0] & 0x80) != 0, head[1] & 0x7f);
  }
  return wire;
}

Task<bool> SendInFragments(Loop& loop, int port) {
  const Endpoint endpoint{.host = "127.0.0.1", .port = port};
  auto client = co_await WebSocketClient::Connect(loop, endpoint, "/ws", {}, 2s);
  if (!client.ok()) co_return false;
  const Status sent = co_await (*client)->SendFragmented("0123456789", true, 4);
  co_return sent.ok();
}

TEST(WebSocket, SendsAFrameForEachFragment) {
  asio::io_context io;
  asio::ip::tcp::acceptor acceptor(io, {asio::ip::make_address("127.0.0.1"), 0});
  Wire wire;
  std::thread server([&] {
    websocket::stream<asio::ip::tcp::socket> stream(acceptor.accept());
    stream.accept();
    wire = ReadFrames(stream.next_layer());
  });
  Loop loop;
  EXPECT_TRUE(loop.RunTask(SendInFragments(loop, acceptor.local_endpoint().port())));
  server.join();
  EXPECT_EQ(wire, (Wire{{2, false, 4}, {0, false, 4}, {0, true, 2}}));
}

Task<std::string> TalkSecurely(Loop& loop, Endpoint endpoint) {
  auto client = co_await WebSocketClient::Connect(loop, endpoint, "/ws", {}, 5s);
  if (!client.ok()) co_return client.error().code();
  (void)co_await (*client)->Send("over TLS", false);
  auto echo = co_await (*client)->Receive(5s);
  co_return echo.ok() ? echo->data : echo.error().code();
}

TEST(WebSocket, SpeaksTlsToACertificateOfTheRightNameOnly) {
  for (const auto& [name, verify, outcome] :
       {std::tuple("localhost", true, "over TLS"), std::tuple("elsewhere.test", true, "tls-failed"),
        std::tuple("elsewhere.test", false, "over TLS")}) {
    TlsServer server([](TlsServer::Stream& next) {
      websocket::stream<TlsServer::Stream&> stream(next);
      boost::system::error_code error;
      stream.accept(error);
      boost::beast::flat_buffer buffer;
      if (!error) stream.read(buffer, error);
      stream.text(true);
      if (!error) stream.write(buffer.data(), error);
    });
    Loop loop;
    const Endpoint endpoint{
        .host = "127.0.0.1", .port = server.port(), .tls = true, .tls_name = name, .tls_verify = verify};
    EXPECT_EQ(loop.RunTask(TalkSecurely(loop, endpoint)), outcome) << name << verify;
  }
}

TEST(WebSocket, HasOneDeadlineForAllOfConnecting) {
  Loop loop;
  asio::io_context io;
  asio::ip::tcp::acceptor mute(io, {asio::ip::make_address("127.0.0.1"), 0});  // the kernel connects
  for (const bool tls : {false, true}) {
    const Endpoint endpoint{.host = "127.0.0.1", .port = mute.local_endpoint().port(), .tls = tls};
    auto client = loop.RunTask(WebSocketClient::Connect(loop, endpoint, "/ws", {}, 50ms));
    ASSERT_FALSE(client.ok());
    EXPECT_EQ(client.error().code(), "timeout");
  }
}

}  // namespace
}  // namespace muster::net
