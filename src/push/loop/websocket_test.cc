#include "push/loop/websocket.h"

#include <gtest/gtest.h>

namespace muster::push::websocket {
namespace {

std::string Bytes(std::initializer_list<int> bytes) {
  std::string text;
  for (const int byte : bytes) text += static_cast<char>(byte);
  return text;
}

Parsed ParsedAs(std::initializer_list<int> bytes) {
  Header header;
  return ParseHeader(Bytes(bytes), header);
}

TEST(WebSocketHeader, ReadsAShortMaskedText) {
  Header header;
  ASSERT_EQ(ParseHeader(Bytes({0x81, 0x85, 1, 2, 3, 4, 'h'}), header), Parsed::kWhole);
  EXPECT_TRUE(header.last);
  EXPECT_EQ(header.opcode, Opcode::kText);
  EXPECT_EQ(header.length, 5u);
  EXPECT_EQ(header.size, 6);
}

TEST(WebSocketHeader, ReadsLengthsOfTwoAndOfEightBytes) {
  Header header;
  ASSERT_EQ(ParseHeader(Bytes({0x82, 0xfe, 0x01, 0x00, 1, 2, 3, 4}), header), Parsed::kWhole);
  EXPECT_EQ(header.length, 256u);
  EXPECT_EQ(header.size, 8);
  ASSERT_EQ(ParseHeader(Bytes({0x02, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4}), header), Parsed::kWhole);
  EXPECT_EQ(header.length, 65536u);
  EXPECT_FALSE(header.last);
  EXPECT_EQ(header.size, 14);
}

TEST(WebSocketHeader, WantsMoreUntilItIsWhole) {
  const std::string whole = Bytes({0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4});
  for (size_t size = 0; size < whole.size(); ++size) {
    Header header;
    EXPECT_EQ(ParseHeader(std::string_view(whole).substr(0, size), header), Parsed::kNeedMore) << size;
  }
}

TEST(WebSocketHeader, RefusesWhatTheProtocolForbids) {
  for (const int reserved : {0x40, 0x20, 0x10})
    EXPECT_EQ(ParsedAs({0x81 | reserved, 0x80, 0, 0, 0, 0}), Parsed::kBad);
  for (const int opcode : {3, 4, 5, 6, 7, 11, 12, 13, 14, 15}) {
    EXPECT_EQ(ParsedAs({0x80 | opcode, 0x80, 0, 0, 0, 0}), Parsed::kBad) << opcode;
  }
  EXPECT_EQ(ParsedAs({0x81, 0x05}), Parsed::kBad) << "no mask";
  EXPECT_EQ(ParsedAs({0x09, 0x80}), Parsed::kBad) << "a ping in fragments";
  EXPECT_EQ(ParsedAs({0x89, 0xfe, 0, 126, 0, 0, 0, 0}), Parsed::kBad) << "a long ping";
  EXPECT_EQ(ParsedAs({0x81, 0xfe, 0, 125, 0, 0, 0, 0}), Parsed::kBad) << "125 in two bytes";
  EXPECT_EQ(ParsedAs({0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0}), Parsed::kBad)
      << "65535 in eight";
  EXPECT_EQ(ParsedAs({0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}), Parsed::kBad) << "the highest bit";
}

TEST(WebSocketMask, IsUndoneForAnyLength) {
  const uint32_t mask = 0x04030201;
  for (size_t size = 0; size < 40; ++size) {
    std::string text(size, 'x');
    std::string masked = text;
    for (size_t i = 0; i < size; ++i) masked[i] = static_cast<char>(masked[i] ^ static_cast<char>(1 + i % 4));
    Unmask(masked.data(), size, mask);
    EXPECT_EQ(masked, text) << size;
  }
}

TEST(WebSocketHeader, IsWrittenInItsShortestForm) {
  char buffer[32] = {};
  char* payload = buffer + 16;
  EXPECT_EQ(WriteHeaderBefore(payload, Opcode::kText, 125), 2u);
  EXPECT_EQ(std::string(payload - 2, 2), Bytes({0x81, 125}));
  EXPECT_EQ(WriteHeaderBefore(payload, Opcode::kText, 126), 4u);
  EXPECT_EQ(std::string(payload - 4, 4), Bytes({0x81, 126, 0, 126}));
  EXPECT_EQ(WriteHeaderBefore(payload, Opcode::kBinary, 65535), 4u);
  EXPECT_EQ(WriteHeaderBefore(payload, Opcode::kBinary, 65536), 10u);
  EXPECT_EQ(std::string(payload - 10, 10), Bytes({0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0}));
}

TEST(WebSocketClose, TakesTheCodesThatAPeerMaySend) {
  for (const int code :
       {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999}) {
    EXPECT_TRUE(ParseClose(Bytes({code >> 8, code & 255})).good) << code;
  }
  for (const int code : {0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535}) {
    const Close close = ParseClose(Bytes({code >> 8, code & 255}));
    EXPECT_FALSE(close.good) << code;
    EXPECT_EQ(close.code, kProtocolError);
  }
}

TEST(WebSocketClose, KnowsNoneAndHalfACodeAndABadReason) {
  EXPECT_TRUE(ParseClose("").good);
  EXPECT_EQ(ParseClose("").code, kNoCode);
  EXPECT_FALSE(ParseClose("\x03").good);
  EXPECT_EQ(ParseClose(Bytes({3, 232, 0xff})).code, kBadText);
  EXPECT_EQ(ParseClose(Bytes({3, 232, 'b', 'y', 'e'})).reason, "bye");
  EXPECT_EQ(ClosePayload(kNoCode), "");
  EXPECT_EQ(ClosePayload(kNormal, "bye"), Bytes({3, 232, 'b', 'y', 'e'}));
}

TEST(WebSocketKey, IsAnsweredAsTheRfcHasIt) {
  EXPECT_EQ(AcceptKey("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  EXPECT_EQ(AcceptKey("too short"), "");
  EXPECT_EQ(AcceptKey("????????????????????????"), "");
}

TEST(WebSocketText, MustBeUtf8WhereverItIsNot) {
  EXPECT_TRUE(IsText(""));
  EXPECT_TRUE(IsText("plain text that is longer than a word"));
  EXPECT_TRUE(IsText("0123456 \xc3\xa9 and on"));
  EXPECT_FALSE(IsText("0123456789abcdef\xc3"));
  EXPECT_FALSE(IsText("\xed\xa0\x80")) << "half a surrogate pair";
  EXPECT_FALSE(IsText("\xc0\x80")) << "longer than it has to be";
  EXPECT_FALSE(IsText("\xf4\x90\x80\x80")) << "beyond the last character";
}

TEST(WebSocketText, MayEndWithinACharacterThatCanStillBecomeOne) {
  const std::string text = "a\u00e9\u20ac\U0001f600\uffff\U0010ffff\ud7ff\u0800\U00010000";
  for (size_t size = 0; size <= text.size(); ++size) {
    const size_t whole = WholeText(std::string_view(text).substr(0, size));
    ASSERT_LE(whole, size) << size;
    EXPECT_LT(size - whole, 4u);
  }
  EXPECT_EQ(WholeText(text), text.size());
  for (const char* bad : {"\xff", "a\xc0", "\xc1", "\x80", "\xe0\x80", "\xed\xa0", "\xf0\x8f", "\xf4\x90",
                          "\xf5", "\xe2\x82g", "\xe2\x28", "\x80\x80\x80\x80"}) {
    EXPECT_EQ(WholeText(bad), std::string_view::npos) << testing::PrintToString(bad);
  }
}

}  // namespace
}  // namespace muster::push::websocket
