#include "push/socketio/json.h"

#include <gtest/gtest.h>

namespace muster::push::json {
namespace {

TEST(Json, KnowsWhatIsRightAndWhatIsNot) {
  for (const char* good : {"1", "-0.5e+3", "0", "\"\"", "\"a\\u00e9\\n\"", "[]", "[1,[2],{}]", "{}",
                           " { \"a\" : [ ] } ", "true", "false", "null", "1e9"}) {
    EXPECT_TRUE(IsValid(good)) << good;
  }
  for (const char* bad : {"",           "01",        "1.",     ".5",  "+1",   "-",     "1e",      "\"",
                          "\"\\x\"",    "\"\\u12\"", "\"\n\"", "[",   "[1,]", "[1 2]", "{a:1}",   "{\"a\"}",
                          "{\"a\":1,}", "tru",       "nul",    "1 2", "[]]",  "'a'",   "{\"a\":}"}) {
    EXPECT_FALSE(IsValid(bad)) << bad;
  }
}

TEST(Json, IsNotFooledByDepth) {
  const std::string deep(200, '[');
  EXPECT_FALSE(IsValid(deep + std::string(200, ']')));
  EXPECT_TRUE(IsValid(std::string(90, '[') + std::string(90, ']')));
}

TEST(JsonArray, GivesItsElementsAsTheyStand) {
  std::vector<std::string_view> elements;
  ASSERT_TRUE(ReadArray(R"( ["msg" , {"a":[1]},2 ] )", elements));
  EXPECT_EQ(elements, (std::vector<std::string_view>{"\"msg\"", R"({"a":[1]})", "2"}));
  EXPECT_TRUE(ReadArray("[]", elements));
  EXPECT_TRUE(elements.empty());
  EXPECT_FALSE(ReadArray("{}", elements));
  EXPECT_FALSE(ReadArray("[1]x", elements));
}

TEST(JsonMember, IsFoundAlsoBehindOthersAndEscaped) {
  EXPECT_EQ(Member(R"({"a":{"b":1},"b":"x"})", "b"), "\"x\"");
  EXPECT_EQ(Member(R"({"\u0061b":1})", "ab"), "1");
  EXPECT_EQ(Member(R"({"a":1,"a":2})", "a"), "2");
  EXPECT_EQ(Member("{}", "a"), std::nullopt);
  EXPECT_EQ(Member("[1]", "a"), std::nullopt);
  EXPECT_EQ(Member(R"({"a":1,)", "a"), std::nullopt);
}

TEST(JsonString, IsDecodedAndEncoded) {
  EXPECT_EQ(ReadString(R"("a\"\\\/\b\f\n\r\t")"), "a\"\\/\b\f\n\r\t");
  EXPECT_EQ(ReadString(R"("\u00e9\ud83d\ude00")"), "\xc3\xa9\xf0\x9f\x98\x80");
  EXPECT_EQ(ReadString(R"("\ud83d")"), "\xef\xbf\xbd");
  EXPECT_EQ(ReadString("1"), std::nullopt);
  EXPECT_EQ(Quoted("a\"\\\n\x01\xc3\xa9\xff"), "\"a\\\"\\\\\\n\\u0001\xc3\xa9\xef\xbf\xbd\"");
}

TEST(JsonString, IsCopiedOnlyWhereItHasEscapes) {
  std::string store = "as before";
  const std::string_view plain = "\"h\xc3\xa9llo\"";
  EXPECT_EQ(ViewString(plain, store)->data(), plain.data() + 1);
  EXPECT_EQ(ViewId("12", store), "12");
  EXPECT_EQ(store, "as before");
  EXPECT_EQ(ViewId(R"("a\u0062")", store), "ab");
  EXPECT_EQ(store, "ab");
  EXPECT_EQ(ViewId(R"("")", store), std::nullopt);
  EXPECT_EQ(ViewString("1", store), std::nullopt);
}

TEST(JsonPlaces, AreOfAttachmentsThatThereAre) {
  for (const char* good :
       {R"([])", R"(["a",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}])",
        R"([ { "num" : 0 , "_placeholder" : true } ])",
        R"([{"a":[{"b":{"_placeholder":true,"num":1e0}}]},[]])", R"([{"_placeholder":true,"num":0.5}])",
        R"([{"_placeholder":true,"num":-0}])",
        R"([{"_placeholder":true,"num":1},{"_placeholder":true,"num":1}])",
        R"([{"_placeholder":"true","num":2}])", R"([{"_placeholder":true,"num":2,"num":0}])",
        R"([{"_placeholder":true,"num":2,"_placeholder":null}])",
        R"([{"_placeholder":true,"num":0,"x":{"_placeholder":true,"num":2}}])",
        R"(["{\"_placeholder\":true}"])", R"([{},{"a":{}},"",null,1.5])"}) {
    EXPECT_TRUE(PlacesAreWithin(good, 2)) << good;
  }
  for (const char* bad :
       {R"([{"_placeholder":true,"num":2}])", R"([{"_placeholder":true}])",
        R"([{"_placeholder":true,"num":-1}])", R"([{"_placeholder":true,"num":null}])",
        R"([{"_placeholder":true,"num":[0]}])", R"([{"_placeholder":true,"num":1e400}])",
        R"([{"_placeholder":true,"num":0,"num":2}])",
        R"([1,{"a":[[{"b":{"num":9,"_placeholder":true}}]]},2])",
        R"([{"_placeholder":false,"_placeholder":true}])", R"([{"\u005fplaceholder":true,"\u006eum":2}])"}) {
    EXPECT_FALSE(PlacesAreWithin(bad, 2)) << bad;
  }
  EXPECT_FALSE(PlacesAreWithin("[", 2));
  EXPECT_FALSE(PlacesAreWithin("[x]", 2));
  EXPECT_FALSE(PlacesAreWithin(R"({"a" 1)", 2));
}

TEST(JsonId, IsAStringOrANumberAsItIsWritten) {
  EXPECT_EQ(ReadId("9007199254740993"), "9007199254740993");
  EXPECT_EQ(ReadId("\"u1\""), "u1");
  EXPECT_EQ(ReadId("\"\""), std::nullopt);
  EXPECT_EQ(ReadId("true"), std::nullopt);
  EXPECT_EQ(ReadInteger("12"), 12);
  EXPECT_EQ(ReadInteger("1.5"), std::nullopt);
}

}  // namespace
}  // namespace muster::push::json
