#include "recipes/redis_cluster/members.h"

#include <fmt/format.h>

#include <algorithm>

#include "model/listens.h"
#include "recipes/redis/data_check.h"
#include "recipes/redis/words.h"
#include "recipes/redis_cluster/layout.h"
#include "recipes/redis_cluster/picture.h"

namespace muster::redis_cluster::mending {
namespace {

constexpr size_t kRangesShown = 3;

std::string Fact(const Observed& observed, const char* name) {
  const auto found = observed.facts.find(name);
  return found == observed.facts.end() ? "" : found->second;
}

SharedView ViewOf(const std::string& member, const std::string& text, ViewCache& views) {
  auto& [known, view] = views[member];
  if (known != text || !view) {
    auto read = ReadView(text);
    view = read ? std::make_shared<const redis::ClusterView>(std::move(*read)) : nullptr;
    known = text;
  }
  return view;
}

int PortOf(const Instance& instance, const char* name, int fallback) {
  const auto found = instance.ports.find(name);
  return found == instance.ports.end() ? fallback : found->second.first;
}

// Whether its process is known not to serve: it is gone, or anew and has nothing to say yet.
bool IsDead(const Observed& seen) {
  switch (seen.state) {
    case InstanceState::kAbsent:
    case InstanceState::kStopped:
    case InstanceState::kBackoff:
    case InstanceState::kFailed:
      return true;
    case InstanceState::kStarting:
      return !seen.facts.contains("role") || seen.facts.contains("loading");
    default:
      return false;
  }
}

// Of the fact `write`, what is its disk's: what replicas are missing or how full the memory is, another
// master wouldn't have otherwise.
std::string WhyUnwritable(const std::string& write) {
  const bool disk =
      write.starts_with("MISCONF") || write.find("append-only file failed") != std::string::npos;
  return disk ? write : "";
}

void Learn(const Observed& seen, Time now, Member& member, ViewCache& views, redis::Moments& moments) {
  member.host = seen.host.empty() ? member.host : seen.host;
  member.dead = IsDead(seen);
  member.removed = !member.desired && seen.state == InstanceState::kAbsent;
  member.shut = seen.state == InstanceState::kAbsent || seen.state == InstanceState::kStopped ||
                seen.state == InstanceState::kFailed;
  member.id = Fact(seen, "node");
  member.former = ReadFormerNodes(Fact(seen, "was"));
  member.offset = redis::ParseNumber<int64_t>(Fact(seen, "offset")).value_or(0);
  member.history = Fact(seen, "history");
  member.answered = moments.Of(seen.name, "answered_ms", Fact(seen, "answered_ms"), true, now);
  member.lost = moments.Of(seen.name, "unlinked_ms", Fact(seen, "unlinked_ms"), false, now);
  if (seen.state != InstanceState::kReady || member.id.empty()) return;
  member.view = ViewOf(member.name, Fact(seen, "view"), views);
  member.self = member.view ? member.view->Find(member.id) : nullptr;
  if (!member.self) {
    member.view = nullptr;
    return;
  }
  member.ready = true;
  member.master = Fact(seen, "role") == "master";
  member.primary = member.master ? "" : Fact(seen, "primary");
  if (!member.master && member.primary.empty()) member.primary = member.self->master_id;
  member.linked = Fact(seen, "link") == "up";
  member.empty = Fact(seen, "empty") == "yes";
  member.bereft = member.empty && Fact(seen, "lost") == "yes";
  member.unwritable = WhyUnwritable(Fact(seen, "write"));
  member.cluster_ok = Fact(seen, "cluster") == "ok";
  member.epoch = redis::ParseNumber<uint64_t>(Fact(seen, "epoch")).value_or(0);
  if (const auto drained = SlotSet::Parse(Fact(seen, "drained")); drained.ok()) member.drained = *drained;
  if (member.address.empty()) member.address = member.self->address;
  if (member.port == 0) member.port = member.self->port;
  if (member.bus == 0)
    member.bus = member.self->bus_port > 0 ? member.self->bus_port : member.port + kBusOffset;
}

// Where it listens as it is installed, which another file may have elsewhere, tells which node it is while it
// doesn't answer.
void TakeSeat(const Observed& seen, Member& member) {
  const Listens listens = ListensOf(seen);
  if (listens.ports.empty()) return;
  member.address = listens.address;
  const auto [first, last] = std::minmax_element(
      listens.ports.begin(), listens.ports.end(),
      [](const PortRange& one, const PortRange& other) { return one.first < other.first; });
  member.port = first->first;  // the bus is beyond it
  member.bus = last == first ? member.port + kBusOffset : last->first;
}

std::vector<Member> MembersOf(const Mender::Input& input, const std::set<std::string>& ordered,
                              ViewCache& views, redis::Moments& moments) {
  std::set<std::string> leaving;
  for (const Step* step : input.awaited) {
    if (step->verb == "leave") leaving.insert(step->instance);
  }
  std::vector<const Instance*> desired;
  std::set<std::string> names;
  for (const Instance& instance : *input.desired) {
    desired.push_back(&instance);
    names.insert(instance.name);
  }
  std::sort(desired.begin(), desired.end(),
            [](const Instance* a, const Instance* b) { return a->ordinal < b->ordinal; });
  std::vector<Member> members;
  for (const Instance* instance : desired) {
    Member member{.name = instance->name, .host = instance->host, .address = instance->address};
    member.port = PortOf(*instance, "port", 0);
    member.bus = PortOf(*instance, "bus", member.port + kBusOffset);
    member.desired = true;
    members.push_back(std::move(member));
  }
  for (const auto& [name, seen] : *input.observed) {
    if (seen.service != input.service->name || names.contains(name)) continue;
    members.push_back({.name = name});
  }
  const std::set<std::string> busy(input.busy.begin(), input.busy.end());
  for (size_t i = 0; i < members.size(); ++i) {
    Member& member = members[i];
    member.rank = static_cast<int>(i);
    member.leaving = leaving.contains(member.name);
    member.held = input.held.contains(member.name);
    member.ordered = ordered.contains(member.name);
    member.stepped = busy.contains(member.name) && !member.ordered;
    if (input.missing.contains(member.name)) member.dead = member.shut = true;
    if (const auto seen = input.observed->find(member.name); seen != input.observed->end()) {
      TakeSeat(seen->second, member);
      Learn(seen->second, input.now, member, views, moments);
    }
    member.silent = input.silent.contains(member.host);
    if (member.silent) member.ready = member.dead = member.shut = false;
  }
  return members;
}

// Who hasn't said which node it is, as after a death, is the one that others know at its seat.
void GuessIds(std::vector<Member>& members) {
  std::set<std::string> taken;
  for (const Member& member : members) {
    if (!member.id.empty()) taken.insert(member.id);
  }
  for (Member& member : members) {
    if (!member.id.empty() || member.address.empty()) continue;
    for (const Member& other : members) {
      if (!other.ready) continue;
      const redis::ClusterNode* there = other.view->At(member.address, member.port);
      if (!there || there->handshake || there->no_address || taken.contains(there->id)) continue;
      member.id = there->id;
      taken.insert(there->id);
      break;
    }
  }
}

struct Claim {
  const redis::ClusterNode* line;
  bool own;  // its own word
};

std::map<std::string, Node> NodesOf(const std::vector<Member>& members, SlotSet& unowned) {
  std::map<std::string, Node> nodes;
  std::vector<Claim> claims;
  for (const Member& member : members) {
    if (!member.id.empty()) nodes[member.id].member = &member;
    if (!member.ready) continue;
    for (const redis::ClusterNode& line : member.view->nodes) {
      if (line.handshake) continue;
      nodes.try_emplace(line.id);
      claims.push_back({&line, &line == member.self});
    }
  }
  // Those that know best come first: the later word, and of a node its own.
  std::stable_sort(claims.begin(), claims.end(), [](const Claim& a, const Claim& b) {
    const auto word = [](const Claim& claim) { return std::pair(claim.line->config_epoch, claim.own); };
    return word(a) > word(b);
  });
  SlotSet owned;
  std::map<std::string, std::pair<int, int>> suspicions;  // who thinks that it is gone, of how many
  std::set<std::string> told;
  for (const Claim& claim : claims) {
    Node& node = nodes[claim.line->id];
    // A replica's line carries its master's slots nowhere, but an old line of it may.
    if (!claim.line->slots.empty()) {
      const SlotSet fresh = claim.line->slots - owned;
      node.slots |= fresh;
      owned |= fresh;
    }
    const bool self_known = node.member && node.member->ready;
    if (self_known ? claim.own : told.insert(claim.line->id).second) {
      node.master = claim.line->master;
      node.primary = claim.line->master ? "" : claim.line->master_id;
      node.epoch = claim.line->config_epoch;
    }
    if (node.address.empty() && !claim.line->no_address) {
      node.address = claim.line->address;
      node.port = claim.line->port;
    }
    if (claim.own) continue;
    auto& [gone, all] = suspicions[claim.line->id];
    ++all;
    if (claim.line->failed || claim.line->suspected || claim.line->no_address) ++gone;
  }
  for (auto& [id, node] : nodes) {
    node.id = id;
    const auto& [gone, all] = suspicions[id];
    node.suspected = gone > 0;
    node.suspected_by_all = gone == all;
  }
  unowned = SlotSet::All() - owned;
  for (const Member& member : members) {
    if (member.id.empty()) continue;
    const Node& node = nodes[member.id];
    if (node.master || node.primary.empty()) continue;
    if (const auto primary = nodes.find(node.primary); primary != nodes.end())
      primary->second.followers.push_back(&member);
  }
  return nodes;
}

Duration NodeTimeout(const Value& settings) {
  const auto timeout = ParseDuration(settings.Text("node_timeout", "5s"));
  if (timeout.ok() && settings.Find("node_timeout")) return *timeout;
  const Value* passed = settings.Find("settings");
  return Duration(passed ? passed->Integer("cluster-node-timeout", 5000) : 5000);
}

}  // namespace

bool Member::Knows(const std::string& node) const {
  const redis::ClusterNode* known = view ? view->Find(node) : nullptr;
  return known && !known->handshake;
}

std::string Member::Seat() const { return fmt::format("{}:{}@{}", address, port, bus); }

const Member* Situation::Find(const std::string& name) const {
  for (const Member& member : members) {
    if (member.name == name) return &member;
  }
  return nullptr;
}

const Node* Situation::At(const std::string& id) const {
  const auto found = nodes.find(id);
  return found == nodes.end() ? nullptr : &found->second;
}

const Node* Situation::NodeOf(const Member& member) const {
  return member.id.empty() ? nullptr : At(member.id);
}

const SlotSet& Situation::SlotsOf(const Member& member) const {
  static const SlotSet none;
  const Node* node = NodeOf(member);
  return node ? node->slots : none;
}

std::string Situation::NameOf(const std::string& id) const {
  const Node* node = At(id);
  if (node && node->member) return node->member->name;
  if (node && !node->address.empty()) return fmt::format("{}:{}", node->address, node->port);
  return id.substr(0, 8);
}

std::vector<std::string> Situation::WhoHad(const std::string& id) const {
  std::vector<std::string> who;
  for (const Member& member : members) {
    if (HadKeysOf(member.former, id)) who.push_back(member.name);
  }
  return who;
}

std::vector<std::string> Situation::Bereft() const {
  std::vector<std::string> names;
  if (!unowned.all() || !All([](const Member& member) { return member.ready && member.empty; })) return names;
  for (const Member& member : members) {
    if (member.stays() && member.bereft && !member.keeps_nothing) names.push_back(member.name);
  }
  return names;
}

bool Situation::All(bool (*what)(const Member&)) const {
  return std::all_of(members.begin(), members.end(),
                     [what](const Member& member) { return !member.stays() || what(member); });
}

Situation Survey(const Mender::Input& input, const std::set<std::string>& ordered, ViewCache& views,
                 redis::Moments& moments) {
  Situation situation;
  situation.input = &input;
  situation.now = input.now;
  situation.masters = MastersOf(*input.service);
  situation.replicas = ReplicasOf(*input.service);
  situation.node_timeout = NodeTimeout(input.service->settings);
  for (const Step* step : input.awaited) {
    const auto slots = step->args.find("slots");
    situation.settling |= step->verb == "settle";
    situation.moving |= step->verb == "leave";
    situation.even |= step->verb == "settle" && slots != step->args.end() && slots->second == "even";
  }
  situation.moving |= situation.even;
  situation.members = MembersOf(input, ordered, views, moments);
  const redis::ConfSettings values = SettingsOf(*input.service);
  for (Member& member : situation.members) {
    member.forgets = redis::ForgetsWrites(values);
    member.keeps_nothing = redis::KeepsNothing(values);
  }
  GuessIds(situation.members);
  situation.nodes = NodesOf(situation.members, situation.unowned);
  return situation;
}

std::string SlotsText(const SlotSet& slots) {
  const auto ranges = slots.Ranges();
  std::string text;
  for (size_t i = 0; i < ranges.size() && i < kRangesShown; ++i) {
    const auto& [first, last] = ranges[i];
    if (i > 0) text += ", ";
    text += first == last ? std::to_string(first) : fmt::format("{}-{}", first, last);
  }
  if (ranges.size() > kRangesShown) text += fmt::format(" and {} more ranges", ranges.size() - kRangesShown);
  return text;
}

}  // namespace muster::redis_cluster::mending
