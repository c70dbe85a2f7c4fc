#include "cli/check_here.h"

#include <nlohmann/json.hpp>

#include "cli/answer.h"
#include "cli/machine.h"
#include "cli/session.h"
#include "plan/secrets.h"

namespace muster::cli {
namespace {

// Does the instance run where it is wanted? A rehearsal's addresses are the server's to choose.
bool Stands(const Json& known, const Instance& wanted, bool rehearsal) {
  if (Number(known, "pid") == 0 || (!rehearsal && Text(known, "address") != wanted.address)) return false;
  const Json& ports = Object(known, "ports");
  if (ports.size() != wanted.ports.size()) return false;
  for (const auto& [name, range] : wanted.ports) {
    if (Number(ports, name.c_str()) != range.first) return false;
  }
  return true;
}

// The instances of a cluster, which are noted by their pids; nothing where the server knows none.
Json InstancesOf(ApiClient& api, const std::string& cluster, Owners& owners) {
  auto answer = api.Ask("GET", ClusterTarget(cluster, "/instances"));
  if (!answer.ok()) return Json::object();
  for (const Json& one : List(*answer, "instances")) {
    const int pid = static_cast<int>(Number(one, "pid"));
    if (pid > 0) owners[pid] = {.cluster = cluster, .instance = Text(one, "name")};
  }
  return std::move(*answer);
}

}  // namespace

std::vector<Finding> CheckHere(Context& context, const Bundle& bundle, const std::vector<Instance>& instances,
                               ApiClient* api) {
  std::vector<Finding> findings = CheckHosts(bundle.cluster);
  const std::string own = bundle.cluster.key();
  Owners owners;
  std::set<std::string> standing;
  const Json known = api ? InstancesOf(*api, own, owners) : Json::object();
  std::map<std::string, const Json*> by_name;
  for (const Json& one : List(known, "instances")) by_name[Text(one, "name")] = &one;
  for (const Instance& instance : instances) {
    const auto found = by_name.find(instance.name);
    if (found != by_name.end() && Stands(*found->second, instance, bundle.cluster.rehearsal)) {
      standing.insert(instance.name);
    }
  }
  // Who has a port matters only where one is wanted.
  if (api && standing.size() < instances.size()) {
    const auto clusters = KnownClusters(*api);
    for (const KnownCluster& cluster : clusters.ok() ? *clusters : std::vector<KnownCluster>{}) {
      if (!cluster.down && cluster.key != own) InstancesOf(*api, cluster.key, owners);
    }
  }
  const Machine machine = LookAtMachine(context.home, owners, standing.size() < instances.size());
  for (Finding& finding : CheckMachine(bundle.cluster, instances, machine, standing)) {
    findings.push_back(std::move(finding));
  }
  for (Finding& finding : findings) finding.file = bundle.file_name;
  return findings;
}

Result<std::vector<Finding>> CheckSecrets(const Bundle& bundle, const std::vector<Instance>& instances,
                                          ApiClient* api) {
  std::set<std::string> unset = plan::UnsetSecrets(instances, {});
  std::vector<std::string> set;
  if (api && !unset.empty()) {
    MUSTER_TRY(const Json answer, api->Ask("GET", ClusterTarget(bundle.cluster.key(), "/secrets")));
    for (const Json& secret : List(answer, "secrets")) {
      set.push_back(Text(secret, "name"));
      unset.erase(set.back());
    }
  }
  std::vector<Finding> findings = plan::SecretFindings(bundle.cluster, unset, set);
  for (Finding& finding : findings) {
    const auto path = bundle.paths.find(finding.file);
    finding.file = path == bundle.paths.end() ? bundle.file_name : path->second.string();
  }
  return findings;
}

}  // namespace muster::cli
