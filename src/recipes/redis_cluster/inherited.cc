#include "recipes/redis_cluster/inherited.h"

#include "base/files.h"

namespace muster::redis_cluster {
namespace {

std::string PathIn(const std::string& records) { return records + "/redis-inherited"; }

Status Write(const std::string& records, const std::string& id, const redis::SlotSet& slots) {
  return WriteFile(PathIn(records), id + " " + slots.Text() + "\n", {.mode = 0600});
}

}  // namespace

redis::SlotSet InheritedSlots(const std::string& records, const std::string& id) {
  if (records.empty() || id.empty()) return {};
  const auto text = ReadFile(PathIn(records));
  if (!text.ok() || !text->starts_with(id + " ")) return {};
  const std::string_view rest = std::string_view(*text).substr(id.size() + 1);
  const auto slots = redis::SlotSet::Parse(rest.substr(0, rest.find('\n')));
  return slots.ok() ? *slots : redis::SlotSet();
}

Status AddInherited(const std::string& records, const std::string& id, const redis::SlotSet& slots) {
  if (records.empty()) return Done();
  const redis::SlotSet before = InheritedSlots(records, id);
  if ((slots - before).empty()) return Done();
  return Write(records, id, before | slots);
}

Status RemoveInherited(const std::string& records, const std::string& id, const redis::SlotSet& slots) {
  const redis::SlotSet before = InheritedSlots(records, id);
  if ((before & slots).empty()) return Done();
  return Write(records, id, before - slots);
}

}  // namespace muster::redis_cluster
