#include "net/websocket.h"

#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/beast/core/buffers_to_string.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/websocket.hpp>
#include <boost/beast/websocket/ssl.hpp>

#include "net/asio.h"

namespace muster::net {
namespace {

namespace beast = boost::beast;
namespace websocket = beast::websocket;
namespace ssl = boost::asio::ssl;
using TlsStream = ssl::stream<Socket>;

template <class Next>
class Client : public WebSocketClient {
 public:
  struct State {
    State(Loop& the_loop, Next next) : loop(the_loop), stream(std::move(next)) {}
    Loop& loop;
    websocket::stream<Next> stream;
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

template <class Next>
Task<Result<std::unique_ptr<WebSocketClient>>> Handshake(Loop& loop, Next next, std::string host,
                                                         std::string target, Headers headers,
                                                         Duration timeout) {
  auto state = std::make_shared<typename Client<Next>::State>(loop, std::move(next));
  state->stream.auto_fragment(false);
  state->stream.set_option(websocket::stream_base::decorator([headers](websocket::request_type& request) {
    for (const auto& [name, value] : headers) request.set(name, value);
  }));
  const Loop::TimerId timer = loop.After(timeout, [state] {
    state->timed_out = true;
    state->Drop();
  });
  auto response = std::make_shared<websocket::response_type>();
  const Promised<error_code> shaken;
  state->stream.async_handshake(*response, host, target,
                                [state, response, shaken](error_code error) { shaken.Set(error); });
  const error_code error = co_await shaken;
  loop.Cancel(timer);
  if (state->timed_out) co_return Error::Timeout("timeout", "no WebSocket handshake from {} in time", host);
  if (error == websocket::error::upgrade_declined) {
    co_return Error::Unavailable("websocket-refused", "{}{} answers {} to the WebSocket handshake", host,
                                 target, response->result_int());
  }
  if (error) co_return Error::Unavailable("websocket-refused", "{}{}: {}", host, target, error.message());
  co_return std::unique_ptr<WebSocketClient>(std::make_unique<Client<Next>>(std::move(state)));
}

}  // namespace

Task<Result<std::unique_ptr<WebSocketClient>>> WebSocketClient::Connect(Loop& loop, Endpoint endpoint,
                                                                        std::string target, Headers headers,
                                                                        Duration timeout) {
  auto socket = std::make_shared<Socket>(Io(loop));
  const Loop::TimerId timer = loop.After(timeout, [socket] {
    error_code ignored;
    socket->close(ignored);
  });
  const Result<Ok> connected = co_await ConnectSocket(loop, socket, endpoint);
  loop.Cancel(timer);
  if (!connected.ok()) co_return connected.error();
  std::string host =
      endpoint.socket_path.empty() ? fmt::format("{}:{}", endpoint.host, endpoint.port) : "localhost";
  if (const auto own = headers.find("host"); own != headers.end()) {
    host = own->second;
    headers.erase(own);
  }
  if (!endpoint.tls) {
    Socket plain = std::move(*socket);
    co_return co_await Handshake(loop, std::move(plain), host, target, headers, timeout);
  }
  static ssl::context trusting(ssl::context::tls_client);  // it only talks to the cluster's own servers
  TlsStream secure(std::move(*socket), trusting);
  const std::string name = endpoint.tls_name.empty() ? endpoint.host : endpoint.tls_name;
  SSL_set_tlsext_host_name(secure.native_handle(), name.c_str());
  auto stream = std::make_shared<TlsStream>(std::move(secure));
  const Promised<error_code> shaken;
  const Loop::TimerId tls_timer = loop.After(timeout, [stream] {
    error_code ignored;
    stream->lowest_layer().close(ignored);
  });
  stream->async_handshake(ssl::stream_base::client,
                          [stream, shaken](error_code error) { shaken.Set(error); });
  const error_code error = co_await shaken;
  loop.Cancel(tls_timer);
  if (error) co_return Error::Unavailable("tls-failed", "{}: {}", host, error.message());
  TlsStream moved = std::move(*stream);
  co_return co_await Handshake(loop, std::move(moved), host, target, headers, timeout);
}

}  // namespace muster::net
