#include "recipes/nginx/tries.h"

#include <nlohmann/json.hpp>

#include "recipes/nginx/config.h"

namespace muster::nginx {
namespace {

using Json = nlohmann::json;

// What to ask for to get into a route. Regular expressions would have to be solved.
std::string PathOf(const Route& route) {
  if (!route.try_path.empty()) return route.try_path;
  if (route.match == Match::kRegex || route.match == Match::kRegexNoCase) return "";
  if (route.files && !route.files->files.empty() && route.match != Match::kExact) {
    return route.path + route.files->files.front().first;
  }
  return route.path;
}

template <class T>
T Inner(const std::optional<T>& route, const std::optional<T>& server, const std::optional<T>& top,
        T fallback) {
  return route ? *route : server ? *server : top.value_or(fallback);
}

}  // namespace

std::vector<Try> TriesOf(const Settings& settings, const Upstreams& upstreams) {
  std::vector<Try> tries;
  for (size_t s = 0; s < settings.servers.size(); ++s) {
    const Server& server = settings.servers[s];
    if (server.listen.empty()) continue;
    std::string host;
    for (const std::string& name : server.names) {
      if (host.empty() && name.find_first_of("*~^$_") == std::string::npos) host = name;
    }
    for (size_t r = 0; r < server.routes.size(); ++r) {
      const Route& route = server.routes[r];
      Try one{.port = server.listen.front().port,
              .tls = server.tls.has_value(),
              .host = host,
              .route = route.path,
              .path = PathOf(route),
              .status = route.status,
              .websocket = route.websocket,
              .is_static = route.files.has_value(),
              .limited = !route.allow_from.empty(),
              .allow_from = route.allow_from};
      if (!route.redirect.empty()) {
        one.status = route.redirect_status;
        one.location = route.redirect;
      }
      if (const auto found = upstreams.of.find(&route); found != upstreams.of.end()) {
        one.upstream = found->second;
        one.arrives = StrippedPath(route, one.path);
        // nginx's own default is 1 MiB.
        one.body_limit = Inner(route.tuning.body_limit, server.tuning.body_limit, settings.tuning.body_limit,
                               int64_t{1} << 20);
      }
      if (route.files && !route.files->files.empty()) {
        one.file = StaticFolder(s, r) + "/" + route.files->files.front().first;
      }
      const Gzip gzip = Inner(route.tuning.gzip, server.tuning.gzip, settings.tuning.gzip, Gzip{});
      one.gzip = gzip.on;
      one.gzip_min_length = gzip.min_length;
      one.gzip_types = gzip.types;
      one.gzip_types.push_back("text/html");
      if (settings.real_ip) one.real_ip_header = settings.real_ip->header;
      tries.push_back(std::move(one));
    }
  }
  return tries;
}

std::string FormatTries(const std::vector<Try>& tries) {
  Json list = Json::array();
  for (const Try& one : tries) {
    list.push_back({{"port", one.port},
                    {"tls", one.tls},
                    {"host", one.host},
                    {"route", one.route},
                    {"path", one.path},
                    {"status", one.status},
                    {"location", one.location},
                    {"upstream", one.upstream},
                    {"arrives", one.arrives},
                    {"websocket", one.websocket},
                    {"static", one.is_static},
                    {"file", one.file},
                    {"limited", one.limited},
                    {"body_limit", one.body_limit},
                    {"gzip", one.gzip},
                    {"gzip_min_length", one.gzip_min_length},
                    {"gzip_types", one.gzip_types},
                    {"real_ip_header", one.real_ip_header}});
    // Only where there is something to say: instances without it stay as they are.
    if (one.limited) list.back()["allow_from"] = one.allow_from;
  }
  return list.dump();
}

std::vector<Try> ParseTries(std::string_view text) {
  std::vector<Try> tries;
  const Json list = Json::parse(text, nullptr, false);
  if (!list.is_array()) return tries;
  for (const Json& item : list) {
    try {
      tries.push_back({.port = item.value("port", 0),
                       .tls = item.value("tls", false),
                       .host = item.value("host", ""),
                       .route = item.value("route", ""),
                       .path = item.value("path", ""),
                       .status = item.value("status", 0),
                       .location = item.value("location", ""),
                       .upstream = item.value("upstream", ""),
                       .arrives = item.value("arrives", ""),
                       .websocket = item.value("websocket", false),
                       .is_static = item.value("static", false),
                       .file = item.value("file", ""),
                       .limited = item.value("limited", false),
                       .allow_from = item.value("allow_from", std::vector<std::string>{}),
                       .body_limit = item.value("body_limit", int64_t{0}),
                       .gzip = item.value("gzip", false),
                       .gzip_min_length = item.value("gzip_min_length", int64_t{0}),
                       .gzip_types = item.value("gzip_types", std::vector<std::string>{}),
                       .real_ip_header = item.value("real_ip_header", "")});
    } catch (const Json::exception&) {
      continue;  // Of another version; it can't be tried.
    }
  }
  return tries;
}

}  // namespace muster::nginx
