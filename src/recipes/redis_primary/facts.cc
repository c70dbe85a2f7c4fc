#include "recipes/redis_primary/facts.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "base/text.h"
#include "recipes/redis_primary/layout.h"

namespace muster::redis_primary {
namespace {

// Seconds. A replica confirms once in each; who has confirmed nothing for longer isn't counted on.
constexpr int64_t kLagMost = 2;

bool IsFenced(const redis::ServerInfo& info) { return info.replica && info.master_host == kFenceHost; }

std::string Linked(const redis::ServerInfo& info) {
  std::vector<std::string> names;
  for (const redis::ReplicaLink& link : info.replicas) {
    if (link.state == "online" && link.lag_s <= kLagMost)
      names.push_back(fmt::format("{}:{}", link.address, link.port));
  }
  std::sort(names.begin(), names.end());
  return Join(names, ",");
}

}  // namespace

std::string BehindText(const redis::ServerInfo& info) {
  std::vector<std::string> texts;
  for (const redis::ReplicaLink& link : info.replicas) {
    texts.push_back(
        fmt::format("{}:{}={}", link.address, link.port, std::max<int64_t>(info.offset - link.offset, 0)));
  }
  return Join(texts, ",");
}

Values RememberedFacts(const Record& record, int pid) {
  Values facts{{"term", std::to_string(record.term)}};
  if (record.copy > 0) {
    facts["copy"] = std::to_string(record.copy);
    facts["was"] = record.was;
    if (record.was == "primary") facts["linked"] = record.linked;
  }
  if (record.lost > 0) {
    facts["lost"] = std::to_string(record.lost);
    if (!record.was.empty()) facts["lost_as"] = record.was;
    if (record.was == "primary") facts["linked"] = record.linked;
  }
  // One that has been started since takes no writes: that is how all begin.
  if (pid > 0 && (record.pid != pid || record.aim != "primary")) facts["role"] = "fenced";
  if (pid > 0) facts["loading"] = "yes";
  return facts;
}

Told Tell(const redis::ServerInfo& info, Record record, int pid, Duration quiet_after,
          const std::string& refusal) {
  Told told;
  const Record before = record;
  const bool fenced = IsFenced(info);
  const std::string primary = fmt::format("{}:{}", info.master_host, info.master_port);
  const auto quiet_s = std::chrono::ceil<std::chrono::seconds>(quiet_after).count();
  const bool up = info.replica && !fenced && info.link_up && !info.loading;
  const bool heard = up && info.last_io_s >= 0 && info.last_io_s < quiet_s;
  if (info.master && record.aim == "primary" && record.pid == pid) {
    record.copy = record.term;
    record.was = "primary";
    record.lost = 0;
    record.linked_pid = pid;
    record.linked = Linked(info);
  }
  if (heard && record.aim == "replica" && record.follows == primary) {
    record.copy = record.term;
    record.was = "replica";
    record.lost = 0;
    record.linked_pid = pid;
    record.linked.clear();
  }
  if (!info.loading) record.ready_pid = pid;
  told.durable = record.copy != before.copy || record.was != before.was;

  Values& facts = told.facts;
  facts = RememberedFacts(record, 0);
  facts["role"] = info.master ? "primary" : fenced ? "fenced" : "replica";
  if (info.replica && !fenced) {
    facts["primary"] = primary;
    facts["link"] = heard ? "up" : up ? "quiet" : "down";
    if (info.syncing) facts["syncing"] = "yes";
  }
  if (info.loading) facts["loading"] = "yes";
  if (record.copy > 0 && record.linked_pid == pid) facts["synced"] = "yes";
  if (info.keys == 0) facts["empty"] = "yes";
  facts["write"] = !refusal.empty()                  ? refusal
                   : info.aof && !info.last_write_ok ? "its append-only file can't be written"
                   : !info.last_save_ok              ? "its last save failed"
                                                     : "ok";
  facts["version"] = info.version;
  facts["run"] = info.run_id;
  told.measures["offset"] = std::to_string(info.offset);
  told.measures["keys"] = std::to_string(info.keys);
  told.measures["memory"] = std::to_string(info.used_memory);
  if (info.master) told.measures["behind"] = BehindText(info);
  told.record = std::move(record);
  return told;
}

}  // namespace muster::redis_primary
