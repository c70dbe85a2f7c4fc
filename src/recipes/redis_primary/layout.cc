#include "recipes/redis_primary/layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/text.h"
#include "model/words.h"
#include "recipes/common/placement.h"
#include "recipes/common/shapes.h"
#include "recipes/common/variables.h"
#include "recipes/redis/member_layout.h"
#include "recipes/redis/words.h"

namespace muster::redis_primary {
namespace {

constexpr int kPort = 6379;
constexpr Duration kLease = 3s;
constexpr const char *kLeasePart = "lease_ms", *kHostsPart = "hosts", *kPeersPart = "peers";

using Members = std::vector<std::pair<std::string, const Place*>>;

// The terms of one member, as text.
void AddLeaseTerms(const Service& service, const Cluster& cluster, const Members& members,
                   Instance& instance) {
  std::set<std::string> hosts;
  std::vector<std::string> peers;
  for (const auto& [name, place] : members) {
    hosts.insert(place->host);
    const Host* host = cluster.FindHost(place->host);
    if (name == instance.name || !host) continue;
    peers.push_back(fmt::format("{}={}:{}", place->host, host->address, place->ports.at(kMainPort).first));
  }
  if (const std::string witness = WitnessOf(service); !witness.empty()) hosts.insert(witness);
  instance.extra[kLeasePart] = std::to_string(LeaseOf(service).count());
  instance.extra[kHostsPart] = std::to_string(hosts.size());
  instance.extra[kPeersPart] = Join(peers, " ");
}

}  // namespace

int ReplicasOf(const Service& service) { return static_cast<int>(service.settings.Integer("replicas", 0)); }

Duration LeaseOf(const Service& service) {
  const auto lease = ParseDuration(service.settings.Text("lease"));
  return lease.ok() ? *lease : kLease;
}

std::map<std::string, PortRange> PortsOf(const Service& service) {
  return {{kMainPort, {.first = static_cast<int>(service.settings.Integer("port", kPort))}}};
}

std::string PreferOf(const Service& service) { return service.settings.Text("prefer"); }
std::string WitnessOf(const Service& service) { return service.settings.Text("witness"); }

std::set<std::string> CountedHosts(const Service& service, const std::vector<Instance>& members) {
  std::set<std::string> hosts;
  for (const Instance& instance : members) hosts.insert(instance.host);
  if (const std::string witness = WitnessOf(service); !witness.empty()) hosts.insert(witness);
  return hosts;
}

redis::ConfSettings SettingsOf(const Service& service) {
  return redis::SettingsOver(
      {
          {"appendonly", {"yes"}},
          {"save", {""}},
          {"repl-diskless-sync-delay", {"0"}},
          // Who is to stop has handed over before; waiting for replicas that lag helps nobody then.
          {"shutdown-timeout", {"0"}},
          // A replica that hears nothing from its primary for longer than a lease says so.
          {"repl-ping-replica-period", {"1"}},
          {"repl-timeout", {"10"}},
          // Without a password it would let in nobody but its own host, not even the other members.
          {"protected-mode", {"no"}},
      },
      service);
}

Shape RedisPrimaryLayout::SettingsShape() const {
  using common::Integer;
  using common::Make;
  using Type = Shape::Type;
  std::vector<Shape::Field> keys = {
      {"replicas", Integer(0, 30, "How many replicas the primary has; 0 where left out")},
      {"port", Make(Type::kPort,
                    "Its port, 6379 where left out; several members on one host get the following ones")},
      {"prefer", Make(Type::kText, "The host where the primary starts, and which switchover chooses")},
      {"witness",
       Make(Type::kText, "A host without a member that counts when muster asks for a majority of the hosts")},
      {"lease", Make(Type::kDuration,
                     "So long after it was last heard a primary that is cut off takes no more writes; 3s")},
  };
  for (Shape::Field& key : redis::MemberKeys()) keys.push_back(std::move(key));
  return common::Object(std::move(keys));
}

Result<Placement> RedisPrimaryLayout::PlaceMembers(const Service& service, const Cluster& cluster,
                                                   const Placement& so_far) const {
  const common::Count count{.number = 1 + ReplicasOf(service), .per_host = false};
  return common::PlaceMembers(service, cluster, so_far, count, PortsOf(service));
}

Result<std::vector<Instance>> RedisPrimaryLayout::LayOut(const Service& service, const Cluster& cluster,
                                                         const Placement& placement) const {
  const redis::ConfSettings settings = SettingsOf(service);
  common::Variables variables(service, cluster, placement);
  const Instance common_part = redis::CommonPart(service, cluster, settings);
  const Members members = common::MembersOf(placement, service.name);
  std::vector<Instance> instances;
  for (const auto& [name, place] : members) {
    MUSTER_TRY(Instance instance, redis::MemberAt(common_part, service, cluster, name, *place));
    const std::string port = std::to_string(instance.ports.at(kMainPort).first);
    variables.Choose(name, *place, name, instance.address);
    const std::string password = variables.Expand(service.settings.Text("password"));
    instance.files.push_back(redis::ConfigFile(name,
                                               {
                                                   {"bind", {instance.address}},
                                                   {"bind-source-addr", {instance.address}},
                                                   {"port", {port}},
                                                   {"daemonize", {"no"}},
                                                   {"replica-announce-ip", {instance.address}},
                                                   {"replica-announce-port", {port}},
                                                   {"replicaof", {kFenceHost, std::to_string(kFencePort)}},
                                               },
                                               settings, !password.empty()));
    if (!password.empty()) instance.files.push_back(redis::SecretFile(password));
    AddLeaseTerms(service, cluster, members, instance);
    instances.push_back(std::move(instance));
  }
  return instances;
}

std::optional<std::string> RedisPrimaryLayout::Export(std::string_view word, const Service& service,
                                                      const Cluster& cluster,
                                                      const Placement& placement) const {
  if (word != "endpoints" && word != std::string("endpoints.") + kMainPort) return std::nullopt;
  return common::Endpoints(cluster, placement, service.name, kMainPort);
}

Impact RedisPrimaryLayout::ImpactOf(std::string_view part) const {
  // Told to the agent; the process knows nothing of it.
  for (const char* told : {kLeasePart, kHostsPart, kPeersPart}) {
    if (part == std::string("extra:") + told) return Impact::kLive;
  }
  return redis::MemberImpactOf(part);
}

LeaseTerms LeaseTermsOf(const Instance& instance) {
  const auto part = [&](const char* name) {
    const auto found = instance.extra.find(name);
    return found == instance.extra.end() ? std::string() : found->second;
  };
  LeaseTerms terms;
  if (const auto lease = redis::ParseNumber<int64_t>(part(kLeasePart))) terms.lease = Duration(*lease);
  terms.hosts = redis::ParseNumber<int>(part(kHostsPart)).value_or(1);
  const std::string peers = part(kPeersPart);
  for (const std::string_view word : redis::Words(peers)) {
    const size_t equals = word.find('='), colon = word.rfind(':');
    if (equals == std::string_view::npos || colon == std::string_view::npos || colon < equals) continue;
    terms.peers.push_back({.host = std::string(word.substr(0, equals)),
                           .address = std::string(word.substr(equals + 1, colon - equals - 1)),
                           .port = redis::ParseNumber<int>(word.substr(colon + 1)).value_or(0)});
  }
  return terms;
}

std::string FormatLeaseTerms(const LeaseTerms& terms) {
  std::set<std::string> hosts;
  for (const LeaseTerms::Peer& peer : terms.peers) hosts.insert(peer.host);
  const std::vector<std::string> names(hosts.begin(), hosts.end());
  return fmt::format("{} {} {}", terms.lease.count(), terms.hosts, Join(names, ","));
}

LeaseTerms ParseLeaseTerms(const std::string& fact) {
  const auto words = redis::Words(fact);
  LeaseTerms terms;
  terms.hosts = 0;
  if (words.size() < 2) return terms;
  terms.lease = Duration(redis::ParseNumber<int64_t>(words[0]).value_or(terms.lease.count()));
  terms.hosts = redis::ParseNumber<int>(words[1]).value_or(0);
  if (words.size() < 3) return terms;
  for (const std::string_view host : redis::Words(words[2], ","))
    terms.peers.push_back({.host = std::string(host), .address = ""});
  return terms;
}

}  // namespace muster::redis_primary
