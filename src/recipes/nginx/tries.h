// What `verify` tries: each route's rule as a value, made with the layout and carried in
// Instance::extra["tries"] to the agent that runs it. Pure.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "recipes/nginx/targets.h"

namespace muster::nginx {

// One route as a client sees it.
struct Try {
  int port = 0;
  bool tls = false;
  std::string host;     // the Host header; "" for the address
  std::string route;    // for people: the route's path
  std::string path;     // what is asked for; "" : can't be tried
  std::string untried;  // why not
  // Where it is to be answered alike: the server's further ports and names.
  std::vector<int> ports;
  std::vector<std::string> names;
  std::vector<std::string> patterns;  // names of the server that nobody can ask for
  Pairs headers;                      // that each answer has; those with $variables aren't here
  int status = 0;                     // the fixed answer; 0: none
  std::string location;               // of a redirect; "" none. May hold $variables
  std::string upstream;               // "" : not sent on
  std::string arrives;                // the path as the upstream gets it
  bool websocket = false;
  bool is_static = false;
  std::string file;  // static: below the instance's folder, what `path` should serve; "" : not known
  std::string
      files_at;  // static: what stands in a URL before the names of the route's files; "" : `path` only
  bool limited = false;  // by allow_from: 403 is right for all others
  std::vector<std::string> allow_from;
  int64_t body_limit = 0;
  bool gzip = false;
  int64_t gzip_min_length = 0;
  std::vector<std::string> gzip_types;
  std::string real_ip_header;             // where a client may say who it is
  std::vector<std::string> real_ip_from;  // if it is one of these
  bool operator==(const Try&) const = default;
};

std::vector<Try> TriesOf(const Settings& settings, const Upstreams& upstreams);

// Reading what was written gives the same.
std::string FormatTries(const std::vector<Try>& tries);
std::vector<Try> ParseTries(std::string_view text);

}  // namespace muster::nginx
