#include "push/loop/addresses.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>

namespace muster::push {

Address AddressOf(const sockaddr_storage& peer) {
  Address address{};
  if (peer.ss_family == AF_INET6) {
    std::memcpy(address.data(), &reinterpret_cast<const sockaddr_in6&>(peer).sin6_addr, 16);
  } else if (peer.ss_family == AF_INET) {
    address[10] = address[11] = 0xff;
    std::memcpy(address.data() + 12, &reinterpret_cast<const sockaddr_in&>(peer).sin_addr, 4);
  }
  return address;
}

bool IsIpv4(const Address& address) {
  static constexpr std::array<uint8_t, 12> kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  return std::memcmp(address.data(), kMapped.data(), kMapped.size()) == 0;
}

Address CountedAs(const Address& address) {
  Address counted = address;
  if (!IsIpv4(address)) std::fill(counted.begin() + 8, counted.end(), uint8_t{0});
  return counted;
}

std::string AddressText(const Address& address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (IsIpv4(address)) {
    inet_ntop(AF_INET, address.data() + 12, text, sizeof text);
  } else {
    inet_ntop(AF_INET6, address.data(), text, sizeof text);
  }
  return text;
}

size_t AddressTable::Hash::operator()(const Address& address) const {
  uint64_t high, low;
  std::memcpy(&high, address.data(), 8);
  std::memcpy(&low, address.data() + 8, 8);
  return (high * 0x9e3779b97f4a7c15u) ^ (low * 0xc2b2ae3d27d4eb4fu) ^ (low >> 32);
}

bool AddressTable::Reserve(Kind kind, int64_t most) {
  int64_t all = all_[kind].load(std::memory_order_relaxed);
  do {
    if (most > 0 && all >= most) return false;
  } while (!all_[kind].compare_exchange_weak(all, all + 1, std::memory_order_relaxed));
  return true;
}

AddressTable::Entry* AddressTable::Enter(Kind kind, const Address& address, int most) {
  const Address counted = CountedAs(address);
  const std::lock_guard lock(mutex_);
  Entry& entry = entries_.try_emplace(counted, Entry{counted, {}}).first->second;
  // One that was just made has none, so that none is left behind that has none.
  if (most > 0 && entry.counts[kind] >= most) return nullptr;
  ++entry.counts[kind];
  return &entry;  // nodes of the map stay where they are
}

void AddressTable::Leave(Kind kind, Entry* entry) {
  GiveBack(kind);
  const std::lock_guard lock(mutex_);
  --entry->counts[kind];
  if (entry->counts[kConnections] == 0 && entry->counts[kSessions] == 0)
    entries_.erase(Address(entry->address));
}

}  // namespace muster::push
