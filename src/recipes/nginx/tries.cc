#include "recipes/nginx/tries.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "recipes/nginx/config.h"
#include "recipes/nginx/verdicts.h"

namespace muster::nginx {
namespace {

using Json = nlohmann::json;

bool IsRegex(const Route& route) {
  return route.match == Match::kRegex || route.match == Match::kRegexNoCase;
}

std::string FilesAt(const Route& route) { return route.path.ends_with('/') ? route.path : route.path + "/"; }

// What to ask for to get into a route. Regular expressions would have to be solved.
std::string PathOf(const Route& route) {
  if (!route.try_path.empty()) return route.try_path;
  if (IsRegex(route)) return "";
  if (route.files && !route.files->files.empty() && route.match != Match::kExact) {
    return FilesAt(route) + UrlPath(route.files->files.front().first);
  }
  return route.path;
}

// The name of the file that the route serves for its path; "" where that can't be told.
std::string FileServed(const Route& route, const std::string& path) {
  const auto& files = route.files->files;
  if (files.empty()) return "";
  const std::string at = IsRegex(route)                 ? "/"
                         : route.match == Match::kExact ? route.path.substr(0, route.path.rfind('/') + 1)
                                                        : FilesAt(route);
  for (const auto& [name, from] : files) {
    if (path == at + UrlPath(name)) return name;
  }
  // It has just the one name, whatever the file is called.
  return route.match == Match::kExact ? files.front().first : "";
}

template <class T>
T Inner(const std::optional<T>& route, const std::optional<T>& server, const std::optional<T>& top,
        T fallback) {
  return route ? *route : server ? *server : top.value_or(fallback);
}

// What is in all answers; the innermost word on a header counts.
Pairs HeadersOf(const std::vector<const Tuning*>& tunings) {
  Pairs headers;
  for (const Tuning* tuning : tunings) {
    for (const auto& [name, value] : tuning->response_headers) {
      std::erase_if(headers, [&name = name](const auto& one) { return SameHeader(one.first, name); });
      headers.emplace_back(name, value);
    }
  }
  // nginx fills in variables, and leaves out what is empty. A secret is the configuration's alone.
  std::erase_if(headers, [](const auto& one) {
    return one.second.empty() || one.second.find_first_of("$\x01") != std::string::npos;
  });
  return headers;
}

// How a server is reached.
struct Ways {
  std::vector<int> ports;
  std::vector<std::string> names;     // "" : by the address
  std::vector<std::string> patterns;  // that nobody can ask for
};

// A server whose names can't be asked for gets what is for no other: where it is the first on a port.
Ways WaysTo(const Settings& settings, size_t index) {
  const Server& server = settings.servers[index];
  Ways ways;
  for (const std::string& name : server.names) {
    const std::string plain = NameFor(name);
    const bool known = std::find(ways.names.begin(), ways.names.end(), plain) != ways.names.end();
    if (!plain.empty() && !known) ways.names.push_back(plain);
    if (plain.empty() && name != "_") ways.patterns.push_back(name);
  }
  const bool by_name = !ways.names.empty();
  if (!by_name) ways.names.emplace_back();
  const auto is_first = [&](int port) {
    for (size_t before = 0; before < index; ++before) {
      for (const Listen& listen : settings.servers[before].listen) {
        if (listen.port == port) return false;
      }
    }
    return true;
  };
  for (const Listen& listen : server.listen) {
    if (by_name || is_first(listen.port)) ways.ports.push_back(listen.port);
  }
  return ways;
}

}  // namespace

std::vector<Try> TriesOf(const Settings& settings, const Upstreams& upstreams) {
  std::vector<Try> tries;
  for (size_t s = 0; s < settings.servers.size(); ++s) {
    const Server& server = settings.servers[s];
    if (server.listen.empty()) continue;
    const Ways ways = WaysTo(settings, s);
    for (size_t r = 0; r < server.routes.size(); ++r) {
      const Route& route = server.routes[r];
      Try one{.port = ways.ports.empty() ? server.listen.front().port : ways.ports.front(),
              .tls = server.tls.has_value(),
              .host = ways.names.front(),
              .route = route.path,
              .path = PathOf(route),
              .status = route.status,
              .websocket = route.websocket,
              .is_static = route.files.has_value(),
              .limited = !route.allow_from.empty(),
              .allow_from = route.allow_from};
      if (ways.ports.empty()) {
        one.path.clear();
        one.untried = "another server gets what comes to its ports, and its names are patterns";
      } else {
        if (one.path.empty()) one.untried = "a regular expression: `try:` gives a path that it catches";
        one.ports.assign(ways.ports.begin() + 1, ways.ports.end());
        one.names.assign(ways.names.begin() + 1, ways.names.end());
      }
      one.patterns = ways.patterns;
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
      if (route.files) {
        const std::string name = FileServed(route, one.path);
        if (!name.empty()) one.file = StaticFolder(s, route) + "/" + name;
        if (!route.files->files.empty() && !IsRegex(route) && route.match != Match::kExact)
          one.files_at = FilesAt(route);
      }
      const Gzip gzip = Inner(route.tuning.gzip, server.tuning.gzip, settings.tuning.gzip, Gzip{});
      one.gzip = gzip.on;
      one.gzip_min_length = gzip.min_length;
      one.gzip_types = gzip.types;
      one.gzip_types.push_back("text/html");
      if (settings.real_ip) {
        one.real_ip_header = settings.real_ip->header;
        one.real_ip_from = settings.real_ip->from;
      }
      one.headers = HeadersOf({&settings.tuning, &server.tuning, &route.tuning});
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
    Json& last = list.back();
    if (one.limited) last["allow_from"] = one.allow_from;
    if (!one.untried.empty()) last["untried"] = one.untried;
    if (!one.ports.empty()) last["ports"] = one.ports;
    if (!one.names.empty()) last["names"] = one.names;
    if (!one.patterns.empty()) last["patterns"] = one.patterns;
    if (!one.headers.empty()) last["headers"] = one.headers;
    if (!one.files_at.empty()) last["files_at"] = one.files_at;
    if (!one.real_ip_from.empty()) last["real_ip_from"] = one.real_ip_from;
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
                       .untried = item.value("untried", ""),
                       .ports = item.value("ports", std::vector<int>{}),
                       .names = item.value("names", std::vector<std::string>{}),
                       .patterns = item.value("patterns", std::vector<std::string>{}),
                       .headers = item.value("headers", Pairs{}),
                       .status = item.value("status", 0),
                       .location = item.value("location", ""),
                       .upstream = item.value("upstream", ""),
                       .arrives = item.value("arrives", ""),
                       .websocket = item.value("websocket", false),
                       .is_static = item.value("static", false),
                       .file = item.value("file", ""),
                       .files_at = item.value("files_at", ""),
                       .limited = item.value("limited", false),
                       .allow_from = item.value("allow_from", std::vector<std::string>{}),
                       .body_limit = item.value("body_limit", int64_t{0}),
                       .gzip = item.value("gzip", false),
                       .gzip_min_length = item.value("gzip_min_length", int64_t{0}),
                       .gzip_types = item.value("gzip_types", std::vector<std::string>{}),
                       .real_ip_header = item.value("real_ip_header", ""),
                       .real_ip_from = item.value("real_ip_from", std::vector<std::string>{})});
    } catch (const Json::exception&) {
      continue;  // Of another version; it can't be tried.
    }
  }
  return tries;
}

}  // namespace muster::nginx
