#include "control/member_names.h"

#include <gtest/gtest.h>

namespace muster::control {
namespace {

Instance Member(const std::string& name, const std::string& address, int port) {
  Instance member{.name = name, .service = "cache"};
  member.address = address;
  member.ports["port"] = {port, 1, false};
  return member;
}

TEST(NameMembers, PutsNamesInPlaceOfAddressesWithPorts) {
  const std::vector<Instance> members = {Member("cache-1", "10.0.0.1", 7001),
                                         Member("cache-2", "10.0.0.2", 7001),
                                         Member("cache-3", "10.0.0.1", 700)};
  EXPECT_EQ(NameMembers("what cache-1 took is read from 10.0.0.2:7001", "cache", members),
            "what cache-1 took is read from cache-2");
  EXPECT_EQ(NameMembers("10.0.0.1:7001, 10.0.0.1:700", "cache", members), "cache-1, cache-3");
}

TEST(NameMembers, LeavesWhatIsAnothers) {
  const std::vector<Instance> members = {Member("cache-1", "10.0.0.1", 7001)};
  for (const char* text :
       {"10.0.0.1:70010", "110.0.0.1:7001", "10.0.0.1", "10.0.0.3:7001", "::10.0.0.1:7001"}) {
    EXPECT_EQ(NameMembers(text, "cache", members), text);
  }
  EXPECT_EQ(NameMembers("10.0.0.1:7001", "web", members), "10.0.0.1:7001") << "of another service";
}

}  // namespace
}  // namespace muster::control
