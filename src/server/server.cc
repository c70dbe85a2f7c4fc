#include "server/server.h"

#include <spdlog/spdlog.h>

#include <csignal>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/memory.h"
#include "control/agents.h"
#include "server/api.h"
#include "server/clusters.h"
#include "server/events.h"
#include "server/local_agents.h"

namespace muster::server {
namespace {

constexpr Duration kTrimFirst = 10s;
constexpr Duration kTrimEvery = 60s;

}  // namespace

Status RunServer(const ServerOptions& options) {
  const std::string folder = options.home + "/server";
  MUSTER_DO(MakeFolder(options.home, 0711));
  MUSTER_DO(MakeFolder(folder, 0700));
  MUSTER_TRY(const auto store, store::Store::Open(folder));

  net::Loop loop;
  Events events;
  Clusters* clusters = nullptr;  // made below; callbacks come only once the loop runs

  control::Agents::Callbacks callbacks;
  callbacks.start = [&](const control::Agents::Wanted& wanted) {
    const Status started = StartLocalAgent(options.program, options.home, wanted);
    if (!started.ok()) spdlog::error("agent of {}: {}", wanted.host, started.error().Text());
    return started;
  };
  callbacks.changed = [&](const std::string& cluster, const Observed& observed) {
    if (const auto controller = clusters->Find(cluster)) controller->OnChanged(observed);
  };
  callbacks.connected = [&](const std::string& cluster, const std::string& host, bool connected) {
    spdlog::info("{}: the agent of {} {}", cluster, host, connected ? "has come" : "has gone");
    if (const auto controller = clusters->Find(cluster)) controller->OnConnected(host, connected);
  };
  callbacks.hung = EndHungAgent;
  callbacks.released = [&](const std::string& cluster, const std::string& host, int64_t epoch_seen) {
    const auto controller = clusters->Find(cluster);
    return controller && controller->row().revision > 0 && controller->row().epoch >= epoch_seen &&
           (controller->down() || !controller->Wants(host));
  };
  callbacks.blob_path = [&](const std::string& sha256) { return store->BlobPath(sha256); };
  MUSTER_TRY(const auto agents, control::Agents::Listen(loop, folder + "/agents.sock", std::move(callbacks)));

  control::Dependencies dependencies{.loop = &loop, .store = store.get(), .agents = agents.get()};
  dependencies.publish = [&](const std::string& cluster, const std::string& name, const std::string& data) {
    if (name == "started") {
      events.BeginRun(cluster, Json::parse(data).value("run", ""));
    }
    events.Publish(cluster, name, data);
  };
  dependencies.finished = [&](const std::string& cluster, const control::RunProgress& progress) {
    events.EndRun(cluster, progress.row.id, RunJson(progress).dump());
  };
  dependencies.remove_hosts = [&](std::string cluster) {
    return RemoveHosts(loop, options.home, std::move(cluster));
  };
  dependencies.cut_link = [&](control::Agents::Wanted host, bool cut) -> net::Task<Status> {
    std::function<Status()> work = [&options, host, cut] {
      return options.cut_host(host.block, host.host_number, cut);
    };
    return loop.Blocking(std::move(work));
  };
  dependencies.forget = [&](const std::string& cluster) {
    // Once the loop is back: the controller is in the middle of its last run's end.
    loop.Post([&, cluster] { clusters->Forget(cluster); });
  };
  Clusters all(dependencies, options.home);
  clusters = &all;
  MUSTER_DO(all.TakeOverAll());

  Api api({.loop = &loop,
           .store = store.get(),
           .agents = agents.get(),
           .clusters = &all,
           .events = &events,
           .home = options.home,
           .started = WallNow(),
           .stop = [&] { loop.Stop(); }});
  net::Endpoint endpoint;
  endpoint.socket_path = folder + "/api.sock";
  const net::HttpServer::Handler handler = [&](net::Exchange& exchange) { return api.Handle(exchange); };
  net::HttpLimits limits;
  limits.idle = 300s;
  MUSTER_TRY(const auto http, net::HttpServer::Listen(loop, endpoint, handler, limits));

  const std::function<void()> trim = [&] {
    ReleaseIdleMemory();
    loop.After(kTrimEvery, trim);
  };
  loop.After(kTrimFirst, trim);
  loop.OnSignal(SIGTERM, [&] { loop.Stop(); });
  loop.OnSignal(SIGINT, [&] { loop.Stop(); });
  spdlog::info("muster {} serves {}", MUSTER_VERSION, endpoint.socket_path);
  loop.Run();
  loop.EndTasks();
  spdlog::info("the server ends; instances and agents go on");
  return Done();
}

}  // namespace muster::server
