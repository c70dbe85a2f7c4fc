// Requests whose answer is a stream of events.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "api/fields.h"
#include "api/json.h"
#include "api/window.h"
#include "base/digest.h"
#include "base/text.h"
#include "model/up_command.h"
#include "server/api.h"
#include "server/log_order.h"

namespace muster::server {
namespace {

constexpr int64_t kWindowsBytes = 8 << 20;         // of all instances whose logs are read for one client
constexpr Duration kFollowEvery = 300ms;           // it is looked for who came, left or came back
constexpr const char* kAway = "host-unreachable";  // an agent that is, and may come back
constexpr int64_t kWindowLeast = 64 << 10, kWindowMost = 1 << 20;

// Which logs are wanted, and from where.
struct LogQuery {
  std::set<std::string> names;  // of instances and services; all where there is none
  int tail = -1;
  int64_t since_ms = 0;
  bool follow = false;
  std::map<std::string, int64_t> from;  // positions to go on from, by instance

  explicit LogQuery(const net::Request& request) {
    const auto query = request.query();
    const auto text = [&](const char* name) { return query.contains(name) ? query.at(name) : std::string(); };
    follow = text("follow") == "1" || text("follow") == "true";
    if (!text("tail").empty()) tail = std::atoi(text("tail").c_str());
    since_ms = std::atoll(text("since_ms").c_str());
    for (const std::string& name : Split(text("names"), ',')) {
      if (!name.empty()) names.insert(name);
    }
    for (const std::string& one : Split(text("from"), ',')) {
      const size_t colon = one.rfind(':');
      if (colon != std::string::npos) from[one.substr(0, colon)] = std::atoll(one.c_str() + colon + 1);
    }
  }
  bool Wants(const Instance& instance) const {
    return names.empty() || names.contains(instance.name) || names.contains(instance.service);
  }
};

// Logs of many instances on their way to one client, none read faster than the client takes them. What is
// followed goes on to be: instances that come later join, those of an agent that was away go on when it is
// back.
struct LogStreams : std::enable_shared_from_this<LogStreams> {
  struct Source {
    std::string host, instance;
    std::string id;         // of its stream
    int64_t owed = 0;       // bytes passed on that its agent hasn't been told of
    int64_t position = -1;  // behind what was passed on; -1: unknown
    int64_t since_ms = -1;  // where the position isn't known; -1: as the client said
    bool open = false;      // its agent sends, or is to
    bool failed = false;    // followed no further
    bool here = true;       // the cluster has it
  };
  LogStreams(control::Agents& the_agents, std::string the_cluster, LogQuery the_query,
             const std::vector<Instance>& instances)
      : agents(the_agents), cluster(std::move(the_cluster)), query(std::move(the_query)), order(0) {
    for (const Instance& instance : instances) {
      if (query.Wants(instance)) Add(instance);
    }
    order = LogOrder(sources.size());
    left = sources.size();
    if (!sources.empty()) {
      window = std::clamp(kWindowsBytes / static_cast<int64_t>(sources.size()), kWindowLeast, kWindowMost);
    }
  }

  control::Agents& agents;
  const std::string cluster;
  const LogQuery query;
  std::vector<Source> sources;
  LogOrder order;
  size_t left = 0;  // of those that aren't followed
  int64_t window = kWindowMost;
  int64_t looked_ms = WallNow().time_since_epoch().count();  // for who came
  std::set<std::string> away;  // hosts whose agents don't answer, as the client was told
  std::optional<Error> error;
  bool over = false;
  std::shared_ptr<EventQueue> queue = std::make_shared<EventQueue>();

  Source& Add(const Instance& instance) {
    const auto from = query.from.find(instance.name);
    return sources.emplace_back(Source{.host = instance.host,
                                       .instance = instance.name,
                                       .position = from == query.from.end() ? -1 : from->second});
  }

  void Start(size_t number) {
    Source& source = sources[number];
    source.id = RandomHex(8);
    source.owed = 0;
    source.open = true;
    const bool late = source.position < 0 && source.since_ms >= 0;
    const api::Logs message{.id = source.id,
                            .instances = {source.instance},
                            .tail = late ? -1 : query.tail,
                            .since_ms = late ? source.since_ms : query.since_ms,
                            .follow = query.follow,
                            .window = window,
                            .from = source.position};
    agents.Stream(
        cluster, source.host, message, source.id,
        [self = shared_from_this(), number](const api::Chunk& chunk) { self->OnLine(number, chunk); },
        [self = shared_from_this(), number](const api::End& end) { self->OnEnd(number, end); });
  }
  void Cancel(Source& source) {
    if (std::exchange(source.open, false)) agents.CancelStream(cluster, source.host, source.id);
  }
  void Stop() {
    over = true;
    for (Source& source : sources) Cancel(source);
  }

  void Push(size_t number, const LogOrder::Line& line, int64_t position = 0) {
    Source& source = sources[number];
    Json json{{"instance", source.instance}, {"at_ms", line.at_ms}, {"line", line.text}};
    if (position > 0) json["position"] = source.position = position;
    queue->Push(net::FormatSse("line", Dump(json)));
    source.owed += api::Weight(line.text);
  }
  void OnLine(size_t source, const api::Chunk& chunk) {
    LogOrder::Line line{.at_ms = chunk.at_ms, .text = chunk.data};
    // What is still to come can't be waited for.
    if (query.follow) return Push(source, line, chunk.position);
    order.Add(source, std::move(line));
    Go();
  }
  void OnEnd(size_t number, const api::End& end) {
    Source& source = sources[number];
    source.open = false;
    if (query.follow) {
      const int64_t now = WallNow().time_since_epoch().count();
      source.since_ms = now;
      if (!end.error || end.error->code() == kAway) return;  // Follow looks after it
      // The others go on, and its silence mustn't look like a quiet log.
      source.failed = true;
      if (!error) error = end.error;
      Push(number,
           {.at_ms = now, .text = fmt::format("(muster: followed no further: {})", end.error->message())});
      const auto goes_on = [](const Source& one) { return !one.failed; };
      if (std::none_of(sources.begin(), sources.end(), goes_on)) Finish();
      return;
    }
    if (end.error && !error) error = end.error;
    order.End(number);
    --left;
    Go();
  }
  void OnTaken() {
    for (Source& source : sources) Open(source);
    Go();
  }
  void Open(Source& source) {
    if (!source.open || source.owed < window / 4) return;
    agents.Tell(cluster, source.host, api::More{.id = source.id, .bytes = std::exchange(source.owed, 0)});
  }
  void Go() {
    if (query.follow) return;
    while (!queue->full()) {
      const auto next = order.Next();
      if (!next) break;
      Push(next->first, next->second);
      Open(sources[next->first]);
    }
    if (left == 0 && order.over()) Finish();
  }
  void Finish() {
    if (std::exchange(over, true)) return;
    Json end = Json::object();
    if (error) end["error"] = api::ToJson(*error);
    queue->Push(net::FormatSse("end", Dump(end)));
    queue->Close();
  }

  // --- What is followed.

  // Instances that are new, or have moved, are followed from now on.
  void Join(const std::vector<Instance>& instances) {
    std::map<std::string, size_t> numbers;
    for (size_t i = 0; i < sources.size(); ++i) numbers[sources[i].instance] = i;
    std::set<size_t> here;
    // What came meanwhile has been writing since it was looked last, at most.
    const int64_t last_look = std::exchange(looked_ms, WallNow().time_since_epoch().count());
    for (const Instance& instance : instances) {
      if (!query.Wants(instance)) continue;
      const auto known = numbers.find(instance.name);
      const size_t number = known == numbers.end() ? sources.size() : known->second;
      here.insert(number);
      if (known == numbers.end()) {
        Add(instance).since_ms = last_look;
        continue;
      }
      Source& source = sources[number];
      // One that comes again has a folder that may be another.
      if (!std::exchange(source.here, true)) Cancel(source);
      if (source.host == instance.host) continue;
      Cancel(source);
      source.host = instance.host;
      source.position = -1;
      source.since_ms = last_look;
    }
    for (size_t i = 0; i < sources.size(); ++i) sources[i].here = here.contains(i);
  }
  void GoOn() {
    std::map<std::string, bool> hosts;
    for (size_t i = 0; i < sources.size(); ++i) {
      Source& source = sources[i];
      if (!source.here || source.open || source.failed) continue;
      const bool connected = agents.connected(cluster, source.host);
      hosts[source.host] = connected;
      if (connected) Start(i);
    }
    for (const auto& [host, connected] : hosts) {
      if (connected == !away.contains(host)) continue;
      if (connected) away.erase(host);
      if (!connected) away.insert(host);
      queue->Push(net::FormatSse("host", Dump({{"host", host}, {"connected", connected}})));
    }
  }
  // Looks every now and then, until nobody reads any more. `controller` is kept meanwhile.
  static net::Task<void> Follow(net::Loop& loop, std::shared_ptr<LogStreams> self,
                                std::shared_ptr<control::Controller> controller) {
    while (!self->over) {
      co_await loop.Sleep(kFollowEvery);
      if (self->over) co_return;
      const auto open = [](const Source& one) { return one.open; };
      if (controller->down() && std::none_of(self->sources.begin(), self->sources.end(), open)) {
        self->error = Error::Conflict("cluster-down", "{} is down: nothing writes", self->cluster)
                          .Hint("bring it up again: {}", UpCommand(self->cluster));
        self->Finish();
        co_return;
      }
      if (controller->down()) continue;
      self->Join(controller->desired());
      self->GoOn();
    }
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
  const std::shared_ptr<control::Controller> controller = *found;
  const LogQuery query(*call.request);
  std::set<std::string> unmatched = query.names;
  for (const Instance& instance : controller->desired()) {
    unmatched.erase(instance.name);
    unmatched.erase(instance.service);
  }
  const std::string cluster = controller->row().key;
  if (!unmatched.empty()) {
    co_await Refuse(exchange, Error::NotFound("unknown-instance", "{} has no service or instance {}", cluster,
                                              *unmatched.begin())
                                  .Hint("muster ps lists them"));
    co_return;
  }
  const auto streams = std::make_shared<LogStreams>(*deps_.agents, cluster, query, controller->desired());
  streams->queue->on_taken = [weak = std::weak_ptr<LogStreams>(streams)] {
    if (const auto all = weak.lock()) all->OnTaken();
  };
  if (streams->sources.empty()) streams->Go();
  for (size_t i = 0; i < streams->sources.size(); ++i) streams->Start(i);
  if (query.follow) net::Spawn(LogStreams::Follow(*deps_.loop, streams, controller));
  co_await Pump(exchange, streams->queue);
  streams->Stop();
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
