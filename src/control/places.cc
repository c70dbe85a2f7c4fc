#include "control/places.h"

#include <charconv>

#include "recipes/common/placement.h"
#include "recipes/recipe.h"

namespace muster::control {
namespace {

bool Stands(const std::map<std::string, Observed>& observed, const std::string& name) {
  const auto seen = observed.find(name);
  return seen != observed.end() && seen->second.state != InstanceState::kAbsent;
}

// The number in "SERVICE-N"; 0 where it has none.
int OrdinalIn(std::string_view name, std::string_view service) {
  if (name.size() <= service.size() + 1) return 0;
  name.remove_prefix(service.size() + 1);
  int ordinal = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), ordinal);
  return error == std::errc() && end == name.data() + name.size() ? ordinal : 0;
}

}  // namespace

std::set<std::string> Returning(const Placement& so_far, const Placement& wanted,
                                const std::set<std::string>& services, bool was_down,
                                const std::map<std::string, Observed>& observed) {
  std::set<std::string> names;
  for (const auto& [name, place] : so_far) {
    if (wanted.contains(name) || !services.contains(place.service) || Stands(observed, name)) continue;
    const bool was_there = was_down && place.claim != Claim::kReserved;
    if (was_there || place.claim == Claim::kReturning) names.insert(name);
  }
  return names;
}

std::set<std::string> Giving(const Cluster& cluster) {
  std::set<std::string> services;
  for (const Service& service : cluster.services) {
    const Recipe* recipe = FindRecipe(service.kind);
    if (recipe && recipe->gives_before_it_leaves) services.insert(service.name);
  }
  return services;
}

std::set<std::string> MayStand(const Placement& so_far, const std::set<std::string>& services) {
  std::set<std::string> names;
  for (const auto& [name, place] : so_far) {
    const bool may = place.claim == Claim::kFormer || place.claim == Claim::kReturning;
    if (may && services.contains(place.service)) names.insert(name);
  }
  return names;
}

Placement WithFormer(const Placement& so_far, const Placement& wanted,
                     const std::set<std::string>& returning) {
  Placement places = wanted;
  for (const auto& [name, place] : so_far) {
    const auto [at, is_new] = places.emplace(name, place);
    if (!is_new) continue;
    if (place.claim == Claim::kWanted) at->second.claim = Claim::kFormer;
    if (returning.contains(name)) at->second.claim = Claim::kReturning;
  }
  return places;
}

Placement WithUnknown(Placement so_far, const std::map<std::string, Observed>& observed) {
  for (const auto& [name, seen] : observed) {
    if (so_far.contains(name) || !Stands(observed, name) || common::IsGuestName(seen.service, name)) continue;
    const int ordinal = OrdinalIn(name, seen.service);
    if (ordinal == 0) continue;
    so_far[name] = {.service = seen.service,
                    .host = seen.host,
                    .ordinal = ordinal,
                    .slot = -1,
                    .ports = {},
                    .claim = Claim::kReserved};
  }
  return so_far;
}

Placement OnceBroughtUp(const Placement& so_far, const std::map<std::string, Observed>& observed,
                        const std::set<std::string>& heard) {
  Placement places;
  for (const auto& [name, place] : so_far) {
    const bool stands = Stands(observed, name), told = heard.contains(place.host);
    const bool wanted = place.claim == Claim::kWanted, returns = place.claim == Claim::kReturning && !stands;
    if (told && !stands && !wanted && !returns) continue;
    Claim& claim = places.emplace(name, place).first->second.claim;
    // Who stands though all is through has only just come back, and is to leave next.
    if (!wanted && !returns) claim = stands && told && place.slot >= 0 ? Claim::kFormer : Claim::kReserved;
  }
  return places;
}

}  // namespace muster::control
