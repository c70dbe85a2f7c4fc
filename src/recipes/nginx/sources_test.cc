// Who is let in, and from where that can be tried.
#include "recipes/nginx/sources.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace muster::nginx {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(NginxSources, KnowsWhoIsLetIn) {
  EXPECT_TRUE(Allows({"10.0.0.0/8"}, "10.255.1.2"));
  EXPECT_FALSE(Allows({"10.0.0.0/8"}, "11.0.0.1"));
  EXPECT_TRUE(Allows({"192.168.0.0/16", "10.1.2.4/30"}, "10.1.2.7"));
  EXPECT_FALSE(Allows({"10.1.2.4/30"}, "10.1.2.8"));
  EXPECT_TRUE(Allows({"10.1.2.4"}, "10.1.2.4"));
  EXPECT_TRUE(Allows({"0.0.0.0/0"}, "200.1.2.3"));
  EXPECT_FALSE(Allows({"0.0.0.0/0"}, "::1"));
  EXPECT_TRUE(Allows({"fd00::/8"}, "fd12::1"));
  EXPECT_FALSE(Allows({"fd00::/8"}, "fe80::1"));
  EXPECT_FALSE(Allows({}, "127.0.0.1"));
}

TEST(NginxSources, FindsWhereToAskFrom) {
  const std::vector<std::string> own = {"127.0.0.1", "10.0.0.7", "::1"};
  const Sources some = SourcesFor({"10.0.0.0/8"}, own, "10.0.0.7");
  EXPECT_THAT(some.allowed, ElementsAre("10.0.0.7"));
  EXPECT_THAT(some.refused, ElementsAre("127.0.0.1"));
  const Sources none = SourcesFor({"192.0.2.0/24"}, own, "10.0.0.7");
  EXPECT_THAT(none.allowed, IsEmpty());
  EXPECT_THAT(none.refused, ElementsAre("10.0.0.7", "127.0.0.1"));
  EXPECT_THAT(SourcesFor({"127.0.0.9"}, own, "127.0.0.1").allowed, ElementsAre("127.0.0.9"));
  EXPECT_THAT(SourcesFor({"127.0.0.9"}, own, "10.0.0.7").allowed, IsEmpty());
  EXPECT_THAT(SourcesFor({"::1"}, own, "::1").allowed, ElementsAre("::1"));
  EXPECT_THAT(OwnAddresses(), Contains("127.0.0.1"));
}

}  // namespace
}  // namespace muster::nginx
