// Requests whose answer is a stream of events.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "api/fields.h"
#include "api/json.h"
#include "base/digest.h"
#include "base/text.h"
#include "server/api.h"

namespace muster::server {
namespace {

std::string Dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

net::Task<void> Refuse(net::Exchange& exchange, Error error) {
  const Answer answer = Bad(error);
  net::Response response;
  response.status = answer.status;
  response.headers["content-type"] = "application/json";
  response.body = Dump(*answer.body) + "\n";
  const Status sent = co_await exchange.Send(std::move(response));
  (void)sent;
}

// Streams from several hosts on their way into one queue.
struct LogMerge {
  struct Line {
    int64_t at_ms;
    std::string instance, line;
  };
  std::vector<Line> lines;  // held back until all backlogs are here, then sorted
  size_t hosts_left = 0;
  std::optional<Error> error;
  std::shared_ptr<EventQueue> queue = std::make_shared<EventQueue>();

  void Push(const Line& line) {
    queue->Push(net::FormatSse(
        "line", Dump({{"instance", line.instance}, {"at_ms", line.at_ms}, {"line", line.line}})));
  }
  void End() {
    std::stable_sort(lines.begin(), lines.end(),
                     [](const Line& a, const Line& b) { return a.at_ms < b.at_ms; });
    for (const Line& line : lines) Push(line);
    lines.clear();
    Json end = Json::object();
    if (error) end["error"] = api::ToJson(*error);
    queue->Push(net::FormatSse("end", Dump(end)));
    queue->Close();
  }
};

}  // namespace

net::Task<void> Pump(net::Exchange& exchange, std::shared_ptr<EventQueue> queue) {
  net::Response head;
  head.headers["content-type"] = "text/event-stream";
  head.headers["cache-control"] = "no-store";
  const Status begun = co_await exchange.Start(std::move(head));
  if (!begun.ok()) co_return;
  exchange.OnGone([queue] { queue->Close(); });
  while (!exchange.peer_gone()) {
    std::optional<std::string> text = co_await EventQueue::Next(queue);
    if (!text) break;
    const Status written = co_await exchange.Write(std::move(*text));
    if (!written.ok()) co_return;
  }
  const Status finished = co_await exchange.Finish();
  (void)finished;
}

net::Task<void> Api::Exec(net::Exchange& exchange, Call call) {
  const auto found = FindController(call);
  if (!found.ok()) {
    co_await Refuse(exchange, found.error());
    co_return;
  }
  api::ExecMessage message{.id = RandomHex(8), .epoch = (*found)->row().epoch, .instance = "", .argv = {}};
  const Status read = api::Fields(*call.body, "body")
                          .Text("instance", message.instance)
                          .Texts("argv", message.argv)
                          .Give(Ok{});
  const Instance* instance = nullptr;
  for (const Instance& one : (*found)->desired()) {
    if (one.name == message.instance) instance = &one;
  }
  std::optional<Error> error;
  if (!read.ok()) error = read.error();
  if (!error && !instance) {
    error =
        Error::NotFound("unknown-instance", "{} has no instance {}", (*found)->row().key, message.instance)
            .Hint("muster ps lists them");
  }
  if (!error && message.argv.empty()) error = Error::Invalid("no-command", "no command was given");
  if (error) {
    co_await Refuse(exchange, *error);
    co_return;
  }
  const std::string cluster = (*found)->row().key, host = instance->host;
  (void)deps_.store->AddAudit({.id = 0,
                               .at = WallNow(),
                               .who = call.who,
                               .cluster = cluster,
                               .action = "exec",
                               .detail = message.instance + ": " + message.argv[0]});
  auto queue = std::make_shared<EventQueue>();
  auto ended = std::make_shared<bool>(false);
  deps_.agents->Stream(
      cluster, host, message, message.id,
      [queue](const api::Chunk& chunk) {
        queue->Push(net::FormatSse("chunk", Dump({{"stream", chunk.stream}, {"data", chunk.data}})));
      },
      [queue, ended](const api::End& end) {
        *ended = true;
        Json json{{"status", end.status}};
        if (end.error) json["error"] = api::ToJson(*end.error);
        queue->Push(net::FormatSse("end", Dump(json)));
        queue->Close();
      });
  co_await Pump(exchange, queue);
  if (!*ended) deps_.agents->CancelStream(cluster, host, message.id);
}

net::Task<void> Api::Logs(net::Exchange& exchange, Call call) {
  const auto found = FindController(call);
  if (!found.ok()) {
    co_await Refuse(exchange, found.error());
    co_return;
  }
  const auto query = call.request->query();
  const auto text = [&](const char* name) { return query.contains(name) ? query.at(name) : std::string(); };
  const bool follow = text("follow") == "1" || text("follow") == "true";
  const int tail = text("tail").empty() ? -1 : std::atoi(text("tail").c_str());
  const int64_t since = std::atoll(text("since_ms").c_str());
  std::map<std::string, std::vector<std::string>> by_host;
  std::set<std::string> unmatched;
  for (const std::string& name : Split(text("names"), ',')) {
    if (!name.empty()) unmatched.insert(name);
  }
  const std::set<std::string> wanted = unmatched;
  for (const Instance& instance : (*found)->desired()) {
    if (!wanted.empty() && !wanted.contains(instance.name) && !wanted.contains(instance.service)) continue;
    unmatched.erase(instance.name);
    unmatched.erase(instance.service);
    by_host[instance.host].push_back(instance.name);
  }
  if (!unmatched.empty()) {
    co_await Refuse(exchange, Error::NotFound("unknown-instance", "{} has no service or instance {}",
                                              (*found)->row().key, *unmatched.begin())
                                  .Hint("muster ps lists them"));
    co_return;
  }
  const std::string cluster = (*found)->row().key;
  auto merge = std::make_shared<LogMerge>();
  merge->hosts_left = by_host.size();
  std::vector<std::pair<std::string, std::string>> streams;  // host, id
  for (const auto& [host, instances] : by_host) {
    const api::Logs message{
        .id = RandomHex(8), .instances = instances, .tail = tail, .since_ms = since, .follow = follow};
    streams.emplace_back(host, message.id);
  }
  size_t index = 0;
  if (by_host.empty()) merge->End();
  for (const auto& [host, instances] : by_host) {
    const api::Logs message{.id = streams[index++].second,
                            .instances = instances,
                            .tail = tail,
                            .since_ms = since,
                            .follow = follow};
    deps_.agents->Stream(
        cluster, host, message, message.id,
        [merge, follow](const api::Chunk& chunk) {
          const LogMerge::Line line{.at_ms = chunk.at_ms, .instance = chunk.instance, .line = chunk.data};
          if (follow) {
            merge->Push(line);
          } else {
            merge->lines.push_back(line);
          }
        },
        [merge](const api::End& end) {
          if (end.error && !merge->error) merge->error = end.error;
          if (--merge->hosts_left == 0) merge->End();
        });
  }
  co_await Pump(exchange, merge->queue);
  if (merge->hosts_left == 0) co_return;
  for (const auto& [host, id] : streams) deps_.agents->CancelStream(cluster, host, id);
}

net::Task<void> Api::RunEvents(net::Exchange& exchange, Call call) {
  auto queue = std::make_shared<EventQueue>();
  if (!deps_.events->ListenRun(call.part("run"), queue)) {
    // Older than what is remembered: its end is known all the same.
    Answer answer = co_await Run(call);
    // After a restart of the server the run is settled first.
    for (int i = 0; i < 1200 && answer.status == 200 && answer.body->value("state", "") == "running"; ++i) {
      co_await deps_.loop->Sleep(50ms);
      answer = co_await Run(call);
    }
    if (answer.status != 200) {
      Error error = api::ErrorFrom(*answer.body);
      co_await Refuse(exchange, std::move(error));
      co_return;
    }
    answer.body->erase("plan");
    queue->Push(net::FormatSse("finished", Dump(*answer.body)));
    queue->Close();
  }
  co_await Pump(exchange, queue);
}

net::Task<void> Api::ClusterEvents(net::Exchange& exchange, Call call) {
  const auto found = FindController(call);
  if (!found.ok()) {
    co_await Refuse(exchange, found.error());
    co_return;
  }
  auto queue = std::make_shared<EventQueue>();
  deps_.events->ListenCluster((*found)->row().key, queue);
  co_await Pump(exchange, queue);
}

}  // namespace muster::server
