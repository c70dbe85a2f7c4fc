// What {{variables}} stand for within one instance. Pure.
//
//   instance service ordinal id host address cluster   of the instance itself
//   ports.NAME (ports.NAME.last for a range)           its own port
//   peers.NAME                                         address:port of all members of its service, and itself
//   artifact folder data logs                          paths that the agent fills in
//   SERVICE.endpoints (.NAME for a named port) …       whatever that service's recipe exports
//   secret.NAME                                        a secret, as a marker until the order to the agent
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "model/cluster.h"
#include "model/finding.h"
#include "model/instance.h"

namespace muster::common {

// Expands texts for the members of one service. Keeps what many members share.
class Variables {
 public:
  Variables(const Service& service, const Cluster& cluster, const Placement& placement);

  void Choose(const std::string& instance, const Place& place, const std::string& id,
              const std::string& address);
  std::optional<std::string> Lookup(std::string_view name);
  // The text as it goes into an instance: paths are words that the agent fills in (model/words.h), and the
  // rest is sealed against being taken for one.
  std::string Expand(std::string_view text);

 private:
  const Service& service_;
  const Cluster& cluster_;
  const Placement& placement_;
  std::string instance_, id_, address_;
  const Place* place_ = nullptr;
  std::map<std::string, std::optional<std::string>, std::less<>> shared_;
};

// Which variables a text of `service` may have.
struct Known {
  const Service* service;
  const Cluster* cluster;
  std::map<std::string, PortRange> ports;
  bool artifact = false;  // the service has one
};

// "unknown-variable" at the column of each variable in `text` that stands for nothing, with the nearest that
// does; `mark` is where the value begins.
void CheckVariables(const Known& known, const Value& value, std::vector<Finding>& findings);
// The same for a file that the cluster file refers to: the finding stands at `mark` and names line and file.
void CheckFileVariables(const Known& known, const std::string& path, const std::string& text, Mark mark,
                        std::vector<Finding>& findings);

}  // namespace muster::common
