// Requests whose answer is a stream of events.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "api/fields.h"
#include "api/json.h"
#include "api/window.h"
#include "base/digest.h"
#include "base/text.h"
#include "server/api.h"
#include "server/log_order.h"

namespace muster::server {
namespace {

constexpr int64_t kWindowsBytes = 8 << 20;  // of all instances whose logs are read for one client
constexpr int64_t kWindowLeast = 64 << 10, kWindowMost = 1 << 20;

// Logs of many instances on their way to one client, none read faster than the client takes them.
struct LogStreams {
  struct Source {
    std::string host, instance, id;
    int64_t owed = 0;  // bytes passed on that its agent hasn't been told of
  };
  LogStreams(control::Agents& the_agents, std::string the_cluster, std::vector<Source> the_sources,
             bool follows)
      : agents(the_agents),
        cluster(std::move(the_cluster)),
        sources(std::move(the_sources)),
        follow(follows),
        order(sources.size()),
        left(sources.size()) {
    if (!sources.empty()) {
      window = std::clamp(kWindowsBytes / static_cast<int64_t>(sources.size()), kWindowLeast, kWindowMost);
    }
  }

  control::Agents& agents;
  const std::string cluster;
  std::vector<Source> sources;
  const bool follow;
  LogOrder order;
  size_t left;
  int64_t window = kWindowMost;
  std::optional<Error> error;
  std::shared_ptr<EventQueue> queue = std::make_shared<EventQueue>();

  void Push(size_t source, const LogOrder::Line& line) {
    queue->Push(net::FormatSse(
        "line", Dump({{"instance", sources[source].instance}, {"at_ms", line.at_ms}, {"line", line.text}})));
    sources[source].owed += api::Weight(line.text);
  }
  void OnLine(size_t source, const api::Chunk& chunk) {
    LogOrder::Line line{.at_ms = chunk.at_ms, .text = chunk.data};
    if (follow) return Push(source, line);  // what is still to come can't be waited for
    order.Add(source, std::move(line));
    Go();
  }
  void OnEnd(size_t source, const api::End& end) {
    if (end.error && !error) error = end.error;
    if (end.error && follow) {  // the others go on, and its silence mustn't look like a quiet log
      const int64_t now = WallNow().time_since_epoch().count();
      Push(source,
           {.at_ms = now, .text = fmt::format("(muster: followed no further: {})", end.error->message())});
    }
    order.End(source);
    --left;
    Go();
  }
  void OnTaken() {
    for (Source& source : sources) Open(source);
    Go();
  }
  void Open(Source& source) {
    if (source.owed < window / 4) return;
    agents.Tell(cluster, source.host, api::More{.id = source.id, .bytes = std::exchange(source.owed, 0)});
  }
  void Go() {
    while (!queue->full()) {
      const auto next = order.Next();
      if (!next) break;
      Push(next->first, next->second);
      Open(sources[next->first]);
    }
    if (left > 0 || !order.over()) return;
    Json end = Json::object();
    if (error) end["error"] = api::ToJson(*error);
    queue->Push(net::FormatSse("end", Dump(end)));
    queue->Close();
  }
};

}  // namespace

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
  std::vector<LogStreams::Source> sources;
  std::set<std::string> unmatched;
  for (const std::string& name : Split(text("names"), ',')) {
    if (!name.empty()) unmatched.insert(name);
  }
  const std::set<std::string> wanted = unmatched;
  for (const Instance& instance : (*found)->desired()) {
    if (!wanted.empty() && !wanted.contains(instance.name) && !wanted.contains(instance.service)) continue;
    unmatched.erase(instance.name);
    unmatched.erase(instance.service);
    sources.push_back({.host = instance.host, .instance = instance.name, .id = RandomHex(8)});
  }
  if (!unmatched.empty()) {
    co_await Refuse(exchange, Error::NotFound("unknown-instance", "{} has no service or instance {}",
                                              (*found)->row().key, *unmatched.begin())
                                  .Hint("muster ps lists them"));
    co_return;
  }
  const std::string cluster = (*found)->row().key;
  const auto streams = std::make_shared<LogStreams>(*deps_.agents, cluster, std::move(sources), follow);
  streams->queue->on_taken = [weak = std::weak_ptr<LogStreams>(streams)] {
    if (const auto all = weak.lock()) all->OnTaken();
  };
  if (streams->sources.empty()) streams->Go();
  for (size_t i = 0; i < streams->sources.size(); ++i) {
    const LogStreams::Source source = streams->sources[i];
    const api::Logs message{.id = source.id,
                            .instances = {source.instance},
                            .tail = tail,
                            .since_ms = since,
                            .follow = follow,
                            .window = streams->window};
    deps_.agents->Stream(
        cluster, source.host, message, source.id,
        [streams, i](const api::Chunk& chunk) { streams->OnLine(i, chunk); },
        [streams, i](const api::End& end) { streams->OnEnd(i, end); });
  }
  co_await Pump(exchange, streams->queue);
  if (streams->left == 0) co_return;
  for (const auto& source : streams->sources) {
    deps_.agents->CancelStream(cluster, source.host, source.id);
  }
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
