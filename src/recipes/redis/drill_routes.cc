#include "recipes/redis/drill_routes.h"

#include <algorithm>

namespace muster::redis {
namespace {

constexpr Duration kRefusedFor = 10ms;
constexpr Duration kHangsFor = 1s;

}  // namespace

Endpoint DrillRoutes::For(int slot, Time now) {
  if (const auto owner = owners_.find(slot); owner != owners_.end() && !Avoids(owner->second, now))
    return owner->second;
  for (size_t i = 0; i < nodes_.size(); ++i) {
    const Endpoint& node = nodes_[turn_++ % nodes_.size()];
    if (!Avoids(node, now)) return node;
  }
  const auto sooner = [&](const Endpoint& one, const Endpoint& other) {
    return avoided_until_.at(one) < avoided_until_.at(other);
  };
  return *std::min_element(nodes_.begin(), nodes_.end(), sooner);
}

bool DrillRoutes::Avoids(const Endpoint& node, Time now) const {
  const auto found = avoided_until_.find(node);
  return found != avoided_until_.end() && now < found->second;
}

void DrillRoutes::Owns(int slot, const Endpoint& node) {
  owners_[slot] = node;
  if (std::find(nodes_.begin(), nodes_.end(), node) == nodes_.end()) nodes_.push_back(node);
}

void DrillRoutes::Refused(const Endpoint& node, Time now) { Leave(node, now + kRefusedFor); }
void DrillRoutes::Hangs(const Endpoint& node, Time now) { Leave(node, now + kHangsFor); }

// Before it is asked again somebody else is, who may know of another owner.
void DrillRoutes::Leave(const Endpoint& node, Time until) {
  avoided_until_[node] = until;
  std::erase_if(owners_, [&](const auto& owner) { return owner.second == node; });
}

void DrillRoutes::Answered(const Endpoint& node) { avoided_until_.erase(node); }

}  // namespace muster::redis
