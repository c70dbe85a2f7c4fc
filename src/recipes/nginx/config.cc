#include "recipes/nginx/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/digest.h"
#include "base/text.h"
#include "model/words.h"

namespace muster::nginx {
namespace {

const std::string kFolder = PathMarker("folder");

// A text as nginx reads it between double quotes.
std::string Quoted(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + '"';
}

std::string DurationText(Duration duration) {
  const int64_t ms = duration.count();
  return ms % 1000 == 0 ? fmt::format("{}s", ms / 1000) : fmt::format("{}ms", ms);
}

void SetHeader(Pairs& headers, const std::string& name, const std::string& value) {
  for (auto& [known, text] : headers) {
    if (!SameHeader(known, name)) continue;
    text = value;
    return;
  }
  headers.emplace_back(name, value);
}

// Lines of one block, indented.
class Block {
 public:
  explicit Block(int depth) : indent_(static_cast<size_t>(depth) * 2, ' ') {}

  template <class... Args>
  void Say(fmt::format_string<Args...> format, Args&&... args) {
    text += indent_ + fmt::vformat(format, fmt::make_format_args(args...)) + ";\n";
  }
  void Open(std::string_view head) { text += fmt::format("{}{} {{\n", indent_, head); }
  void Close() { text += indent_ + "}\n"; }

  std::string text;

 private:
  std::string indent_;
};

void SayGzip(Block& block, const Gzip& gzip) {
  block.Say("gzip {}", gzip.on ? "on" : "off");
  if (!gzip.on) return;
  block.Say("gzip_min_length {}", gzip.min_length);
  block.Say("gzip_comp_level {}", gzip.level);
  if (!gzip.buffers.empty()) block.Say("gzip_buffers {}", gzip.buffers);
  if (!gzip.http_version.empty()) block.Say("gzip_http_version {}", gzip.http_version);
  std::vector<std::string> types = gzip.types;
  std::erase(types, "text/html");  // Always compressed; nginx warns where it is named.
  if (!types.empty()) block.Say("gzip_types {}", Join(types, " "));
}

// What nginx hands down from http to server to location by itself.
void SayTuning(Block& block, const Tuning& tuning) {
  if (tuning.body_limit) block.Say("client_max_body_size {}", SizeText(*tuning.body_limit));
  if (tuning.connect_timeout) block.Say("proxy_connect_timeout {}", DurationText(*tuning.connect_timeout));
  if (tuning.send_timeout) block.Say("proxy_send_timeout {}", DurationText(*tuning.send_timeout));
  if (tuning.read_timeout) block.Say("proxy_read_timeout {}", DurationText(*tuning.read_timeout));
  if (tuning.buffering) block.Say("proxy_buffering {}", *tuning.buffering ? "on" : "off");
  if (tuning.request_buffering) {
    block.Say("proxy_request_buffering {}", *tuning.request_buffering ? "on" : "off");
  }
  if (tuning.chunked) block.Say("chunked_transfer_encoding {}", *tuning.chunked ? "on" : "off");
  if (!tuning.buffer_size.empty()) block.Say("proxy_buffer_size {}", tuning.buffer_size);
  if (!tuning.buffers.empty()) block.Say("proxy_buffers {}", tuning.buffers);
  if (!tuning.temp_file_max.empty()) block.Say("proxy_max_temp_file_size {}", tuning.temp_file_max);
  // Not /dev/stdout: where that is a pipe of root's, as in a test of the configuration, nobody else may open
  // it anew.
  if (tuning.access_log)
    block.Say("access_log {}",
              *tuning.access_log ? kFolder + "/logs/current.log muster" : std::string("off"));
  if (tuning.gzip) SayGzip(block, *tuning.gzip);
  for (const std::string& directive : tuning.raw) block.Say("{}", directive);
}

class Renderer {
 public:
  Renderer(const Settings& settings, const Upstreams& upstreams, std::string_view address)
      : settings_(settings), upstreams_(upstreams), address_(address) {}

  std::string Config() {
    Block main(0);
    main.Say("daemon off");
    main.Say("pid {}/nginx.pid", kFolder);
    main.Say("error_log stderr warn");
    main.Say("worker_processes {}", settings_.workers > 0 ? std::to_string(settings_.workers) : "auto");
    main.Say("worker_shutdown_timeout {}", DurationText(settings_.shutdown_timeout));
    main.Open("events");
    main.text += fmt::format("  worker_connections {};\n", settings_.worker_connections);
    main.Close();
    main.Open("http");
    main.text += Http();
    for (size_t i = 0; i < settings_.servers.size(); ++i) main.text += ServerBlock(i);
    main.Close();
    return main.text;
  }

 private:
  std::string Http() {
    Block http(1);
    http.Say("include /etc/nginx/mime.types");
    http.Say("default_type application/octet-stream");
    for (const std::string_view what : {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"}) {
      http.Say("{}_temp_path {}/{}_temp", what, kFolder, what);
    }
    http.Say(
        "log_format muster '$remote_addr \"$request\" $status $body_bytes_sent $request_time "
        "$upstream_addr'");
    if (!settings_.tuning.access_log) http.Say("access_log off");
    http.Say("server_tokens off");
    http.Say("sendfile on");
    http.Say("tcp_nopush on");
    http.Say("keepalive_timeout 65s");
    // Names of any length that a certificate or a cloud may bring.
    http.Say("server_names_hash_bucket_size 128");
    http.text += "  map $http_upgrade $connection_upgrade { default upgrade; \"\" \"\"; }\n";
    if (settings_.real_ip) {
      for (const std::string& from : settings_.real_ip->from) http.Say("set_real_ip_from {}", from);
      http.Say("real_ip_header {}", settings_.real_ip->header);
      http.Say("real_ip_recursive {}", settings_.real_ip->recursive ? "on" : "off");
      // $proxy_add_x_forwarded_for would add the client, which the header names already, and lose who really
      // sent the request. Where there is no such header, the client came in another, or there was no proxy.
      http.text +=
          "  map \"$remote_addr $realip_remote_addr\" $muster_hops {\n"
          "    \"~^(\\S+) \\1$\" $remote_addr;\n"
          "    default \"$remote_addr, $realip_remote_addr\";\n"
          "  }\n"
          "  map $http_x_forwarded_for $muster_forwarded_for {\n"
          "    \"\" $muster_hops;\n"
          "    default \"$http_x_forwarded_for, $realip_remote_addr\";\n"
          "  }\n";
    }
    http.Say("proxy_http_version 1.1");
    http.Say("proxy_cache off");
    // A member that has just gone costs a client nothing: what wasn't answered goes to the next. nginx
    // doesn't repeat a POST that was sent.
    http.Say("proxy_next_upstream error timeout");
    if (!settings_.tuning.connect_timeout) http.Say("proxy_connect_timeout 5s");
    SayTuning(http, settings_.tuning);
    http.Say("include {}/{}", kFolder, kUpstreamsFile);
    return http.text;
  }

  std::string ServerBlock(size_t index) {
    const Server& server = settings_.servers[index];
    Block block(2);
    std::string text = "  server {\n";
    bool first = false;
    for (const Listen& listen : server.listen) {
      const bool is_default = ports_seen_.insert(listen.port).second;
      first |= is_default;
      block.Say("listen {}{}{}", HostPort(address_, listen.port), is_default ? " default_server" : "",
                server.tls ? " ssl" : "");
    }
    if (!server.names.empty()) block.Say("server_name {}", Join(server.names, " "));
    if (server.tls) {
      block.Say("ssl_certificate {}/{}", kFolder, CertificatePath(index));
      block.Say("ssl_certificate_key {}/{}", kFolder, KeyPath(index));
      block.Say("ssl_protocols TLSv1.2 TLSv1.3");
      block.Say("ssl_session_cache shared:tls:2m");
    }
    SayTuning(block, server.tuning);
    if (first) {
      block.text += fmt::format("    location = {} {{ access_log off; return 204; }}\n", kHealthPath);
    }
    text += block.text;
    for (size_t i = 0; i < server.routes.size(); ++i) text += Location(index, i);
    return text + "  }\n";
  }

  std::string Location(size_t server_index, size_t index) {
    const Server& server = settings_.servers[server_index];
    const Route& route = server.routes[index];
    static constexpr std::string_view kModifiers[] = {"", "^~ ", "= ", "~ ", "~* "};
    std::string text = fmt::format("    location {}{} {{\n", kModifiers[static_cast<size_t>(route.match)],
                                   Quoted(route.path));
    Block block(3);
    for (const std::string& from : route.allow_from) block.Say("allow {}", from);
    if (!route.allow_from.empty()) block.Say("deny all");
    SayTuning(block, route.tuning);
    if (route.status != 0) {
      block.Say("return {}", route.status);
    } else if (!route.redirect.empty()) {
      block.Say("return {} {}", route.redirect_status, Quoted(route.redirect));
    } else if (route.files) {
      SayStatic(block, route, server_index);
    } else {
      SayProxy(block, server, route);
    }
    Pairs added;
    for (const Tuning* tuning : {&settings_.tuning, &server.tuning, &route.tuning}) {
      for (const auto& [name, value] : tuning->response_headers) SetHeader(added, name, value);
    }
    for (const auto& [name, value] : added) block.Say("add_header {} {} always", name, Quoted(value));
    return text + block.text + "    }\n";
  }

  void SayStatic(Block& block, const Route& route, size_t server) {
    const Static& files = *route.files;
    std::string folder = files.root;
    if (folder.empty()) folder = kFolder + "/" + StaticFolder(server, route);
    while (folder.size() > 1 && folder.ends_with('/')) folder.pop_back();
    switch (route.match) {
      case Match::kExact: {
        std::string name = route.path.substr(route.path.rfind('/') + 1);
        if (files.root.empty()) {
          const auto named = [&](const auto& file) { return file.first == name; };
          const bool is_there = std::any_of(files.files.begin(), files.files.end(), named);
          if (!is_there && !files.files.empty()) name = files.files.front().first;
        }
        if (name.empty()) name = files.index;
        block.Say("alias {}/{}", folder, name);
        return;
      }
      case Match::kRegex:
      case Match::kRegexNoCase:
        block.Say("root {}", folder);
        break;
      default:
        // `root` where both would do: nginx's `alias` has surprises together with `try_files`.
        if (route.path == "/") {
          block.Say("root {}", folder);
        } else {
          block.Say("alias {}/", folder);
        }
    }
    block.Say("index {}", files.index);
    if (!files.fallback.empty()) {
      const std::string base =
          route.match == Match::kPrefix || route.match == Match::kPrefixFinal ? route.path : std::string("/");
      block.Say("try_files $uri $uri/ {}{}", base, files.fallback);
    }
  }

  void SayProxy(Block& block, const Server& server, const Route& route) {
    if (const std::string pattern = StripPattern(route); !pattern.empty()) {
      block.Say("rewrite {} /$1 break", Quoted(pattern));
    }
    block.Say("proxy_pass http://{}", upstreams_.of.at(&route));
    Pairs headers = {
        {"Host", "$http_host"},
        {"X-Real-IP", "$remote_addr"},
        {"X-Forwarded-For", settings_.real_ip ? "$muster_forwarded_for" : "$proxy_add_x_forwarded_for"},
        {"X-Forwarded-Proto", "$scheme"}};
    for (const Tuning* tuning : {&settings_.tuning, &server.tuning, &route.tuning}) {
      for (const auto& [name, value] : tuning->headers) SetHeader(headers, name, value);
    }
    if (route.websocket) SetHeader(headers, "Upgrade", "$http_upgrade");
    // Without an upgrade the header is left out, so that connections to the upstream are kept.
    SetHeader(headers, "Connection", route.websocket ? "$connection_upgrade" : "");
    SetHeader(headers, "X-Muster-Verify", "");
    for (const auto& [name, value] : headers) block.Say("proxy_set_header {} {}", name, Quoted(value));
    const bool timed =
        settings_.tuning.read_timeout || server.tuning.read_timeout || route.tuning.read_timeout;
    // A quiet WebSocket is not a dead one.
    if (route.websocket && !timed) block.Say("proxy_read_timeout 1h");
    block.Say("add_header X-Muster-Upstream $muster_upstream always");
    block.Say("add_header X-Muster-Uri $muster_uri always");
  }

  const Settings& settings_;
  const Upstreams& upstreams_;
  std::string address_;
  std::set<int> ports_seen_;
};

}  // namespace

bool SameHeader(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

std::string CertificatePath(size_t server) { return fmt::format("conf/tls-{}.crt", server + 1); }
std::string KeyPath(size_t server) { return fmt::format("conf/tls-{}.key", server + 1); }
std::string StaticFolder(size_t server, const Route& route) {
  const std::string key = fmt::format("{} {}", static_cast<int>(route.match), route.path);
  return fmt::format("www/{}-{}", server + 1, Sha256Hex(key).substr(0, 8));
}

std::string RenderConfig(const Settings& settings, const Upstreams& upstreams, std::string_view address) {
  return SealWords(Renderer(settings, upstreams, address).Config());
}

std::string StripPattern(const Route& route) {
  if (route.strip.empty() || route.strip == "/") return "";
  std::string pattern = "(?s)^";
  for (const char c : route.strip) {
    if (std::string_view("\\^$.|?*+()[]{}").find(c) != std::string_view::npos) pattern += '\\';
    pattern += c;
  }
  return pattern + (route.strip.ends_with('/') ? "(.*)$" : "/?(.*)$");
}

std::string StrippedPath(const Route& route, std::string_view path) {
  if (route.strip.empty() || !path.starts_with(route.strip)) return std::string(path);
  path.remove_prefix(route.strip.size());
  if (path.starts_with('/')) path.remove_prefix(1);
  return "/" + std::string(path);
}

}  // namespace muster::nginx
