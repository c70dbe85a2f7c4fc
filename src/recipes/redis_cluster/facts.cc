#include "recipes/redis_cluster/facts.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "recipes/redis/words.h"

namespace muster::redis_cluster {
namespace {

using net::resp::Value;

// The places of the answers in Questions().
constexpr size_t kPing = 0, kInfoFirst = 1, kInfoLast = 5, kClusterInfo = 6, kClusterNodes = 7, kConfig = 8;
constexpr size_t kQuestions = 9;

std::string FlagsOf(const redis::ClusterNode& node) {
  std::vector<std::string> flags;
  if (node.master) flags.push_back("master");
  if (node.replica) flags.push_back("slave");
  if (node.suspected) flags.push_back("fail?");
  if (node.failed) flags.push_back("fail");
  if (node.handshake) flags.push_back("handshake");
  if (node.no_address) flags.push_back("noaddr");
  if (node.no_failover) flags.push_back("nofailover");
  return flags.empty() ? "noflags" : Join(flags, ",");
}

// Why a write isn't taken, as far as this node alone can tell; "ok" where it is.
std::string WriteFact(const Value& ping, const redis::ServerInfo& info, const redis::InfoFields& fields,
                      int64_t replicas_least) {
  if (ping.error_code() == "MISCONF") return ping.text;
  if (!info.last_write_ok) return "the last write to the append-only file failed";
  if (info.master && replicas_least > 0) {
    const auto good = fields.find("min_slaves_good_slaves");
    const int64_t linked = good == fields.end() ? 0 : redis::ParseNumber<int64_t>(good->second).value_or(0);
    if (good != fields.end() && linked < replicas_least) {
      return fmt::format("min-replicas-to-write is {}, and {} are linked", replicas_least, linked);
    }
  }
  if (info.max_memory > 0 && info.eviction == "noeviction" && info.used_memory > info.max_memory) {
    return "its memory is full (maxmemory), and nothing may be evicted";
  }
  return "ok";
}

// How many bytes of its master's stream a replica has yet to take over, as far as it knows itself.
int64_t BehindOf(const redis::InfoFields& fields, const redis::ServerInfo& info) {
  const auto number = [&](std::string_view name) -> int64_t {
    const auto found = fields.find(name);
    return found == fields.end() ? 0 : redis::ParseNumber<int64_t>(found->second).value_or(0);
  };
  if (info.syncing) return std::max<int64_t>(number("master_sync_left_bytes"), 0);
  const int64_t read = number("slave_read_repl_offset");
  return read > info.offset ? read - info.offset : 0;
}

}  // namespace

std::vector<net::resp::Command> Questions() {
  // One section at a time: several came with Redis 7.
  return {{"PING"},
          {"INFO", "server"},
          {"INFO", "persistence"},
          {"INFO", "memory"},
          {"INFO", "replication"},
          {"INFO", "keyspace"},
          {"CLUSTER", "INFO"},
          {"CLUSTER", "NODES"},
          {"CONFIG", "GET", "min-replicas-to-write"}};
}

Result<Answers> ReadAnswers(const std::vector<Value>& answers) {
  if (answers.size() != kQuestions) {
    return Error::Unavailable("bad-answer", "redis gives {} answers to {} questions", answers.size(),
                              kQuestions);
  }
  const Value& ping = answers[kPing];
  // LOADING while it reads its data, MASTERDOWN where it mustn't serve old data, MISCONF where its disk is
  // full.
  const std::string_view code = ping.error_code();
  const bool lives = !ping.is_error() || code == "LOADING" || code == "MASTERDOWN" || code == "MISCONF";
  if (!lives) return net::resp::RefusedError(ping, "PING");
  std::string text;
  for (size_t i = kInfoFirst; i <= kInfoLast; ++i) {
    if (answers[i].is_error()) return net::resp::RefusedError(answers[i], "INFO");
    text += answers[i].text + "\n";
  }
  Answers told;
  MUSTER_TRY(told.info, redis::ParseInfo(text));
  const redis::InfoFields fields = redis::ParseInfoFields(text);
  const redis::ServerInfo& info = told.info;
  told.loading = info.loading || code == "LOADING";
  auto& facts = told.facts;
  facts["role"] = info.replica ? "replica" : "master";
  facts["version"] = info.version;
  facts["run"] = info.run_id;
  if (info.replica) facts["link"] = info.link_up ? "up" : "down";
  told.measures["memory"] = std::to_string(info.used_memory);
  if (told.loading) {
    facts["loading"] = "yes";
    return told;
  }
  int64_t replicas_least = 0;
  if (const auto pairs = answers[kConfig].AsPairs(); pairs && !pairs->empty()) {
    replicas_least = redis::ParseNumber<int64_t>(pairs->front().second).value_or(0);
  }
  facts["write"] = WriteFact(ping, info, fields, replicas_least);
  if (info.keys == 0) facts["empty"] = "yes";
  told.measures["keys"] = std::to_string(info.keys);
  if (info.offset >= 0) told.measures["offset"] = std::to_string(info.offset);
  if (!info.replication_id.empty()) facts["history"] = info.replication_id;
  if (info.replica) told.measures["behind"] = std::to_string(BehindOf(fields, info));
  for (const size_t i : {kClusterInfo, kClusterNodes}) {
    if (answers[i].is_error()) return net::resp::RefusedError(answers[i], "CLUSTER");
  }
  MUSTER_TRY(const redis::ClusterInfo cluster, redis::ParseClusterInfo(answers[kClusterInfo].text));
  MUSTER_TRY(told.view, redis::ParseClusterNodes(answers[kClusterNodes].text));
  const redis::ClusterNode* myself = told.view.myself();
  if (myself && myself->replica && info.master) {
    // After a restart it has nowhere to ask where others have lost the address of its master.
    told.info.master = false;
    told.info.replica = true;
    told.info.link_up = false;
    facts["role"] = "replica";
    facts["link"] = "down";
    told.measures["behind"] = "0";
  }
  facts["cluster"] = cluster.ok ? "ok" : "fail";
  told.takes_writes = info.master && cluster.ok;
  facts["epoch"] = std::to_string(cluster.current_epoch);
  facts["view"] = ViewText(told.view);
  if (myself) facts["node"] = myself->id;
  if (myself && myself->replica) facts["primary"] = myself->master_id;
  return told;
}

std::vector<FormerNode> ReadFormerNodes(const std::string& text) {
  std::vector<FormerNode> nodes;
  for (const std::string_view word : redis::Words(text, " \r\n")) {
    const size_t arrow = word.find('>');
    FormerNode node{std::string(word.substr(0, arrow)), ""};
    if (arrow != std::string_view::npos) node.primary = std::string(word.substr(arrow + 1));
    nodes.push_back(std::move(node));
  }
  return nodes;
}

std::string FormerNodesText(const std::vector<FormerNode>& nodes) {
  std::vector<std::string> words;
  for (const FormerNode& node : nodes) {
    words.push_back(node.primary.empty() ? node.node : node.node + ">" + node.primary);
  }
  return Join(words, " ");
}

bool HadKeysOf(const std::vector<FormerNode>& nodes, const std::string& master) {
  return std::any_of(nodes.begin(), nodes.end(),
                     [&](const FormerNode& node) { return node.node == master || node.primary == master; });
}

namespace {

bool SeesOwners(const redis::ClusterView& view) {
  return std::any_of(view.nodes.begin(), view.nodes.end(),
                     [](const redis::ClusterNode& node) { return !node.slots.empty(); });
}

}  // namespace

bool HadKeys(bool before, const Answers& now) {
  if (now.loading || !now.view.myself()) return before;
  return before || !now.facts.contains("empty") || now.facts.at("cluster") == "ok";
}

bool HasLostKeys(bool had_keys, const Answers& now) {
  return had_keys && !now.loading && now.view.myself() && now.facts.contains("empty") &&
         !SeesOwners(now.view);
}

std::string ViewText(const redis::ClusterView& view) {
  std::vector<std::string> lines;
  for (const redis::ClusterNode& node : view.nodes) {
    std::string line = fmt::format("{} {}:{} {} {} {} {}", node.id, node.address, node.port, FlagsOf(node),
                                   node.master_id.empty() ? "-" : node.master_id, node.config_epoch,
                                   node.connected ? "connected" : "disconnected");
    for (const auto& [first, last] : node.slots.Ranges()) {
      line += first == last ? fmt::format(" {}", first) : fmt::format(" {}-{}", first, last);
    }
    for (const auto& [slot, to] : node.migrating) line += fmt::format(" [{}->-{}]", slot, to);
    for (const auto& [slot, from] : node.importing) line += fmt::format(" [{}-<-{}]", slot, from);
    lines.push_back(std::move(line));
  }
  std::sort(lines.begin(), lines.end());
  return Join(lines, "\n");
}

}  // namespace muster::redis_cluster
