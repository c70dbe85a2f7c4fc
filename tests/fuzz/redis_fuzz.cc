// Any bytes as what a Redis server says of itself and of its cluster: INFO, CLUSTER NODES, CLUSTER INFO,
// slots, redirections.
#include <cstdint>
#include <cstdlib>

#include "recipes/redis/cluster_view.h"
#include "recipes/redis/info.h"

using namespace muster;

namespace {

void Must(bool holds) {
  if (!holds) std::abort();
}

void ReadNodes(std::string_view text) {
  const auto view = redis::ParseClusterNodes(text);
  if (!view.ok()) return;
  Must(redis::SameView(*view, *view));
  for (const redis::ClusterNode& node : view->nodes) {
    Must(view->Find(node.id) != nullptr);
    Must(node.port >= 0 && node.port <= 65535);
    const auto again = redis::SlotSet::Parse(node.slots.Text());
    Must(again.ok() && *again == node.slots);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  ReadNodes(text);
  (void)redis::ParseClusterInfo(text);
  (void)redis::ParseInfo(text);
  const int slot = redis::KeySlot(text);
  Must(slot >= 0 && slot < redis::kSlots);
  const auto redirect = redis::ParseRedirect(text);
  Must(!redirect || (redirect->port > 0 && redirect->slot < redis::kSlots));
  return 0;
}
