#include "net/resp.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace muster::net::resp {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;

Value Text(std::string text) { return {.type = Type::kBulk, .text = std::move(text)}; }
Value Number(int64_t number) { return {.type = Type::kInteger, .integer = number}; }

Value Only(std::string_view bytes) {
  Parser parser;
  auto values = parser.Feed(bytes);
  EXPECT_TRUE(values.ok()) << values.error().Text();
  if (!values.ok() || values->size() != 1) {
    ADD_FAILURE() << "not one value in " << bytes;
    return {};
  }
  return values->front();
}

std::string CodeOf(std::string_view bytes, Limits limits = {}) {
  Parser parser(limits);
  const auto values = parser.Feed(bytes);
  return values.ok() ? "" : values.error().code();
}

TEST(RespParser, ReadsEachTypeOfVersionTwo) {
  EXPECT_EQ(Only("+OK\r\n"), (Value{.type = Type::kSimple, .text = "OK"}));
  EXPECT_TRUE(Only("+OK\r\n").is_ok());
  EXPECT_EQ(Only("-ERR no\r\n"), (Value{.type = Type::kError, .text = "ERR no"}));
  EXPECT_EQ(Only(":-42\r\n"), Number(-42));
  EXPECT_EQ(Only("$4\r\na\r\nb\r\n"), Text("a\r\nb"));
  EXPECT_EQ(Only("$0\r\n\r\n"), Text(""));
  EXPECT_TRUE(Only("$-1\r\n").is_null());
  EXPECT_TRUE(Only("*-1\r\n").is_null());
  EXPECT_EQ(Only("*0\r\n"), (Value{.type = Type::kArray}));
  EXPECT_EQ(
      Only("*2\r\n*1\r\n:1\r\n$1\r\nx\r\n"),
      (Value{.type = Type::kArray, .items = {{.type = Type::kArray, .items = {Number(1)}}, Text("x")}}));
}

TEST(RespParser, ReadsEachTypeOfVersionThree) {
  EXPECT_TRUE(Only("_\r\n").is_null());
  EXPECT_EQ(Only("#t\r\n"), (Value{.type = Type::kBool, .integer = 1}));
  EXPECT_EQ(Only(",-1.5e3\r\n"), (Value{.type = Type::kDouble, .text = "-1.5e3"}));
  EXPECT_EQ(Only(",inf\r\n"), (Value{.type = Type::kDouble, .text = "inf"}));
  EXPECT_EQ(Only("(123456789012345678901234567890\r\n"),
            (Value{.type = Type::kBigNumber, .text = "123456789012345678901234567890"}));
  EXPECT_EQ(Only("!8\r\nERR a\r\nb\r\n"), (Value{.type = Type::kError, .text = "ERR a\r\nb"}));
  EXPECT_EQ(Only("=6\r\ntxt:ab\r\n"), (Value{.type = Type::kVerbatim, .text = "ab"}));
  EXPECT_EQ(Only("%1\r\n+a\r\n:1\r\n"),
            (Value{.type = Type::kMap, .items = {{.type = Type::kSimple, .text = "a"}, Number(1)}}));
  EXPECT_EQ(Only("~1\r\n:7\r\n"), (Value{.type = Type::kSet, .items = {Number(7)}}));
  EXPECT_EQ(Only(">1\r\n:7\r\n"), (Value{.type = Type::kPush, .items = {Number(7)}}));
  // An attribute is about the value after it, at the top as within a list.
  EXPECT_EQ(Only("|1\r\n+ttl\r\n:9\r\n:1\r\n"), Number(1));
  EXPECT_EQ(Only("*2\r\n:1\r\n|1\r\n+a\r\n*1\r\n:3\r\n:2\r\n"),
            (Value{.type = Type::kArray, .items = {Number(1), Number(2)}}));
}

TEST(RespParser, ReadsAStreamThatIsCutAnywhere) {
  const std::string stream = "*2\r\n$3\r\na\rb\r\n%1\r\n+k\r\n_\r\n:12\r\n$-1\r\n-MOVED 1 h:2\r\n";
  Parser whole;
  const auto wanted = whole.Feed(stream);
  ASSERT_TRUE(wanted.ok());
  ASSERT_EQ(wanted->size(), 4u);
  for (size_t first = 0; first <= stream.size(); ++first) {
    for (size_t second = first; second <= stream.size(); ++second) {
      Parser parser;
      std::vector<Value> values;
      for (const std::string& part :
           {stream.substr(0, first), stream.substr(first, second - first), stream.substr(second)}) {
        auto more = parser.Feed(part);
        ASSERT_TRUE(more.ok());
        for (Value& value : *more) values.push_back(std::move(value));
      }
      EXPECT_EQ(values, *wanted) << first << " " << second;
    }
  }
}

TEST(RespParser, RefusesWhatIsNotTheProtocolAndStaysBroken) {
  for (const char* bytes : {"HTTP/1.1 400 Bad Request\r\n",
                            "\r\n",
                            ":\r\n",
                            ":1x\r\n",
                            ":+-1\r\n",
                            ":99999999999999999999\r\n",
                            "$-2\r\n",
                            "$x\r\n",
                            "$1\r\nabc",
                            "*-2\r\n",
                            "*?\r\n",
                            "$?\r\n",
                            "%-1\r\n",
                            "#x\r\n",
                            "_x\r\n",
                            ",1.2.3\r\n",
                            ",\r\n",
                            "(1.5\r\n",
                            "(\r\n",
                            "=2\r\nab\r\n",
                            "=5\r\nplain\r\n"}) {
    EXPECT_EQ(CodeOf(bytes), "bad-resp") << bytes;
  }
  Parser parser;
  EXPECT_FALSE(parser.Feed("+OK\r\nx\r\n").ok());
  EXPECT_FALSE(parser.Feed("+OK\r\n").ok());
}

TEST(RespParser, KeepsItsLimitsBeforeItHoldsWhatIsBeyond) {
  EXPECT_EQ(CodeOf("$100\r\n", {.bytes = 100}), "bad-resp");
  EXPECT_EQ(CodeOf("$18446744073709551615\r\n"), "bad-resp");
  EXPECT_EQ(CodeOf("*4000000000\r\n"), "bad-resp");
  EXPECT_EQ(CodeOf("*2\r\n$50\r\n" + std::string(50, 'x') + "\r\n$50\r\n", {.bytes = 100}), "bad-resp");
  EXPECT_EQ(CodeOf("*2\r\n*2\r\n:1\r\n:2\r\n:3\r\n", {.items = 4}), "bad-resp");
  EXPECT_EQ(CodeOf("*2\r\n*2\r\n:1\r\n:2\r\n:3\r\n", {.items = 5}), "");
  EXPECT_EQ(CodeOf("+" + std::string(101, 'x'), {.line = 100}), "bad-resp");
  EXPECT_EQ(CodeOf("+" + std::string(100, 'x') + "\r\n", {.line = 100}), "bad-resp");
  EXPECT_EQ(CodeOf("*1\r\n*1\r\n*1\r\n", {.depth = 2}), "bad-resp");
  EXPECT_EQ(CodeOf("*1\r\n*1\r\n:1\r\n", {.depth = 2}), "");
  // Of one answer: the next one may be as large again.
  Parser parser({.bytes = 20, .items = 2});
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(parser.Feed("*1\r\n$5\r\nabcde\r\n").ok());
}

TEST(RespCommand, IsSentWithLengthsSoThatAnyBytesPass) {
  EXPECT_EQ(Encode({"SET", "", std::string("a\r\n\0", 4)}),
            std::string("*3\r\n$3\r\nSET\r\n$0\r\n\r\n$4\r\na\r\n\0\r\n", 29));
}

TEST(RespValue, IsReadAsNumbersTextsAndPairs) {
  EXPECT_EQ(Number(3).AsInteger(), 3);
  EXPECT_EQ(Text("-7").AsInteger(), -7);
  EXPECT_EQ(Text("7x").AsInteger(), std::nullopt);
  EXPECT_EQ(Only("-ERR 7\r\n").AsInteger(), std::nullopt);
  EXPECT_THAT(*Only("*3\r\n$1\r\na\r\n:1\r\n$-1\r\n").AsTexts(), ElementsAre("a", "1", ""));
  EXPECT_EQ(Only("*1\r\n*0\r\n").AsTexts(), std::nullopt);
  EXPECT_THAT(*Only("*2\r\n$4\r\nsave\r\n$0\r\n\r\n").AsPairs(), ElementsAre(Pair("save", "")));
  EXPECT_THAT(*Only("%1\r\n+a\r\n:1\r\n").AsPairs(), ElementsAre(Pair("a", "1")));
  EXPECT_EQ(Only("*1\r\n:1\r\n").AsPairs(), std::nullopt);
}

TEST(RespValue, ARefusalSaysWhetherAPasswordOrTimeMendsIt) {
  const Value moved = Only("-MOVED 12 10.0.0.1:7001\r\n");
  EXPECT_EQ(moved.error_code(), "MOVED");
  EXPECT_EQ(Text("MOVED").error_code(), "");
  EXPECT_EQ(RefusedError(moved, "GET").Text(), "redis refuses GET: MOVED 12 10.0.0.1:7001 [redis-refused]");
  EXPECT_EQ(RefusedError(Only("-NOAUTH Authentication required.\r\n"), "GET").code(), "redis-denied");
  EXPECT_EQ(RefusedError(Only("-LOADING Redis is loading\r\n"), "GET").kind(), ErrorKind::kUnavailable);
}

TEST(RespValue, IsDescribedShortAndWithoutControlBytes) {
  EXPECT_EQ(Describe(Only("*3\r\n:1\r\n$3\r\na\x1b[\r\n_\r\n")), "[(integer) 1, a?[, (null)]");
  Value many{.type = Type::kArray};
  for (int i = 0; i < 1000; ++i) many.items.push_back(Text("äää"));
  const std::string text = Describe(many);
  EXPECT_LT(text.size(), 310u);
  EXPECT_THAT(text, HasSubstr("…"));
  EXPECT_THAT(text, Not(HasSubstr("\xc3…")));
}

}  // namespace
}  // namespace muster::net::resp
