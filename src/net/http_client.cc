#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>

#include "net/asio.h"

namespace muster::net {
namespace {

namespace http = boost::beast::http;
namespace ssl = boost::asio::ssl;
using Parser = http::response_parser<http::string_body>;
constexpr uint64_t kBodyMaxBytes = 512u << 20;

ssl::context& ClientContext(bool verify) {
  static ssl::context verifying = [] {
    ssl::context context(ssl::context::tls_client);
    error_code ignored;
    context.set_default_verify_paths(ignored);
    context.set_verify_mode(ssl::verify_peer);
    return context;
  }();
  static ssl::context trusting(ssl::context::tls_client);
  return verify ? verifying : trusting;
}

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
    text += endpoint.socket_path.empty() ? fmt::format("host: {}:{}\r\n", endpoint.host, endpoint.port)
                                         : "host: localhost\r\n";
  }
  if (!request.headers.contains("connection")) text += "connection: close\r\n";
  for (const auto& [name, value] : request.headers) {
    if (value.find_first_of("\r\n") == std::string::npos) text += fmt::format("{}: {}\r\n", name, value);
  }
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
Task<Result<CallHead>> Begin(std::shared_ptr<Call> call, Endpoint endpoint, Request request) {
  const Result<Ok> connected = co_await ConnectSocket(call->loop, call->socket, endpoint);
  if (!connected.ok()) {
    if (call->timed_out) co_return Failed(*call, endpoint, "timeout", {});
    co_return connected.error();
  }
  if (endpoint.tls) {
    call->tls.emplace(*call->socket, ClientContext(endpoint.tls_verify));
    const std::string name = endpoint.tls_name.empty() ? endpoint.host : endpoint.tls_name;
    SSL_set_tlsext_host_name(call->tls->native_handle(), name.c_str());
    error_code ignored;
    if (endpoint.tls_verify) call->tls->set_verify_callback(ssl::host_name_verification(name), ignored);
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
  call->parser.body_limit(kBodyMaxBytes);
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

}  // namespace

Task<Result<Response>> Fetch(Loop& loop, Endpoint endpoint, Request request, Duration timeout) {
  auto call = std::make_shared<Call>(loop);
  call->Arm(timeout);
  auto head = co_await Begin(call, endpoint, std::move(request));
  if (!head.ok()) co_return head.error();
  while (!call->parser.is_done()) {
    const auto read = [&call](auto& stream, auto handler) {
      http::async_read_some(stream, call->buffer, call->parser, handler);
    };
    const error_code error = co_await call->Await(read);
    if (error == http::error::end_of_stream || (error == ssl::error::stream_truncated && !call->timed_out))
      break;
    if (error) co_return Failed(*call, endpoint, "bad-answer", error);
  }
  Response response;
  response.status = head->status;
  response.headers = std::move(head->headers);
  response.body = std::move(call->parser.get().body());
  co_return response;
}

Task<Result<Response>> FetchStream(Loop& loop, Endpoint endpoint, Request request,
                                   std::function<bool(std::string_view chunk)> on_chunk, Duration idle) {
  auto call = std::make_shared<Call>(loop);
  call->Arm(idle);
  auto head = co_await Begin(call, endpoint, std::move(request));
  if (!head.ok()) co_return head.error();
  const bool good = head->status >= 200 && head->status < 300;
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
    if (error == http::error::end_of_stream && !call->timed_out) {
      std::string last = std::move(call->parser.get().body());
      if (good && !last.empty()) on_chunk(last);
      co_return response;
    }
    if (error) co_return Failed(*call, endpoint, "bad-answer", error);
  }
}

Task<Status> TryConnect(Loop& loop, Endpoint endpoint, Duration timeout) {
  auto call = std::make_shared<Call>(loop);
  call->Arm(timeout);
  const Result<Ok> connected = co_await ConnectSocket(loop, call->socket, endpoint);
  if (connected.ok()) co_return Done();
  if (call->timed_out) co_return Failed(*call, endpoint, "timeout", {});
  co_return connected.error();
}

}  // namespace muster::net
