#include "recipes/redis/info.h"

#include "recipes/redis/words.h"

namespace muster::redis {
namespace {

// Takes fields into a struct by their names, and remembers the first that can't be read.
class Reader {
 public:
  explicit Reader(const InfoFields& fields) : fields_(fields) {}

  void Text(std::string_view name, std::string& into) {
    if (const auto found = fields_.find(name); found != fields_.end()) into = found->second;
  }
  template <class Number>
  void Count(std::string_view name, Number& into) {
    const auto found = fields_.find(name);
    if (found == fields_.end()) return;
    const auto number = ParseNumber<Number>(found->second);
    if (number) into = *number;
    if (!number && wrong_.empty()) wrong_ = name;
  }
  void Flag(std::string_view name, bool& into, std::string_view yes) {
    if (const auto found = fields_.find(name); found != fields_.end()) into = found->second == yes;
  }
  void Wrong(std::string_view name) { wrong_ = name; }
  const std::string& wrong() const { return wrong_; }

 private:
  const InfoFields& fields_;
  std::string wrong_;
};

// "ip=127.0.0.1,port=7003,state=online,offset=50,lag=0", "keys=1,expires=0,avg_ttl=0".
InfoFields Parts(std::string_view text) {
  InfoFields parts;
  for (const std::string_view part : Words(text, ",")) {
    const size_t equals = part.find('=');
    if (equals != std::string_view::npos) parts.emplace(part.substr(0, equals), part.substr(equals + 1));
  }
  return parts;
}

// Whether `name` is `prefix` and digits: "slave0" is, "slave_priority" isn't.
bool IsNumbered(std::string_view name, std::string_view prefix) {
  return name.starts_with(prefix) && ParseNumber<unsigned>(name.substr(prefix.size()));
}

void ReadReplicas(const InfoFields& fields, ServerInfo& info, Reader& whole) {
  for (auto at = fields.lower_bound("slave"); at != fields.end() && at->first.starts_with("slave"); ++at) {
    if (!IsNumbered(at->first, "slave")) continue;
    const InfoFields parts = Parts(at->second);
    Reader reader(parts);
    ReplicaLink link;
    reader.Text("ip", link.address);
    reader.Count("port", link.port);
    reader.Text("state", link.state);
    reader.Count("offset", link.offset);
    reader.Count("lag", link.lag_s);
    if (!reader.wrong().empty()) whole.Wrong(at->first);
    info.replicas.push_back(std::move(link));
  }
}

void ReadKeys(const InfoFields& fields, ServerInfo& info, Reader& whole) {
  for (auto at = fields.lower_bound("db"); at != fields.end() && at->first.starts_with("db"); ++at) {
    if (!IsNumbered(at->first, "db")) continue;
    const InfoFields parts = Parts(at->second);
    Reader reader(parts);
    int64_t keys = 0;
    reader.Count("keys", keys);
    if (!reader.wrong().empty() || keys < 0 || __builtin_add_overflow(info.keys, keys, &info.keys)) {
      whole.Wrong(at->first);
    }
  }
}

void ReadServer(Reader& reader, ServerInfo& info) {
  reader.Text("redis_version", info.version);
  reader.Text("run_id", info.run_id);
  reader.Text("redis_mode", info.mode);
  reader.Count("process_id", info.pid);
  reader.Count("tcp_port", info.port);
  reader.Count("uptime_in_seconds", info.uptime_s);
  reader.Text("config_file", info.config_file);
  reader.Count("connected_clients", info.clients);
  reader.Count("maxclients", info.clients_max);
  reader.Count("used_memory", info.used_memory);
  reader.Count("maxmemory", info.max_memory);
  reader.Text("maxmemory_policy", info.eviction);
  reader.Flag("cluster_enabled", info.cluster, "1");
}

void ReadPersistence(Reader& reader, ServerInfo& info) {
  reader.Flag("loading", info.loading, "1");
  reader.Count("loading_eta_seconds", info.loading_eta_s);
  reader.Flag("rdb_bgsave_in_progress", info.saving, "1");
  reader.Flag("rdb_last_bgsave_status", info.last_save_ok, "ok");
  reader.Count("rdb_changes_since_last_save", info.changes_unsaved);
  reader.Flag("aof_enabled", info.aof, "1");
  reader.Flag("aof_rewrite_in_progress", info.rewriting, "1");
  reader.Flag("aof_last_write_status", info.last_write_ok, "ok");
  reader.Flag("aof_last_bgrewrite_status", info.last_rewrite_ok, "ok");
}

void ReadReplication(Reader& reader, ServerInfo& info) {
  reader.Flag("role", info.master, "master");
  reader.Flag("role", info.replica, "slave");
  reader.Text("master_replid", info.replication_id);
  reader.Text("master_failover_state", info.failover_state);
  reader.Count("master_repl_offset", info.offset);
  if (!info.replica) return;
  // What it serves on to replicas of its own, if any, isn't what it has: `master_repl_offset` may lag.
  reader.Count("slave_repl_offset", info.offset);
  reader.Text("master_host", info.master_host);
  reader.Count("master_port", info.master_port);
  reader.Flag("master_link_status", info.link_up, "up");
  reader.Count("master_link_down_since_seconds", info.link_down_s);
  reader.Count("master_last_io_seconds_ago", info.last_io_s);
  reader.Flag("master_sync_in_progress", info.syncing, "1");
  reader.Flag("slave_read_only", info.read_only, "1");
  reader.Count("slave_priority", info.priority);
}

}  // namespace

InfoFields ParseInfoFields(std::string_view text) {
  InfoFields fields;
  for (const std::string_view line : Lines(text)) {
    const size_t colon = line.find(':');
    if (line.starts_with('#') || colon == std::string_view::npos) continue;
    fields.insert_or_assign(std::string(line.substr(0, colon)), std::string(line.substr(colon + 1)));
  }
  return fields;
}

Result<ServerInfo> ParseInfo(std::string_view text) {
  const InfoFields fields = ParseInfoFields(text);
  // A server without a key answers to INFO keyspace with no more than a headline.
  if (fields.empty() && text.find('#') == std::string_view::npos) {
    return Error::Unavailable("bad-answer", "redis says nothing of itself that can be read");
  }
  ServerInfo info;
  Reader reader(fields);
  ReadServer(reader, info);
  ReadPersistence(reader, info);
  ReadReplication(reader, info);
  ReadReplicas(fields, info, reader);
  ReadKeys(fields, info, reader);
  if (!reader.wrong().empty()) {
    return Error::Unavailable("bad-answer", "redis says of itself what can't be read: {}", reader.wrong());
  }
  return info;
}

}  // namespace muster::redis
