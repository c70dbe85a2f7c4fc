#include "net/addresses.h"

#include <gtest/gtest.h>

namespace muster::net {
namespace {

TEST(WebUrl, LeavesTheSchemesOwnPortOut) {
  EXPECT_EQ(WebUrl(false, "10.0.0.1", 80), "http://10.0.0.1/");
  EXPECT_EQ(WebUrl(false, "10.0.0.1", 8080), "http://10.0.0.1:8080/");
  EXPECT_EQ(WebUrl(false, "10.0.0.1", 443), "http://10.0.0.1:443/");
  EXPECT_EQ(WebUrl(true, "10.0.0.1", 443), "https://10.0.0.1/");
  EXPECT_EQ(WebUrl(true, "fd00::1", 8443), "https://[fd00::1]:8443/");
}

}  // namespace
}  // namespace muster::net
