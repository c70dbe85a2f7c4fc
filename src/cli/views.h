// Answers of the server as text for people. Pure.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/time.h"
#include "model/plan.h"

namespace muster::cli {

// `columns` 0: not bound to a width.
struct View {
  bool color = false;
  size_t columns = 0;
  WallTime now{};
  std::string cluster_option = "";  // " -c NAME" where commands have to say which cluster is meant
};

// As plan::FormatPlan has it. What differs in a file is shown as it stands there.
std::string PlanText(const Plan& plan, const View& view);
std::string ClustersText(const nlohmann::json& clusters, const View& view);
std::string StatusText(const nlohmann::json& status, const View& view);
std::string InstancesText(const nlohmann::json& instances, const View& view);
std::string HistoryText(const nlohmann::json& revisions, const View& view);
std::string RunsText(const nlohmann::json& runs, const View& view);
std::string AuditText(const nlohmann::json& entries, const View& view);
std::string DrillText(const nlohmann::json& report, const View& view);
// Where several members of a service were asked many things, what went well is one line for each member.
std::string ChecksText(const nlohmann::json& checks, const View& view);
std::string EachCheckText(const nlohmann::json& checks, const View& view);
// What `up` says once all is done: health, where to look, what to try next. `option` is what chooses the
// cluster in commands ("" where it is the only one, else " -c KEY").
std::string SummaryText(const nlohmann::json& status, const std::string& option, Duration took,
                        const View& view);

}  // namespace muster::cli
