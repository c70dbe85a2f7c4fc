// What `verify` tries: each route's rule as a value, made with the layout and carried in
// Instance::extra["tries"] to the agent that runs it. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "recipes/nginx/targets.h"

namespace muster::nginx {

// One route as a client sees it.
struct Try {
  int port = 0;
  bool tls = false;
  std::string host;      // the Host header; "" for the address
  std::string route;     // for people: the route's path
  std::string path;      // what is asked for; "" : can't be tried
  int status = 0;        // the fixed answer; 0: none
  std::string location;  // of a redirect; "" none. May hold $variables
  std::string upstream;  // "" : not sent on
  std::string arrives;   // the path as the upstream gets it
  bool websocket = false;
  bool is_static = false;
  std::string file;      // static: below the instance's folder, what should be served
  bool limited = false;  // by allow_from: 403 is right for all others
  std::vector<std::string> allow_from;
  int64_t body_limit = 0;
  bool gzip = false;
  int64_t gzip_min_length = 0;
  std::vector<std::string> gzip_types;
  std::string real_ip_header;  // where a client may say who it is
  bool operator==(const Try&) const = default;
};

std::vector<Try> TriesOf(const Settings& settings, const Upstreams& upstreams);

// Reading what was written gives the same.
std::string FormatTries(const std::vector<Try>& tries);
std::vector<Try> ParseTries(std::string_view text);

}  // namespace muster::nginx
