// How many connections come from each address, for the limit. Any thread; nothing here fails.
#pragma once

#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <mutex>
#include <string>
#include <unordered_map>

namespace muster::push {

// 16 bytes as in IPv6; IPv4 is mapped.
using Address = std::array<uint8_t, 16>;
Address AddressOf(const sockaddr_storage& peer);
std::string AddressText(const Address& address);

class AddressTable {
 public:
  struct Entry {
    Address address;
    int count;
  };
  // nullptr: the address has `most` already (0: no limit). Else an entry to give back with Leave.
  Entry* Enter(const Address& address, int most);
  void Leave(Entry* entry);

 private:
  struct Hash {
    size_t operator()(const Address& address) const;
  };
  std::mutex mutex_;
  std::unordered_map<Address, Entry, Hash> entries_;
};

}  // namespace muster::push
