// What can be wrong with an nginx service, found in the file alone.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/text.h"
#include "base/time.h"
#include "net/key_pair.h"
#include "recipes/nginx/layout.h"
#include "recipes/nginx/targets.h"

namespace muster::nginx {
namespace {

// What is plainly wrong with a regular expression of nginx's; "" where nothing is. The rest only `nginx -t`
// can say.
std::string RegexTrouble(std::string_view pattern) {
  if (pattern.find("\\Q") != std::string_view::npos) return "";  // what follows is meant as it stands
  int open = 0;
  bool something = false;  // there is what a * could repeat
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    const bool opens = c == '(' || c == '|';
    if (c == '\\') {
      if (++i == pattern.size()) return "it ends with a \\";
    } else if (c == '[') {
      // A ] that comes first is one of the characters.
      size_t from = i + 1;
      if (from < pattern.size() && pattern[from] == '^') ++from;
      if (from < pattern.size() && pattern[from] == ']') ++from;
      i = pattern.find(']', from);
      if (i == std::string_view::npos) return "a [ is not closed";
    } else if (c == '(') {
      ++open;
      const std::string_view next = pattern.substr(i + 1);
      if (next.starts_with('?') || next.starts_with('*')) ++i;  // (?:…), (?<name>…), (*UTF8)
    } else if (c == ')') {
      if (--open < 0) return "a ) closes nothing";
    } else if ((c == '*' || c == '+' || c == '?') && !something) {
      return std::string("there is nothing that ") + c + " could repeat";
    }
    something = !opens;
  }
  return open > 0 ? "a ( is not closed" : "";
}

class Checker {
 public:
  Checker(const Settings& settings, const Service& service, const Cluster& cluster, WallTime now)
      : settings_(settings), service_(service), cluster_(cluster), now_(now) {}

  std::vector<Finding> Findings() {
    if (settings_.both_forms) {
      Report("nginx-two-forms", service_.mark,
             fmt::format("{} has `routes` at the top and `servers`", service_.name),
             "move the routes into one of the servers");
    }
    for (const Server& server : settings_.servers) CheckServer(server);
    return std::move(findings_);
  }

 private:
  void Report(std::string code, Mark mark, std::string message, std::string fix,
              Severity severity = Severity::kError) {
    findings_.push_back({.severity = severity,
                         .code = std::move(code),
                         .mark = mark.line > 0 ? mark : service_.mark,
                         .message = std::move(message),
                         .fix = std::move(fix)});
  }

  void CheckServer(const Server& server) {
    if (server.listen.empty()) {
      Report("listen-missing", server.mark, fmt::format("{} listens nowhere", service_.name),
             "add listen: 80");
    }
    if (server.routes.empty()) {
      Report("routes-missing", server.mark, fmt::format("{} has no routes", service_.name),
             "add routes: [{ path: /, to: SERVICE }]");
    }
    std::set<int> own;
    for (const Listen& listen : server.listen) {
      if (!own.insert(listen.port).second) {
        Report("server-twice", listen.mark, fmt::format("port {} stands here twice", listen.port),
               "leave one out");
        continue;
      }
      const auto [known, is_new] = tls_by_port_.try_emplace(listen.port, server.tls.has_value());
      if (!is_new && known->second != server.tls.has_value()) {
        Report("tls-mixed", listen.mark,
               fmt::format("port {} is used with TLS by one server and without by another", listen.port),
               "give the one with `tls` a port of its own, such as 443");
      }
      const std::vector<std::string> names =
          server.names.empty() ? std::vector<std::string>{""} : server.names;
      for (const std::string& name : names) {
        if (servers_seen_.emplace(listen.port, name).second) continue;
        Report("server-twice", listen.mark,
               name.empty() ? fmt::format("two servers without `server_name` listen on port {}", listen.port)
                            : fmt::format("two servers are called {} on port {}", name, listen.port),
               "give them different names or ports");
      }
    }
    if (server.tls) CheckTls(*server.tls);
    std::map<std::pair<Match, std::string>, Mark> seen;
    for (const Route& route : server.routes) {
      const Match match = route.match == Match::kPrefixFinal ? Match::kPrefix : route.match;
      const auto [known, is_new] = seen.try_emplace({match, route.path}, route.path_mark);
      if (!is_new) {
        Report("route-twice", route.path_mark,
               fmt::format("the path {} has a route already, in line {}", route.path, known->second.line),
               "leave one of the two out, or give it another path or `match`");
      }
      CheckRoute(route);
    }
  }

  void CheckTls(const Tls& tls) {
    const auto check = [&](const std::string& file, const std::string& secret, std::string_view key) {
      if (file.empty() == secret.empty()) {
        Report("tls-incomplete", tls.mark,
               file.empty() ? fmt::format("`tls` has no {}", key)
                            : fmt::format("`tls` has {} and {}_secret", key, key),
               fmt::format("give one of {}: FILE and {}_secret: NAME", key, key));
      }
    };
    check(tls.certificate, tls.certificate_secret, "certificate");
    check(tls.key, tls.key_secret, "key");
    if (files_seen_.emplace(tls.certificate, tls.key).second) CheckTlsFiles(tls);
  }

  // What a file of the bundle holds; "" where that isn't known: it is a secret's name, is missing, or too
  // large.
  const std::string& TextOf(const std::string& path) const {
    static const std::string none;
    const auto found = cluster_.files.find(path);
    return path.empty() || found == cluster_.files.end() ? none : found->second.text;
  }

  void CheckTlsFiles(const Tls& tls) {
    // What is no text goes to the hosts as a blob, which isn't for secrets.
    if (const auto key = cluster_.files.find(tls.key);
        key != cluster_.files.end() && key->second.text.empty()) {
      Report("tls-unreadable", tls.mark, fmt::format("{} is empty, no text, or far too large", tls.key),
             "give a private key in PEM, which begins with -----BEGIN PRIVATE KEY-----");
    }
    for (const net::PairFinding& one : net::JudgeKeyPair(TextOf(tls.certificate), TextOf(tls.key), now_)) {
      const std::string why = one.why.empty() ? "" : ": " + one.why;
      switch (one.trouble) {
        case net::PairTrouble::kBadCertificate:
          Report("tls-unreadable", tls.mark, fmt::format("{} holds no certificate{}", tls.certificate, why),
                 "give a certificate in PEM, which begins with -----BEGIN CERTIFICATE-----");
          break;
        case net::PairTrouble::kBadKey:
          Report("tls-unreadable", tls.mark, fmt::format("{} holds no private key{}", tls.key, why),
                 "give a private key in PEM, which begins with -----BEGIN PRIVATE KEY-----");
          break;
        case net::PairTrouble::kOtherKey:
          Report("tls-other-key", tls.mark, fmt::format("{} is not the key of {}", tls.key, tls.certificate),
                 "give the key that the certificate was made for; the server's certificate comes first in "
                 "its file");
          break;
        case net::PairTrouble::kExpired:
          Report("tls-expired", tls.mark,
                 fmt::format("{} is a certificate that was valid until {}", tls.certificate, one.why),
                 "renew it: clients refuse it", Severity::kWarning);
          break;
        case net::PairTrouble::kNotYetValid:
          Report("tls-not-yet-valid", tls.mark,
                 fmt::format("{} is a certificate that is valid from {} only", tls.certificate, one.why),
                 "see whether it is the right one, and whether this machine's clock is right",
                 Severity::kWarning);
          break;
      }
    }
  }

  void CheckRoute(const Route& route) {
    const bool regex = route.match == Match::kRegex || route.match == Match::kRegexNoCase;
    if (!regex && !route.path.starts_with('/')) {
      Report("route-path", route.path_mark, fmt::format("the path {} doesn't begin with /", route.path),
             fmt::format("write /{}, or add match: regex", route.path));
    }
    if (const std::string trouble = regex ? RegexTrouble(route.path) : ""; !trouble.empty()) {
      Report("bad-regex", route.path_mark,
             fmt::format("{} is no regular expression: {}", route.path, trouble),
             "mend it; \\ before a character means the character itself");
    }
    const int actions = (route.to.empty() ? 0 : 1) + (route.files ? 1 : 0) +
                        (route.redirect.empty() ? 0 : 1) + (route.status != 0 ? 1 : 0);
    if (actions != 1) {
      Report("route-action", route.mark,
             actions == 0 ? fmt::format("the route {} leads nowhere", route.path)
                          : fmt::format("the route {} does several things", route.path),
             "say one of to, static, redirect, deny, status");
    }
    if (!route.allow_from.empty() && (route.status != 0 || !route.redirect.empty())) {
      Report("route-allow-from", route.mark,
             fmt::format("`allow_from` has no effect on {}: nginx answers before it looks", route.path),
             "leave `allow_from` out here");
    }
    if (route.websocket && route.to.empty()) {
      Report("route-websocket", route.mark, fmt::format("`websocket` of {} needs a service", route.path),
             "add to: SERVICE, or leave it out");
    }
    CheckStrip(route, regex);
    if (route.files) CheckStatic(route, regex);
    for (const Target& target : route.to) CheckTarget(target);
  }

  void CheckStrip(const Route& route, bool regex) {
    if (route.strip.empty()) return;
    const Mark mark = route.strip_mark;
    if (route.to.empty()) {
      Report("route-strip", mark,
             fmt::format("nothing is sent on from {}, so nothing can be stripped", route.path),
             "leave `strip` out");
    } else if (regex) {
      Report("route-strip", mark, "what to strip from a regular expression isn't clear",
             "use a prefix, or raw: [rewrite …]");
    } else if (!route.path.starts_with(route.strip)) {
      Report("route-strip", mark, fmt::format("{} doesn't begin with {}", route.path, route.strip),
             "strip: true, or the first part of the path");
    }
  }

  void CheckStatic(const Route& route, bool regex) {
    const Static& files = *route.files;
    if (files.root.empty() == files.files.empty()) {
      Report("route-static", route.mark,
             fmt::format("`static` of {} needs one of root and files", route.path),
             "root: /a/folder/on/the/host, or files: { index.html: ./index.html }");
    }
    if (regex && !files.files.empty()) {
      Report("route-static", route.mark, "`static.files` can't be had by a regular expression",
             "use a prefix");
    }
    const bool prefix = route.match == Match::kPrefix || route.match == Match::kPrefixFinal;
    if (prefix && !route.path.ends_with('/')) {
      Report("route-static", route.path_mark,
             fmt::format("the path {} of static files should end with /", route.path),
             fmt::format("write {}/", route.path));
    }
  }

  void CheckTarget(const Target& target) {
    const ParsedTarget parsed = ParseTarget(target.text, cluster_);
    if (!parsed.service) {
      std::vector<std::string> names;
      for (const Service& other : cluster_.services) {
        if (other.name != service_.name) names.push_back(other.name);
      }
      const auto near = Nearest(parsed.name, names);
      Report("route-unknown-target", target.mark, fmt::format("there is no service {}", parsed.name),
             near            ? fmt::format("did you mean {}?", *near)
             : names.empty() ? "add the service to `services`"
                             : "known are: " + Join(names, ", "));
      return;
    }
    const Service& service = *parsed.service;
    if (service.name == service_.name) {
      Report("route-to-itself", target.mark, fmt::format("{} would send requests to itself", service_.name),
             "name another service");
      return;
    }
    const auto instances = DeclaredInstances(service, cluster_);
    if (instances && parsed.ordinal > *instances) {
      Report("route-unknown-target", target.mark,
             fmt::format("there is no {}: {} has {} instance{}", parsed.name, service.name, *instances,
                         *instances == 1 ? "" : "s"),
             *instances == 1 ? fmt::format("use {}-1", service.name)
                             : fmt::format("use {}-1 to {}-{}", service.name, service.name, *instances));
    }
    const auto ports = DeclaredPorts(service);
    if (!ports) return;
    CheckPlain(target, service, parsed.port.empty() ? DefaultPort(*ports) : parsed.port, *ports);
    if (ports->empty()) {
      Report("route-no-port", target.mark,
             fmt::format("{} has no TCP ports to send requests to", service.name),
             fmt::format("add ports: {{ http: 8080 }} to {}", service.name));
    } else if (!parsed.port.empty()) {
      if (std::find(ports->begin(), ports->end(), parsed.port) != ports->end()) return;
      const auto near = Nearest(parsed.port, *ports);
      Report("route-no-port", target.mark, fmt::format("{} has no TCP port {}", service.name, parsed.port),
             near ? fmt::format("did you mean {}?", *near) : "it has: " + Join(*ports, ", "));
    } else if (DefaultPort(*ports).empty()) {
      Report("route-which-port", target.mark,
             fmt::format("{} has several ports: {}", service.name, Join(*ports, ", ")),
             fmt::format("say which, such as to: {}:{}", parsed.name, ports->front()));
    }
  }

  // nginx speaks plain HTTP to whom it sends requests; who takes only TLS there would refuse them all.
  void CheckPlain(const Target& target, const Service& service, const std::string& port,
                  const std::vector<std::string>& ports) {
    const Value* health = service.settings.Find("health");
    if (!health || !health->is_map() || !health->Bool("tls", false)) return;
    const std::string asked = health->Text("port");
    if (port.empty() || port != (asked.empty() ? DefaultPort(ports) : asked)) return;
    Report("route-to-tls", target.mark,
           fmt::format("{} takes HTTPS at its port {}, by its health check, and nginx sends plain HTTP there",
                       service.name, port),
           fmt::format("give {} a port without TLS for nginx, and terminate TLS here: tls:", service.name),
           Severity::kWarning);
  }

  const Settings& settings_;
  const Service& service_;
  const Cluster& cluster_;
  const WallTime now_;
  std::map<int, bool> tls_by_port_;
  std::set<std::pair<int, std::string>> servers_seen_;
  std::set<std::pair<std::string, std::string>> files_seen_;  // certificates and keys that were looked into
  std::vector<Finding> findings_;
};

}  // namespace

std::vector<Finding> CheckSettings(const Settings& settings, const Service& service, const Cluster& cluster,
                                   WallTime now) {
  return Checker(settings, service, cluster, now).Findings();
}

}  // namespace muster::nginx
