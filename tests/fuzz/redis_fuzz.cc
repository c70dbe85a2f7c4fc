// Any bytes as what a Redis server says of itself and of its cluster: INFO, CLUSTER NODES, CLUSTER INFO,
// slots, redirections.
#include <cstdint>
#include <cstdlib>

#include "recipes/redis/cluster_view.h"
#include "recipes/redis/conf.h"
#include "recipes/redis/info.h"
#include "recipes/redis/settings.h"

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

void ReadSettings(std::string_view text) {
  const auto directives = redis::ReadConf(text);
  if (!directives.ok()) return;
  // A name is written as it is: only one that needs no quotes comes back the same.
  for (const redis::Directive& directive : *directives) {
    const auto again = redis::ReadConf(redis::RenderConf({{"x", directive.arguments}}));
    Must(again.ok() && again->size() == 1 && again->front().arguments == directive.arguments);
  }
  const redis::ConfSettings settings = redis::SettingsOf(*directives);
  std::vector<redis::GivenSetting> given;
  // To look for the name that was meant takes a hundred times as long as all else: in short texts only.
  const bool strangers = text.size() < 50;
  for (const auto& [name, values] : settings) {
    if (strangers || redis::FindSetting(name)) given.push_back({.name = name, .values = values});
  }
  (void)redis::CheckSettings(given);
  for (const redis::GivenSetting& one : given) {
    const redis::Setting* setting = redis::FindSetting(one.name);
    if (setting == nullptr) continue;
    const std::string running = redis::RunningValue(*setting, one.values);
    // It is a fixed point where the value is good.
    if (setting->cost == redis::Cost::kOwned || !redis::CheckSettings({one}).empty()) continue;
    Must(redis::RunningValue(*setting, {running}) == running);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  ReadNodes(text);
  ReadSettings(text);
  (void)redis::ParseClusterInfo(text);
  (void)redis::ParseInfo(text);
  const int slot = redis::KeySlot(text);
  Must(slot >= 0 && slot < redis::kSlots);
  const auto redirect = redis::ParseRedirect(text);
  Must(!redirect || (redirect->port > 0 && redirect->slot < redis::kSlots));
  return 0;
}
