#include "recipes/redis_cluster/picture.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "model/listens.h"
#include "recipes/redis/words.h"
#include "recipes/redis_cluster/layout.h"

namespace muster::redis_cluster {
namespace {

// Puts ping times where CLUSTER NODES has them.
std::string WithTimes(const std::vector<std::string_view>& words) {
  std::string line;
  const bool without = words.size() >= 6 && (words[5] == "connected" || words[5] == "disconnected");
  for (size_t i = 0; i < words.size(); ++i) {
    if (without && i == 4) line += " 0 0";
    line += (i > 0 ? " " : "") + std::string(words[i]);
  }
  return line + "\n";
}

void AddShard(Picture& picture, Shard shard) {
  for (const Member& member : picture.members) {
    if (member.node == shard.node) continue;
    const bool follows = member.ready ? member.primary == shard.node : false;
    if (follows) shard.replicas.push_back(member.name);
  }
  picture.shards.push_back(std::move(shard));
}

// The line of each node that knows best: its own, else the one of the highest epoch among the others'.
std::map<std::string, const redis::ClusterNode*> BestLines(const std::vector<Member>& members) {
  std::map<std::string, const redis::ClusterNode*> best;
  for (const Member& member : members) {
    if (!member.view) continue;
    for (const redis::ClusterNode& node : member.view->nodes) {
      if (node.handshake) continue;
      const redis::ClusterNode*& line = best[node.id];
      if (!line || node.config_epoch > line->config_epoch) line = &node;
    }
  }
  for (const Member& member : members) {
    if (!member.view || member.node.empty()) continue;
    if (const redis::ClusterNode* own = member.view->Find(member.node)) best[member.node] = own;
  }
  return best;
}

// As it is installed; where it isn't, as it will be.
bool IsAt(const Member& member, const std::string& address, int port) {
  const Listens listens = member.observed ? ListensOf(*member.observed) : Listens{};
  if (member.desired && listens.ports.empty()) {
    const auto own = member.desired->ports.find(kMainPort);
    return member.desired->address == address && own != member.desired->ports.end() &&
           own->second.first == port;
  }
  return listens.address == address &&
         std::any_of(listens.ports.begin(), listens.ports.end(),
                     [&](const PortRange& range) { return range.first == port; });
}

}  // namespace

std::optional<redis::ClusterView> ReadView(const std::string& text) {
  std::string whole, marks;
  for (const std::string_view line : redis::Lines(text)) {
    const auto words = redis::Words(line);
    if (words.empty()) continue;
    if (!words[0].starts_with('[')) {
      whole += WithTimes(words);
      continue;
    }
    for (const std::string_view word : words) marks += " " + std::string(word);
  }
  if (!marks.empty() && !whole.empty()) {
    whole.pop_back();
    whole += marks + "\n";
  }
  auto view = redis::ParseClusterNodes(whole);
  if (!view.ok()) return std::nullopt;
  return std::move(*view);
}

std::string Member::Fact(const char* fact) const {
  if (!observed) return "";
  const auto found = observed->facts.find(fact);
  return found == observed->facts.end() ? "" : found->second;
}

const Member* Picture::Find(const std::string& name) const {
  const auto found =
      std::find_if(members.begin(), members.end(), [&](const Member& one) { return one.name == name; });
  return found == members.end() ? nullptr : &*found;
}

const Member* Picture::OfNode(const std::string& node) const {
  const auto found = std::find_if(members.begin(), members.end(),
                                  [&](const Member& one) { return !one.node.empty() && one.node == node; });
  return found == members.end() ? nullptr : &*found;
}

const Shard* Picture::ShardOf(const std::string& member) const {
  for (const Shard& shard : shards) {
    if (shard.master == member) return &shard;
    if (std::find(shard.replicas.begin(), shard.replicas.end(), member) != shard.replicas.end())
      return &shard;
  }
  return nullptr;
}

std::string Picture::NameOf(const std::string& node) const {
  if (const Member* member = OfNode(node)) return member->name;
  for (const Member& one : members) {
    const redis::ClusterNode* found = one.view ? one.view->Find(node) : nullptr;
    if (!found || found->address.empty()) continue;
    // Who is down hasn't said which node it is since the server began.
    for (const Member& other : members) {
      if (other.node.empty() && IsAt(other, found->address, found->port)) return other.name;
    }
    return fmt::format("{}:{}", found->address, found->port);
  }
  return node.substr(0, 8);
}

std::vector<std::string> Picture::WhoHad(const std::string& node) const {
  std::vector<std::string> who;
  for (const Member& member : members) {
    if (HadKeysOf(member.former, node)) who.push_back(member.name);
  }
  return who;
}

Picture PictureOf(const std::string& service, const std::vector<Instance>& desired,
                  const std::map<std::string, Observed>& observed) {
  Picture picture;
  const auto add = [&](const std::string& name, const Instance* wanted, const Observed* seen) {
    Member member{.name = name, .desired = wanted, .observed = seen};
    member.ready = seen && seen->state == InstanceState::kReady;
    member.node = member.Fact("node");
    const std::string role = member.Fact("role");
    member.master = role == "master";
    member.replica = role == "replica";
    member.primary = member.Fact("primary");
    member.former = ReadFormerNodes(member.Fact("was"));
    if (const std::string view = member.Fact("view"); member.ready && !view.empty())
      member.view = ReadView(view);
    picture.members.push_back(std::move(member));
  };
  for (const Instance& one : desired) {
    const auto seen = observed.find(one.name);
    add(one.name, &one, seen == observed.end() ? nullptr : &seen->second);
  }
  for (const auto& [name, seen] : observed) {
    if (seen.service == service && !picture.Find(name)) add(name, nullptr, &seen);
  }

  const auto best = BestLines(picture.members);
  std::map<std::string, std::vector<std::string>>
      silent;  // members that don't say themselves whom they follow
  std::vector<Shard> found;
  for (const auto& [id, node] : best) {
    const Member* member = picture.OfNode(id);
    const std::string name = picture.NameOf(id);
    if (node->replica && (!member || !member->ready)) silent[node->master_id].push_back(name);
    if (!node->master) continue;
    found.push_back({.node = id,
                     .master = name,
                     .alive = member && member->ready && member->master,
                     .slots = node->slots,
                     .epoch = node->config_epoch,
                     .replicas = {}});
  }
  // Of two that claim a slot, the one of the higher epoch has it, as Redis decides.
  std::sort(found.begin(), found.end(), [](const Shard& a, const Shard& b) { return a.epoch > b.epoch; });
  for (Shard& shard : found) {
    shard.slots -= picture.owned;
    picture.owned |= shard.slots;
    shard.replicas = silent[shard.node];
    AddShard(picture, std::move(shard));
  }
  std::sort(picture.shards.begin(), picture.shards.end(), [](const Shard& a, const Shard& b) {
    const int first = a.slots.empty() ? redis::kSlots : a.slots.Ranges().front().first;
    const int second = b.slots.empty() ? redis::kSlots : b.slots.Ranges().front().first;
    return std::tie(first, a.master) < std::tie(second, b.master);
  });
  return picture;
}

}  // namespace muster::redis_cluster
