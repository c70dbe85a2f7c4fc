#include "model/cluster.h"

namespace muster {

int Share::RoundDown(int of) const { return static_cast<int>(percent ? of * amount / 100 : amount); }
int Share::RoundUp(int of) const { return static_cast<int>(percent ? (of * amount + 99) / 100 : amount); }

const Service* Cluster::FindService(std::string_view service) const {
  for (const Service& candidate : services) {
    if (candidate.name == service) return &candidate;
  }
  return nullptr;
}

const Host* Cluster::FindHost(std::string_view host) const {
  for (const Host& candidate : hosts) {
    if (candidate.name == host) return &candidate;
  }
  return nullptr;
}

}  // namespace muster
