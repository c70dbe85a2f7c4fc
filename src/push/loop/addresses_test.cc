#include "push/loop/addresses.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <thread>
#include <vector>

namespace muster::push {
namespace {

TEST(Addresses, GiveExactlySoManyPlacesToAllThreadsTogether) {
  AddressTable table;
  std::atomic<int> got{0};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) got += table.Reserve(AddressTable::kConnections, 1003) ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(got, 1003);
  table.GiveBack(AddressTable::kConnections);
  EXPECT_TRUE(table.Reserve(AddressTable::kConnections, 1003));
  EXPECT_FALSE(table.Reserve(AddressTable::kConnections, 1003));
  EXPECT_TRUE(table.Reserve(AddressTable::kConnections, 0)) << "no limit";
}

TEST(Addresses, GiveAPlaceBackWithTheLastOfAnAddress) {
  AddressTable table;
  ASSERT_TRUE(table.Reserve(AddressTable::kConnections, 1));
  AddressTable::Entry* entry = table.Enter(AddressTable::kConnections, Address{}, 1);
  ASSERT_NE(entry, nullptr);
  EXPECT_EQ(table.Enter(AddressTable::kConnections, Address{}, 1), nullptr);
  EXPECT_FALSE(table.Reserve(AddressTable::kConnections, 1));
  table.Leave(AddressTable::kConnections, entry);
  EXPECT_TRUE(table.Reserve(AddressTable::kConnections, 1));
}

TEST(Addresses, CountSessionsBesideConnections) {
  AddressTable table;
  AddressTable::Entry* connection = nullptr;
  for (const auto kind : {AddressTable::kConnections, AddressTable::kSessions}) {
    ASSERT_TRUE(table.Reserve(kind, 1));
    connection = table.Enter(kind, Address{}, 1);
    ASSERT_NE(connection, nullptr);
    EXPECT_FALSE(table.Reserve(kind, 1));
    EXPECT_EQ(table.Enter(kind, Address{}, 1), nullptr);
  }
  table.Leave(AddressTable::kConnections, connection);  // the session stays, and its entry with it
  EXPECT_EQ(table.Enter(AddressTable::kSessions, Address{}, 1), nullptr);
  EXPECT_NE(table.Enter(AddressTable::kConnections, Address{}, 1), nullptr);
  EXPECT_FALSE(table.Reserve(AddressTable::kSessions, 1));
}

Address Parsed(const char* text) {
  sockaddr_storage peer{};
  if (inet_pton(AF_INET, text, &reinterpret_cast<sockaddr_in&>(peer).sin_addr) == 1) {
    peer.ss_family = AF_INET;
  } else {
    peer.ss_family = AF_INET6;
    EXPECT_EQ(inet_pton(AF_INET6, text, &reinterpret_cast<sockaddr_in6&>(peer).sin6_addr), 1) << text;
  }
  return AddressOf(peer);
}

TEST(Addresses, OfIpv6AreCountedByTheirFirst64Bits) {
  AddressTable table;
  EXPECT_NE(table.Enter(AddressTable::kConnections, Parsed("2001:db8:1:2::1"), 1), nullptr);
  EXPECT_EQ(table.Enter(AddressTable::kConnections, Parsed("2001:db8:1:2:ffff::2"), 1), nullptr);
  EXPECT_NE(table.Enter(AddressTable::kConnections, Parsed("2001:db8:1:3::1"), 1), nullptr);
  EXPECT_NE(table.Enter(AddressTable::kConnections, Parsed("10.0.0.1"), 1), nullptr);
  EXPECT_NE(table.Enter(AddressTable::kConnections, Parsed("10.0.0.2"), 1), nullptr) << "of IPv4 each is one";
  EXPECT_EQ(table.Enter(AddressTable::kConnections, Parsed("::ffff:10.0.0.2"), 1), nullptr) << "also mapped";
  EXPECT_EQ(AddressText(Parsed("2001:db8:1:2::1")), "2001:db8:1:2::1") << "it is told whole";
}

}  // namespace
}  // namespace muster::push
