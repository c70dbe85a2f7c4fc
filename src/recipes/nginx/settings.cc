#include "recipes/nginx/settings.h"

#include <fmt/format.h>

#include "base/text.h"

namespace muster::nginx {
namespace {

std::optional<int64_t> ReadSize(const Value& map, std::string_view key) {
  const Value* found = map.Find(key);
  if (!found) return std::nullopt;
  const auto size = ParseSize(found->text);
  return size.ok() ? std::optional(*size) : std::nullopt;
}

std::optional<Duration> ReadDuration(const Value& map, std::string_view key) {
  const Value* found = map.Find(key);
  if (!found) return std::nullopt;
  const auto duration = ParseDuration(found->text);
  return duration.ok() ? std::optional(*duration) : std::nullopt;
}

std::optional<bool> ReadSwitch(const Value& map, std::string_view key) {
  const Value* found = map.Find(key);
  return found ? std::optional(ReadBool(*found, false)) : std::nullopt;
}

Pairs ReadPairs(const Value& map, std::string_view key) {
  Pairs pairs;
  if (const Value* found = map.Find(key)) {
    for (const Value::Entry& entry : found->entries) pairs.emplace_back(entry.key, entry.value.text);
  }
  return pairs;
}

Gzip ReadGzip(const Value& value) {
  Gzip gzip;
  gzip.types = {"text/plain",       "text/css",        "text/javascript", "application/javascript",
                "application/json", "application/xml", "image/svg+xml"};
  if (!value.is_map()) {
    gzip.on = ReadBool(value, false);
    return gzip;
  }
  gzip.on = true;
  if (value.Find("types")) gzip.types = value.Texts("types");
  gzip.min_length = ReadSize(value, "min_length").value_or(gzip.min_length);
  gzip.level = static_cast<int>(value.Integer("level", gzip.level));
  if (const Value* buffers = value.Find("buffers")) {
    const std::string size = SizeText(ReadSize(*buffers, "size").value_or(4096));
    gzip.buffers = fmt::format("{} {}", buffers->Integer("count", 4), size);
  }
  gzip.http_version = value.Text("http_version");
  return gzip;
}

Tuning ReadTuning(const Value& value) {
  Tuning tuning;
  tuning.body_limit = ReadSize(value, "body_limit");
  if (const Value* timeout = value.Find("timeout")) {
    if (timeout->is_map()) {
      tuning.connect_timeout = ReadDuration(*timeout, "connect");
      tuning.read_timeout = ReadDuration(*timeout, "read");
      tuning.send_timeout = ReadDuration(*timeout, "send");
    } else {
      tuning.read_timeout = tuning.send_timeout = ReadDuration(value, "timeout");
    }
  }
  tuning.buffering = ReadSwitch(value, "buffering");
  tuning.request_buffering = ReadSwitch(value, "request_buffering");
  tuning.chunked = ReadSwitch(value, "chunked");
  if (const Value* buffers = value.Find("buffers")) {
    if (const auto size = ReadSize(*buffers, "header")) tuning.buffer_size = SizeText(*size);
    const auto each = ReadSize(*buffers, "size");
    if (each || buffers->Find("count")) {
      tuning.buffers = fmt::format("{} {}", buffers->Integer("count", 8), SizeText(each.value_or(8192)));
    }
    if (const auto most = ReadSize(*buffers, "temp_file")) tuning.temp_file_max = SizeText(*most);
  }
  tuning.headers = ReadPairs(value, "headers");
  tuning.response_headers = ReadPairs(value, "response_headers");
  tuning.access_log = ReadSwitch(value, "access_log");
  if (const Value* gzip = value.Find("gzip")) tuning.gzip = ReadGzip(*gzip);
  tuning.raw = value.Texts("raw");
  return tuning;
}

Match ReadMatch(std::string_view word) {
  if (word == "prefix-final") return Match::kPrefixFinal;
  if (word == "exact") return Match::kExact;
  if (word == "regex") return Match::kRegex;
  if (word == "regex-nocase") return Match::kRegexNoCase;
  return Match::kPrefix;
}

Route ReadRoute(const Value& value) {
  Route route;
  route.mark = value.mark;
  route.path = value.Text("path");
  if (const Value* path = value.Find("path")) route.path_mark = path->mark;
  route.match = ReadMatch(value.Text("match"));
  if (const Value* to = value.Find("to")) {
    if (to->is_scalar()) route.to.push_back({to->text, to->mark});
    for (const Value& item : to->items) route.to.push_back({item.text, item.mark});
  }
  const std::string balance = value.Text("balance");
  if (balance == "least_conn") route.balance = Balance::kLeastConn;
  if (balance == "ip_hash") route.balance = Balance::kIpHash;
  if (const Value* strip = value.Find("strip")) {
    route.strip_mark = strip->mark;
    const bool unlike = ReadBool(*strip, true) && !ReadBool(*strip, false);  // neither yes nor no
    route.strip = unlike ? strip->text : ReadBool(*strip, false) ? route.path : "";
  }
  route.websocket = value.Bool("websocket", false);
  if (const Value* found = value.Find("static")) {
    Static files;
    files.root = found->Text("root");
    files.files = ReadPairs(*found, "files");
    files.index = found->Text("index", files.index);
    files.fallback = found->Text("fallback");
    if (files.fallback.starts_with('/')) files.fallback.erase(0, 1);
    route.files = std::move(files);
  }
  if (const Value* redirect = value.Find("redirect")) {
    route.redirect = redirect->is_map() ? redirect->Text("to") : redirect->text;
    route.redirect_status = static_cast<int>(redirect->Integer("status", 302));
  }
  route.status = static_cast<int>(value.Integer("status", 0));
  if (value.Bool("deny", false)) route.status = 403;
  route.allow_from = value.Texts("allow_from");
  route.try_path = value.Text("try");
  route.tuning = ReadTuning(value);
  return route;
}

// A list, or one element in its place.
template <class Read>
auto ReadList(const Value& map, std::string_view key, Read read) {
  std::vector<decltype(read(map))> list;
  const Value* found = map.Find(key);
  if (!found) return list;
  if (!found->is_list()) {
    list.push_back(read(*found));
    return list;
  }
  for (const Value& item : found->items) list.push_back(read(item));
  return list;
}

Listen ReadListen(const Value& value) {
  Value map;
  map.type = Value::Type::kMap;
  map.entries.push_back({.key = "port", .key_mark = {}, .value = value});
  return {.port = static_cast<int>(map.Integer("port", 0)), .mark = value.mark};
}

Server ReadServer(const Value& value) {
  Server server;
  server.mark = value.mark;
  server.listen = ReadList(value, "listen", ReadListen);
  server.names = value.Texts("server_name");
  if (const Value* tls = value.Find("tls")) {
    server.tls = Tls{.mark = tls->mark,
                     .certificate = tls->Text("certificate"),
                     .key = tls->Text("key"),
                     .certificate_secret = tls->Text("certificate_secret"),
                     .key_secret = tls->Text("key_secret")};
  }
  server.routes = ReadList(value, "routes", ReadRoute);
  server.tuning = ReadTuning(value);
  return server;
}

}  // namespace

std::string SizeText(int64_t bytes) {
  if (bytes > 0 && bytes % (1 << 20) == 0) return fmt::format("{}m", bytes >> 20);
  if (bytes > 0 && bytes % (1 << 10) == 0) return fmt::format("{}k", bytes >> 10);
  return std::to_string(bytes);
}

bool Settings::uses_websocket() const {
  for (const Server& server : servers) {
    for (const Route& route : server.routes) {
      if (route.websocket) return true;
    }
  }
  return false;
}

Settings ReadSettings(const Value& value) {
  Settings settings;
  settings.servers = ReadList(value, "servers", ReadServer);
  settings.both_forms = !settings.servers.empty() && value.Find("routes");
  Server top = ReadServer(value);
  settings.tuning = std::move(top.tuning);
  top.tuning = {};
  if (settings.servers.empty()) {
    settings.servers.push_back(std::move(top));
  } else {
    // What the top says about listening holds for each server that says nothing itself.
    for (Server& server : settings.servers) {
      if (server.listen.empty()) server.listen = top.listen;
      if (!server.tls) server.tls = top.tls;
    }
  }
  settings.workers = static_cast<int>(value.Integer("workers", 0));
  settings.worker_connections = static_cast<int>(value.Integer("worker_connections", 1024));
  settings.keepalive = static_cast<int>(value.Integer("keepalive", 32));
  settings.shutdown_timeout =
      ReadDuration(value, "shutdown_timeout").value_or(settings.uses_websocket() ? Duration(10min) : 30s);
  if (const Value* real_ip = value.Find("real_ip")) {
    settings.real_ip = RealIp{.from = real_ip->Texts("from"),
                              .header = real_ip->Text("header", "X-Forwarded-For"),
                              .recursive = real_ip->Bool("recursive", false)};
  }
  return settings;
}

}  // namespace muster::nginx
