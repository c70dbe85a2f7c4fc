// How many connections and sessions there are from each address, for the limits, which hold for either: a
// session of long-polling often has no connection, or two. Any thread; nothing here fails.
#pragma once

#include <sys/socket.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <unordered_map>

namespace muster::push {

// 16 bytes as in IPv6; IPv4 is mapped.
using Address = std::array<uint8_t, 16>;
Address AddressOf(const sockaddr_storage& peer);
std::string AddressText(const Address& address);
bool IsIpv4(const Address& address);
// What the limit counts as one: of IPv6 the first 64 bits, as whoever has one of these has them all.
Address CountedAs(const Address& address);

class AddressTable {
 public:
  enum Kind { kConnections, kSessions };
  struct Entry {
    Address address;  // as it is counted
    int counts[2];    // by kind
  };
  // A place among all of the node, of which there are at most `most` (0: no limit); false: there is none. It
  // is given back by Leave, or by GiveBack where no Enter followed.
  bool Reserve(Kind kind, int64_t most);
  void GiveBack(Kind kind) { all_[kind].fetch_sub(1, std::memory_order_relaxed); }
  // nullptr: the address has `most` already (0: no limit). Else an entry to give back with Leave.
  Entry* Enter(Kind kind, const Address& address, int most);
  void Leave(Kind kind, Entry* entry);

 private:
  std::atomic<int64_t> all_[2] = {};
  struct Hash {
    size_t operator()(const Address& address) const;
  };
  std::mutex mutex_;
  std::unordered_map<Address, Entry, Hash> entries_;
};

}  // namespace muster::push
