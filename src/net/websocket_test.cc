#include "net/websocket.h"

#include <gtest/gtest.h>

#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/buffers_to_string.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/websocket.hpp>
#include <thread>

namespace muster::net {
namespace {

namespace asio = boost::asio;
namespace websocket = boost::beast::websocket;

// Echoes each message; "bye" makes it close with code 4001. Serves one connection, on a thread of its own.
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

}  // namespace
}  // namespace muster::net
