// What a node tells of itself: metrics for Prometheus, and its state as JSON.
#include <fmt/format.h>
#include <unistd.h>

#include <fstream>

#include "push/spear/log.h"
#include "push/spear/shard_parts.h"

namespace muster::push {
namespace {

int64_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t all = 0, resident = 0;
  statm >> all >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

struct Metric {
  std::string_view name, kind, help;
  int64_t (*value)(const Shard& shard);
};

#define MUSTER_LOOP(name) [](const Shard& shard) { return shard.loop().counters().name.get(); }
#define MUSTER_HUB(name) [](const Shard& shard) { return shard.hub().counters().name.get(); }
#define MUSTER_ENGINE(name) \
  [](const Shard& shard) { return const_cast<Shard&>(shard).hub().engine().counters().name.get(); }

constexpr Metric kMetrics[] = {
    {"connections", "gauge", "TCP connections open", MUSTER_LOOP(connections)},
    {"connections_accepted_total", "counter", "TCP connections ever accepted", MUSTER_LOOP(accepted)},
    {"connections_refused_address_total", "counter", "over the limit of an address",
     MUSTER_LOOP(refused_by_address)},
    {"connections_refused_node_total", "counter", "over the limit of the node", MUSTER_LOOP(refused_by_node)},
    {"connections_refused_files_total", "counter", "for want of a file descriptor",
     MUSTER_LOOP(refused_by_files)},
    {"connections_handed_over_total", "counter", "given to the shard of their session",
     MUSTER_LOOP(handed_over)},
    {"connections_timed_out_total", "counter", "closed as no whole request came",
     MUSTER_LOOP(closed_timeout)},
    {"received_bytes_total", "counter", "read from clients", MUSTER_LOOP(bytes_in)},
    {"reads_put_off_total", "counter", "turns that read no more over TLS from one client, for the others",
     MUSTER_LOOP(reads_put_off)},
    {"sent_bytes_total", "counter", "written to clients", MUSTER_LOOP(bytes_out)},
    {"writes_total", "counter", "system calls that wrote", MUSTER_LOOP(writes)},
    {"frames_sent_total", "counter", "frames and responses queued", MUSTER_LOOP(frames_out)},
    {"slow_dropped_total", "counter", "packets not given to a slow client", MUSTER_LOOP(dropped_slow)},
    {"slow_closed_total", "counter", "clients closed for being slow", MUSTER_LOOP(closed_slow)},
    {"websocket_errors_total", "counter", "WebSockets closed for breaking the protocol",
     MUSTER_LOOP(bad_frames)},
    {"sessions_polling", "gauge", "sessions over long-polling", MUSTER_ENGINE(polling)},
    {"sessions_websocket", "gauge", "sessions over WebSocket", MUSTER_ENGINE(websocket)},
    {"sessions_opened_total", "counter", "sessions ever opened", MUSTER_ENGINE(opened)},
    {"sessions_upgraded_total", "counter", "sessions that went from polling to WebSocket",
     MUSTER_ENGINE(upgraded)},
    {"requests_refused_total", "counter", "requests answered with an error", MUSTER_ENGINE(refused)},
    {"sessions_closed_client_total", "counter", "closed by clients", MUSTER_ENGINE(closed_by_client)},
    {"sessions_closed_ping_total", "counter", "closed as no pong came",
     MUSTER_ENGINE(closed_by_ping_timeout)},
    {"sessions_closed_error_total", "counter", "closed for an error", MUSTER_ENGINE(closed_by_error)},
    {"sessions_closed_server_total", "counter", "closed by this node", MUSTER_ENGINE(closed_by_server)},
    {"sockets", "gauge", "clients in a namespace", MUSTER_HUB(sockets)},
    {"events_received_total", "counter", "events from clients", MUSTER_HUB(events_in)},
    {"events_sent_total", "counter", "events to clients", MUSTER_HUB(events_out)},
    {"acks_received_total", "counter", "acks from clients", MUSTER_HUB(acks_in)},
    {"acks_sent_total", "counter", "acks to clients", MUSTER_HUB(acks_out)},
    {"recovered_total", "counter", "sockets that came back with what they had missed", MUSTER_HUB(recovered)},
    {"taken_over_total", "counter", "sockets that came back before their old connection was known to be gone",
     MUSTER_HUB(taken_over)},
    {"recovery_failed_total", "counter", "sockets that asked to and could not", MUSTER_HUB(not_recovered)},
    {"recovery_saved", "gauge", "sockets that may come back", MUSTER_HUB(saved)},
    {"packets_bad_total", "counter", "packets that broke the protocol", MUSTER_HUB(bad_packets)},
    {"packets_over_rate_total", "counter", "clients closed for sending too much",
     MUSTER_HUB(too_many_packets)},
    {"clients_unauthenticated_total", "counter", "clients closed as they didn't authenticate in time",
     MUSTER_HUB(no_user)},
    {"mailbox_bytes", "gauge", "of messages that wait for the shard",
     [](const Shard& shard) { return shard.mailbox_bytes.load(); }},
    {"messages_refused_busy_total", "counter", "messages refused as too many waited for another shard",
     [](const Shard& shard) { return shard.refused_busy.get(); }},
    {"answers_left_out_total", "counter", "acks that a push counted and left out of its answer",
     [](const Shard& shard) { return shard.answers_left_out.get(); }},
    {"users", "gauge", "users with a client, of each shard",
     [](const Shard& shard) { return shard.users.load(); }},
    {"rooms", "gauge", "groups and rooms, of each shard",
     [](const Shard& shard) { return shard.rooms.load(); }},
};

#undef MUSTER_LOOP
#undef MUSTER_HUB
#undef MUSTER_ENGINE

}  // namespace

std::string Node::Metrics() {
  std::string text;
  for (const Metric& metric : kMetrics) {
    text += fmt::format("# HELP muster_push_{} {}\n# TYPE muster_push_{} {}\n", metric.name, metric.help,
                        metric.name, metric.kind);
    for (const auto& shard : shards_) {
      text += fmt::format("muster_push_{}{{shard=\"{}\"}} {}\n", metric.name, shard->number(),
                          metric.value(*shard));
    }
  }
  text += fmt::format(
      "# HELP process_resident_memory_bytes Resident memory\n# TYPE process_resident_memory_bytes gauge\n"
      "process_resident_memory_bytes {}\n"
      "# HELP process_start_time_seconds When it started\n# TYPE process_start_time_seconds gauge\n"
      "process_start_time_seconds {}\n"
      "# HELP muster_push_log_lines_lost_total lines that the log's pipe had no room for\n"
      "# TYPE muster_push_log_lines_lost_total counter\n"
      "muster_push_log_lines_lost_total {}\n"
      "# HELP muster_push_draining 1 while clients are sent away\n# TYPE muster_push_draining gauge\n"
      "muster_push_draining {}\n",
      ResidentBytes(), started_.time_since_epoch().count() / 1000, LinesLost(), draining_ ? 1 : 0);
  return text;
}

void Shard::OnState(Connection& connection) {
  const Settings& settings = node_.settings();
  std::string text = R"({"name":)" + json::Quoted(settings.node_name) + R"(,"id":)" +
                     std::to_string(settings.node_id) + R"(,"version":")" MUSTER_VERSION R"(","started":")" +
                     FormatWallTime(node_.started()) + R"(","draining":)" +
                     (node_.draining() ? "true" : "false") + R"(,"residentBytes":)" +
                     std::to_string(ResidentBytes()) + R"(,"shards":[)";
  for (size_t i = 0; i < node_.size(); ++i) {
    const Shard& shard = node_.shard(i);
    if (i > 0) text += ',';
    text += '{';
    for (const Metric& metric : kMetrics) {
      if (text.back() != '{') text += ',';
      text += fmt::format("\"{}\":{}", metric.name, metric.value(shard));
    }
    text += '}';
  }
  AnswerAdmin(connection, 200, text + "]}");
}

}  // namespace muster::push
