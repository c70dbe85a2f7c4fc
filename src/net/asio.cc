#include "net/asio.h"

#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/files.h"

namespace muster::net {

std::string EndpointName(const Endpoint& endpoint) {
  if (!endpoint.socket_path.empty()) return endpoint.socket_path;
  return fmt::format("{}:{}", endpoint.host, endpoint.port);
}

Task<Result<std::vector<SocketAddress>>> Resolve(Loop& loop, Endpoint endpoint) {
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
  const Promised<error_code> resolved;
  auto found = std::make_shared<std::vector<SocketAddress>>();
  resolver->async_resolve(
      endpoint.host, std::to_string(endpoint.port),
      [resolver, resolved, found](error_code failure, asio::ip::tcp::resolver::results_type results) {
        for (const auto& one : results) found->push_back(one.endpoint());
        resolved.Set(failure);
      });
  const error_code failure = co_await resolved;
  if (failure) {
    co_return Error::Unavailable("connect-failed", "look up {}: {}", endpoint.host, failure.message());
  }
  co_return std::move(*found);
}

Task<Result<Ok>> ConnectSocket(Loop& loop, std::shared_ptr<Socket> socket, Endpoint endpoint) {
  auto addresses = co_await Resolve(loop, endpoint);
  if (!addresses.ok()) co_return addresses.error();
  error_code last = asio::error::host_not_found;
  for (const SocketAddress& address : *addresses) {
    error_code error;
    if (socket->is_open()) socket->close(error);
    socket->open(address.protocol(), error);
    if (!error && !endpoint.source_address.empty()) {
      const auto source = asio::ip::make_address(endpoint.source_address, error);
      if (!error) socket->bind(SocketAddress(asio::ip::tcp::endpoint(source, 0)), error);
    }
    if (!error) {
      const Promised<error_code> connected;
      socket->async_connect(address, [connected, socket](error_code outcome) { connected.Set(outcome); });
      error = co_await connected;
    }
    if (!error) co_return Ok{};
    last = error;
    if (error == asio::error::operation_aborted) break;
  }
  co_return Error::Unavailable("connect-failed", "connect to {}: {}", EndpointName(endpoint), last.message());
}

Result<asio::local::stream_protocol::acceptor> ListenUnix(Loop& loop, const std::string& path) {
  if (path.size() >= sizeof(sockaddr_un::sun_path)) {
    return Error::Invalid("address-invalid", "the socket path {} is too long ({} bytes of at most {})", path,
                          path.size(), sizeof(sockaddr_un::sun_path) - 1)
        .Hint("choose a shorter MUSTER_HOME");
  }
  error_code error;
  {
    asio::local::stream_protocol::socket probe(Io(loop));
    probe.connect(asio::local::stream_protocol::endpoint(path), error);
    if (!error) {
      return Error::Conflict("address-in-use", "somebody already answers on {}", path)
          .Hint("another server may be running: muster server status");
    }
  }
  ::unlink(path.c_str());
  asio::local::stream_protocol::acceptor acceptor(Io(loop));
  acceptor.open({}, error);
  // The mode is set before anybody can connect: bind makes the file with what the umask leaves.
  const mode_t before = ::umask(0177);
  if (!error) acceptor.bind(asio::local::stream_protocol::endpoint(path), error);
  ::umask(before);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error) return Error::Os("listen on " + path, error.value());
  return acceptor;
}

}  // namespace muster::net
