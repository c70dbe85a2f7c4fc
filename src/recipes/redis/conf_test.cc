#include "recipes/redis/conf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/secret.h"

namespace muster::redis {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

std::string Rendered(const ConfSettings& settings) { return RenderConf(DirectivesOf(settings)); }

TEST(RedisConf, QuotesWhatWouldBeReadDifferently) {
  EXPECT_EQ(Rendered({{"maxmemory", {"100mb"}}}), "maxmemory 100mb\n");
  EXPECT_EQ(Rendered({{"save", {""}}}), "save \"\"\n");
  EXPECT_EQ(Rendered({{"save", {"900 1", "300 10"}}}), "save 900 1\nsave 300 10\n");
  EXPECT_EQ(Rendered({{"proc-title-template", {"{title} \"x\""}}}),
            "proc-title-template \"{title} \\\"x\\\"\"\n");
  EXPECT_EQ(Rendered({{"requirepass", {"a'b\\c\n"}}}), "requirepass \"a'b\\\\c\\x0a\"\n");
  EXPECT_EQ(Rendered({{"client-output-buffer-limit", {"normal 0 0 0"}}}),
            "client-output-buffer-limit normal 0 0 0\n");
  EXPECT_EQ(Rendered({{"notify-keyspace-events", {"Kä#"}}}), "notify-keyspace-events Kä#\n");
}

TEST(RedisConf, LeavesRoomForASecretWithinQuotes) {
  const std::string text = Rendered({{"requirepass", {SecretMarker("cache")}}});
  EXPECT_EQ(text, "requirepass \"" + SecretMarker("cache") + "\"\n");
  const auto read = ReadConf(ReplaceSecrets(text, [](std::string_view) { return "it's #1 here"; }));
  ASSERT_TRUE(read.ok());
  EXPECT_THAT(read->front().arguments, ElementsAre("it's #1 here"));
  // What only begins like one is escaped like everything else.
  EXPECT_EQ(Rendered({{"requirepass", {"\x01secret:\n\x02"}}}), "requirepass \"\\x01secret:\\x0a\\x02\"\n");
}

TEST(RedisConf, ReadsQuotesEscapesAndRepeatedLines) {
  const auto read = ReadConf(
      "# a comment\n"
      "\t\r\n"
      "Save 900 1\r\n"
      "save 300 10\n"
      "requirepass \"a \\\"b\\\" \\x41\\n\\q\\xZ\"\n"
      "masterauth 'it\\'s \\n'\n"
      "include /etc/redis/other.conf\n"
      "user default on >a#b ~*\n"
      "rename-command CONFIG \"\"");
  ASSERT_TRUE(read.ok()) << read.error().Text();
  EXPECT_THAT(*read,
              ElementsAre(Directive{"save", {"900", "1"}}, Directive{"save", {"300", "10"}},
                          Directive{"requirepass", {"a \"b\" A\nqxZ"}}, Directive{"masterauth", {"it's \\n"}},
                          Directive{"include", {"/etc/redis/other.conf"}},
                          Directive{"user", {"default", "on", ">a#b", "~*"}},
                          Directive{"rename-command", {"CONFIG", ""}}));
  EXPECT_THAT(SettingsOf(*read), ElementsAre(Pair("include", ElementsAre("/etc/redis/other.conf")),
                                             Pair("masterauth", ElementsAre("it's \\n")),
                                             Pair("rename-command", ElementsAre("CONFIG \"\"")),
                                             Pair("requirepass", ElementsAre("a \"b\" A\nqxZ")),
                                             Pair("save", ElementsAre("900 1", "300 10")),
                                             Pair("user", ElementsAre("default on >a#b ~*"))));
}

TEST(RedisConf, NamesTheLineWhoseQuoteIsOpen) {
  for (const char* text : {"port 1\nrequirepass \"abc\n", "port 1\nrequirepass 'a\n", "port 1\nx \"a\"b\n",
                           "port 1\nrequirepass \"a\\\n"}) {
    const auto read = ReadConf(text);
    ASSERT_FALSE(read.ok()) << text;
    EXPECT_EQ(read.error().code(), "bad-quoting");
    EXPECT_THAT(read.error().message(), HasSubstr("line 2"));
    EXPECT_EQ(read.error().message().find("abc"), std::string::npos);  // it may be a password
  }
}

TEST(RedisConf, IsReadBackAsItWasWritten) {
  std::string all;
  for (int c = 1; c < 256; ++c) all += static_cast<char>(c);
  const std::vector<Directive> directives = {
      {"requirepass", {all}}, {"save", {""}}, {"x", {}}, {"x", {" ", "\t", "'", ""}}, {"y", {"#", "a"}}};
  const auto read = ReadConf(RenderConf(directives));
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(*read, directives);
}

TEST(RedisConf, TakesTheLastOfWhatDoesNotRepeatUnderItsNameOfToday) {
  const auto read =
      ReadConf("slave-priority 1\nreplica-priority 2\nlatency-tracking-info-percentiles 50 99\n");
  ASSERT_TRUE(read.ok());
  EXPECT_THAT(SettingsOf(*read), ElementsAre(Pair("latency-tracking-info-percentiles", ElementsAre("50 99")),
                                             Pair("replica-priority", ElementsAre("2"))));
}

}  // namespace
}  // namespace muster::redis
