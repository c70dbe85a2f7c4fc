// Where the members of a service stand. Pure.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "model/cluster.h"
#include "model/instance.h"
#include "recipes/recipe.h"

namespace muster::common {

// "5 per host", or "12" spread over the hosts.
struct Count {
  int number = 1;
  bool per_host = false;
};
Count ReadCount(const std::string& text);

// The hosts a service may stand on, in the cluster's order.
std::vector<const Host*> HostsOf(const Service& service, const Cluster& cluster);

// Places for `count` members. What `so_far` knows of this service keeps host, ordinal and slot; surplus ones
// are left out, highest ordinals first; new ones get ordinals and slots that nothing in `so_far` has. A
// member's ports are `ports` moved on by its slot on its host times their width.
Placement PlaceMembers(const Service& service, const Cluster& cluster, const Placement& so_far, Count count,
                       const std::map<std::string, PortRange>& ports);

// "web-x1": a guest's name. No member can have it, whatever becomes of the service.
std::string GuestName(const std::string& service, int number);
bool IsGuestName(std::string_view service, std::string_view name);

// Places for guests of a service whose members are equal: on the hosts where it has members, the emptiest
// first, each on the next ports that nobody uses.
Placement PlaceGuests(const Service& service, const Cluster& cluster, const Placement& placement,
                      const UsedPorts& used, int number, const std::map<std::string, PortRange>& ports);

// The members of one service in `placement`, by ordinal: name and place.
std::vector<std::pair<std::string, const Place*>> MembersOf(const Placement& placement,
                                                            const std::string& service);

// "10.0.0.1:8101,10.0.0.2:8101": one port of all members.
std::string Endpoints(const Cluster& cluster, const Placement& placement, const std::string& service,
                      const std::string& port);

}  // namespace muster::common
