// What can be wrong with a Redis' keys though their shape is right: what all kinds have alike, and how a kind
// tells of its own. Pure; a checker points into what it was made from, and is of use for one Layout::Check.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "model/cluster.h"
#include "model/finding.h"
#include "recipes/recipe.h"
#include "recipes/redis/conf.h"

namespace muster::redis {

class MemberChecker {
 protected:
  MemberChecker(const Service& service, const Cluster& cluster)
      : service_(service), cluster_(cluster), settings_(service.settings) {}
  ~MemberChecker() = default;

  // The finding stands at `value`, or at the service where that is nullptr.
  void Report(std::string_view code, const Value* value, std::string message, std::string fix,
              Severity severity = Severity::kError);

  // The values of MemberKeys. `values` are the service's settings over the kind's own. How much memory they
  // allow is looked at only where no error has been found so far.
  void CheckMember(const std::map<std::string, PortRange>& ports, const ConfSettings& values);

  // protected-mode without a password, where members of other hosts would be shut out by it.
  void CheckProtectedMode();

  // Whether others than processes of their own host can reach the members.
  bool IsReachedFromElsewhere() const;

  const Service& service_;
  const Cluster& cluster_;
  const Value& settings_;  // the service's
  std::vector<Finding> findings_;

 private:
  void CheckPassword(const std::map<std::string, PortRange>& ports);
  void CheckProgram();
  void CheckSettingsGiven(const ConfSettings& values);
  void CheckMemory(const ConfSettings& values);
};

}  // namespace muster::redis
