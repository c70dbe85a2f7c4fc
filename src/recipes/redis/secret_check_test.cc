#include "recipes/redis/secret_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/secret.h"
#include "model/words.h"
#include "recipes/redis/conf.h"

namespace muster::redis {
namespace {

// As the layout and the server make it.
Status Checked(const std::string& secret) {
  const std::string mark = SecretMarker("cache");
  const std::string rendered = RenderConf({{"requirepass", {mark}}, {"masterauth", {mark}}});
  Instance instance;
  instance.name = "cache-1";
  instance.files.push_back({.path = "secret.conf", .content = ReplaceSecrets(rendered, [&](std::string_view) {
                                                     return SealWords(secret);
                                                   })});
  return CheckSecrets(instance);
}

TEST(RedisSecrets, MayHoldWhatRedisReadsAsItStands) {
  for (const char* secret : {"s3cr3t", "a b'c", "#{x} ; $y", "Kä%!", "{{port}}"})
    EXPECT_TRUE(Checked(secret).ok()) << secret;
  EXPECT_TRUE(CheckSecrets(Instance()).ok());
}

TEST(RedisSecrets, AreRefusedWhereRedisWouldReadSomethingElse) {
  for (const char* secret : {"a\"b", "a\\b", "a\\\\b", "a\\\"b", "a\nmaxmemory 1", "a\rb", "\""}) {
    const Status checked = Checked(secret);
    ASSERT_FALSE(checked.ok()) << secret;
    EXPECT_EQ(checked.error().code(), "secret-unusable");
    EXPECT_EQ(checked.error().Text().find("maxmemory"), std::string::npos);
  }
}

}  // namespace
}  // namespace muster::redis
