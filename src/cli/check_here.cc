#include "cli/check_here.h"

#include <nlohmann/json.hpp>

#include "cli/answer.h"
#include "cli/machine.h"
#include "cli/session.h"

namespace muster::cli {
namespace {

// Does the instance run where and as it is wanted?
bool Stands(const Json& known, const Instance& wanted) {
  if (Number(known, "pid") == 0 || Text(known, "address") != wanted.address) return false;
  const Json& ports = Object(known, "ports");
  if (ports.size() != wanted.ports.size()) return false;
  for (const auto& [name, range] : wanted.ports) {
    if (Number(ports, name.c_str()) != range.first) return false;
  }
  return true;
}

}  // namespace

std::vector<Finding> CheckHere(Context& context, const Bundle& bundle, const std::vector<Instance>& instances,
                               ApiClient* api) {
  std::vector<Finding> findings = CheckHosts(bundle.cluster);
  Owners owners;
  std::set<std::string> standing;
  const auto known =
      api ? KnownClusters(*api) : Result<std::vector<KnownCluster>>(std::vector<KnownCluster>{});
  for (const KnownCluster& cluster : known.ok() ? *known : std::vector<KnownCluster>{}) {
    if (cluster.down) continue;
    const auto answer = api->Ask("GET", ClusterTarget(cluster.key, "/instances"));
    if (!answer.ok()) continue;
    std::map<std::string, const Json*> by_name;
    for (const Json& one : List(*answer, "instances")) {
      const int pid = static_cast<int>(Number(one, "pid"));
      if (pid > 0) owners[pid] = {.cluster = cluster.key, .instance = Text(one, "name")};
      if (cluster.key == bundle.cluster.key()) by_name[Text(one, "name")] = &one;
    }
    for (const Instance& instance : instances) {
      const auto found = by_name.find(instance.name);
      // A rehearsal's addresses are the server's to choose.
      Instance wanted = instance;
      if (found != by_name.end() && bundle.cluster.rehearsal)
        wanted.address = Text(*found->second, "address");
      if (found != by_name.end() && Stands(*found->second, wanted)) standing.insert(instance.name);
    }
  }
  const Machine machine = LookAtMachine(context.home, owners, standing.size() < instances.size());
  for (Finding& finding : CheckMachine(bundle.cluster, instances, machine, standing)) {
    findings.push_back(std::move(finding));
  }
  for (Finding& finding : findings) finding.file = bundle.file_name;
  return findings;
}

}  // namespace muster::cli
