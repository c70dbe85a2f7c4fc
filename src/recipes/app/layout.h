// What an app puts on its hosts. Internal to recipes/app. Pure; the one error is LayOut's, with code
// "bad-quoting" for a command.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "recipes/recipe.h"

namespace muster::app {

class AppLayout : public Layout {
 public:
  std::string_view kind() const override { return "app"; }
  Shape SettingsShape() const override;
  std::vector<Finding> Check(const Service& service, const Cluster& cluster, WallTime now) const override;
  Result<Placement> PlaceMembers(const Service& service, const Cluster& cluster,
                                 const Placement& so_far) const override;
  Placement PlaceGuests(const Service& service, const Cluster& cluster, const Placement& placement,
                        const UsedPorts& used, int number) const override;
  Result<std::vector<Instance>> LayOut(const Service& service, const Cluster& cluster,
                                       const Placement& placement) const override;
  std::optional<std::string> Export(std::string_view word, const Service& service, const Cluster& cluster,
                                    const Placement& placement) const override;
  Impact ImpactOf(std::string_view part) const override;
};

// By the names in the file; a service without `ports:` has none.
std::map<std::string, PortRange> PortsOf(const Service& service);

// KEY=VALUE lines; blank lines and those that begin with # don't count; one pair of quotes around a value
// goes.
std::map<std::string, std::string> ParseEnvFile(const std::string& text);

// "bad-env-file" at each of its lines that would set nothing, or not what it seems to.
void CheckEnvFile(const Service& service, const Cluster& cluster, std::vector<Finding>& findings);

// Findings about ids, seeds, secrets and localhost: check.cc.
void CheckMeaning(const Service& service, const Cluster& cluster, std::vector<Finding>& findings);

}  // namespace muster::app
