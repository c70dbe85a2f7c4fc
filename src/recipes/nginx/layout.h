// The describing half of `kind: nginx`. Pure. Codes of LayOut: "file-missing" for a file that didn't come
// with the cluster file, "host-missing", and those of ResolveUpstreams.
#pragma once

#include "recipes/nginx/settings.h"
#include "recipes/recipe.h"

namespace muster::nginx {

class NginxLayout : public Layout {
 public:
  std::string_view kind() const override { return "nginx"; }
  Shape SettingsShape() const override { return nginx::SettingsShape(); }
  std::vector<Finding> Check(const Service& service, const Cluster& cluster, WallTime now) const override;
  Result<Placement> PlaceMembers(const Service& service, const Cluster& cluster,
                                 const Placement& so_far) const override;
  Result<std::vector<Instance>> LayOut(const Service& service, const Cluster& cluster,
                                       const Placement& placement) const override;
  std::map<std::string, std::string> AdmissionOf(const Service& service, const Cluster& cluster,
                                                 const Instance& guest) const override;
  std::optional<std::string> Export(std::string_view word, const Service& service, const Cluster& cluster,
                                    const Placement& placement) const override;
  Impact ImpactOf(std::string_view part) const override;
};

// The ports of a service by their names: "http" or "https" for the first of each sort, "http-8080" or
// "tls-8443" for others.
std::map<std::string, PortRange> PortsOf(const Settings& settings);

std::vector<Finding> CheckSettings(const Settings& settings, const Service& service, const Cluster& cluster,
                                   WallTime now);
// Values that can't be meant: values.cc.
void CheckValues(const Value& settings, std::vector<Finding>& findings);

// As of any service; yellow, too, where an nginx has not taken up its members.
ServiceHealth HealthOf(const std::vector<Instance>& desired, const std::map<std::string, Observed>& observed);

// The caller owns what it gets: a mender for each service, an operator for each instance.
std::unique_ptr<Mender> MakeMender();
std::unique_ptr<Operator> MakeOperator();
// One that waits for so long at most until nginx has taken up what it was told to.
std::unique_ptr<Operator> MakeOperatorFor(Duration reload_within);

}  // namespace muster::nginx
