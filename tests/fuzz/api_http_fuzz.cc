// Any bytes on a connection to the API's socket: HTTP first, then everything behind it.
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "server/api.h"

using namespace muster;

namespace {

net::Task<Status> NoHostIsThere() { co_return Done(); }

// A whole server, without agents: nothing that is planned can be carried out.
struct World {
  World() {
    char name[] = "/tmp/muster-fuzz-XXXXXX";
    home = ::mkdtemp(name);
    (void)MakeFolder(home + "/server", 0700);
    store = std::move(store::Store::Open(home + "/server").value());
    control::Agents::Callbacks callbacks;
    callbacks.start = [](const auto&) { return Done(); };
    callbacks.changed = [](const auto&, const auto&) {};
    callbacks.connected = [](const auto&, const auto&, bool) {};
    callbacks.released = [](const auto&, const auto&, int64_t) { return false; };
    callbacks.blob_path = [this](const std::string& digest) { return store->BlobPath(digest); };
    agents = std::move(control::Agents::Listen(loop, home + "/agents.sock", callbacks).value());
    control::Dependencies dependencies{.loop = &loop, .store = store.get(), .agents = agents.get()};
    dependencies.publish = [](const auto&, const auto&, const auto&) {};
    dependencies.finished = [](const auto&, const auto&) {};
    dependencies.remove_hosts = [](std::string) { return NoHostIsThere(); };
    dependencies.forget = [](const auto&) {};
    clusters = std::make_unique<server::Clusters>(dependencies, home);
    api = std::make_unique<server::Api>(server::Api::Dependencies{.loop = &loop,
                                                                  .store = store.get(),
                                                                  .agents = agents.get(),
                                                                  .clusters = clusters.get(),
                                                                  .events = &events,
                                                                  .home = home,
                                                                  .started = WallNow(),
                                                                  .stop = [] {}});
    net::Endpoint endpoint;
    endpoint.socket_path = path = home + "/api.sock";
    net::HttpLimits limits;
    limits.body_max_bytes = 1 << 20;
    limits.idle = 100ms;
    http = std::move(net::HttpServer::Listen(
                         loop, endpoint, [this](net::Exchange& e) { return api->Handle(e); }, limits)
                         .value());
    std::atexit([] { (void)RemoveTree(World::Home()); });
    Home() = home;
  }
  static std::string& Home() {
    static std::string& home = *new std::string;  // it is still needed at exit
    return home;
  }

  std::string home, path;
  net::Loop loop;
  server::Events events;
  std::unique_ptr<store::Store> store;
  std::unique_ptr<control::Agents> agents;
  std::unique_ptr<server::Clusters> clusters;
  std::unique_ptr<server::Api> api;
  std::unique_ptr<net::HttpServer> http;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static World& world = *new World;
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, world.path.c_str(), sizeof address.sun_path - 1);
  if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) std::abort();
  (void)!::send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
  ::shutdown(fd, SHUT_WR);
  const auto watch = world.loop.WatchReadable(fd, [&] {
    char buffer[4096];
    const ssize_t got = ::recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN)) world.loop.Stop();
  });
  const auto timer =
      world.loop.After(2s, [] { std::abort(); });  // nothing may keep a connection that has ended
  world.loop.Run();
  world.loop.Cancel(timer);
  world.loop.Unwatch(watch);
  ::close(fd);
  return 0;
}
