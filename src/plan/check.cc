#include <algorithm>
#include <map>
#include <unordered_map>

#include "plan/plan.h"
#include "recipes/common/values.h"
#include "recipes/recipe.h"
#include "recipes/size.h"

namespace muster::plan {
namespace {

constexpr size_t kMembersOnAHost = 500;

Mark PortMark(const Service& service, const std::string& port) {
  if (const Value* ports = service.settings.Find("ports")) {
    if (const Value* value = ports->Find(port)) return value->mark;
  }
  for (const char* key : {"listen", "port"}) {
    if (const Value* value = service.settings.Find(key)) return value->mark;
  }
  return service.mark;
}

// Ports that two members on one host would both want.
void CheckPorts(const Cluster& cluster, const std::vector<std::pair<const Service*, Placement>>& placements,
                std::vector<Finding>& findings) {
  struct Owner {
    const std::string* instance;
    const Place* place;
  };
  std::unordered_map<std::string, std::map<std::pair<int, bool>, Owner>> taken;  // by address
  std::map<std::pair<std::string, std::string>, bool> told;                      // by the two services
  std::unordered_map<std::string, std::string> addresses;
  for (const Host& host : cluster.hosts) addresses[host.name] = host.address;
  for (const auto& [service_of, members] : placements) {
    const Service& service = *service_of;
    bool told_high = false;
    for (const auto& [name, place] : members) {
      for (const auto& [port, range] : place.ports) {
        const Value* ports = service.settings.Find("ports");
        const Value* written = ports ? ports->Find(port) : nullptr;
        if (written && written->stand_in) continue;
        if (const int last = range.first + range.count - 1; last > 65535) {
          if (std::exchange(told_high, true)) continue;
          findings.push_back({.severity = Severity::kError,
                              .code = "out-of-range",
                              .mark = PortMark(service, port),
                              .message = fmt::format("{} of {} would have the port {}", port, name, last),
                              .fix = "begin with a lower one: members on one host take the following ones",
                              .file = ""});
          continue;
        }
        for (int number = range.first; number < range.first + range.count; ++number) {
          const auto [owner, is_new] =
              taken[addresses[place.host]].try_emplace({number, range.udp}, Owner{&name, &place});
          if (is_new || told[{owner->second.place->service, service.name}]) continue;
          told[{owner->second.place->service, service.name}] = true;
          findings.push_back(
              {.severity = Severity::kError,
               .code = "port-twice",
               .mark = PortMark(service, port),
               .message = fmt::format("port {} on {} is wanted by {} and {}", number, place.host,
                                      *owner->second.instance, name),
               .fix = "give one of them another port; members on one host take the following ones",
               .file = ""});
        }
      }
    }
  }
}

void CheckQuorum(const Service& service, const Placement& members, std::vector<Finding>& findings) {
  std::map<std::string, size_t> by_host;
  for (const auto& [name, place] : members) ++by_host[place.host];
  for (const auto& [host, count] : by_host) {
    if (members.size() < 3 || count * 2 <= members.size()) continue;
    const Value* key = service.settings.Find("quorum");
    findings.push_back(
        {.severity = Severity::kError,
         .code = "quorum-on-one-host",
         .mark = key ? key->mark : service.mark,
         .message = fmt::format("{} holds {} of the {} members of {}: with it the majority is gone", host,
                                count, members.size(), service.name),
         .fix = "spread it over at least three hosts, an odd number of members",
         .file = ""});
  }
}

// Each member costs its agent a process to watch, a log and checks of its own; a number mistyped by three
// zeros costs the host more than `down` gives back in time.
void CheckCrowds(const std::vector<std::pair<const Service*, Placement>>& placements,
                 std::vector<Finding>& findings) {
  std::map<std::string, size_t> by_host;
  for (const auto& [service, members] : placements) {
    std::map<std::string, size_t> own;
    for (const auto& [name, place] : members) ++own[place.host];
    for (const auto& [host, count] : own) {
      const size_t before = std::exchange(by_host[host], by_host[host] + count);
      if (before > kMembersOnAHost || before + count <= kMembersOnAHost) continue;
      const std::string size = SizeKeyOf(*FindRecipe(service->kind));
      const Value* key = size.empty() ? nullptr : service->settings.Find(size);
      findings.push_back({.severity = Severity::kError,
                          .code = "too-many-on-host",
                          .mark = key ? key->mark : service->mark,
                          .message = fmt::format("{} would hold {} members with those of {}: more than {}",
                                                 host, before + count, service->name, kMembersOnAHost),
                          .fix = "write a smaller number, or give it more hosts",
                          .file = ""});
    }
  }
}

}  // namespace

std::vector<Finding> CheckCluster(const Cluster& cluster, WallTime now) {
  std::vector<Finding> findings;
  std::vector<std::pair<const Service*, Placement>> placements;
  for (const Service& service : cluster.services) {
    const Recipe* recipe = FindRecipe(service.kind);
    if (!recipe) continue;
    common::CheckCommonValues(service, cluster, findings);
    bool too_many = false;
    for (Finding& finding : recipe->layout->Check(service, cluster, now)) {
      too_many |= finding.code == "out-of-range";
      // What several services read is wrong once.
      if (!finding.file.empty() && std::find(findings.begin(), findings.end(), finding) != findings.end())
        continue;
      findings.push_back(std::move(finding));
    }
    if (too_many) continue;
    auto places = recipe->layout->PlaceMembers(service, cluster, {});
    if (!places.ok()) continue;
    if (service.settings.Bool("quorum", false) && cluster.hosts.size() > 1)
      CheckQuorum(service, *places, findings);
    placements.emplace_back(&service, std::move(*places));
  }
  CheckPorts(cluster, placements, findings);
  CheckCrowds(placements, findings);
  return findings;
}

}  // namespace muster::plan
