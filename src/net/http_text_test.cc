#include <gtest/gtest.h>

#include "net/http.h"

namespace muster::net {
namespace {

std::vector<SseParser::Event> FeedAll(std::string_view stream, size_t cut) {
  SseParser parser;
  auto events = parser.Feed(stream.substr(0, cut));
  for (auto& event : parser.Feed(stream.substr(cut))) events.push_back(std::move(event));
  return events;
}

TEST(Sse, SplitsEventsAtEveryByteWhateverEndsTheLines) {
  const std::string lf = ": hello\n\nevent: a\ndata: 1\ndata: 2\n\ndata: x\n\n";
  for (const std::string end : {"\n", "\r", "\r\n"}) {
    std::string stream;
    for (const char c : lf) stream += c == '\n' ? end : std::string(1, c);
    for (size_t cut = 0; cut <= stream.size(); ++cut) {
      const auto events = FeedAll(stream, cut);
      ASSERT_EQ(events.size(), 2u) << cut << " of " << stream;
      EXPECT_EQ(events[0].name, "a");
      EXPECT_EQ(events[0].data, "1\n2");
      EXPECT_EQ(events[1].name, "");
      EXPECT_EQ(events[1].data, "x");
    }
  }
}

TEST(Sse, KeepsTheLastIdAndSkipsTheByteOrderMark) {
  const std::string stream =
      "\xef\xbb\xbf"
      "id: 7\ndata:1\n\ndata:  2\nretry: 5\n\nid\ndata\n\n";
  for (size_t cut = 0; cut <= stream.size(); ++cut) {
    const auto events = FeedAll(stream, cut);
    ASSERT_EQ(events.size(), 3u) << cut;
    EXPECT_EQ(events[0].id, "7");
    EXPECT_EQ(events[1].id, "7");
    EXPECT_EQ(events[1].data, " 2");
    EXPECT_EQ(events[2].id, "");
    EXPECT_EQ(events[2].data, "");
  }
}

TEST(Sse, LeavesOutAnEventThatIsNotWhole) { EXPECT_TRUE(FeedAll("event: a\n\ndata: 1\n", 3).empty()); }

TEST(Sse, FormatsLinesWhateverEndsThem) {
  const auto events = FeedAll(FormatSse("a", "1\n2\r3\r\n4\r\r5\n", "9"), 0);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].data, "1\n2\n3\n4\n\n5\n");
  EXPECT_EQ(events[0].id, "9");
  EXPECT_EQ(FormatSse("", ""), "data: \n\n");
}

TEST(Sse, LetsNoNameOrIdBreakOutOfItsLine) {
  const auto events = FeedAll(FormatSse("a\n\ndata: forged\n\n", "real", "1\r\rdata: forged"), 0);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].data, "real");
}

TEST(Request, TakesItsTargetApart) {
  const Request request{.target = "/a%2Fb%20c?x=1&y=a+b%26&flag&=none&x=2"};
  EXPECT_EQ(request.path(), "/a/b c");
  auto query = request.query();
  EXPECT_EQ(query["x"], "2");
  EXPECT_EQ(query["y"], "a b&");
  EXPECT_TRUE(query.contains("flag"));
  EXPECT_EQ((Request{.target = "/plain"}).path(), "/plain");
}

TEST(Url, GivesBackEveryByte) {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all.push_back(static_cast<char>(byte));
  EXPECT_EQ(UrlDecode(UrlEncode(all)), all);
  EXPECT_EQ(UrlDecode("a+b%zz%4"), "a+b%zz%4");
}

}  // namespace
}  // namespace muster::net
