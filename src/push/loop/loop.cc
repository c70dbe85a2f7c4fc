#include "push/loop/loop.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace muster::push {
namespace {

constexpr size_t kInBytes = 256u << 10;
constexpr size_t kOutBytes = 64u << 10;
constexpr int kEventsMost = 1024;
constexpr int kAcceptsMost = 256;
constexpr int kReadsMost = 8;
constexpr int kRecordsMost = 16;  // of TLS, each at most 16 KiB, in a turn
constexpr int64_t kFilesReserved = 64;

// What an event of epoll is about; below these are the numbers of connections.
constexpr uint64_t kWakeEvent = uint64_t{1} << 40;
constexpr uint64_t kListenerEvent = uint64_t{1} << 41;

}  // namespace

Loop::Loop(const LoopLimits& limits, AddressTable* addresses, TlsContext* tls, Time (*clock)())
    : limits_(limits),
      addresses_(addresses),
      tls_(tls),
      clock_(clock),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      wake_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
      spare_(open("/dev/null", O_RDONLY | O_CLOEXEC)),
      timers_(clock()),
      now_(clock()),
      in_buffer_(new char[kInBytes]),
      out_buffer_(new char[kOutBytes]) {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  const auto most = static_cast<int64_t>(std::min<rlim_t>(files.rlim_cur, 1 << 30));
  files_most_ = static_cast<int>(most - std::min(kFilesReserved, most / 4));
  epoll_event event{.events = EPOLLIN, .data = {.u64 = kWakeEvent}};
  epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &event);
}

Loop::~Loop() {
  ForEachConnection([this](Connection& connection) {
    if (connection.address != nullptr) addresses_->Leave(AddressTable::kConnections, connection.address);
    connection.tls.reset();
    ::close(connection.fd);
  });
}

void Loop::Listen(Fd socket, uint8_t handler, bool secure, bool limited) {
  listeners_.push_back(std::make_unique<Listener>(Listener{std::move(socket), handler, secure, limited}));
  epoll_event event{.events = EPOLLIN, .data = {.u64 = kListenerEvent + listeners_.size() - 1}};
  epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, listeners_.back()->socket.get(), &event);
}

void Loop::StopListening(uint8_t handler) {
  for (auto& listener : listeners_) {
    if (listener->handler == handler) listener->socket.Reset();  // which takes it out of epoll, too
  }
}

void Loop::Wake() {
  const uint64_t one = 1;
  (void)!write(wake_.get(), &one, sizeof one);
}

void Loop::Run() {
  while (!stopping_) Turn();
  now_ = clock_();
  if (turn_) turn_();
  EndDoomed();
  FlushAll();
}

void Loop::Turn() {
  epoll_event events[kEventsMost];
  Duration wait = again_.empty() && read_on_.empty() ? timers_.Idle(now_) : Duration(0);
  if (wait > 1s) wait = 1s;
  const int count = epoll_wait(epoll_.get(), events, kEventsMost, static_cast<int>(wait.count()));
  now_ = clock_();
  timers_.CatchUp(now_);
  reading_again_.swap(again_);
  for (Connection* connection : reading_again_) {
    if (connection->mode == Connection::Mode::kHttp && !connection->waiting) Take(*connection, nullptr, 0);
    // Of the next request something has come: it has as long for the rest as if it had come alone.
    const bool begun = connection->input && !connection->input->bytes.empty();
    if (begun && connection->mode == Connection::Mode::kHttp && !connection->waiting &&
        !connection->close_after_flush) {
      timers_.Set(*connection, now_ + limits_.request_timeout);
    }
  }
  reading_again_.clear();
  reading_on_.swap(read_on_);
  for (int i = 0; i < count; ++i) {
    const uint64_t about = events[i].data.u64;
    if (about == kWakeEvent) {
      uint64_t ignored;
      (void)!read(wake_.get(), &ignored, sizeof ignored);
      continue;
    }
    if (about >= kListenerEvent) {
      Listener& listener = *listeners_[about - kListenerEvent];
      if (listener.socket.valid()) AcceptFrom(listener);
      continue;
    }
    Connection* connection = connections_.Find(static_cast<uint32_t>(about));
    if (connection == nullptr || connection->mode == Connection::Mode::kClosed) continue;
    if ((events[i].events & EPOLLOUT) != 0) {
      Flush(*connection);
      if (connection->tls && connection->tls->wants_write()) Read(*connection);
    }
    constexpr uint32_t kEnded = EPOLLRDHUP | EPOLLHUP | EPOLLERR;
    if ((events[i].events & (EPOLLIN | kEnded)) != 0 && connection->mode != Connection::Mode::kClosed) {
      const size_t others = dirty_.size();
      Read(*connection, (events[i].events & kEnded) != 0);
      FlushOwn(*connection, others);
    }
  }
  for (Connection* connection : reading_on_) {
    connection->reads_on = false;
    if (connection->mode == Connection::Mode::kClosed) continue;
    const size_t others = dirty_.size();
    Read(*connection);
    FlushOwn(*connection, others);
  }
  reading_on_.clear();
  timers_.Advance(now_, [this](TimerNode& node) {
    if (node.kind == kTimerOfConnection) {
      Expire(static_cast<Connection&>(node));
    } else if (timer_) {
      timer_(node);
    }
  });
  if (turn_) turn_();
  EndDoomed();
  FlushAll();
  EndDoomed();
  for (Connection* connection : dead_) connections_.Free(connection->number);
  dead_.clear();
}

void Loop::AcceptFrom(Listener& listener) {
  for (int i = 0; i < kAcceptsMost; ++i) {
    sockaddr_storage peer{};
    socklen_t size = sizeof peer;
    const int fd = accept4(listener.socket.get(), reinterpret_cast<sockaddr*>(&peer), &size,
                           SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      if (errno == EMFILE || errno == ENFILE) {
        // Without this it would stay in the queue, and epoll would tell of it for ever.
        counters_.refused_by_files.Add(1);
        spare_.Reset();
        size = sizeof peer;
        ::close(accept(listener.socket.get(), reinterpret_cast<sockaddr*>(&peer), &size));
        const Address from = AddressOf(peer);
        Notify({.kind = Notice::Kind::kConnectionRefused, .what = "files", .from = &from});
        spare_ = Fd(open("/dev/null", O_RDONLY | O_CLOEXEC));
      }
      return;
    }
    const auto refuse = [&](std::string_view answer, Counter& counter, std::string_view limit) {
      if (!listener.secure) (void)!send(fd, answer.data(), answer.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      ::close(fd);
      counter.Add(1);
      const Address from = AddressOf(peer);
      Notify({.kind = Notice::Kind::kConnectionRefused, .what = limit, .from = &from});
    };
    const auto full = [&](Counter& counter, std::string_view limit) {
      refuse(
          "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: "
          "close\r\n\r\n",
          counter, limit);
    };
    // The kernel gives the lowest number that is free: the last ones are for who asks how the node is.
    if (listener.limited && fd >= files_most_) {
      full(counters_.refused_by_files, "files");
      continue;
    }
    if (listener.limited &&
        !addresses_->Reserve(AddressTable::kConnections, static_cast<int64_t>(limits_.connections_max))) {
      full(counters_.refused_by_node, "limits.connections");
      continue;
    }
    AddressTable::Entry* address =
        listener.limited
            ? addresses_->Enter(AddressTable::kConnections, AddressOf(peer), limits_.per_address_max)
            : nullptr;
    if (listener.limited && address == nullptr) {
      addresses_->GiveBack(AddressTable::kConnections);
      refuse("HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
             counters_.refused_by_address, "limits.per_address");
      continue;
    }
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    counters_.accepted.Add(1);
    std::unique_ptr<TlsConnection> tls;
    if (listener.secure) tls = tls_->Accept(fd);
    Connection& connection = Add(fd, listener.handler, std::move(tls), address);
    timers_.Set(connection, now_ + limits_.request_timeout);
  }
}

Connection& Loop::Add(int fd, uint8_t handler, std::unique_ptr<TlsConnection> tls,
                      AddressTable::Entry* address) {
  const auto [connection, number] = connections_.Make();
  connection->kind = kTimerOfConnection;
  connection->fd = fd;
  connection->number = number;
  connection->handler = handler;
  connection->tls = std::move(tls);
  connection->address = address;
  epoll_event event{.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data = {.u64 = number}};
  epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
  counters_.connections.Add(1);
  return *connection;
}

// epoll tells only of what is new: what was read short is empty, unless the peer has ended, which is told
// once and found by reading on; who is left with more is told of again for the asking. Not so with TLS, which
// may have taken from the socket what epoll would tell of: that is read on in the next turn without it.
void Loop::Read(Connection& connection, bool ended) {
  for (int reads = 0; reads < (connection.tls ? kRecordsMost : kReadsMost); ++reads) {
    if (connection.paused && connection.mode != Connection::Mode::kLingering) return;
    const ssize_t got = connection.tls ? connection.tls->Receive(in_buffer_.get(), kInBytes)
                                       : recv(connection.fd, in_buffer_.get(), kInBytes, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) {
      if (connection.tls && connection.tls->wants_write()) Watch(connection);
      return;
    }
    if (got <= 0) {
      Close(connection);
      return;
    }
    counters_.bytes_in.Add(got);
    if (connection.mode != Connection::Mode::kLingering)
      Take(connection, in_buffer_.get(), static_cast<size_t>(got));
    if (connection.mode == Connection::Mode::kClosed) return;
    if (static_cast<size_t>(got) < kInBytes && !connection.tls) {
      if (!ended) return;
      break;
    }
  }
  if (connection.tls) {
    counters_.reads_put_off.Add(1);
    ReadOn(connection);
    return;
  }
  Watch(connection);
}

void Loop::ReadOn(Connection& connection) {
  if (connection.reads_on) return;
  connection.reads_on = true;
  read_on_.push_back(&connection);
}

void Loop::Take(Connection& connection, char* data, size_t size) {
  reading_ = &connection;
  TakeAll(connection, data, size);
  reading_ = nullptr;
}

void Loop::TakeAll(Connection& connection, char* data, size_t size) {
  const bool kept = connection.input && !connection.input->bytes.empty();
  if (kept) {
    if (size > 0) connection.input->bytes.append(data, size);
    data = connection.input->bytes.data();
    size = connection.input->bytes.size();
  }
  size_t taken = 0;
  // What comes behind a request that isn't answered yet waits for the answer: they go out in order.
  while (taken < size && !connection.waiting) {
    const bool http = connection.mode == Connection::Mode::kHttp;
    const size_t more = http ? TakeRequests(connection, data + taken, size - taken)
                             : TakeFrames(connection, data + taken, size - taken);
    if (connection.mode == Connection::Mode::kClosed) return;
    if (connection.mode == Connection::Mode::kLingering) taken = size;
    if (more == 0) break;
    taken = std::min(size, taken + more);
  }
  if (kept) {
    connection.input->bytes.erase(0, taken);
  } else if (taken < size) {
    if (!connection.input) connection.input = std::make_unique<Input>();
    connection.input->bytes.assign(data + taken, size - taken);
    if (connection.mode == Connection::Mode::kHttp && !connection.waiting) {
      timers_.Set(connection, now_ + limits_.request_timeout);
    }
  }
  if (!connection.input) return;
  Input& input = *connection.input;
  // A request is under way, and still more comes in than any request may have.
  if (connection.waiting && input.bytes.size() > limits_.payload_max + 65536) Doom(connection);
  if (input.bytes.empty() && !input.fragmented && !input.body_told) connection.input.reset();
}

size_t Loop::TakeRequests(Connection& connection, char* data, size_t size) {
  const std::string_view bytes(data, size);
  http::Request request;
  const http::Head head = http::ParseHead(bytes, request);
  if (head.parsed == http::Parsed::kNeedMore) return 0;
  if (head.parsed == http::Parsed::kBad) {
    Refuse(connection, head.status);
    return size;
  }
  size_t whole = head.size;
  bool complete = true;
  if (request.chunked) {
    // On from where the last one ended: read anew each time, many small ones would cost the square of them.
    size_t begun = 0;
    if (connection.input) {
      begun = std::exchange(connection.input->chunks_taken, 0);
      chunked_body_ = std::exchange(connection.input->message, {});
    }
    const http::Chunks chunks =
        http::ParseChunks(bytes.substr(head.size), limits_.payload_max, chunked_body_, begun);
    if (chunks.parsed == http::Parsed::kBad) {
      Refuse(connection, chunks.too_large ? 413 : 400);
      return size;
    }
    complete = chunks.parsed == http::Parsed::kWhole;
    whole += chunks.size;
    if (!complete) {
      if (!connection.input) connection.input = std::make_unique<Input>();
      connection.input->chunks_taken = chunks.size;
      connection.input->message = std::exchange(chunked_body_, {});
    }
    request.body = chunked_body_;
  } else if (request.content_length > 0) {
    const auto length = static_cast<size_t>(request.content_length);
    if (length > limits_.payload_max) {
      Refuse(connection, 413);
      return size;
    }
    complete = size - head.size >= length;
    whole += length;
    request.body = bytes.substr(head.size, length);
  }
  if (!complete) {
    if (!connection.input) connection.input = std::make_unique<Input>();
    if (!connection.input->body_told) {
      connection.input->body_told = true;
      if (request.expects_continue) {
        connection.keep_alive = true;
        Send(connection, MakeFrame(FrameKind::kRaw, "HTTP/1.1 100 Continue\r\n\r\n"));
      }
      at_hand_ = bytes;
      handlers_[connection.handler]->OnBodyBegins(connection, request);
    }
    return 0;
  }
  if (connection.input) connection.input->body_told = false;
  connection.waiting = true;
  connection.keep_alive = request.keep_alive;
  timers_.Clear(connection);
  at_hand_ = bytes;
  handlers_[connection.handler]->OnRequest(connection, request);
  return whole;
}

size_t Loop::TakeFrames(Connection& connection, char* data, size_t size) {
  size_t taken = 0;
  while (taken < size && connection.mode == Connection::Mode::kWebSocket) {
    websocket::Header header;
    const auto parsed = websocket::ParseHeader({data + taken, size - taken}, header);
    if (parsed == websocket::Parsed::kNeedMore) break;
    if (parsed == websocket::Parsed::kBad) {
      Fail(connection, websocket::kProtocolError);
      return size;
    }
    if (header.length > limits_.payload_max) {
      Fail(connection, websocket::kTooBig);
      return size;
    }
    if (size - taken - header.size < header.length) break;
    char* payload = data + taken + header.size;
    websocket::Unmask(payload, header.length, header.mask);
    taken += header.size + header.length;
    TakeFrame(connection, header, {payload, static_cast<size_t>(header.length)});
  }
  return connection.mode == Connection::Mode::kWebSocket ? taken : size;
}

void Loop::TakeFrame(Connection& connection, const websocket::Header& header, std::string_view payload) {
  using websocket::Opcode;
  if (header.opcode >= Opcode::kClose) {
    TakeControl(connection, header, payload);
    return;
  }
  if (connection.close_sent || connection.doomed) return;
  Input* input = connection.input.get();
  const bool continues = input != nullptr && input->fragmented;
  if (continues != (header.opcode == Opcode::kContinuation)) {
    Fail(connection, websocket::kProtocolError);
    return;
  }
  bool binary = header.opcode == Opcode::kBinary;
  if (!continues && header.last) {
    if (!binary && !websocket::IsText(payload)) {
      Fail(connection, websocket::kBadText);
      return;
    }
    counters_.messages_in.Add(1);
    handlers_[connection.handler]->OnMessage(connection, binary, payload);
    return;
  }
  if (!continues) {
    if (input == nullptr) {
      connection.input = std::make_unique<Input>();
      input = connection.input.get();
    }
    input->fragmented = true;
    input->binary = binary;
    input->checked = 0;
  }
  if (input->message.size() + payload.size() > limits_.payload_max) {
    Fail(connection, websocket::kTooBig);
    return;
  }
  input->message += payload;
  binary = input->binary;
  // What no end makes UTF-8 is found at once, and nothing is looked at twice.
  const size_t whole =
      binary ? 0 : websocket::WholeText(std::string_view(input->message).substr(input->checked));
  if (!binary) input->checked += whole;
  if (whole == std::string_view::npos || (header.last && !binary && input->checked < input->message.size())) {
    Fail(connection, websocket::kBadText);
    return;
  }
  if (!header.last) return;
  input->fragmented = false;
  const std::string message = std::exchange(input->message, {});
  counters_.messages_in.Add(1);
  handlers_[connection.handler]->OnMessage(connection, binary, message);
}

void Loop::TakeControl(Connection& connection, const websocket::Header& header, std::string_view payload) {
  if (header.opcode == websocket::Opcode::kPing) {
    if (!connection.close_sent) Send(connection, MakeFrame(FrameKind::kPong, payload));
    return;
  }
  if (header.opcode != websocket::Opcode::kClose) return;
  const websocket::Close close = websocket::ParseClose(payload);
  if (!close.good) {
    counters_.bad_frames.Add(1);
    Notify({.kind = Notice::Kind::kBadProtocol, .what = "a bad close frame", .connection = &connection});
  }
  if (!connection.close_sent) {
    connection.close_sent = true;
    Send(connection, MakeFrame(FrameKind::kClose, websocket::ClosePayload(close.code)));
  }
  CloseAfterFlush(connection);
}

std::string Loop::PeerOf(const Connection* connection) const {
  if (connection == nullptr) connection = reading_;
  if (connection == nullptr) return {};
  if (connection->address != nullptr && IsIpv4(connection->address->address)) {
    return AddressText(connection->address->address);
  }
  sockaddr_storage peer{};
  socklen_t size = sizeof peer;
  if (getpeername(connection->fd, reinterpret_cast<sockaddr*>(&peer), &size) != 0) return {};
  return AddressText(AddressOf(peer));
}

// Without a limit of connections files are one, which long-polling doesn't run into by itself.
Loop::Place Loop::TakePlace(const Connection& connection) {
  if (connection.address == nullptr) return {};
  const auto refuse = [&](Counter& counter, std::string_view limit, int status) {
    counter.Add(1);
    Notify({.kind = Notice::Kind::kConnectionRefused, .what = limit, .connection = &connection});
    return Place{.entry = nullptr, .refused = status};
  };
  const bool by_files = limits_.connections_max == 0;
  const int64_t most = by_files ? files_most_ : static_cast<int64_t>(limits_.connections_max);
  if (!addresses_->Reserve(AddressTable::kSessions, most)) {
    return by_files ? refuse(counters_.refused_by_files, "files", 503)
                    : refuse(counters_.refused_by_node, "limits.connections", 503);
  }
  AddressTable::Entry* entry =
      addresses_->Enter(AddressTable::kSessions, connection.address->address, limits_.per_address_max);
  if (entry == nullptr) {
    addresses_->GiveBack(AddressTable::kSessions);
    return refuse(counters_.refused_by_address, "limits.per_address", 429);
  }
  return {.entry = entry, .refused = 0};
}

void Loop::LeavePlace(AddressTable::Entry* entry) {
  if (entry != nullptr) addresses_->Leave(AddressTable::kSessions, entry);
}

void Loop::Fail(Connection& connection, uint16_t code) {
  const std::string_view what = code == websocket::kTooBig    ? "a message over max_payload"
                                : code == websocket::kBadText ? "text that is no UTF-8"
                                                              : "a bad WebSocket frame";
  Notify({.kind = Notice::Kind::kBadProtocol, .what = what, .connection = &connection});
  counters_.bad_frames.Add(1);
  if (!connection.close_sent) {
    connection.close_sent = true;
    Send(connection, MakeFrame(FrameKind::kClose, websocket::ClosePayload(code)));
  }
  CloseAfterFlush(connection);
}

void Loop::Refuse(Connection& connection, int status) {
  connection.keep_alive = false;
  connection.waiting = true;
  Notify({.kind = Notice::Kind::kBadProtocol, .what = http::Reason(status), .connection = &connection});
  Respond(connection, status, "", "");
}

void Loop::Expire(Connection& connection) {
  using Mode = Connection::Mode;
  if (connection.mode == Mode::kClosed) return;
  const bool idle = connection.mode == Mode::kHttp && !connection.input;
  if (connection.mode == Mode::kWebSocket && !connection.close_sent) {
    CloseWebSocket(connection, websocket::kNoCode);
    return;
  }
  if (!idle && connection.mode == Mode::kHttp) {
    counters_.closed_timeout.Add(1);
    Refuse(connection, 408);
    return;
  }
  Close(connection);
}

}  // namespace muster::push
