#include "recipes/redis_cluster/layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "recipes/common/placement.h"
#include "recipes/common/variables.h"
#include "recipes/redis/data_check.h"
#include "recipes/redis/member_layout.h"
#include "recipes/redis/settings.h"
#include "recipes/redis_cluster/adopt_read.h"
#include "recipes/redis_cluster/change.h"
#include "recipes/redis_cluster/drill.h"
#include "recipes/redis_cluster/health.h"
#include "recipes/redis_cluster/mender.h"
#include "recipes/redis_cluster/operator.h"
#include "recipes/redis_cluster/redis_cluster.h"

namespace muster::redis_cluster {
namespace {

constexpr int kMasters = 3, kReplicas = 1, kPort = 6379;
constexpr Duration kNodeTimeout = 5s;

// What nobody may set but muster.
std::vector<redis::Directive> OwnedOf(const Instance& instance, const ListedMember* listed) {
  const std::string port = std::to_string(instance.ports.at(kMainPort).first);
  const std::string bus = std::to_string(instance.ports.at(kBusPort).first);
  std::vector<redis::Directive> lines{
      {"bind", {instance.address}},
      {"bind-source-addr", {instance.address}},  // others see the address that they are told
      {"port", {port}},
      {"daemonize", {"no"}},
      {"cluster-enabled", {"yes"}},
      {"cluster-config-file", {"nodes.conf"}},
      {"cluster-announce-ip", {instance.address}},
      {"cluster-announce-port", {port}},
      {"cluster-announce-bus-port", {bus}},
  };
  if (listed) {
    std::erase_if(lines, [&](const redis::Directive& line) { return listed->files.contains(line.name); });
    for (const auto& [name, file] : listed->files) lines.push_back({name, {file}});
  }
  return lines;
}

}  // namespace

int MastersOf(const Service& service) {
  return static_cast<int>(service.settings.Integer("masters", kMasters));
}

int ReplicasOf(const Service& service) {
  return static_cast<int>(service.settings.Integer("replicas", kReplicas));
}

int MembersWanted(const Service& service) {
  const Value* listed = service.settings.Find("members");
  const int least = listed ? static_cast<int>(listed->items.size()) : 0;
  return std::max(MastersOf(service) * (1 + ReplicasOf(service)), least);
}

bool SpreadsSlots(const Service& service) { return service.settings.Text("slots", "even") == "even"; }

std::map<std::string, PortRange> PortsOf(const Service& service) {
  const int port = static_cast<int>(service.settings.Integer("port", kPort));
  return {{kMainPort, {.first = port}}, {kBusPort, {.first = port + kBusOffset}}};
}

redis::ConfSettings SettingsOf(const Service& service) {
  redis::ConfSettings settings{
      {"appendonly", {"yes"}},
      {"save", {""}},
      // Waiting for more replicas to sync along is for larger crowds than a shard has.
      {"repl-diskless-sync-delay", {"0"}},
      // Who is to stop has handed over before; waiting for replicas that lag helps nobody then.
      {"shutdown-timeout", {"0"}},
      // Without a password it would let in nobody but its own host, not even the other members.
      {"protected-mode", {"no"}},
  };
  const auto timeout = ParseDuration(service.settings.Text("node_timeout"));
  settings["cluster-node-timeout"] = {std::to_string((timeout.ok() ? *timeout : kNodeTimeout).count())};
  const Value* written = service.settings.Find("settings");
  if (!written) return settings;
  for (const Value::Entry& entry : written->entries) {
    std::vector<std::string>& lines = settings[redis::CurrentName(entry.key)];
    lines.clear();
    if (!entry.value.is_list()) lines.push_back(entry.value.text);
    for (const Value& item : entry.value.items) lines.push_back(item.text);
  }
  return settings;
}

std::vector<ListedMember> ListedMembers(const Service& service, const Cluster& cluster) {
  const Value* list = service.settings.Find("members");
  if (!list) return {};
  const auto hosts = common::HostsOf(service, cluster);
  const std::string only = hosts.size() == 1 ? hosts[0]->name : "";
  std::vector<ListedMember> members;
  for (const Value& item : list->items) {
    ListedMember member{.host = item.Text("host", only), .value = &item};
    member.port = static_cast<int>(item.Integer("port", 0));
    member.data = item.Text("data");
    if (const Value* files = item.Find("files")) {
      for (const Value::Entry& file : files->entries) member.files[file.key] = file.value.text;
    }
    // What is only played may not get at what is true.
    if (cluster.rehearsal) member.data.clear();
    if (member.data.empty()) member.files.clear();
    members.push_back(std::move(member));
  }
  return members;
}

namespace {

const ListedMember* FindListed(const std::vector<ListedMember>& listed, const Place& place, int port) {
  const auto found = std::find_if(listed.begin(), listed.end(), [&](const ListedMember& member) {
    return member.host == place.host && member.port == port;
  });
  return found == listed.end() ? nullptr : &*found;
}

// Places for the listed ones, under the names that they have if they stand; and of those that stand beside
// them as many as are wanted in all. A place's slot, which its ports are reckoned from, may be below 0 here.
Placement WithListed(const Service& service, const std::vector<ListedMember>& listed, const Placement& so_far,
                     int wanted) {
  if (listed.empty()) return so_far;
  const int first = PortsOf(service).at(kMainPort).first;
  const auto standing = common::MembersOf(so_far, service.name);
  const auto port_of = [](const Place& place) {
    const auto found = place.ports.find(kMainPort);
    return found == place.ports.end() ? 0 : found->second.first;
  };
  std::set<int> ordinals;
  for (const auto& [name, place] : standing) ordinals.insert(place->ordinal);
  Placement pinned;
  std::set<std::pair<std::string, int>> slots;
  int next = 1;
  for (const ListedMember& member : listed) {
    Place place{.service = service.name, .host = member.host, .slot = member.port - first};
    if (!slots.emplace(place.host, place.slot).second) continue;
    std::string own;
    for (const auto& [name, stands] : standing) {
      if (stands->host != member.host || port_of(*stands) != member.port) continue;
      own = name;
      place.ordinal = stands->ordinal;
    }
    if (own.empty()) {
      while (ordinals.contains(next)) ++next;
      place.ordinal = next++;
      own = fmt::format("{}-{}", service.name, place.ordinal);
    }
    pinned.emplace(std::move(own), std::move(place));
  }
  size_t kept = pinned.size();
  for (const auto& [name, place] : standing) {
    if (pinned.contains(name)) continue;
    if (place->claim == Claim::kReserved) {
      pinned.emplace(name, *place);
    } else if (kept < static_cast<size_t>(wanted) && slots.emplace(place->host, place->slot).second) {
      pinned.emplace(name, *place);
      ++kept;
    }
  }
  return pinned;
}

}  // namespace

namespace {

// A master that keeps nothing on disk would be empty, and still own its slots: its replica would copy that.
// So it isn't started before a replica has certainly taken over, if only by Redis' own vote.
void WaitForSuccessor(const redis::ConfSettings& values, const Value* asked, RestartPolicy& restart) {
  if (!redis::ForgetsWrites(values)) return;
  if (asked && asked->Find("first")) return;
  restart.backoff_first = SuccessorWithin(values);
  restart.backoff_most = std::max(restart.backoff_most, restart.backoff_first);
}

}  // namespace

Duration SuccessorWithin(const redis::ConfSettings& values) {
  const auto timeout = values.find("cluster-node-timeout");
  const int64_t node_timeout_ms = timeout == values.end() || timeout->second.empty()
                                      ? 15'000
                                      : std::atoll(timeout->second.front().c_str());
  return Duration(2 * node_timeout_ms) + 2s;
}

Result<Placement> RedisClusterLayout::PlaceMembers(const Service& service, const Cluster& cluster,
                                                   const Placement& so_far) const {
  const common::Count count{.number = MembersWanted(service), .per_host = false};
  const Placement pinned = WithListed(service, ListedMembers(service, cluster), so_far, count.number);
  return common::PlaceMembers(service, cluster, pinned, count, PortsOf(service));
}

Result<std::vector<Instance>> RedisClusterLayout::LayOut(const Service& service, const Cluster& cluster,
                                                         const Placement& placement) const {
  const auto values = SettingsOf(service);
  common::Variables variables(service, cluster, placement);
  Instance common_part = redis::CommonPart(service, cluster, values);
  WaitForSuccessor(values, service.settings.Find("restart"), common_part.restart);
  const auto listed = ListedMembers(service, cluster);
  std::vector<Instance> instances;
  for (const auto& [name, place] : common::MembersOf(placement, service.name)) {
    MUSTER_TRY(Instance instance, redis::MemberAt(common_part, service, cluster, name, *place));
    variables.Choose(name, *place, name, instance.address);
    const ListedMember* own = FindListed(listed, *place, instance.ports.at(kMainPort).first);
    if (own && !own->data.empty()) {
      instance.extra[kDataElsewhere] = own->data;
      for (const auto& [setting, file] : own->files) instance.extra["file " + setting] = file;
    }
    const std::string password = variables.Expand(service.settings.Text("password"));
    instance.files.push_back(redis::ConfigFile(name, OwnedOf(instance, own), values, !password.empty()));
    if (!password.empty()) instance.files.push_back(redis::SecretFile(password));
    instances.push_back(std::move(instance));
  }
  return instances;
}

std::optional<std::string> RedisClusterLayout::Export(std::string_view word, const Service& service,
                                                      const Cluster& cluster,
                                                      const Placement& placement) const {
  if (word == "endpoints") word = "endpoints.port";
  for (const char* port : {kMainPort, kBusPort}) {
    if (word == std::string("endpoints.") + port)
      return common::Endpoints(cluster, placement, service.name, port);
  }
  return std::nullopt;
}

Impact RedisClusterLayout::ImpactOf(std::string_view part) const { return redis::MemberImpactOf(part); }

}  // namespace muster::redis_cluster

namespace muster {

Recipe MakeRedisClusterRecipe() {
  Recipe recipe;
  auto layout = std::make_unique<redis_cluster::RedisClusterLayout>();
  recipe.change = std::make_unique<redis_cluster::RedisClusterChange>(layout.get());
  recipe.layout = std::move(layout);
  recipe.health = redis_cluster::HealthOf;
  recipe.roles = redis_cluster::RolesOf;
  recipe.drill = {.primaries = redis_cluster::DrillPrimaries, .make_client = redis_cluster::MakeDrillClient};
  recipe.for_browsers = false;
  recipe.asks_again = redis::kAsksAgain;
  recipe.never_thawed = true;
  recipe.gives_before_it_leaves = true;
  recipe.make_mender = redis_cluster::MakeRedisClusterMender;
  recipe.takes = {"switchover", "failover"};
  recipe.make_operator = redis_cluster::MakeRedisClusterOperator;
  recipe.adopt = redis_cluster::AdoptCluster;
  return recipe;
}

}  // namespace muster
