// Any bytes as a cluster file, through everything that looks at one before anybody has agreed to it.
#include <cstdint>
#include <cstdlib>

#include "plan/plan.h"
#include "recipes/recipe.h"
#include "spec/spec.h"

using namespace muster;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 20000) return 0;
  static const spec::Shapes shapes = [] {
    spec::Shapes all;
    for (const auto& [kind, recipe] : AllRecipes()) all[kind] = recipe.layout->SettingsShape();
    return all;
  }();
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  spec::Parsed parsed = spec::ParseCluster(text, "fuzz.yaml", shapes);
  for (const Finding& finding : parsed.findings) {
    if (finding.code.empty() || finding.message.empty() || finding.fix.empty()) std::abort();
    (void)FormatFinding(finding);
  }
  if (!parsed.shape_ok) return 0;
  (void)spec::FilesIn(parsed.cluster, shapes);
  if (HasErrors(parsed.findings)) return 0;
  // What the shape lets through may still be enormous.
  if (parsed.cluster.hosts.size() > 50) return 0;
  for (const Service& service : parsed.cluster.services) {
    if (std::atoi(service.settings.Text("instances").c_str()) > 50) return 0;
  }
  if (HasErrors(plan::CheckCluster(parsed.cluster, WallTime{}))) return 0;
  const auto desired = plan::LayOutCluster(parsed.cluster, {}, {});
  if (!desired.ok()) return 0;
  const auto plan = plan::MakePlan(parsed.cluster, *desired, {});
  if (plan.ok()) (void)plan::FormatPlan(*plan, false);
  return 0;
}
