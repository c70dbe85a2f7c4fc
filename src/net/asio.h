// Bridges from Asio's callbacks to Promised. Heavy: only for the .cc files of net/, on the loop's thread.
#pragma once

#include <boost/asio/connect.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>

#include "net/http.h"
#include "net/loop.h"

namespace muster::net {

namespace asio = boost::asio;
using boost::system::error_code;
using Socket = asio::generic::stream_protocol::socket;
using SocketAddress = asio::generic::stream_protocol::endpoint;

inline asio::io_context& Io(Loop& loop) { return *static_cast<asio::io_context*>(loop.native()); }

// The outcome of one asynchronous operation.
struct Settled {
  error_code error;
  size_t bytes = 0;
};

// A listening Unix socket of mode 0600 at `path`, in place of a stale one. Code "address-in-use" where
// somebody answers, or where something lies that is no socket. Whoever stops listening unlinks `path` first
// and closes then: the other way round it could take away the socket of its successor.
Result<asio::local::stream_protocol::acceptor> ListenUnix(Loop& loop, const std::string& path);

// Connects `socket` to the first of `endpoint`'s addresses that answers. Looks names up without blocking the
// loop; that counts towards `timeout` too. Codes "connect-failed", "timeout".
Task<Result<Ok>> ConnectSocket(Loop& loop, std::shared_ptr<Socket> socket, Endpoint endpoint,
                               Duration timeout);

std::string EndpointName(const Endpoint& endpoint);
std::string HostHeader(const Endpoint& endpoint);

}  // namespace muster::net
