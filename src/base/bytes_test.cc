#include "base/bytes.h"

#include <gtest/gtest.h>

namespace muster {
namespace {

using namespace std::string_view_literals;

TEST(Bytes, RefusesBase64ThatIsNone) {
  for (const char* text :
       {"a", "ab", "abc", "a===", "ab=c", "=abc", "ab c", "ab\nc", "abcdef==x", "ab==abcd"}) {
    EXPECT_FALSE(DecodeBase64(text).has_value()) << text;
  }
}

TEST(Bytes, EncodesWhatRfc4648Shows) {
  EXPECT_EQ(EncodeBase64(""), "");
  EXPECT_EQ(EncodeBase64("f"), "Zg==");
  EXPECT_EQ(EncodeBase64("fo"), "Zm8=");
  EXPECT_EQ(EncodeBase64("foo"), "Zm9v");
  EXPECT_EQ(EncodeBase64("foobar"), "Zm9vYmFy");
  EXPECT_EQ(EncodeBase64("\xfb\xff"), "+/8=");
}

TEST(Bytes, ComeBackFromBase64AsTheyWere) {
  std::string bytes;
  for (int i = 0; i < 600; ++i) {
    EXPECT_EQ(DecodeBase64(EncodeBase64(bytes)), bytes);
    bytes += static_cast<char>(i * 7);
  }
}

TEST(Bytes, TellUtf8FromWhatIsNone) {
  for (const auto text :
       {""sv, "abc"sv, "\0"sv, "gr\u00fc\u00df"sv, "\u20ac"sv, "\U0001f600"sv, "\xed\x9f\xbf"sv}) {
    EXPECT_TRUE(IsUtf8(text)) << text;
  }
  for (const auto text : {"\x80"sv, "\xc0\x80"sv, "\xc3"sv, "\xe0\x80\x80"sv, "\xed\xa0\x80"sv,
                          "\xf4\x90\x80\x80"sv, "\xff"sv, "a\xe2\x82"sv, "\xe2\x82z"sv}) {
    EXPECT_FALSE(IsUtf8(text)) << text;
  }
}

TEST(Bytes, KnowHowLongACharacterIs) {
  EXPECT_EQ(CharacterLength(""), 0u);
  EXPECT_EQ(CharacterLength("ab"), 1u);
  EXPECT_EQ(CharacterLength("\0"sv), 1u);
  EXPECT_EQ(CharacterLength("\u00fcx"), 2u);
  EXPECT_EQ(CharacterLength("\u20ac"), 3u);
  EXPECT_EQ(CharacterLength("\U0001f600\x80"), 4u);
  for (const auto text :
       {"\x80"sv, "\xc3"sv, "\xe2\x82"sv, "\xe2\x82z"sv, "\xed\xa0\x80"sv, "\xf5\x80\x80\x80"sv})
    EXPECT_EQ(CharacterLength(text), 0u) << text;
}

TEST(Bytes, KeepCharactersWhole) {
  const std::string text = "a\u00fc\u20ac\U0001f600";
  const size_t ends[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10};  // by how many bytes there are
  for (size_t there = 0; there <= text.size(); ++there)
    EXPECT_EQ(WholeUtf8(text.substr(0, there)), ends[there]);
  // What won't become a character is handed on at once.
  EXPECT_EQ(WholeUtf8("a\xff"), 2u);
  EXPECT_EQ(WholeUtf8("\x80\x80\x80"), 3u);
  EXPECT_EQ(WholeUtf8("\xed\xa0"), 2u);
}

TEST(Bytes, PlainIsTextWithFewControlCharacters) {
  EXPECT_TRUE(IsPlain(""));
  EXPECT_TRUE(IsPlain("a line\n\tanother, ü\r\n"));
  EXPECT_TRUE(IsPlain("\x1b[31mred\x1b[0m and much more than that is said here"));
  EXPECT_FALSE(IsPlain(std::string(100, '\0')));
  EXPECT_FALSE(IsPlain("a\xff"));
}

}  // namespace
}  // namespace muster
