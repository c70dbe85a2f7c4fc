// (c) `plan` for 10,000 instances on 1,000 hosts, from bytes of YAML to printed plan: nothing there, nothing
// changed, one setting changed. Prints milliseconds; the bound is 1000 for each.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>

#include "plan/plan.h"
#include "recipes/recipe.h"
#include "spec/spec.h"

namespace {

using namespace muster;

std::string File(int hosts, int services, int per_service, const char* flag) {
  std::string text = "cluster: big\nhosts:\n";
  for (int i = 0; i < hosts; ++i) {
    text += fmt::format("  h{}: {{ address: 10.0.{}.{} }}\n", i, i / 250, i % 250 + 1);
  }
  text += "services:\n";
  for (int i = 0; i < services; ++i) {
    text += fmt::format(
        "  s{}:\n    kind: app\n    command: run --port={{{{ports.http}}}} --id={{{{instance}}}} --flag={}\n"
        "    instances: {}\n    ports: {{ http: {} }}\n    env: {{ A: \"1\", B: \"{{{{host}}}}\" }}\n"
        "    health: {{ http: /health }}\n",
        i, flag, per_service, 2000 + i * 40);
  }
  return text;
}

struct Outcome {
  plan::Desired desired;
  size_t printed = 0;
  double ms = 0;
};

Outcome Run(const std::string& text, const Placement& so_far, const plan::Situation& situation) {
  spec::Shapes shapes;
  for (const auto& [kind, recipe] : AllRecipes()) shapes[kind] = recipe.layout->SettingsShape();
  Outcome outcome;
  const auto begin = std::chrono::steady_clock::now();
  const spec::Parsed parsed = spec::ParseCluster(text, "big.yaml", shapes);
  const auto findings = plan::CheckCluster(parsed.cluster, WallNow());
  if (!parsed.findings.empty() || !findings.empty()) {
    std::fprintf(stderr, "%s\n",
                 FormatFinding(parsed.findings.empty() ? findings[0] : parsed.findings[0]).c_str());
    std::exit(1);
  }
  outcome.desired = plan::LayOutCluster(parsed.cluster, so_far, {}).value();
  const Plan plan = plan::MakePlan(parsed.cluster, outcome.desired, situation).value();
  const std::string printed = plan::FormatPlan(plan, false);
  outcome.ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
  outcome.printed = static_cast<size_t>(std::count(printed.begin(), printed.end(), '\n'));
  return outcome;
}

plan::Situation Standing(const plan::Desired& desired) {
  plan::Situation situation;
  for (const Instance& instance : desired.instances) {
    Observed one{.name = instance.name, .service = instance.service, .host = instance.host};
    one.state = InstanceState::kReady;
    one.hash = one.running_hash = instance.hash;
    one.parts = instance.parts;
    one.renderer = instance.renderer;
    situation.observed[instance.name] = one;
  }
  return situation;
}

int Series(const char* name, int hosts, int services, int per_service) {
  const std::string text = File(hosts, services, per_service, "a");
  const Outcome fresh = Run(text, {}, {});
  const plan::Situation standing = Standing(fresh.desired);
  const Outcome same = Run(text, fresh.desired.placement, standing);
  const Outcome changed = Run(File(hosts, services, per_service, "b"), fresh.desired.placement, standing);
  std::printf(
      "%-28s nothing there %5.0f ms (%zu lines), nothing changed %5.0f ms, one setting changed %5.0f ms (%zu "
      "lines)\n",
      name, fresh.ms, fresh.printed, same.ms, changed.ms, changed.printed);
  return fresh.ms < 1000 && same.ms < 1000 && changed.ms < 1000 ? 0 : 1;
}

}  // namespace

int main() {
  return Series("1 service of 10,000", 1000, 1, 10000) | Series("100 services of 100", 1000, 100, 100) |
         Series("1,000 services of 10", 1000, 1000, 10);
}
