#include "push/loop/http.h"

#include <gtest/gtest.h>

namespace muster::push::http {
namespace {

Head Parse(std::string_view text, Request& request) { return ParseHead(text, request); }
int StatusOf(std::string_view text) {
  Request request;
  const Head head = ParseHead(text, request);
  return head.parsed == Parsed::kBad ? head.status : head.parsed == Parsed::kWhole ? 200 : 0;
}

TEST(HttpHead, IsReadWithWhatASocketIoClientSends) {
  Request request;
  const std::string text =
      "GET /socket.io/?EIO=4&transport=websocket&t=abc HTTP/1.1\r\nHost: a:1\r\nConnection: keep-alive, "
      "Upgrade\r\n"
      "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key:  dGhlIHNhbXBsZSBub25jZQ== \r\n"
      "Origin: http://b\r\n\r\nrest";
  const Head head = Parse(text, request);
  ASSERT_EQ(head.parsed, Parsed::kWhole);
  EXPECT_EQ(text.substr(head.size), "rest");
  EXPECT_EQ(request.method, "GET");
  EXPECT_EQ(request.path, "/socket.io/");
  EXPECT_EQ(QueryValue(request.query, "transport"), "websocket");
  EXPECT_EQ(QueryValue(request.query, "EIO"), "4");
  EXPECT_EQ(QueryValue(request.query, "sid"), "");
  EXPECT_TRUE(Names(request.connection, "upgrade"));
  EXPECT_EQ(request.websocket_key, "dGhlIHNhbXBsZSBub25jZQ==");
  EXPECT_EQ(request.websocket_version, "13");
  EXPECT_EQ(request.origin, "http://b");
  EXPECT_TRUE(request.keep_alive);
}

TEST(HttpHead, WantsMoreAtEveryCut) {
  const std::string text = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
  for (size_t size = 0; size < text.size(); ++size) EXPECT_EQ(StatusOf(text.substr(0, size)), 0) << size;
  EXPECT_EQ(StatusOf(text), 200);
}

TEST(HttpHead, KeepsOneVersionAliveAndNotTheOther) {
  Request request;
  Parse("GET / HTTP/1.0\r\n\r\n", request);
  EXPECT_FALSE(request.keep_alive);
  Parse("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", request);
  EXPECT_TRUE(request.keep_alive);
  Parse("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", request);
  EXPECT_FALSE(request.keep_alive);
}

TEST(HttpHead, RefusesWhatTwoServersCouldReadDifferently) {
  EXPECT_EQ(StatusOf("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"), 400);
  EXPECT_EQ(StatusOf("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
            400);
  EXPECT_EQ(StatusOf("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n"), 400);
  EXPECT_EQ(StatusOf("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: +1\r\n\r\n"), 400);
  EXPECT_EQ(StatusOf("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1 1\r\n\r\n"), 400);
  EXPECT_EQ(StatusOf("GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n folded\r\n\r\n"), 400);
  EXPECT_EQ(StatusOf("GET / HTTP/1.1\r\nHost : a\r\n\r\n"), 400);
  EXPECT_EQ(StatusOf("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), 400);
  EXPECT_EQ(StatusOf("GET / HTTP/1.1\r\nHost: h\r\nA: b\x01\r\n\r\n"), 400);
  EXPECT_EQ(StatusOf("GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"), 501);
}

TEST(HttpHead, WantsOneHostOfHttp11) {
  EXPECT_EQ(StatusOf("GET / HTTP/1.1\r\n\r\n"), 400);
  EXPECT_EQ(StatusOf("GET / HTTP/1.1\r\nConnection: close\r\n\r\n"), 400);
  EXPECT_EQ(StatusOf("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\nhost: a\r\n\r\n"), 400);
  EXPECT_EQ(StatusOf("GET / HTTP/1.1\r\nHost:\r\n\r\n"), 200) << "of a target without authority";
  EXPECT_EQ(StatusOf("GET / HTTP/1.0\r\n\r\n"), 200);
  EXPECT_EQ(StatusOf("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), 200);
}

TEST(HttpHead, RefusesWhatIsNoRequest) {
  EXPECT_EQ(StatusOf("\x16\x03\x01\x02"), 400) << "TLS on a plain port is told at once";
  EXPECT_EQ(StatusOf("GET /\r\n\r\n"), 400);
  EXPECT_EQ(StatusOf("GET / a HTTP/1.1\r\n\r\n"), 400);
  EXPECT_EQ(StatusOf("GET / HTTP/2.0\r\n\r\n"), 505);
  EXPECT_EQ(StatusOf("GET example.org HTTP/1.1\r\n\r\n"), 400);
  EXPECT_EQ(StatusOf("GET /" + std::string(20000, 'x')), 431);
  std::string many = "GET / HTTP/1.1\r\nHost: h\r\n";
  for (int i = 0; i < 101; ++i) many += "A: b\r\n";
  EXPECT_EQ(StatusOf(many + "\r\n"), 431);
}

TEST(HttpHead, TakesTheFormThatProxiesAreAskedIn) {
  Request request;
  ASSERT_EQ(Parse("GET http://a:80/b?c=d HTTP/1.1\r\nHost: h\r\n\r\n", request).parsed, Parsed::kWhole);
  EXPECT_EQ(request.path, "/b");
  EXPECT_EQ(request.query, "c=d");
}

TEST(HttpChunks, AreReadWhateverTheirCutsAndTrailers) {
  const std::string text = "4;a=b\r\nabcd\r\n2\r\nef\r\n0\r\nX: y\r\n\r\n";
  std::string body;
  for (size_t size = 0; size < text.size(); ++size) {
    EXPECT_EQ(ParseChunks(text.substr(0, size), 100, body).parsed, Parsed::kNeedMore) << size;
  }
  const Chunks chunks = ParseChunks(text + "next", 100, body);
  EXPECT_EQ(chunks.parsed, Parsed::kWhole);
  EXPECT_EQ(chunks.size, text.size());
  EXPECT_EQ(body, "abcdef");
}

TEST(HttpChunks, AreGoneOnWithWhereTheLastWholeOneEnded) {
  const std::string text = "4;a=b\r\nabcd\r\n2\r\nef\r\n0\r\nX: y\r\n\r\n";
  for (size_t first = 0; first < text.size(); ++first) {
    std::string body;
    const Chunks begun = ParseChunks(text.substr(0, first), 100, body);
    ASSERT_LE(begun.size, first);
    // What was whole isn't looked at again.
    const std::string rest = std::string(begun.size, '?') + text.substr(begun.size);
    const Chunks whole = ParseChunks(rest, 100, body, begun.size);
    EXPECT_EQ(whole.parsed, Parsed::kWhole) << first;
    EXPECT_EQ(whole.size, text.size());
    EXPECT_EQ(body, "abcdef");
  }
}

TEST(HttpChunks, TakeNotMuchMoreRoomThanTheirBody) {
  std::string text, body;
  const std::string extension(100, 'x');
  for (int i = 0; i < 2000; ++i) text += "1;" + extension + "\r\na\r\n";
  EXPECT_TRUE(ParseChunks(text, 10'000, body).too_large);
  EXPECT_EQ(ParseChunks(text.substr(0, 50'000), 10'000, body).parsed, Parsed::kNeedMore);
}

TEST(HttpChunks, AreBoundedAndStrict) {
  std::string body;
  EXPECT_TRUE(ParseChunks("6\r\nabcdef\r\n0\r\n\r\n", 5, body).too_large);
  EXPECT_TRUE(ParseChunks("ffffffffffffffff\r\n", 5, body).too_large);
  EXPECT_EQ(ParseChunks("g\r\n", 5, body).parsed, Parsed::kBad);
  EXPECT_EQ(ParseChunks("\r\n", 5, body).parsed, Parsed::kBad);
  EXPECT_EQ(ParseChunks("1\r\nabc", 5, body).parsed, Parsed::kBad);
  EXPECT_EQ(ParseChunks(std::string(200, '0'), 5, body).parsed, Parsed::kBad);
}

TEST(HttpQuery, IsLookedUpByWholeNames) {
  EXPECT_EQ(QueryValue("asid=1&sid=2&sid=3", "sid"), "2");
  EXPECT_EQ(QueryValue("sid", "sid"), "");
  EXPECT_EQ(QueryValue("sidx=1", "sid"), "");
  EXPECT_EQ(DecodePercent("a%20b+c%zz%4"), "a b c%zz%4");
}

TEST(HttpResponse, SaysItsLengthAndWhetherItIsTheLast) {
  std::string out;
  AppendResponse(out, 200, "A: b\r\n", "hi", true);
  EXPECT_EQ(out, "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 2\r\n\r\nhi");
  out.clear();
  AppendResponse(out, 204, "", "", false);
  EXPECT_EQ(out, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
}

}  // namespace
}  // namespace muster::push::http
