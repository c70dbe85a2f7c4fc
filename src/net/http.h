// HTTP/1.1 client and server on a Loop, over TCP, TLS and Unix sockets. Wraps Boost.Beast, which stays in
// http_*.cc. Loop thread only, but for what works on texts alone. The loop outlives all that was started on
// it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/result.h"
#include "net/loop.h"

namespace muster::net {

using Headers = std::map<std::string, std::string, std::less<>>;  // Names in lower case.

struct Request {
  std::string method = "GET";
  std::string target = "/";  // path and query as sent
  Headers headers;  // as sent; a server puts "x-muster-peer" in: whose uid is at a Unix socket's other end
  std::string body;

  std::string path() const;                          // decoded, without the query
  std::map<std::string, std::string> query() const;  // decoded
};

struct Response {
  int status = 200;
  Headers headers;
  std::string body;
};

// Where a server listens or a client connects: a Unix socket if `socket_path` is set, else host and port.
struct Endpoint {
  std::string socket_path;
  std::string host;
  int port = 0;
  bool tls = false;
  std::string tls_name;        // server name to send; default `host`
  bool tls_verify = true;      // false: accept any certificate (probes of the cluster's own servers)
  std::string source_address;  // bind the client side to this address first, if set
};

// A connection that waits for its answer. Answer once with Send, or Start then Write then Finish. Loop thread
// only. The server owns it and destroys it when the handler's task has ended; every Status can be
// "peer-gone".
class Exchange {
 public:
  virtual ~Exchange() = default;
  virtual const Request& request() const = 0;
  virtual Task<Status> Send(Response response) = 0;
  // A streamed answer: chunked, flushed at each Write, which waits for as long as the client takes to read
  // (it may be a pager). Code "peer-gone" once the client has left.
  virtual Task<Status> Start(Response head) = 0;
  virtual Task<Status> Write(std::string chunk) = 0;
  virtual Task<Status> Finish() = 0;
  virtual bool peer_gone() const = 0;
  // Called once when the client leaves during a streamed answer. Set it after Start.
  virtual void OnGone(std::function<void()> act) = 0;
};

struct HttpLimits {
  size_t header_max_bytes = 64u << 10;
  size_t body_max_bytes = 512u << 20;
  Duration idle = 60s;  // between requests, and between bytes of one
};

class HttpServer {
 public:
  using Handler = std::function<Task<void>(Exchange&)>;
  // Stops listening and drops all connections; a handler that is at work ends by itself ("peer-gone").
  virtual ~HttpServer() = default;
  // Unix sockets get mode 0600 and replace a stale file; code "address-in-use" where somebody answers on it,
  // else "address-invalid" or "os-error". `endpoint.port` 0 takes a free one; see port(). The handler is
  // called once a request, many at a time.
  static Result<std::unique_ptr<HttpServer>> Listen(Loop& loop, const Endpoint& endpoint, Handler handler,
                                                    HttpLimits limits = {});
  virtual int port() const = 0;
};

// One request on a connection of its own; `timeout` bounds it from connecting to the answer's last byte.
// Codes: "connect-failed", "timeout", "bad-answer", "tls-failed"; "bad-request" for a method, target or
// header that would break its line.
Task<Result<Response>> Fetch(Loop& loop, Endpoint endpoint, Request request, Duration timeout);

// The same, for who wants to know the status only: of the body, which may never end, a little is read at
// most, and not kept. The Response has none.
Task<Result<Response>> FetchHead(Loop& loop, Endpoint endpoint, Request request, Duration timeout);

// Fetch with an answer of any size that is handed on as it arrives, until the server ends it or
// `on_chunk` returns false. `idle` bounds the wait between chunks. The returned Response has an empty body,
// unless status is not 2xx. Codes as for Fetch.
Task<Result<Response>> FetchStream(Loop& loop, Endpoint endpoint, Request request,
                                   std::function<bool(std::string_view chunk)> on_chunk, Duration idle);

// Connects and closes. For TCP probes. Code "connect-failed" or "timeout".
Task<Status> TryConnect(Loop& loop, Endpoint endpoint, Duration timeout);

// Splits a server-sent event stream (WHATWG HTML, section 9.2) as it arrives.
class SseParser {
 public:
  struct Event {
    std::string name;
    std::string data;
    std::string id;  // the last one the stream has given, in this event or before
  };
  std::vector<Event> Feed(std::string_view bytes);

 private:
  void TakeLine(std::string_view line, std::vector<Event>& events);

  std::string line_;  // the one that isn't whole yet
  Event event_;       // likewise
  std::string last_id_;
  bool has_data_ = false;
  bool after_cr_ = false;
  bool at_start_ = true;
};
// `data` may have several lines; of `name` and `id` the first counts.
std::string FormatSse(std::string_view name, std::string_view data, std::string_view id = "");

// Whether all words of the head stay where they are put: a line break in one would start a header, or a whole
// request, of somebody else's choice. Code "bad-request".
Status CheckHead(const Request& request);

std::string UrlEncode(std::string_view text);
std::string UrlDecode(std::string_view text);

}  // namespace muster::net
