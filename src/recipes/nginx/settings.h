// What a cluster file says about an nginx service, read into structs. Pure.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "model/cluster.h"
#include "model/shape.h"
#include "model/value.h"

namespace muster::nginx {

enum class Balance { kRoundRobin, kLeastConn, kIpHash };
enum class Match { kPrefix, kPrefixFinal, kExact, kRegex, kRegexNoCase };

using Pairs = std::vector<std::pair<std::string, std::string>>;

struct Gzip {
  bool on = false;
  std::vector<std::string> types;
  int64_t min_length = 1024;
  int level = 5;
  std::string buffers;  // "4 16k"
  std::string http_version;
};

// What can be said for all servers, for one, or for one route; unset means what stands further out.
struct Tuning {
  std::optional<int64_t> body_limit;  // bytes; 0: none
  std::optional<Duration> connect_timeout, read_timeout, send_timeout;
  std::optional<bool> buffering, request_buffering, chunked;
  std::string buffer_size, buffers, temp_file_max;  // in nginx's own words
  Pairs headers;                                    // sent to the upstream
  Pairs response_headers;                           // added to the answer
  std::optional<bool> access_log;
  std::optional<Gzip> gzip;
  std::vector<std::string> raw;  // directives as written
};

struct Target {
  std::string text;  // SERVICE, INSTANCE, SERVICE:PORT or INSTANCE:PORT
  Mark mark;
};

struct Static {
  std::string root;                                        // a folder on the host
  std::vector<std::pair<std::string, std::string>> files;  // name below the path, path in the bundle
  std::string index = "index.html";
  std::string fallback;  // what is sent where there is no such file: for one-page applications
};

struct Route {
  Mark mark;
  std::string path;
  Mark path_mark;
  Match match = Match::kPrefix;
  std::vector<Target> to;
  Balance balance = Balance::kRoundRobin;
  std::string strip;  // the prefix taken off before the request goes on; "" none
  Mark strip_mark;
  bool websocket = false;
  std::optional<Static> files;
  std::string redirect;
  int redirect_status = 302;
  int status = 0;                       // answer with just this; `deny` is 403
  std::vector<std::string> allow_from;  // addresses; all others get 403
  std::string try_path;                 // what `verify` asks for
  Tuning tuning;
};

struct Tls {
  Mark mark;
  std::string certificate, key;                // paths in the bundle, or
  std::string certificate_secret, key_secret;  // names of secrets
};

struct Listen {
  int port = 0;
  Mark mark;
};

struct Server {
  Mark mark;
  std::vector<Listen> listen;
  std::vector<std::string> names;
  std::optional<Tls> tls;
  std::vector<Route> routes;
  Tuning tuning;
};

struct RealIp {
  std::vector<std::string> from;
  std::string header = "X-Forwarded-For";
  bool recursive = false;
};

struct Settings {
  Tuning tuning;
  std::vector<Server> servers;
  bool both_forms = false;  // `servers:` and `routes:` at the top
  int workers = 0;          // 0: one a processor
  int worker_connections = 1024;
  int keepalive = 32;  // idle connections a worker keeps to each upstream
  Duration shutdown_timeout = 0ms;
  std::optional<RealIp> real_ip;

  bool uses_websocket() const;
};

Shape SettingsShape();
Settings ReadSettings(const Value& settings);

// "64m", "512k" or bytes, as nginx writes sizes. Nothing it can't read comes out.
std::string SizeText(int64_t bytes);

}  // namespace muster::nginx
