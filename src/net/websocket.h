// A WebSocket client (RFC 6455) on a Loop: what `verify` and the tests use. Wraps Boost.Beast. Loop thread
// only; destroying it drops the connection.
#pragma once

#include <memory>
#include <string>

#include "net/http.h"

namespace muster::net {

class WebSocketClient {
 public:
  struct Message {
    bool binary = false;
    bool close =
        false;  // the peer closed; `close_code` tells why (1005 where it gave no code, 1006 no frame)
    int close_code = 0;
    std::string data;
  };
  virtual ~WebSocketClient() = default;
  // Code "websocket-refused" with the HTTP status in the message where the server doesn't upgrade; else those
  // of Fetch. `timeout` bounds it all, up to the end of the handshake.
  static Task<Result<std::unique_ptr<WebSocketClient>>> Connect(Loop& loop, Endpoint endpoint,
                                                                std::string target, Headers headers,
                                                                Duration timeout);
  // Code "websocket-closed", here and for Close, once the connection is gone.
  virtual Task<Status> Send(std::string data, bool binary) = 0;
  // One message in frames of at most `fragment_bytes` bytes.
  virtual Task<Status> SendFragmented(std::string data, bool binary, size_t fragment_bytes) = 0;
  // Code "timeout", and the connection is dropped. A connection that has ended gives a Message with `close`.
  virtual Task<Result<Message>> Receive(Duration timeout) = 0;
  virtual Task<Status> Close(int code) = 0;
};

}  // namespace muster::net
