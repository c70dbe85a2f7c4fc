#include "net/websocket.h"

#include <boost/beast/core/buffers_to_string.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/websocket.hpp>
#include <boost/beast/websocket/ssl.hpp>

#include "net/asio.h"
#include "net/tls.h"

namespace muster::net {
namespace {

namespace beast = boost::beast;
namespace websocket = beast::websocket;
using TlsStream = ssl::stream<Socket>;

template <class Next>
class Client : public WebSocketClient {
 public:
  struct State {
    State(Loop& the_loop, Next next) : loop(the_loop), stream(std::move(next)) {}
    Loop& loop;
    websocket::stream<Next, false> stream;  // without compression, which nobody asks for
    beast::flat_buffer buffer;
    bool timed_out = false;
    void Drop() {
      error_code ignored;
      beast::get_lowest_layer(stream).close(ignored);
    }
  };
  explicit Client(std::shared_ptr<State> state) : state_(std::move(state)) {}
  ~Client() override { state_->Drop(); }

  Task<Status> Send(std::string data, bool binary) override {
    return Write(std::move(data), binary, size_t{0});
  }
  Task<Status> SendFragmented(std::string data, bool binary, size_t fragment_bytes) override {
    return Write(std::move(data), binary, fragment_bytes);
  }

  Task<Result<Message>> Receive(Duration timeout) override {
    auto state = state_;
    state->timed_out = false;
    const Loop::TimerId timer = state->loop.After(timeout, [state] {
      state->timed_out = true;
      state->Drop();
    });
    const Promised<error_code> read;
    state->buffer.clear();
    state->stream.async_read(state->buffer, [state, read](error_code error, size_t) { read.Set(error); });
    const error_code error = co_await read;
    state->loop.Cancel(timer);
    Message message;
    if (error) {
      if (state->timed_out) co_return Error::Timeout("timeout", "no message came in time");
      message.close = true;
      message.close_code = error == websocket::error::closed ? state->stream.reason().code : 1006;
      if (error == websocket::error::closed && message.close_code == 0) message.close_code = 1005;
      co_return message;
    }
    message.binary = state->stream.got_binary();
    message.data = beast::buffers_to_string(state->buffer.data());
    co_return message;
  }

  Task<Status> Close(int code) override {
    auto state = state_;
    const Promised<error_code> closed;
    const Loop::TimerId timer = state->loop.After(2s, [state] { state->Drop(); });
    state->stream.async_close(websocket::close_reason(static_cast<uint16_t>(code)),
                              [state, closed](error_code error) { closed.Set(error); });
    const error_code error = co_await closed;
    state->loop.Cancel(timer);
    if (error) co_return Error::Unavailable("websocket-closed", "close: {}", error.message());
    co_return Done();
  }

 private:
  Task<Status> Write(std::string data, bool binary, size_t fragment_bytes) {
    auto state = state_;
    auto bytes = std::make_shared<std::string>(std::move(data));
    state->stream.binary(binary);
    size_t at = 0;
    do {
      const size_t length =
          fragment_bytes == 0 ? bytes->size() : std::min(fragment_bytes, bytes->size() - at);
      const bool last = at + length >= bytes->size();
      const Promised<error_code> written;
      state->stream.async_write_some(
          last, asio::buffer(bytes->data() + at, length),
          [state, bytes, written](error_code error, size_t) { written.Set(error); });
      const error_code error = co_await written;
      if (error) co_return Error::Unavailable("websocket-closed", "send: {}", error.message());
      at += length;
    } while (at < bytes->size());
    co_return Done();
  }

  std::shared_ptr<State> state_;
};

// What is left of a connection's one deadline.
Duration Left(Time deadline) { return std::max(Duration(0), deadline - Now()); }

Error TooLate(const std::string& host) {
  return Error::Timeout("timeout", "no WebSocket connection to {} in time", host);
}

template <class Next>
Task<Result<std::unique_ptr<WebSocketClient>>> Handshake(Loop& loop, Next next, Request request,
                                                         Time deadline) {
  auto state = std::make_shared<typename Client<Next>::State>(loop, std::move(next));
  state->stream.auto_fragment(false);
  const std::string host = request.headers.extract("host").mapped();
  state->stream.set_option(websocket::stream_base::decorator(
      [headers = std::move(request.headers)](websocket::request_type& upgrade) {
        for (const auto& [name, value] : headers) upgrade.set(name, value);
      }));
  const Loop::TimerId timer = loop.After(Left(deadline), [state] {
    state->timed_out = true;
    state->Drop();
  });
  auto response = std::make_shared<websocket::response_type>();
  const Promised<error_code> shaken;
  state->stream.async_handshake(*response, host, request.target,
                                [state, response, shaken](error_code error) { shaken.Set(error); });
  const error_code error = co_await shaken;
  loop.Cancel(timer);
  if (state->timed_out) co_return TooLate(host);
  if (error == websocket::error::upgrade_declined) {
    co_return Error::Unavailable("websocket-refused", "{}{} answers {} to the WebSocket handshake", host,
                                 request.target, response->result_int());
  }
  if (error) {
    co_return Error::Unavailable("websocket-refused", "{}{}: {}", host, request.target, error.message());
  }
  co_return std::unique_ptr<WebSocketClient>(std::make_unique<Client<Next>>(std::move(state)));
}

}  // namespace

Task<Result<std::unique_ptr<WebSocketClient>>> WebSocketClient::Connect(Loop& loop, Endpoint endpoint,
                                                                        std::string target, Headers headers,
                                                                        Duration timeout) {
  const Time deadline = Now() + timeout;
  Request request{.method = "GET", .target = std::move(target), .headers = std::move(headers)};
  request.headers.try_emplace("host", HostHeader(endpoint));
  MUSTER_CO_DO(CheckHead(request));
  const std::string host = request.headers["host"];
  auto socket = std::make_shared<Socket>(Io(loop));
  const Result<Ok> connected = co_await ConnectSocket(loop, socket, endpoint, timeout);
  if (!connected.ok()) co_return connected.error();
  if (!endpoint.tls) {
    Socket plain = std::move(*socket);
    co_return co_await Handshake(loop, std::move(plain), std::move(request), deadline);
  }
  auto stream = std::make_shared<TlsStream>(std::move(*socket), ClientContext(endpoint.tls_verify));
  NamePeer(*stream, endpoint);
  const Promised<error_code> shaken;
  auto timed_out = std::make_shared<bool>(false);
  const Loop::TimerId timer = loop.After(Left(deadline), [stream, timed_out] {
    *timed_out = true;
    error_code ignored;
    stream->lowest_layer().close(ignored);
  });
  stream->async_handshake(ssl::stream_base::client,
                          [stream, shaken](error_code error) { shaken.Set(error); });
  const error_code error = co_await shaken;
  loop.Cancel(timer);
  if (*timed_out) co_return TooLate(host);
  if (error) co_return Error::Unavailable("tls-failed", "{}: {}", host, error.message());
  TlsStream moved = std::move(*stream);
  co_return co_await Handshake(loop, std::move(moved), std::move(request), deadline);
}

}  // namespace muster::net
