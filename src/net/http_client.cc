#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>

#include "net/asio.h"
#include "net/tls.h"

namespace muster::net {
namespace {

namespace http = boost::beast::http;
using Parser = http::response_parser<http::string_body>;
constexpr uint64_t kBodyMaxBytes = 512u << 20;
// A usual answer is read to its end, so that its server sees the connection end in order and has nothing to
// complain of.
constexpr size_t kUnwantedMost = 64u << 10;
constexpr Duration kUnwantedFor = 100ms;

// One request under way. Its socket is closed to end it early, whatever it is doing.
struct Call : std::enable_shared_from_this<Call> {
  explicit Call(Loop& the_loop) : loop(the_loop), socket(std::make_shared<Socket>(Io(the_loop))) {}
  ~Call() { loop.Cancel(timer); }

  Loop& loop;
  std::shared_ptr<Socket> socket;
  std::optional<ssl::stream<Socket&>> tls;
  boost::beast::flat_buffer buffer;
  Parser parser;
  std::string out;
  Loop::TimerId timer = 0;
  bool timed_out = false;
  bool any_length = false;  // of the body

  void Arm(Duration timeout) {
    loop.Cancel(timer);
    timer = loop.After(timeout, [weak = weak_from_this()] {
      auto self = weak.lock();
      if (!self) return;
      self->timed_out = true;
      error_code ignored;
      self->socket->close(ignored);
    });
  }

  template <class Use>
  Task<error_code> Await(Use use) {
    const Promised<error_code> settled;
    const auto handler = [self = shared_from_this(), settled](error_code error, size_t = 0) {
      settled.Set(error);
    };
    if (tls) {
      use(*tls, handler);
    } else {
      use(*socket, handler);
    }
    co_return co_await settled;
  }
};

struct CallHead {
  int status = 0;
  Headers headers;
};

std::string FormatRequest(const Endpoint& endpoint, const Request& request) {
  std::string text = fmt::format("{} {} HTTP/1.1\r\n", request.method, request.target);
  if (!request.headers.contains("host")) {
    text += fmt::format("host: {}\r\n", HostHeader(endpoint));
  }
  if (!request.headers.contains("connection")) text += "connection: close\r\n";
  for (const auto& [name, value] : request.headers) text += fmt::format("{}: {}\r\n", name, value);
  if (!request.body.empty() || request.method == "POST" || request.method == "PUT") {
    text += fmt::format("content-length: {}\r\n", request.body.size());
  }
  return text + "\r\n" + request.body;
}

Error Failed(const Call& call, const Endpoint& endpoint, std::string_view code, const error_code& error) {
  if (call.timed_out) {
    return Error::Timeout("timeout", "no answer from {} in time", EndpointName(endpoint));
  }
  return Error::Unavailable(code, "{}: {}", EndpointName(endpoint), error.message());
}

// Connects, sends the request and reads the head of the answer.
Task<Result<CallHead>> Begin(std::shared_ptr<Call> call, Endpoint endpoint, Request request,
                             Duration timeout) {
  MUSTER_CO_DO(CheckHead(request));
  const Result<Ok> connected = co_await ConnectSocket(call->loop, call->socket, endpoint, timeout);
  if (!connected.ok()) {
    if (call->timed_out) co_return Failed(*call, endpoint, "timeout", {});
    co_return connected.error();
  }
  if (endpoint.tls) {
    call->tls.emplace(*call->socket, ClientContext(endpoint.tls_verify));
    NamePeer(*call->tls, endpoint);
    const Promised<error_code> shaken;
    call->tls->async_handshake(ssl::stream_base::client,
                               [call, shaken](error_code error) { shaken.Set(error); });
    const error_code error = co_await shaken;
    if (error) co_return Failed(*call, endpoint, "tls-failed", error);
  }
  call->out = FormatRequest(endpoint, request);
  const auto write = [&call](auto& stream, auto handler) {
    asio::async_write(stream, asio::buffer(call->out), handler);
  };
  const error_code unwritten = co_await call->Await(write);
  // An answer may stand in the socket though the server refused to read all (413): it is read first.
  if (unwritten && unwritten != asio::error::broken_pipe && unwritten != asio::error::connection_reset) {
    co_return Failed(*call, endpoint, "connect-failed", unwritten);
  }
  if (call->any_length) {
    call->parser.body_limit(boost::none);
  } else {
    call->parser.body_limit(kBodyMaxBytes);
  }
  call->parser.eager(true);
  if (request.method == "HEAD") call->parser.skip(true);
  const auto read = [&call](auto& stream, auto handler) {
    http::async_read_header(stream, call->buffer, call->parser, handler);
  };
  const error_code unread = co_await call->Await(read);
  if (unread) co_return Failed(*call, endpoint, "bad-answer", unread);
  CallHead head;
  const auto& message = call->parser.get();
  head.status = static_cast<int>(message.result_int());
  for (const auto& field : message) {
    std::string name(field.name_string());
    for (char& c : name) {
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    std::string& value = head.headers[name];
    if (!value.empty()) value += ", ";
    value += std::string_view(field.value().data(), field.value().size());
  }
  co_return head;
}

// Whether `error` is how the answer's body ends: many servers close without TLS's farewell. A body that said
// how long it is has been cut off instead.
bool EndsBody(const Call& call, const error_code& error) {
  if (call.timed_out) return false;
  return error == http::error::end_of_stream ||
         (error == ssl::error::stream_truncated && call.parser.need_eof());
}

}  // namespace

Task<Result<Response>> Fetch(Loop& loop, Endpoint endpoint, Request request, Duration timeout) {
  auto call = std::make_shared<Call>(loop);
  call->Arm(timeout);
  auto head = co_await Begin(call, endpoint, std::move(request), timeout);
  if (!head.ok()) co_return head.error();
  while (!call->parser.is_done()) {
    const auto read = [&call](auto& stream, auto handler) {
      http::async_read_some(stream, call->buffer, call->parser, handler);
    };
    const error_code error = co_await call->Await(read);
    if (EndsBody(*call, error)) break;
    if (error) co_return Failed(*call, endpoint, "bad-answer", error);
  }
  Response response;
  response.status = head->status;
  response.headers = std::move(head->headers);
  response.body = std::move(call->parser.get().body());
  co_return response;
}

Task<Result<Response>> FetchHead(Loop& loop, Endpoint endpoint, Request request, Duration timeout) {
  auto call = std::make_shared<Call>(loop);
  call->Arm(timeout);
  call->any_length = true;
  auto head = co_await Begin(call, endpoint, std::move(request), timeout);
  if (!head.ok()) co_return head.error();
  call->Arm(std::min(timeout, kUnwantedFor));
  for (size_t left = kUnwantedMost; !call->parser.is_done();) {
    std::string& body = call->parser.get().body();
    if (body.size() >= left) break;
    left -= body.size();
    body.clear();
    const auto read = [&call](auto& stream, auto handler) {
      http::async_read_some(stream, call->buffer, call->parser, handler);
    };
    const error_code error = co_await call->Await(read);
    if (error) break;
  }
  Response response;
  response.status = head->status;
  response.headers = std::move(head->headers);
  co_return response;
}

Task<Result<Response>> FetchStream(Loop& loop, Endpoint endpoint, Request request,
                                   std::function<bool(std::string_view chunk)> on_chunk, Duration idle) {
  auto call = std::make_shared<Call>(loop);
  call->Arm(idle);
  auto head = co_await Begin(call, endpoint, std::move(request), idle);
  if (!head.ok()) co_return head.error();
  const bool good = head->status >= 200 && head->status < 300;
  if (good) call->parser.body_limit(boost::none);  // a stream may go on for days; it is not kept
  Response response;
  response.status = head->status;
  response.headers = std::move(head->headers);
  while (true) {
    std::string body = std::move(call->parser.get().body());
    call->parser.get().body().clear();
    if (!good) {
      response.body += body;
    } else if (!body.empty() && !on_chunk(body)) {
      co_return response;
    }
    if (call->parser.is_done()) co_return response;
    call->Arm(idle);
    const auto read = [&call](auto& stream, auto handler) {
      http::async_read_some(stream, call->buffer, call->parser, handler);
    };
    const error_code error = co_await call->Await(read);
    if (EndsBody(*call, error)) {
      std::string last = std::move(call->parser.get().body());
      if (good && !last.empty()) on_chunk(last);
      co_return response;
    }
    if (error) co_return Failed(*call, endpoint, "bad-answer", error);
  }
}

Task<Status> TryConnect(Loop& loop, Endpoint endpoint, Duration timeout) {
  auto socket = std::make_shared<Socket>(Io(loop));
  co_return co_await ConnectSocket(loop, socket, endpoint, timeout);
}

}  // namespace muster::net
