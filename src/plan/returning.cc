#include "plan/returning.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "plan/hash.h"
#include "plan/secrets.h"
#include "recipes/common/member_work.h"
#include "recipes/recipe.h"

namespace muster::plan {

Status LayOutReturning(const Cluster& cluster, const Placement& so_far, const std::set<std::string>& names,
                       const SecretDigests& secrets, Desired& desired) {
  desired.remembered = names;
  Placement whole = desired.placement;
  std::set<std::string> services, unset;
  for (const std::string& name : names) {
    Place place = so_far.at(name);
    const bool has_host = std::any_of(cluster.hosts.begin(), cluster.hosts.end(),
                                      [&](const Host& host) { return host.name == place.host; });
    if (!has_host || !cluster.FindService(place.service)) {
      desired.left_behind.push_back(name + " on " + place.host);
      continue;
    }
    place.claim = Claim::kWanted;
    services.insert(place.service);
    whole.emplace(name, std::move(place));
  }
  for (const std::string& service : services) {
    const Service& its = *cluster.FindService(service);
    MUSTER_TRY(std::vector<Instance> laid_out, FindRecipe(its.kind)->layout->LayOut(its, cluster, whole));
    for (Instance& one : laid_out) {
      if (!names.contains(one.name)) continue;
      one.renderer = kRendererVersion;
      SetHashes(one, secrets, unset);
      desired.returning.push_back(std::move(one));
    }
  }
  if (!unset.empty()) return SecretsMissing(cluster, unset);
  return Done();
}

void StartReturning(const Cluster& cluster, const Desired& desired, const Situation& situation,
                    std::map<std::string, std::vector<Step>>& steps, Plan& plan) {
  std::vector<std::string> names;
  for (const Instance& one : desired.returning) {
    if (situation.unreachable.contains(one.host)) continue;
    Step install{.id = one.name + ".install",
                 .instance = one.name,
                 .service = one.service,
                 .host = one.host,
                 .verb = "install"};
    install.reason = "it may have what nobody else has";
    install.impact = Impact::kRestart;
    install.after = "installed";
    install.deadline = common::kInstallWithin;
    Step start = install;
    start.id = one.name + ".start";
    start.verb = "start";
    start.after = "ready";
    start.needs = {install.id};
    common::SetStartTimes(*cluster.FindService(one.service), one, start);
    steps[one.service].push_back(std::move(install));
    steps[one.service].push_back(std::move(start));
    names.push_back(one.name);
  }
  if (names.empty()) return;
  const bool one = names.size() == 1;
  plan.notes.push_back(fmt::format(
      "{} {} no place in the file any more, and may have what nobody else has: {} up once more, and {} once "
      "others have it",
      Join(names, ", "), one ? "has" : "have", one ? "it comes" : "they come", one ? "leaves" : "leave"));
}

}  // namespace muster::plan
