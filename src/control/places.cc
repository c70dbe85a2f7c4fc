#include "control/places.h"

#include <charconv>

#include "recipes/common/placement.h"

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

Placement WithFormer(const Placement& so_far, const Placement& wanted) {
  Placement places = wanted;
  for (const auto& [name, place] : so_far) {
    const auto [at, is_new] = places.emplace(name, place);
    if (is_new && place.claim == Claim::kWanted) at->second.claim = Claim::kFormer;
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
    if (place.claim != Claim::kWanted) {
      if (heard.contains(place.host) && !Stands(observed, name)) continue;
      places.emplace(name, place).first->second.claim = Claim::kReserved;
    } else {
      places.emplace(name, place);
    }
  }
  return places;
}

}  // namespace muster::control
