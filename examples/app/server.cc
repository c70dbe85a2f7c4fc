#include "server.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

namespace example {
namespace {

using std::chrono::milliseconds;

// Memory per connection stays bounded: beyond this nothing is read until something was sent.
constexpr size_t kOutputMost = 256 * 1024;
constexpr size_t kFillerPiece = 32 * 1024;
// How long a stop leaves idle keep-alive connections, so that a request that is under way meets an answer.
constexpr milliseconds kLinger{100};
// How long it waits for the other side's close frame.
constexpr milliseconds kCloseFrame{1000};
constexpr milliseconds kLook{10};

}  // namespace

bool Server::Listen(std::string& error) {
  listener_ = ListenOn(options_.address, options_.port, error);
  if (listener_ < 0) return false;
  pages_.port = PortOf(listener_);
  loop_.Watch(listener_, EPOLLIN, [this](uint32_t) { Accept(); });
  return true;
}

size_t Server::Accept() {
  size_t accepted = 0;
  while (true) {
    const int fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      if (errno == EMFILE || errno == ENFILE) {
        // Out of files: ask again a little later instead of spinning.
        loop_.Change(listener_, 0);
        loop_.After(milliseconds(100), [this] { loop_.Change(listener_, EPOLLIN); });
      }
      return accepted;
    }
    ++accepted;
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    auto connection = std::make_unique<Connection>();
    connection->fd = fd;
    connection->serial = ++serial_;
    Connection& added = *connection;
    connections_[fd] = std::move(connection);
    loop_.Watch(fd, EPOLLIN, [this, &added](uint32_t events) { OnEvents(added, events); });
  }
}

void Server::OnEvents(Connection& connection, uint32_t events) {
  const bool gone = (events & (EPOLLHUP | EPOLLERR)) != 0;
  if ((events & EPOLLIN) != 0 || gone) {
    if (!Receive(connection)) return Drop(connection);
    Work(connection);
  }
  if (!Flush(connection)) return Drop(connection);
  // What came in one piece with the last request is answered now that there is room.
  Rewatch(connection);
}

bool Server::Receive(Connection& connection) {
  char buffer[16 * 1024];
  const ssize_t got = recv(connection.fd, buffer, sizeof buffer, 0);
  if (got < 0) return errno == EAGAIN || errno == EINTR;
  if (got == 0) return false;
  if (!connection.half_closed) connection.input.append(buffer, static_cast<size_t>(got));
  return true;
}

// Answers what has come in, one request after the other.
void Server::Work(Connection& connection) {
  while (!connection.waiting && !connection.close_when_sent && !connection.half_closed) {
    if (connection.socket) {
      if (!connection.socket->Feed(connection.input, connection.output)) connection.close_when_sent = true;
      return;
    }
    if (connection.output.size() > kOutputMost || connection.filler_at < connection.filler_end) return;
    const int status = connection.reader.Read(connection.input);
    if (connection.reader.TakeContinue() && status == 0) connection.output += "HTTP/1.1 100 Continue\r\n\r\n";
    if (status == 0) return;
    if (status != 200) {
      connection.reader.request.keep_alive = false;
      return Respond(connection, {.answer = {.status = status, .body = "this request can't be read\n"}});
    }
    const Request& request = connection.reader.request;
    if (request.HeaderHas("upgrade", "websocket") && request.HeaderHas("connection", "upgrade")) {
      Upgrade(connection);
      continue;
    }
    Respond(connection, pages_.Handle(request));
  }
}

void Server::Upgrade(Connection& connection) {
  const Request& request = connection.reader.request;
  const std::string key = request.Header("sec-websocket-key");
  if (request.method != "GET" || key.empty() || request.Header("sec-websocket-version") != "13") {
    Answer refusal{.status = 426, .body = "a WebSocket needs GET, a key and version 13\n"};
    refusal.headers.emplace_back("Sec-WebSocket-Version", "13");
    return Respond(connection, {.answer = std::move(refusal)});
  }
  Answer answer{.status = 101};
  answer.headers = {{"Upgrade", "websocket"},
                    {"Connection", "Upgrade"},
                    {"Sec-WebSocket-Accept", EchoSocket::AcceptOf(key)},
                    {"X-Instance", options_.id},
                    {"X-Version", options_.version}};
  if (options_.access_log) Log("GET " + request.target + " 101");
  connection.output += HeadOf(answer, 0, true);
  connection.socket.emplace();
  connection.reader.Next();
  ++pages_.websockets;
  if (stop_began_) connection.socket->Close(1001, "stopping", connection.output);
}

void Server::Respond(Connection& connection, Reply reply) {
  if (reply.visit) {
    connection.waiting = true;
    return visits_.Count([this, fd = connection.fd, serial = connection.serial](const Visit& visit) {
      const auto found = connections_.find(fd);
      if (found == connections_.end() || found->second->serial != serial) return;
      Continue(fd, serial, {.answer = pages_.OfVisit(found->second->reader.request, visit)});
    });
  }
  if (reply.delay.count() == 0) return Queue(connection, reply);
  connection.waiting = true;
  const auto delay = reply.delay;
  loop_.After(delay, [this, fd = connection.fd, serial = connection.serial, reply = std::move(reply)] {
    Continue(fd, serial, reply);
  });
}

// A late answer, if its connection is there still.
void Server::Continue(int fd, uint64_t serial, const Reply& reply) {
  const auto found = connections_.find(fd);
  if (found == connections_.end() || found->second->serial != serial) return;
  Connection& connection = *found->second;
  connection.waiting = false;
  Queue(connection, reply);
  Work(connection);
  if (!Flush(connection)) return Drop(connection);
  Rewatch(connection);
}

void Server::Queue(Connection& connection, const Reply& reply) {
  const Request& request = connection.reader.request;
  Answer answer = reply.answer;
  answer.headers.emplace_back("X-Instance", options_.id);
  answer.headers.emplace_back("X-Version", options_.version);
  const uint64_t length = reply.filler > 0 ? reply.filler : answer.body.size();
  const bool keep_alive = request.keep_alive && !stop_began_ && reply.exit_status < 0;
  if (options_.access_log) {
    Log(request.method + " " + request.target + " " + std::to_string(answer.status) + " " +
        std::to_string(length));
  }
  connection.output += HeadOf(answer, length, keep_alive);
  if (request.method != "HEAD") {
    connection.output += answer.body;
    connection.filler_at = 0;
    connection.filler_end = reply.filler;
  }
  connection.close_when_sent = !keep_alive;
  connection.exit_when_sent = reply.exit_status;
  connection.reader.Next();
}

bool Server::Flush(Connection& connection) {
  while (connection.sending()) {
    if (connection.output.empty()) {
      const uint64_t piece = std::min<uint64_t>(kFillerPiece, connection.filler_end - connection.filler_at);
      connection.output = FillerText(connection.filler_at, piece);
      connection.filler_at += piece;
    }
    const ssize_t sent =
        send(connection.fd, connection.output.data(), connection.output.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) return true;
    if (sent < 0) {
      if (connection.exit_when_sent >= 0) _exit(connection.exit_when_sent);
      return false;
    }
    connection.output.erase(0, static_cast<size_t>(sent));
    if (!connection.sending()) Work(connection);  // Requests that waited for room.
  }
  if (connection.exit_when_sent >= 0) _exit(connection.exit_when_sent);
  // An idle connection keeps no buffers.
  if (connection.output.empty()) connection.output = std::string();
  if (connection.input.empty()) connection.input = std::string();
  if (connection.close_when_sent && !connection.half_closed) {
    // Closing with unread bytes would reset the connection, and the answer with it: wait for the other side.
    connection.half_closed = true;
    connection.input = std::string();
    shutdown(connection.fd, SHUT_WR);
    loop_.After(milliseconds(2000), [this, fd = connection.fd, serial = connection.serial] {
      const auto found = connections_.find(fd);
      if (found != connections_.end() && found->second->serial == serial) Drop(*found->second);
    });
  }
  return true;
}

void Server::Rewatch(Connection& connection) {
  uint32_t events = 0;
  const bool room = connection.output.size() <= kOutputMost && connection.filler_at >= connection.filler_end;
  if (!connection.waiting && room) events |= EPOLLIN;
  if (connection.sending()) events |= EPOLLOUT;
  loop_.Change(connection.fd, events);
}

void Server::Drop(Connection& connection) {
  const int fd = connection.fd;
  if (connection.socket) --pages_.websockets;
  loop_.Forget(fd);
  close(fd);
  connections_.erase(fd);
}

void Server::BeginStop() {
  if (stop_began_) return;
  stop_began_ = Loop::Clock::now();
  pages_.stopping = true;
  std::vector<Connection*> sockets;
  for (const auto& [fd, connection] : connections_) {
    if (connection->socket) sockets.push_back(connection.get());
  }
  for (Connection* connection : sockets) {
    connection->socket->Close(1001, "stopping", connection->output);
    if (Flush(*connection))
      Rewatch(*connection);
    else
      Drop(*connection);
  }
  loop_.After(options_.stop_delay, [this] { TryFinish(); });
}

// Looks whether anything is still owed to anybody.
void Server::TryFinish() {
  const auto now = Loop::Clock::now();
  const auto since_delay = now - (*stop_began_ + options_.stop_delay);
  bool owed = false;
  for (const auto& [fd, connection] : connections_) {
    if (connection->socket) {
      owed |= now - *stop_began_ < kCloseFrame;
    } else if (connection->idle()) {
      owed |= since_delay < kLinger;
    } else if (!connection->half_closed) {
      owed = true;
    }
  }
  // Whoever is in the backlog has connected and may have asked already.
  if (!owed && Accept() > 0) owed = true;
  if (owed && since_delay < options_.stop_bound) {
    loop_.After(kLook, [this] { TryFinish(); });
    return;
  }
  loop_.Forget(listener_);
  close(listener_);
  Log(owed ? "stopped; some requests were cut off" : "stopped");
  loop_.Stop(0);
}

}  // namespace example
