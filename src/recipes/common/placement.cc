#include "recipes/common/placement.h"

#include <algorithm>
#include <functional>
#include <set>
#include <unordered_map>

namespace muster::common {
namespace {

constexpr int kPortsEnd = 65536;

}  // namespace

Count ReadCount(const std::string& text) {
  Count count;
  count.number = text.empty() ? 1 : std::atoi(text.c_str());
  count.per_host = text.ends_with("per host");
  return count;
}

std::vector<const Host*> HostsOf(const Service& service, const Cluster& cluster) {
  const std::set<std::string> wanted(service.hosts.begin(), service.hosts.end());
  std::vector<const Host*> hosts;
  for (const Host& host : cluster.hosts) {
    if (wanted.empty() || wanted.contains(host.name)) hosts.push_back(&host);
  }
  return hosts;
}

std::vector<std::pair<std::string, const Place*>> MembersOf(const Placement& placement,
                                                            const std::string& service) {
  // Instances are named SERVICE-N, so they stand together in the map, perhaps among those of SERVICE-x.
  std::vector<std::pair<std::string, const Place*>> members;
  const auto end = placement.lower_bound(service + ".");
  for (auto at = placement.lower_bound(service + "-"); at != end; ++at) {
    if (at->second.service == service) members.emplace_back(at->first, &at->second);
  }
  std::sort(members.begin(), members.end(),
            [](const auto& a, const auto& b) { return a.second->ordinal < b.second->ordinal; });
  return members;
}

Placement PlaceMembers(const Service& service, const Cluster& cluster, const Placement& so_far, Count count,
                       const std::map<std::string, PortRange>& ports) {
  const std::vector<const Host*> hosts = HostsOf(service, cluster);
  if (hosts.empty()) return {};
  struct OnHost {
    std::vector<std::pair<std::string, Place>> members;
    std::set<int> slots;
    int free = 0;  // no slot below it is
  };
  std::vector<OnHost> on_hosts(hosts.size());
  std::set<int> ordinals;
  size_t kept = 0;
  const auto members = MembersOf(so_far, service.name);
  std::unordered_map<std::string_view, size_t> index_of;
  for (size_t i = 0; i < hosts.size() && !members.empty(); ++i) index_of.emplace(hosts[i]->name, i);
  for (const auto& [name, place] : members) {
    ordinals.insert(place->ordinal);
    const auto host = index_of.find(place->host);
    if (host == index_of.end() || place->claim == Claim::kReserved) continue;
    OnHost& on = on_hosts[host->second];
    const bool room = count.per_host ? on.members.size() < static_cast<size_t>(count.number)
                                     : kept < static_cast<size_t>(count.number);
    if (!room || !on.slots.insert(place->slot).second) continue;
    on.members.emplace_back(name, *place);
    on.members.back().second.claim = Claim::kWanted;
    ++kept;
  }
  for (const auto& [name, place] : members) {  // who isn't kept may still stand there
    const auto host = index_of.find(place->host);
    if (host != index_of.end()) on_hosts[host->second].slots.insert(place->slot);
  }
  int next = 1;
  const auto add = [&](size_t index) {
    OnHost& on = on_hosts[index];
    Place place{.service = service.name, .host = hosts[index]->name, .ordinal = 0, .slot = 0, .ports = {}};
    while (ordinals.contains(next)) ++next;
    place.ordinal = next++;
    while (on.slots.contains(on.free)) ++on.free;
    place.slot = on.free;
    on.slots.insert(place.slot);
    on.members.emplace_back(service.name + "-" + std::to_string(place.ordinal), place);
  };
  if (count.per_host) {
    for (size_t i = 0; i < hosts.size(); ++i) {
      while (on_hosts[i].members.size() < static_cast<size_t>(count.number)) add(i);
    }
  } else {
    // On the host that has the fewest, the first of them in the file's order.
    std::vector<std::pair<size_t, size_t>> loads;
    for (size_t i = 0; i < hosts.size(); ++i) loads.emplace_back(on_hosts[i].members.size(), i);
    std::make_heap(loads.begin(), loads.end(), std::greater<>());
    for (; kept < static_cast<size_t>(count.number); ++kept) {
      std::pop_heap(loads.begin(), loads.end(), std::greater<>());
      add(loads.back().second);
      ++loads.back().first;
      std::push_heap(loads.begin(), loads.end(), std::greater<>());
    }
  }
  Placement placement;
  for (OnHost& on : on_hosts) {
    for (auto& [name, place] : on.members) {
      place.ports.clear();
      for (const auto& [port, range] : ports) {
        place.ports[port] = {
            .first = range.first + place.slot * range.count, .count = range.count, .udp = range.udp};
      }
      placement.emplace(std::move(name), std::move(place));
    }
  }
  return placement;
}

std::string GuestName(const std::string& service, int number) {
  return service + "-x" + std::to_string(number);
}

bool IsGuestName(std::string_view service, std::string_view name) {
  if (!name.starts_with(service)) return false;
  name.remove_prefix(service.size());
  if (!name.starts_with("-x") || name.size() == 2) return false;
  return name.find_first_not_of("0123456789", 2) == std::string_view::npos;
}

Placement PlaceGuests(const Service& service, const Cluster& cluster, const Placement& placement,
                      const UsedPorts& used, int number, const std::map<std::string, PortRange>& ports) {
  struct Room {
    const Host* host;
    size_t members = 0;
    int slot = 0;  // the next to be tried
  };
  std::unordered_map<std::string, size_t> members;
  for (const auto& [name, place] : MembersOf(placement, service.name)) ++members[place->host];
  std::vector<Room> rooms;
  for (const Host* host : HostsOf(service, cluster)) {
    const auto found = members.find(host->name);
    if (found != members.end()) rooms.push_back({.host = host, .members = found->second});
  }
  const auto at_slot = [&](int slot) {
    std::map<std::string, PortRange> moved;
    for (const auto& [name, range] : ports) {
      moved[name] = {.first = range.first + slot * range.count, .count = range.count, .udp = range.udp};
    }
    return moved;
  };
  const auto fits = [&](const Host& host, const std::map<std::string, PortRange>& wanted) {
    for (const auto& [name, range] : wanted) {
      for (int port = range.first; port < range.first + range.count; ++port) {
        if (used.contains({host.address, range.udp, port})) return false;
      }
    }
    return true;
  };
  const auto in_range = [](const std::map<std::string, PortRange>& wanted) {
    return std::all_of(wanted.begin(), wanted.end(),
                       [](const auto& port) { return port.second.first + port.second.count <= kPortsEnd; });
  };
  Placement guests;
  for (int n = 1; n <= number && !rooms.empty();) {
    const auto room = std::min_element(rooms.begin(), rooms.end(),
                                       [](const Room& a, const Room& b) { return a.members < b.members; });
    auto wanted = at_slot(room->slot);
    while (in_range(wanted) && !fits(*room->host, wanted)) wanted = at_slot(++room->slot);
    if (!in_range(wanted)) {
      rooms.erase(room);
      continue;
    }
    guests[GuestName(service.name, n)] = {.service = service.name,
                                          .host = room->host->name,
                                          .ordinal = n,
                                          .slot = room->slot,
                                          .ports = std::move(wanted)};
    ++room->slot;
    ++room->members;
    ++n;
  }
  return guests;
}

std::string Endpoints(const Cluster& cluster, const Placement& placement, const std::string& service,
                      const std::string& port) {
  std::unordered_map<std::string, const std::string*> addresses;
  for (const Host& host : cluster.hosts) addresses[host.name] = &host.address;
  std::string text;
  for (const auto& [name, place] : MembersOf(placement, service)) {
    const auto found = place->ports.find(port);
    const auto address = addresses.find(place->host);
    if (found == place->ports.end() || address == addresses.end()) continue;
    if (!text.empty()) text += ',';
    text += *address->second;
    text += ':';
    text += std::to_string(found->second.first);
  }
  return text;
}

}  // namespace muster::common
