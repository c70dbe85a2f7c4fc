#include <sys/socket.h>

#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/status.hpp>
#include <boost/beast/http/string_body.hpp>
#include <set>

#include "net/asio.h"

namespace muster::net {
namespace {

constexpr std::string_view kPeerHeader = "x-muster-peer";  // see Request

namespace http = boost::beast::http;

constexpr size_t kIdleBufferBytes = 4096;
constexpr Duration kAcceptAgainAfter = 100ms;

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

enum class Framing { kLength, kChunked, kUntilClose };

std::string Head(const Response& response, Framing framing, bool keep_alive) {
  const auto reason = http::obsolete_reason(http::int_to_status(static_cast<unsigned>(response.status)));
  std::string head =
      fmt::format("HTTP/1.1 {} {}\r\n", response.status, std::string_view(reason.data(), reason.size()));
  for (const auto& [name, value] : response.headers) {
    if (name == "content-length" || name == "transfer-encoding" || name == "connection") continue;  // ours
    // A line break in a value would start a header of somebody else's choice.
    if (value.find_first_of("\r\n") == std::string::npos) head += fmt::format("{}: {}\r\n", name, value);
  }
  const bool never_has_body = response.status < 200 || response.status == 204;
  if (framing == Framing::kChunked) {
    head += "transfer-encoding: chunked\r\n";
  } else if (framing == Framing::kLength && !never_has_body) {
    head += fmt::format("content-length: {}\r\n", response.body.size());
  }
  head += keep_alive ? "\r\n" : "connection: close\r\n\r\n";
  return head;
}

// The answer to what is not HTTP; empty where the connection has ended instead.
std::string Refusal(const error_code& error) {
  const bool is_of_http = error.category() == http::make_error_code(http::error::bad_version).category();
  if (!is_of_http || error == http::error::end_of_stream || error == http::error::partial_message) return "";
  Response refusal;
  refusal.status = error == http::error::body_limit ? 413 : error == http::error::header_limit ? 431 : 400;
  refusal.body = error.message() + "\n";
  return Head(refusal, Framing::kLength, false) + refusal.body;
}

// One client's connection.
class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(Loop& loop, std::shared_ptr<Socket> socket, HttpLimits limits)
      : loop_(loop), socket_(std::move(socket)), limits_(limits) {}

  Socket& socket() { return *socket_; }
  bool closed() const { return closed_; }

  void Close() {
    if (std::exchange(closed_, true)) return;
    loop_.Cancel(timer_);
    error_code ignored;
    socket_->shutdown(Socket::shutdown_both, ignored);
    socket_->close(ignored);
    PostGone();
  }

  // `patient`: however long the client takes to read.
  Task<Status> Write(std::string bytes, bool patient = false) {
    auto self = shared_from_this();
    if (closed_) co_return Gone();
    auto data = std::make_shared<std::string>(std::move(bytes));
    for (size_t at = 0; at < data->size();) {
      const Promised<Settled> written;
      if (!patient) Arm();
      const auto rest = asio::buffer(data->data() + at, data->size() - at);
      socket_->async_write_some(rest, [self, data, written](error_code error, size_t count) {
        written.Set({.error = error, .bytes = count});
      });
      const Settled outcome = co_await written;
      Disarm();
      if (outcome.error) {
        Close();
        co_return Gone();
      }
      at += outcome.bytes;
    }
    co_return Done();
  }

  // Notices that the client leaves while nothing else is read. What it still sends is thrown away: after a
  // streamed answer the connection ends anyway, and unread bytes would hide that the client has left.
  void WatchPeer() {
    socket_->async_wait(Socket::wait_read, [self = shared_from_this()](error_code error) {
      if (error || self->closed_) return;
      char bytes[4096];
      const ssize_t got = ::recv(self->socket_->native_handle(), bytes, sizeof bytes, MSG_DONTWAIT);
      if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return self->Close();
      self->WatchPeer();
    });
  }
  void OnGone(std::function<void()> act) {
    on_gone_ = std::move(act);
    if (closed_) PostGone();
  }
  // The exchange is over: what its handler captured may be gone.
  void ForgetGone() { on_gone_ = nullptr; }

  // The next request; nullopt when the connection is over. Answers what is not HTTP itself.
  Task<std::optional<Request>> Next() {
    auto self = shared_from_this();
    auto parser = std::make_shared<http::request_parser<http::string_body>>();
    parser->header_limit(static_cast<uint32_t>(limits_.header_max_bytes));
    parser->body_limit(limits_.body_max_bytes);
    parser->eager(true);
    // Piece by piece, as the idle time is counted from byte to byte.
    while (!parser->is_done()) {
      const Promised<error_code> read;
      Arm();
      http::async_read_some(*socket_, buffer_, *parser,
                            [self, parser, read](error_code error, size_t) { read.Set(error); });
      const error_code error = co_await read;
      Disarm();
      if (!error) continue;
      const std::string refusal = Refusal(error);
      if (!refusal.empty()) {
        const Status written = co_await Write(refusal);
        (void)written;
      }
      co_return std::nullopt;
    }
    // An idle connection shall not hold the room its largest request took.
    if (buffer_.size() == 0 && buffer_.capacity() > kIdleBufferBytes) buffer_ = {};
    auto message = parser->release();
    keep_alive_ = message.keep_alive();
    chunks_ = message.version() >= 11;
    Request request;
    request.method = std::string(message.method_string());
    request.target = std::string(message.target());
    for (const auto& field : message) {
      std::string& value = request.headers[Lower({field.name_string().data(), field.name_string().size()})];
      if (!value.empty()) value += ", ";
      value += std::string_view(field.value().data(), field.value().size());
    }
    NotePeer(request.headers);
    request.body = std::move(message.body());
    co_return request;
  }

  bool keep_alive() const { return keep_alive_; }
  bool chunks() const { return chunks_; }  // whether the client knows chunked bodies: HTTP/1.0 doesn't
  void set_keep_alive(bool keep) { keep_alive_ = keep; }
  static Error Gone() { return Error::Unavailable("peer-gone", "the client has left"); }

 private:
  // Who is at the other end of a Unix socket the kernel knows; what a client says of it counts for nothing.
  void NotePeer(Headers& headers) const {
    headers.erase(std::string(kPeerHeader));
    ucred peer{};
    socklen_t size = sizeof peer;
    const int fd = socket_->native_handle();
    if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return;
    if (peer.uid != static_cast<uid_t>(-1)) headers[std::string(kPeerHeader)] = std::to_string(peer.uid);
  }
  // Posted, as it may start from inside the handler's own Write; run only if the exchange is still there.
  void PostGone() {
    loop_.Post([self = shared_from_this()] {
      if (auto gone = std::exchange(self->on_gone_, nullptr)) gone();
    });
  }
  void Arm() {
    loop_.Cancel(timer_);
    timer_ = loop_.After(limits_.idle, [weak = weak_from_this()] {
      if (auto self = weak.lock()) self->Close();
    });
  }
  void Disarm() { loop_.Cancel(timer_); }

  Loop& loop_;
  std::shared_ptr<Socket> socket_;
  HttpLimits limits_;
  boost::beast::flat_buffer buffer_;
  Loop::TimerId timer_ = 0;
  std::function<void()> on_gone_;
  bool keep_alive_ = true;
  bool chunks_ = true;
  bool closed_ = false;
};

class SessionExchange : public Exchange {
 public:
  SessionExchange(std::shared_ptr<Session> session, Request request)
      : session_(std::move(session)), request_(std::move(request)) {}

  ~SessionExchange() override { session_->ForgetGone(); }

  const Request& request() const override { return request_; }
  bool answered() const { return answered_; }
  bool whole() const { return !streaming_; }

  Task<Status> Send(Response response) override {
    answered_ = true;
    std::string text = Head(response, Framing::kLength, session_->keep_alive());
    if (request_.method != "HEAD") text += response.body;
    return session_->Write(std::move(text));
  }
  Task<Status> Start(Response head) override {
    answered_ = streaming_ = true;
    session_->set_keep_alive(false);  // whoever streams may be cut off in the middle
    session_->WatchPeer();
    framing_ = session_->chunks() ? Framing::kChunked : Framing::kUntilClose;
    return session_->Write(Head(head, framing_, false));
  }
  Task<Status> Write(std::string chunk) override {
    // A chunk without bytes would be the last one.
    if (chunk.empty() || request_.method == "HEAD") return session_->Write("");
    if (framing_ == Framing::kUntilClose) return session_->Write(std::move(chunk), true);
    std::string text = fmt::format("{:x}\r\n", chunk.size());
    text += chunk;
    text += "\r\n";
    return session_->Write(std::move(text), true);
  }
  Task<Status> Finish() override {
    streaming_ = false;
    const bool has_end = framing_ == Framing::kChunked && request_.method != "HEAD";
    return session_->Write(has_end ? "0\r\n\r\n" : "", true);
  }
  bool peer_gone() const override { return session_->closed(); }
  void OnGone(std::function<void()> act) override { session_->OnGone(std::move(act)); }

 private:
  std::shared_ptr<Session> session_;
  Request request_;
  bool answered_ = false;
  bool streaming_ = false;
  Framing framing_ = Framing::kChunked;
};

struct ServerState : std::enable_shared_from_this<ServerState> {
  ServerState(Loop& the_loop, HttpServer::Handler the_handler, HttpLimits the_limits)
      : loop(the_loop), handler(std::move(the_handler)), limits(the_limits) {}

  Loop& loop;
  HttpServer::Handler handler;
  HttpLimits limits;
  std::optional<asio::local::stream_protocol::acceptor> unix_acceptor;
  std::optional<asio::ip::tcp::acceptor> tcp_acceptor;
  std::string unix_path;
  std::set<std::shared_ptr<Session>> sessions;
  bool closed = false;

  void Accept() {
    auto socket = std::make_shared<Socket>(Io(loop));
    const auto accepted = [self = shared_from_this(), socket](error_code error) {
      if (self->closed || error == asio::error::operation_aborted) return;
      if (error) return self->AcceptLater();
      if (self->tcp_acceptor) {
        error_code ignored;  // each piece of a stream goes out when it is written
        socket->set_option(asio::ip::tcp::no_delay(true), ignored);
      }
      Spawn(self->Serve(self, std::make_shared<Session>(self->loop, socket, self->limits)));
      self->Accept();
    };
    if (unix_acceptor) {
      unix_acceptor->async_accept(*socket, accepted);
    } else {
      tcp_acceptor->async_accept(*socket, accepted);
    }
  }

  // Out of descriptors: the client stays in the queue, so accepting again at once would only spin.
  void AcceptLater() {
    loop.After(kAcceptAgainAfter, [weak = weak_from_this()] {
      const auto self = weak.lock();
      if (self && !self->closed) self->Accept();
    });
  }

  static Task<void> Serve(std::shared_ptr<ServerState> self, std::shared_ptr<Session> session) {
    self->sessions.insert(session);
    while (!session->closed()) {
      std::optional<Request> request = co_await session->Next();
      if (!request || self->closed) break;
      SessionExchange exchange(session, std::move(*request));
      co_await self->handler(exchange);
      if (!exchange.answered() && !session->closed()) {
        Response silent;
        silent.status = 500;
        const Status sent = co_await exchange.Send(std::move(silent));
        (void)sent;
      }
      if (!session->keep_alive() || !exchange.whole()) break;
    }
    session->Close();
    self->sessions.erase(session);
  }
};

class ServerHandle : public HttpServer {
 public:
  explicit ServerHandle(std::shared_ptr<ServerState> state) : state_(std::move(state)) {}
  ~ServerHandle() override {
    state_->closed = true;
    error_code ignored;
    if (state_->unix_acceptor) {
      ::unlink(state_->unix_path.c_str());  // first: see ListenUnix
      state_->unix_acceptor->close(ignored);
    }
    if (state_->tcp_acceptor) state_->tcp_acceptor->close(ignored);
    for (const auto& session : std::set(state_->sessions)) session->Close();
  }
  int port() const override {
    error_code ignored;
    return state_->tcp_acceptor ? state_->tcp_acceptor->local_endpoint(ignored).port() : 0;
  }

 private:
  std::shared_ptr<ServerState> state_;
};

}  // namespace

Result<std::unique_ptr<HttpServer>> HttpServer::Listen(Loop& loop, const Endpoint& endpoint, Handler handler,
                                                       HttpLimits limits) {
  auto state = std::make_shared<ServerState>(loop, std::move(handler), limits);
  if (!endpoint.socket_path.empty()) {
    MUSTER_TRY(state->unix_acceptor, ListenUnix(loop, endpoint.socket_path));
    state->unix_path = endpoint.socket_path;
  } else {
    error_code error;
    const auto address = asio::ip::make_address(endpoint.host, error);
    if (error) return Error::Invalid("address-invalid", "{} is not an IP address", endpoint.host);
    asio::ip::tcp::acceptor acceptor(Io(loop));
    const asio::ip::tcp::endpoint place(address, static_cast<uint16_t>(endpoint.port));
    acceptor.open(place.protocol(), error);
    if (!error) acceptor.set_option(asio::ip::tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor.bind(place, error);
    if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
    if (error == asio::error::address_in_use) {
      return Error::Conflict("address-in-use", "somebody already listens on {}", EndpointName(endpoint));
    }
    if (error) return Error::Os("listen on " + EndpointName(endpoint), error.value());
    state->tcp_acceptor.emplace(std::move(acceptor));
  }
  state->Accept();
  return std::unique_ptr<HttpServer>(std::make_unique<ServerHandle>(std::move(state)));
}

}  // namespace muster::net
