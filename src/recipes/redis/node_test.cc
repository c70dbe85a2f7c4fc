#include "recipes/redis/node.h"

#include <gtest/gtest.h>

namespace muster::redis {
namespace {

TEST(RedisAccess, ReadsThePasswordAsRedisDoes) {
  Instance instance{.address = "10.0.0.1"};
  instance.ports["port"] = {.first = 7001};
  EXPECT_EQ(AccessOf(instance).password, "");
  instance.files = {
      {.path = "redis.conf", .content = "requirepass wrong\n"},
      {.path = "secret.conf", .content = "# x\nrequirepass \"a {brace}data} \\\"b\"\nmasterauth c\n"}};
  EXPECT_EQ(AccessOf(instance).password, "a {data} \"b");
  EXPECT_EQ(AccessOf(instance).port, 7001);
}

}  // namespace
}  // namespace muster::redis
