#include "model/instance.h"

#include <array>

namespace muster {
namespace {

constexpr std::array<std::string_view, 5> kImpacts = {"none", "live", "reload", "restart", "rebuild"};
constexpr std::array<std::string_view, 9> kStates = {"absent",  "stopped",  "starting", "ready",  "unhealthy",
                                                     "backoff", "stopping", "failed",   "unknown"};
constexpr std::array<std::string_view, 3> kHealths = {"green", "yellow", "red"};

}  // namespace

std::string_view ImpactName(Impact impact) { return kImpacts[static_cast<size_t>(impact)]; }

Impact ImpactNamed(std::string_view name) {
  for (size_t i = 0; i < kImpacts.size(); ++i) {
    if (kImpacts[i] == name) return static_cast<Impact>(i);
  }
  return Impact::kRestart;  // What an older program doesn't know is treated with care.
}

std::string_view StateName(InstanceState state) { return kStates[static_cast<size_t>(state)]; }

InstanceState StateNamed(std::string_view name) {
  for (size_t i = 0; i < kStates.size(); ++i) {
    if (kStates[i] == name) return static_cast<InstanceState>(i);
  }
  return InstanceState::kUnknown;
}

std::string_view HealthName(Health health) { return kHealths[static_cast<size_t>(health)]; }

}  // namespace muster
