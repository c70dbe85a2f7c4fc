#include "push/engineio/packet.h"

#include <gtest/gtest.h>

namespace muster::push::engineio {
namespace {

std::vector<std::string> Texts(std::string_view body, bool (*parse)(std::string_view, std::vector<Packet>&)) {
  std::vector<Packet> packets;
  if (!parse(body, packets)) return {"bad"};
  std::vector<std::string> texts;
  for (const Packet& packet : packets)
    texts.push_back(packet.binary ? "<" + packet.bytes + ">" : std::string(packet.text));
  return texts;
}

using Strings = std::vector<std::string>;

TEST(Payload, IsTakenApartAtItsSeparators) {
  EXPECT_EQ(Texts("4hello", ParsePayload), Strings({"4hello"}));
  EXPECT_EQ(Texts("4a\x1e"
                  "4b\x1e"
                  "3",
                  ParsePayload),
            Strings({"4a", "4b", "3"}));
  EXPECT_EQ(Texts("4hello\x1e"
                  "bQUJD",
                  ParsePayload),
            Strings({"4hello", "<ABC>"}));
  EXPECT_EQ(Texts("4", ParsePayload), Strings({"4"}));
}

TEST(Payload, IsRefusedWholeWhereOnePacketIsWrong) {
  const std::string nothing_first = std::string("\x1e") + "4a";
  for (const std::string& body : Strings{"", "abc", "4a\x1e", nothing_first, "7x", "b???", "4\xff"}) {
    EXPECT_EQ(Texts(body, ParsePayload), Strings({"bad"})) << body;
  }
}

TEST(Payload, IsPutTogetherAsItIsTakenApart) {
  std::string payload;
  AppendPacket(payload, false, "4one");
  AppendPacket(payload, true, std::string_view("\0\x01", 2));
  EXPECT_EQ(payload,
            "4one\x1e"
            "bAAE=");
  EXPECT_EQ(Texts(payload, ParsePayload), Strings({"4one", std::string("<\0\x01>", 4)}));
}

TEST(Payload3, CountsInUtf16) {
  EXPECT_EQ(Texts("6:4hello2:4\xe2\x82\xac", ParsePayload3), Strings({"4hello", "4\xe2\x82\xac"}));
  EXPECT_EQ(Texts("3:4\xf0\x9f\x98\x80", ParsePayload3), Strings({"4\xf0\x9f\x98\x80"}));
  EXPECT_EQ(Texts("6:b4QUJD1:2", ParsePayload3), Strings({"<ABC>", "2"}));
  std::string payload;
  AppendPacket3(payload, false, "4\xf0\x9f\x98\x80");
  AppendPacket3(payload, true, "ABC");
  EXPECT_EQ(payload,
            "3:4\xf0\x9f\x98\x80"
            "6:b4QUJD");
  EXPECT_EQ(Texts(payload, ParsePayload3), Strings({"4\xf0\x9f\x98\x80", "<ABC>"}));
}

TEST(Payload3, RefusesLengthsThatLie) {
  for (const char* body :
       {"", "5:4a", "0:", ":4a", "x:4a", "2:4\xf0\x9f\x98\x80", "99999999999999:4", "2:9a"}) {
    EXPECT_EQ(Texts(body, ParsePayload3), Strings({"bad"})) << body;
  }
}

TEST(Payload3, IsReadInItsBinaryForm) {
  const std::string body(
      "\x00\x02\xff"
      "4a"
      "\x01\x03\xff"
      "\x04xy",
      11);
  EXPECT_EQ(Texts(body, ParseBinaryPayload3), Strings({"4a", "<xy>"}));
  EXPECT_EQ(Texts(std::string("\x02\x01\xff"
                              "4",
                              4),
                  ParseBinaryPayload3),
            Strings({"bad"}));
  EXPECT_EQ(Texts(std::string("\x00\x09\xff"
                              "4",
                              4),
                  ParseBinaryPayload3),
            Strings({"bad"}));
  EXPECT_EQ(Texts(std::string("\x00\x01", 2), ParseBinaryPayload3), Strings({"bad"}));
}

TEST(SessionIdText, TellsWhereItLivesAndComesBack) {
  SessionId id{.shard = 7, .slot = 123456, .secret = {}};
  for (int i = 0; i < 10; ++i) id.secret[i] = static_cast<uint8_t>(i * 27);
  const std::string text = FormatSessionId(id);
  EXPECT_EQ(text.size(), 20u);
  SessionId back;
  ASSERT_TRUE(ParseSessionId(text, back));
  EXPECT_EQ(back.shard, 7);
  EXPECT_EQ(back.slot, 123456u);
  EXPECT_EQ(std::string(back.secret, back.secret + 10), std::string(id.secret, id.secret + 10));
  EXPECT_FALSE(ParseSessionId("short", back));
  EXPECT_FALSE(ParseSessionId("!!!!!!!!!!!!!!!!!!!!", back));
}

}  // namespace
}  // namespace muster::push::engineio
