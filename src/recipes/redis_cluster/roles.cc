// Which nodes are to be masters.
#include <algorithm>

#include "recipes/redis_cluster/parts.h"

namespace muster::redis_cluster::mending {
namespace {

bool IsLeaving(const Node& node) { return node.member && node.member->leaving; }

int StayingFollowers(const Node& node) {
  return static_cast<int>(std::count_if(node.followers.begin(), node.followers.end(),
                                        [](const Member* follower) { return follower->stays(); }));
}

// Those whose slots go to others: first whoever leaves, and of these who has nobody to hand them to; then who
// has least to give. In the course of it that stays so.
void Drain(const Situation& situation, Roles& roles) {
  const int surplus = static_cast<int>(roles.kept.size()) - situation.masters;
  std::vector<const Node*> candidates;
  for (const Node* node : roles.kept) {
    if (IsLeaving(*node) || (situation.even && node->member && node->member->ready))
      candidates.push_back(node);
  }
  std::sort(candidates.begin(), candidates.end(), [](const Node* one, const Node* other) {
    const auto word = [](const Node* node) {
      return std::tuple(!IsLeaving(*node), IsLeaving(*node) ? StayingFollowers(*node) : 0,
                        node->slots.count(), node->member ? -node->member->rank : 0);
    };
    return word(one) < word(other);
  });
  for (int i = 0; i < surplus && i < static_cast<int>(candidates.size()); ++i) {
    roles.drained.push_back(candidates[static_cast<size_t>(i)]);
    std::erase(roles.kept, candidates[static_cast<size_t>(i)]);
  }
}

// Members that may become masters, each time the one whose host has fewest.
void Add(const Situation& situation, Roles& roles) {
  roles.lacking = situation.masters - static_cast<int>(roles.kept.size());
  if (roles.lacking <= 0 || situation.unowned.all()) {
    roles.lacking = 0;
    return;
  }
  std::map<std::string, int> of_host;
  for (const Node* node : roles.kept) {
    if (node->member) ++of_host[node->member->host];
  }
  std::vector<const Member*> spare;
  for (const Member& member : situation.members) {
    if (!member.ready || !member.stays() || !member.master || member.held) continue;
    if (!situation.SlotsOf(member).empty() || !member.self->slots.empty()) continue;
    if (!member.self->importing.empty() || (member.empty && !StandsInFor(situation, member)))
      spare.push_back(&member);
  }
  while (roles.lacking > 0 && !spare.empty()) {
    const auto best =
        std::min_element(spare.begin(), spare.end(), [&](const Member* one, const Member* other) {
          const auto word = [&](const Member* member) {  // whoever has begun to take slots over goes on
            return std::tuple(member->self->importing.empty(), of_host[member->host], member->rank);
          };
          return word(one) < word(other);
        });
    roles.added.push_back(situation.NodeOf(**best));
    ++of_host[(*best)->host];
    spare.erase(best);
    --roles.lacking;
  }
}

}  // namespace

bool Roles::Has(const std::vector<const Node*>& nodes, const std::string& id) {
  return std::any_of(nodes.begin(), nodes.end(), [&](const Node* node) { return node->id == id; });
}

Roles RolesOf(const Situation& situation) {
  Roles roles;
  for (const auto& [id, node] : situation.nodes) {
    if (node.master && !node.slots.empty()) roles.kept.push_back(&node);
  }
  std::sort(roles.kept.begin(), roles.kept.end(), [](const Node* one, const Node* other) {
    return one->slots.Ranges().front() < other->slots.Ranges().front();
  });
  Drain(situation, roles);
  Add(situation, roles);
  return roles;
}

}  // namespace muster::redis_cluster::mending
