#include "net/asio.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/files.h"
#include "base/text.h"

namespace muster::net {

std::string EndpointName(const Endpoint& endpoint) {
  if (!endpoint.socket_path.empty()) return endpoint.socket_path;
  return HostPort(endpoint.host, endpoint.port);
}

std::string HostHeader(const Endpoint& endpoint) {
  return endpoint.socket_path.empty() ? EndpointName(endpoint) : "localhost";
}

namespace {

constexpr Duration kFullAgainAfter = 20ms;

// An attempt to connect, which its deadline may end.
struct Attempt {
  Promised<error_code> resolved;
  bool expired = false;
};

Task<Result<std::vector<SocketAddress>>> Resolve(Loop& loop, Endpoint endpoint,
                                                 std::shared_ptr<Attempt> attempt) {
  std::vector<SocketAddress> addresses;
  if (!endpoint.socket_path.empty()) {
    if (endpoint.socket_path.size() >= sizeof(sockaddr_un::sun_path)) {
      co_return Error::Invalid("connect-failed", "the socket path {} is too long ({} bytes of at most {})",
                               endpoint.socket_path, endpoint.socket_path.size(),
                               sizeof(sockaddr_un::sun_path) - 1);
    }
    addresses.push_back(asio::local::stream_protocol::endpoint(endpoint.socket_path));
    co_return addresses;
  }
  error_code error;
  const auto literal = asio::ip::make_address(endpoint.host, error);
  if (!error) {
    addresses.push_back(asio::ip::tcp::endpoint(literal, static_cast<uint16_t>(endpoint.port)));
    co_return addresses;
  }
  auto resolver = std::make_shared<asio::ip::tcp::resolver>(Io(loop));
  auto found = std::make_shared<std::vector<SocketAddress>>();
  resolver->async_resolve(
      endpoint.host, std::to_string(endpoint.port),
      [resolver, attempt, found](error_code failure, asio::ip::tcp::resolver::results_type results) {
        for (const auto& one : results) found->push_back(one.endpoint());
        attempt->resolved.Set(failure);
      });
  const error_code failure = co_await attempt->resolved;
  if (failure) {
    co_return Error::Unavailable("connect-failed", "look up {}: {}", endpoint.host, failure.message());
  }
  co_return std::move(*found);
}

// Whether the connect that has just ended has led to anything. A Unix listener whose queue is full makes Asio
// report success: the kernel answers EAGAIN, and then says that the socket can be written.
bool ListenerIsFull(const Endpoint& endpoint, Socket& socket) {
  if (endpoint.socket_path.empty()) return false;
  error_code error;
  socket.remote_endpoint(error);
  return error == asio::error::not_connected;
}

Task<error_code> ConnectOnce(Loop& loop, std::shared_ptr<Socket> socket, SocketAddress address,
                             Endpoint endpoint, std::shared_ptr<Attempt> attempt) {
  error_code error;
  if (socket->is_open()) socket->close(error);
  socket->open(address.protocol(), error);
  if (!error && !endpoint.source_address.empty()) {
    const auto source = asio::ip::make_address(endpoint.source_address, error);
    if (!error) socket->bind(SocketAddress(asio::ip::tcp::endpoint(source, 0)), error);
  }
  while (!error) {
    const Promised<error_code> connected;
    socket->async_connect(address, [connected, socket](error_code outcome) { connected.Set(outcome); });
    error = co_await connected;
    if (error || attempt->expired || !ListenerIsFull(endpoint, *socket)) break;
    co_await loop.Sleep(kFullAgainAfter);  // it is alive, and busy: the queue moves on
    if (attempt->expired) break;
  }
  co_return error;
}

Task<Result<Ok>> ConnectInTurn(Loop& loop, std::shared_ptr<Socket> socket, Endpoint endpoint,
                               std::shared_ptr<Attempt> attempt) {
  auto addresses = co_await Resolve(loop, endpoint, attempt);
  if (!addresses.ok()) co_return addresses.error();
  error_code last = asio::error::host_not_found;
  for (const SocketAddress& address : *addresses) {
    if (attempt->expired) break;
    last = co_await ConnectOnce(loop, socket, address, endpoint, attempt);
    if (!last) {
      error_code ignored;  // what is written goes out now, not with the next piece
      if (endpoint.socket_path.empty()) socket->set_option(asio::ip::tcp::no_delay(true), ignored);
      co_return Ok{};
    }
    if (last == asio::error::operation_aborted) break;
  }
  co_return Error::Unavailable("connect-failed", "connect to {}: {}", EndpointName(endpoint), last.message());
}

// Makes `path` free for a new socket.
Status ClearSocketPath(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  // Never waits: a listener that is too busy to take another connection is alive.
  const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (probe < 0) return Error::Os("make a socket", errno);
  const int outcome = ::connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  const int cause = errno;
  ::close(probe);
  if (outcome == 0 || cause == EAGAIN || cause == EINPROGRESS) {
    return Error::Conflict("address-in-use", "somebody already answers on {}", path)
        .Hint("another server may be running: muster server status");
  }
  if (cause == ENOENT) return Done();
  if (cause != ECONNREFUSED) return Error::Os("look who answers on " + path, cause);
  struct stat what {};
  if (::lstat(path.c_str(), &what) == 0 && !S_ISSOCK(what.st_mode)) {
    return Error::Conflict("address-in-use", "{} is there and is no socket", path)
        .Hint("move it away, or choose another MUSTER_HOME");
  }
  ::unlink(path.c_str());
  return Done();
}

}  // namespace

Task<Result<Ok>> ConnectSocket(Loop& loop, std::shared_ptr<Socket> socket, Endpoint endpoint,
                               Duration timeout) {
  auto attempt = std::make_shared<Attempt>();
  const Loop::TimerId timer = loop.After(timeout, [attempt, socket] {
    attempt->expired = true;
    error_code ignored;
    socket->close(ignored);
    attempt->resolved.Set(asio::error::timed_out);  // a look-up can't be stopped, only waited for no longer
  });
  const Result<Ok> outcome = co_await ConnectInTurn(loop, socket, endpoint, attempt);
  loop.Cancel(timer);
  if (attempt->expired) {
    co_return Error::Timeout("timeout", "no connection to {} in time", EndpointName(endpoint));
  }
  co_return outcome;
}

Result<asio::local::stream_protocol::acceptor> ListenUnix(Loop& loop, const std::string& path) {
  if (path.size() >= sizeof(sockaddr_un::sun_path)) {
    return Error::Invalid("address-invalid", "the socket path {} is too long ({} bytes of at most {})", path,
                          path.size(), sizeof(sockaddr_un::sun_path) - 1)
        .Hint("choose a shorter MUSTER_HOME");
  }
  MUSTER_DO(ClearSocketPath(path));
  error_code error;
  asio::local::stream_protocol::acceptor acceptor(Io(loop));
  acceptor.open({}, error);
  // Bind gives the file the mode of the socket, so nobody can connect before it is right. The umask would do
  // too, but it is the whole process's, and other threads make files.
  if (!error && ::fchmod(acceptor.native_handle(), 0600) != 0) return Error::Os("chmod " + path, errno);
  if (!error) acceptor.bind(asio::local::stream_protocol::endpoint(path), error);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error == asio::error::address_in_use) {  // somebody was faster
    return Error::Conflict("address-in-use", "somebody already listens on {}", path);
  }
  if (error) return Error::Os("listen on " + path, error.value());
  return acceptor;
}

}  // namespace muster::net
