#include "push/loop/addresses.h"

#include <arpa/inet.h>
#include <netinet/in.h>

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

std::string AddressText(const Address& address) {
  static constexpr std::array<uint8_t, 12> kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  char text[INET6_ADDRSTRLEN] = "";
  if (std::memcmp(address.data(), kMapped.data(), kMapped.size()) == 0) {
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

AddressTable::Entry* AddressTable::Enter(const Address& address, int most) {
  const std::lock_guard lock(mutex_);
  Entry& entry = entries_.try_emplace(address, Entry{address, 0}).first->second;
  if (most > 0 && entry.count >= most) return nullptr;
  ++entry.count;
  return &entry;  // nodes of the map stay where they are
}

void AddressTable::Leave(Entry* entry) {
  const std::lock_guard lock(mutex_);
  if (--entry->count == 0) entries_.erase(Address(entry->address));
}

}  // namespace muster::push
