#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>

#include "net/http.h"
#include "net/tls_server_for_test.h"

namespace muster::net {
namespace {

Request Get(std::string target) { return {.method = "GET", .target = std::move(target)}; }

// Reads a request's head and writes `answer`. The connection then ends without TLS's farewell.
std::function<void(TlsServer::Stream&)> Answer(std::string answer) {
  return [answer](TlsServer::Stream& stream) {
    boost::system::error_code error;
    std::string head;
    boost::asio::read_until(stream, boost::asio::dynamic_buffer(head), "\r\n\r\n", error);
    boost::asio::write(stream, boost::asio::buffer(answer), error);
  };
}

// Takes connections, as the kernel does for a listener, and says nothing.
class Mute {
 public:
  Mute() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(::listen(fd_, 16), 0);
    EXPECT_EQ(::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    endpoint.host = "127.0.0.1";
    endpoint.port = ntohs(address.sin_port);
  }
  ~Mute() { ::close(fd_); }
  Endpoint endpoint;

 private:
  int fd_;
};

TEST(HttpClient, TrustsACertificateOfTheRightNameOnly) {
  const std::string answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
  struct Case {
    std::string name;
    bool verify;
    bool works;
  };
  for (const Case& one : {Case{"localhost", true, true}, Case{"elsewhere.test", true, false},
                          Case{"elsewhere.test", false, true}, Case{"", true, false}}) {
    Loop loop;
    TlsServer server(Answer(answer));
    const Endpoint endpoint{.host = "127.0.0.1",
                            .port = server.port(),
                            .tls = true,
                            .tls_name = one.name,
                            .tls_verify = one.verify};
    auto got = loop.RunTask(Fetch(loop, endpoint, Get("/"), 5s));
    server.Join();
    ASSERT_EQ(got.ok(), one.works) << one.name << (got.ok() ? "" : got.error().Text());
    if (one.works) {
      EXPECT_EQ(got->body, "hi");
      EXPECT_EQ(server.server_name(), one.name);
    } else {
      EXPECT_EQ(got.error().code(), "tls-failed");
    }
  }
}

TEST(HttpClient, TellsABodyCutOffInTlsFromOneThatEnds) {
  struct Case {
    std::string answer;
    bool whole;
  };
  for (const Case& one : {Case{"HTTP/1.1 200 OK\r\n\r\npart", true},
                          Case{"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npart", false},
                          Case{"HTTP/1.1 200 OK\r\ntransfer-encoding: "
                               "chunked\r\n\r\n4\r\npart\r\n",
                               false}}) {
    for (const bool streamed : {false, true}) {
      Loop loop;
      TlsServer server(Answer(one.answer));
      const Endpoint endpoint{.host = "127.0.0.1", .port = server.port(), .tls = true, .tls_verify = false};
      std::string pieces;
      const auto take = [&](std::string_view piece) {
        pieces += piece;
        return true;
      };
      auto got = loop.RunTask(streamed ? FetchStream(loop, endpoint, Get("/"), take, 5s)
                                       : Fetch(loop, endpoint, Get("/"), 5s));
      ASSERT_EQ(got.ok(), one.whole) << one.answer;
      if (one.whole) {
        EXPECT_EQ(streamed ? pieces : got->body, "part");
      } else {
        EXPECT_EQ(got.error().code(), "bad-answer");
      }
    }
  }
}

TEST(HttpClient, GivesUpAtItsDeadlineWhateverItWaitsFor) {
  Loop loop;
  Mute mute;
  Endpoint secure = mute.endpoint;
  secure.tls = true;
  const auto take = [](std::string_view) { return true; };
  for (const Endpoint& endpoint : {mute.endpoint, secure}) {
    auto fetched = loop.RunTask(Fetch(loop, endpoint, Get("/"), 50ms));
    ASSERT_FALSE(fetched.ok());
    EXPECT_EQ(fetched.error().code(), "timeout");
    auto streamed = loop.RunTask(FetchStream(loop, endpoint, Get("/"), take, 50ms));
    ASSERT_FALSE(streamed.ok());
    EXPECT_EQ(streamed.error().code(), "timeout");
  }
  // A name that is looked up for longer than there is time.
  auto unnamed = loop.RunTask(TryConnect(loop, {.host = "nobody.invalid", .port = 1}, 0ms));
  ASSERT_FALSE(unnamed.ok());
  EXPECT_EQ(unnamed.error().code(), "timeout");
}

TEST(HttpClient, ConnectsFromTheAddressItIsTold) {
  Loop loop;
  Mute mute;
  mute.endpoint.source_address = "127.0.0.9";
  EXPECT_TRUE(loop.RunTask(TryConnect(loop, mute.endpoint, 2s)).ok());
  mute.endpoint.source_address = "192.0.2.1";  // not ours
  auto refused = loop.RunTask(TryConnect(loop, mute.endpoint, 2s));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), "connect-failed");
}

// A Unix listener whose queue holds one connection, and that is full.
class FullListener {
 public:
  FullListener() {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    endpoint.socket_path.copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(fd_, 0), 0);
    EXPECT_EQ(::connect(filler_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  ~FullListener() {
    ::close(filler_);
    ::close(fd_);
    ::unlink(endpoint.socket_path.c_str());
  }
  void TakeOne() { ::close(::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC)); }
  Endpoint endpoint{.socket_path = fmt::format("/tmp/muster-full-{}.sock", getpid())};

 private:
  int fd_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int filler_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
};

TEST(HttpClient, WaitsForAFullUnixListenerUntilItsDeadline) {
  Loop loop;
  FullListener full;
  auto waited = loop.RunTask(TryConnect(loop, full.endpoint, 60ms));
  ASSERT_FALSE(waited.ok());
  EXPECT_EQ(waited.error().code(), "timeout") << waited.error().Text();
  loop.After(60ms, [&full] { full.TakeOne(); });
  const Status taken = loop.RunTask(TryConnect(loop, full.endpoint, 5s));
  EXPECT_TRUE(taken.ok());
}

TEST(HttpClient, SendsNothingThatBreaksOutOfItsLine) {
  Loop loop;
  const Endpoint nowhere{.host = "127.0.0.1", .port = 1};
  for (const Request& request :
       {Get("/ HTTP/1.1\r\n\r\nGET /x"), Get("/a b"), Get(""), Request{.method = "GET /x\n"},
        Request{.headers = {{"x", "1\r\ny: 2"}}}, Request{.headers = {{"x: 1\r\ny", "2"}}}}) {
    auto got = loop.RunTask(Fetch(loop, nowhere, request, 1s));
    ASSERT_FALSE(got.ok());
    EXPECT_EQ(got.error().code(), "bad-request");
  }
}

}  // namespace
}  // namespace muster::net
