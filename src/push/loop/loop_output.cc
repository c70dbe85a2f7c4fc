// The half of Loop that sends and closes.
#include <netdb.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "push/loop/loop.h"

namespace muster::push {
namespace {

constexpr size_t kOutBytes = 64u << 10;
constexpr size_t kPauseBytes = 256u << 10;  // so much unsent: what the peer asks for is read no further
constexpr Duration kLinger = 2s;
constexpr Duration kCloseWait = 3s;
constexpr int kBacklog = 4096;

Result<Fd> Bind(const std::string& host, int port, bool shared) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  const std::string service = std::to_string(port);
  const int failed = getaddrinfo(host.empty() ? nullptr : host.c_str(), service.c_str(), &hints, &found);
  if (failed != 0) return Error::Invalid("bad-address", "{} is no address: {}", host, gai_strerror(failed));
  Fd fd(socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int on = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (shared) setsockopt(fd.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  if (found->ai_family == AF_INET6) setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  const int bound = bind(fd.get(), found->ai_addr, found->ai_addrlen);
  const int error = errno;
  freeaddrinfo(found);
  if (bound != 0 && error == EADDRINUSE) {
    return Error::Conflict("port-taken", "port {} on {} is taken", port, host)
        .Hint("see who has it: ss -ltnp");
  }
  if (bound != 0) return Error::Os("bind " + host + ":" + service, error);
  return fd;
}

}  // namespace

bool Loop::Send(Connection& connection, FrameRef frame, std::span<const FrameRef> attachments) {
  if (connection.mode == Connection::Mode::kClosed || connection.mode == Connection::Mode::kLingering ||
      connection.doomed || (connection.close_sent && frame->kind != FrameKind::kClose)) {
    return false;  // a close frame is the last that there is
  }
  size_t size = frame->wire().size();
  for (const FrameRef& attachment : attachments) size += attachment->wire().size();
  if (connection.out.bytes() + size > limits_.out_max && !connection.out.empty()) {
    if (!connection.blocked) Flush(connection);  // much in one turn doesn't make it slow
    if (connection.doomed) return false;
    const bool of_protocol = frame->kind == FrameKind::kRaw || frame->kind == FrameKind::kClose;
    if (connection.out.bytes() + size > limits_.out_max && !connection.out.empty() && !of_protocol) {
      counters_.dropped_slow.Add(1);
      const bool closes = limits_.slow == SlowPolicy::kClose && !frame->droppable;
      Notify({.kind = closes ? Notice::Kind::kSlowClosed : Notice::Kind::kSlowDropped,
              .what = "slow.bytes",
              .connection = &connection,
              .bytes = connection.out.bytes()});
      if (closes) {
        counters_.closed_slow.Add(1);
        connection.slow = true;
        Doom(connection);
      }
      return false;
    }
  }
  if (frame->droppable && connection.blocked) {
    counters_.dropped_slow.Add(1);
    return false;
  }
  connection.out.Push(std::move(frame));
  for (const FrameRef& attachment : attachments) connection.out.Push(attachment);
  counters_.frames_out.Add(static_cast<int64_t>(1 + attachments.size()));
  MarkDirty(connection);
  return true;
}

void Loop::MarkDirty(Connection& connection) {
  if (connection.dirty || connection.blocked) return;
  connection.dirty = true;
  dirty_.push_back(&connection);
}

ssize_t Loop::Transmit(Connection& connection, const char* data, size_t size) {
  counters_.writes.Add(1);
  if (connection.tls) return connection.tls->Send(data, size);
  ssize_t sent;
  do {
    sent = send(connection.fd, data, size, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent;
}

void Loop::Flush(Connection& connection) {
  while (!connection.out.empty()) {
    std::string_view piece = connection.out.Front();
    if (piece.size() < kOutBytes / 2 && !connection.out.HasOne()) {
      piece = {out_buffer_.get(), connection.out.Gather(out_buffer_.get(), kOutBytes)};
    }
    const ssize_t sent = Transmit(connection, piece.data(), piece.size());
    if (sent < 0 && errno != EAGAIN) {
      Doom(connection);
      return;
    }
    if (sent > 0) {
      counters_.bytes_out.Add(sent);
      connection.out.Consume(static_cast<size_t>(sent));
    }
    // TLS sends at most one record at a time: less isn't yet a full socket.
    if (sent < 0 || (static_cast<size_t>(sent) < piece.size() && !connection.tls)) {
      connection.blocked = true;
      connection.paused = connection.out.bytes() > kPauseBytes;
      Watch(connection);
      return;
    }
  }
  Drained(connection);
}

void Loop::Drained(Connection& connection) {
  if (connection.blocked || connection.paused) {
    const bool paused = connection.paused;
    connection.blocked = connection.paused = false;
    Watch(connection);
    if (paused && connection.tls) ReadOn(connection);
  }
  if (!connection.close_after_flush || connection.mode == Connection::Mode::kLingering) return;
  connection.mode = Connection::Mode::kLingering;
  connection.tls.reset();  // says its own goodbye
  shutdown(connection.fd, SHUT_WR);
  timers_.Set(connection, now_ + kLinger);
  ended_.push_back(&connection);
}

void Loop::FlushAll() {
  while (!dirty_.empty()) {
    flushing_.swap(dirty_);
    for (Connection* connection : flushing_) {
      connection->dirty = false;
      if (connection->mode != Connection::Mode::kClosed && !connection->blocked && !connection->doomed) {
        Flush(*connection);
      }
    }
    flushing_.clear();
  }
}

void Loop::FlushOwn(Connection& connection, size_t others) {
  if (dirty_.size() != others + 1 || dirty_.back() != &connection) return;
  if (connection.mode == Connection::Mode::kClosed || connection.doomed) return;
  dirty_.pop_back();
  connection.dirty = false;
  if (!connection.blocked) Flush(connection);
}

void Loop::Watch(Connection& connection) {
  uint32_t events = EPOLLET;
  if (!connection.paused) events |= EPOLLIN | EPOLLRDHUP;
  if (connection.blocked || (connection.tls && connection.tls->wants_write())) events |= EPOLLOUT;
  epoll_event event{.events = events, .data = {.u64 = connection.number}};
  epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, connection.fd, &event);
}

void Loop::Respond(Connection& connection, int status, std::string_view headers, std::string_view body,
                   bool head_only) {
  if (connection.mode != Connection::Mode::kHttp) return;
  static thread_local std::string text;
  text.clear();
  http::AppendResponse(text, status, headers, body, connection.keep_alive);
  if (head_only) text.resize(text.size() - body.size());
  connection.waiting = false;
  Send(connection, MakeFrame(FrameKind::kRaw, text));
  if (text.capacity() > (1u << 20)) text = {};
  if (!connection.keep_alive) {
    CloseAfterFlush(connection);
    return;
  }
  timers_.Set(connection, now_ + limits_.idle_timeout);
  GoOn(connection);
}

// More requests may have come meanwhile; they are read in the next turn.
void Loop::GoOn(Connection& connection) {
  if (connection.input && !connection.input->bytes.empty()) again_.push_back(&connection);
}

void Loop::Upgrade(Connection& connection, std::string_view accept_key, std::string_view headers) {
  static thread_local std::string text;
  text =
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: "
      "Upgrade\r\nSec-WebSocket-Accept: ";
  text += accept_key;
  text += "\r\n";
  text += headers;
  text += "\r\n";
  connection.waiting = false;
  Send(connection, MakeFrame(FrameKind::kRaw, text));
  connection.mode = Connection::Mode::kWebSocket;
}

void Loop::CloseWebSocket(Connection& connection, uint16_t code, std::string_view reason) {
  if (connection.mode != Connection::Mode::kWebSocket || connection.close_sent) return;
  connection.close_sent = true;
  Send(connection, MakeFrame(FrameKind::kClose, websocket::ClosePayload(code, reason)));
  timers_.Set(connection, now_ + kCloseWait);
}

void Loop::CloseAfterFlush(Connection& connection) {
  if (connection.mode == Connection::Mode::kClosed) return;
  connection.close_after_flush = true;
  // A peer that doesn't take our last words is not waited for long.
  if (!connection.set()) timers_.Set(connection, now_ + kCloseWait);
  MarkDirty(connection);
}

void Loop::Doom(Connection& connection) {
  if (connection.doomed || connection.mode == Connection::Mode::kClosed) return;
  connection.doomed = true;
  doomed_.push_back(&connection);
}

void Loop::EndDoomed() {
  // Closing one may doom others.
  for (size_t i = 0; i < doomed_.size(); ++i) {
    Connection& connection = *doomed_[i];
    const bool tells = connection.slow && !connection.told && connection.mode == Connection::Mode::kWebSocket;
    if (tells) {
      EndSlow(connection);
    } else {
      Close(connection);
    }
  }
  doomed_.clear();
  for (size_t i = 0; i < ended_.size(); ++i) {
    Connection& connection = *ended_[i];
    Tell(connection);
  }
  ended_.clear();
}

// What waits is let go of, but for a frame whose beginning is on its way, so that why it ends is the next
// thing that the client reads once it does.
void Loop::EndSlow(Connection& connection) {
  bool knows = true;  // that it is a WebSocket: its 101 doesn't wait, too
  connection.out.ForEach([&knows](const Frame& frame) { knows = knows && frame.kind != FrameKind::kRaw; });
  if (!knows) {
    Close(connection);
    return;
  }
  connection.doomed = connection.close_sent = false;  // whatever was sent since wasn't taken
  // A record of TLS that OpenSSL has taken is sent again as it was.
  connection.out.KeepFirst(connection.tls ? kOutBytes : 0);
  CloseWebSocket(connection, websocket::kPolicy, "slow consumer");
  CloseAfterFlush(connection);
  ended_.push_back(&connection);
}

void Loop::Append(Connection& connection, Outbox& box) {
  if (connection.close_sent) return;
  box.MoveTo(connection.out);
  MarkDirty(connection);
}

void Loop::Close(Connection& connection) {
  if (connection.mode == Connection::Mode::kClosed) return;
  Remove(connection, true);
  Tell(connection);
}

void Loop::Tell(Connection& connection) {
  if (connection.told) return;
  connection.told = true;
  handlers_[connection.handler]->OnClosed(connection);
}

void Loop::Remove(Connection& connection, bool close_fd) {
  connection.mode = Connection::Mode::kClosed;
  timers_.Clear(connection);
  connection.out.Clear();
  counters_.connections.Add(-1);
  if (close_fd) {
    connection.tls.reset();
    if (connection.address != nullptr) addresses_->Leave(AddressTable::kConnections, connection.address);
    ::close(connection.fd);
  } else {
    epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, connection.fd, nullptr);
  }
  connection.fd = -1;
  std::erase(again_, &connection);
  std::erase(read_on_, &connection);
  dead_.push_back(&connection);
}

MovedConnection Loop::Release(Connection& connection) {
  MovedConnection moved{.fd = connection.fd,
                        .handler = connection.handler,
                        .bytes = std::string(at_hand_),
                        .unsent = std::string(connection.out.bytes(), '\0'),
                        .tls = std::move(connection.tls),
                        .address = connection.address};
  connection.out.Gather(moved.unsent.data(), moved.unsent.size());
  counters_.handed_over.Add(1);
  Remove(connection, false);
  return moved;
}

void Loop::Adopt(MovedConnection moved) {
  Connection& connection = Add(moved.fd, moved.handler, std::move(moved.tls), moved.address);
  timers_.Set(connection, now_ + limits_.request_timeout);
  if (connection.tls) ReadOn(connection);  // it may hold what its socket tells nobody of
  if (!moved.unsent.empty()) Send(connection, MakeFrame(FrameKind::kRaw, moved.unsent));
  connection.input = std::make_unique<Input>();
  connection.input->bytes = std::move(moved.bytes);
  Take(connection, nullptr, 0);
}

Result<Fd> ListenOn(const std::string& host, int port) {
  MUSTER_TRY(Fd fd, Bind(host, port, true));
  if (listen(fd.get(), kBacklog) != 0) return Error::Os("listen", errno);
  return fd;
}

Status FindFree(const std::string& host, int port) {
  MUSTER_TRY([[maybe_unused]] const Fd fd, Bind(host, port, false));
  return Done();
}

int PortOf(const Fd& socket) {
  sockaddr_storage bound{};
  socklen_t size = sizeof bound;
  getsockname(socket.get(), reinterpret_cast<sockaddr*>(&bound), &size);
  return ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(bound).sin6_port
                                           : reinterpret_cast<sockaddr_in&>(bound).sin_port);
}

}  // namespace muster::push
