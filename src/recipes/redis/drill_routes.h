// Whom a client of a Redis Cluster asks for a slot while nodes die, hang and take over. Pure: it is told what
// was met and when.
#pragma once

#include <compare>
#include <map>
#include <string>
#include <vector>

#include "base/time.h"

namespace muster::redis {

struct Endpoint {
  std::string host;
  int port = 0;

  std::string Text() const { return host + ":" + std::to_string(port); }
  auto operator<=>(const Endpoint&) const = default;
};

// Remembers owners by redirects. Where the owner isn't to be had, any other node is asked: it tells who owns
// the slot as soon as it knows of another. One that hangs isn't asked again for a second, so that a frozen
// owner doesn't hide when another has taken over; one that refuses is tried again soon.
class DrillRoutes {
 public:
  explicit DrillRoutes(std::vector<Endpoint> nodes) : nodes_(std::move(nodes)) {}

  // Some node at any rate: where all are avoided, the one that was longest.
  Endpoint For(int slot, Time now);
  bool Avoids(const Endpoint& node, Time now) const;

  void Owns(int slot, const Endpoint& node);
  void Refused(const Endpoint& node, Time now);  // or it has closed the connection
  void Hangs(const Endpoint& node, Time now);
  void Answered(const Endpoint& node);  // anything

 private:
  void Leave(const Endpoint& node, Time until);

  std::vector<Endpoint> nodes_;
  std::map<int, Endpoint> owners_;
  std::map<Endpoint, Time> avoided_until_;
  size_t turn_ = 0;
};

}  // namespace muster::redis
