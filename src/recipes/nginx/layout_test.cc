// What a cluster file says, as nginx gets it.
#include <gmock/gmock.h>

#include "model/secret.h"
#include "recipes/nginx/config.h"
#include "recipes/nginx/testing.h"
#include "recipes/nginx/tries.h"

namespace muster::nginx {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using namespace std::chrono_literals;

std::string ConfigOf(std::string_view edge) {
  return FileOf(LayOutEdge(MakeCluster(edge)), "conf/nginx.conf");
}

std::vector<std::string> CodesOf(std::string_view edge) {
  const Cluster cluster = MakeCluster(edge);
  std::vector<std::string> codes;
  for (const Finding& finding : NginxLayout().Check(cluster.services[2], cluster, WallTime{})) {
    EXPECT_FALSE(finding.message.empty() || finding.fix.empty());
    EXPECT_GT(finding.mark.line, 0);
    codes.push_back(finding.code);
  }
  return codes;
}

TEST(NginxLayout, PutsAnAppBehindAPort) {
  const Instance edge =
      LayOutEdge(MakeCluster(R"({"listen": 80, "routes": [{"path": "/", "to": "app:http"}]})"));
  EXPECT_EQ(edge.name, "edge-1");
  EXPECT_EQ(edge.address, "10.0.0.1");
  EXPECT_EQ(edge.ports.at("http").first, 80);
  EXPECT_EQ(edge.extra.at("bind_low_ports"), "yes");
  EXPECT_THAT(edge.fronts, ElementsAre("app-1", "app-2", "app-3"));
  EXPECT_EQ(edge.probe.target, kHealthPath);
  EXPECT_EQ(edge.stop_signal, 3);
  const std::vector<Upstream> upstreams = ParseUpstreams(edge.extra.at("upstreams"));
  ASSERT_EQ(upstreams.size(), 1u);
  EXPECT_THAT(upstreams[0].members,
              ElementsAre(Member{"app-1", "10.0.0.1:8101"}, Member{"app-2", "10.0.0.2:8102"},
                          Member{"app-3", "10.0.0.1:8103"}));
  const std::string config = FileOf(edge, "conf/nginx.conf");
  EXPECT_THAT(config, HasSubstr("listen 10.0.0.1:80 default_server;"));
  EXPECT_THAT(config, HasSubstr("proxy_pass http://app.http;"));
  EXPECT_THAT(config, HasSubstr("server_tokens off;"));
  EXPECT_THAT(config, HasSubstr("proxy_next_upstream error timeout;"));
  EXPECT_THAT(config, HasSubstr("daemon off;"));
  for (const char* temporary : {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"}) {
    EXPECT_THAT(config, HasSubstr(fmt::format("{}_temp_path {{folder}}/", temporary)));
  }
}

TEST(NginxLayout, TakesTheHttpPortWhereNoneIsNamed) {
  const Instance edge =
      LayOutEdge(MakeCluster(R"({"listen": 8080, "routes": [{"path": "/", "to": "app"}]})"));
  EXPECT_EQ(ParseUpstreams(edge.extra.at("upstreams"))[0].members[0].address, "10.0.0.1:8101");
  EXPECT_EQ(edge.extra.count("bind_low_ports"), 0u);
}

TEST(NginxLayout, KnowsSubsetsAndBalances) {
  const Instance edge = LayOutEdge(MakeCluster(R"({"listen": 8080, "keepalive": 7, "routes": [
      {"path": "/", "to": "app", "balance": "ip_hash"}, {"path": "/a/", "to": "app", "balance": "least_conn"},
      {"path": "/u/", "to": "app-2"}, {"path": "/s/", "to": ["app-1", "app-3:admin"]},
      {"path": "/again/", "to": "app-2"}]})"));
  const std::vector<Upstream> upstreams = ParseUpstreams(edge.extra.at("upstreams"));
  ASSERT_EQ(upstreams.size(), 4u);
  EXPECT_EQ(upstreams[0].name, "app.ip_hash");
  EXPECT_EQ(upstreams[1].balance, Balance::kLeastConn);
  EXPECT_THAT(upstreams[2].members, ElementsAre(Member{"app-2", "10.0.0.2:8102"}));
  EXPECT_THAT(upstreams[3].members,
              ElementsAre(Member{"app-1", "10.0.0.1:8101"}, Member{"app-3", "10.0.0.1:9103"}));
  const std::string text = RenderUpstreams(upstreams, {"app-2"}, "token");
  EXPECT_THAT(text, HasSubstr("ip_hash;"));
  EXPECT_THAT(text, HasSubstr("keepalive 7;"));
}

TEST(NginxUpstreams, MarkWhoIsOutUnlessAllAre) {
  const Upstream upstream{.name = "u", .members = {{"a", "1:1"}, {"b", "1:2"}}};
  EXPECT_THAT(MarkedIn(upstream, {"a", "x"}), ElementsAre("a"));
  EXPECT_THAT(MarkedIn(upstream, {"a", "b"}), IsEmpty());
  EXPECT_THAT(RenderUpstreams({upstream}, {"b"}, "t"), HasSubstr("server 1:2 max_fails=0 down;"));
  EXPECT_THAT(RenderUpstreams({upstream}, {"a", "b"}, "t"), Not(HasSubstr("down;")));
  EXPECT_THAT(RenderUpstreams({{.name = "none"}}, {}, "t"), HasSubstr("server 127.0.0.1:1 down;"));
}

TEST(NginxUpstreams, TellWhoIsServed) {
  const Upstream one{.name = "u", .members = {{"a", "1:1"}, {"b", "1:2"}, {"c", "1:3"}}};
  const Upstream other{.name = "v", .members = {{"b", "2:2"}}};
  const auto served = [&](const std::set<std::string>& out) {
    return ServedIn(RenderUpstreams({one, other, {.name = "none"}}, out, "t"));
  };
  EXPECT_THAT(served({}), ElementsAre("a", "b", "c"));
  EXPECT_THAT(served({"a"}), ElementsAre("b", "c"));
  EXPECT_THAT(served({"b"}), ElementsAre("a", "b", "c"));  // all of `v` are out, so none is
  EXPECT_THAT(ServedIn(""), IsEmpty());
}

TEST(NginxConfig, StripsPrefixes) {
  const std::string config = ConfigOf(R"({"listen": 8080, "routes": [
      {"path": "/api.v1/", "to": "app", "strip": true}, {"path": "/old", "to": "app", "strip": "yes"},
      {"path": "/jetlinks/file/static", "to": "app-1", "strip": "/jetlinks", "match": "prefix-final"}]})");
  EXPECT_THAT(config, HasSubstr(R"(rewrite "(?s)^/api\\.v1/(.*)$" /$1 break;)"));
  EXPECT_THAT(config, HasSubstr(R"(rewrite "(?s)^/old/?(.*)$" /$1 break;)"));
  EXPECT_THAT(config, HasSubstr(R"(location ^~ "/jetlinks/file/static" {)"));
  const Route route{.path = "/jetlinks/file/static", .strip = "/jetlinks"};
  EXPECT_EQ(StrippedPath(route, "/jetlinks/file/static/x"), "/file/static/x");
  EXPECT_EQ(StrippedPath({.path = "/a/", .strip = "/a/"}, "/a/b"), "/b");
}

TEST(NginxConfig, TunesAtEachLevel) {
  const std::string config = ConfigOf(R"({"listen": 8080, "body_limit": "100m",
      "buffering": true, "buffers": {"header": "512k", "count": 8, "size": "512k", "temp_file": "1024m"},
      "gzip": {"types": ["text/plain", "text/html"], "min_length": "1k", "level": 9,
               "buffers": {"count": 4, "size": "16k"}, "http_version": "1.0"},
      "headers": {"host": "$host:$server_port"},
      "routes": [{"path": "/", "to": "app", "timeout": {"connect": "1s", "read": "30m", "send": "30m"},
                  "buffering": false, "chunked": false, "headers": {"X-Real-ip": "", "X-Own": "a \"b\""},
                  "response_headers": {"X-Frame-Options": "DENY"}, "raw": ["proxy_cache off"]}]})");
  for (const char* line :
       {"client_max_body_size 100m;", "proxy_buffering on;", "proxy_buffer_size 512k;",
        "proxy_buffers 8 512k;", "proxy_max_temp_file_size 1024m;", "gzip_min_length 1024;",
        "gzip_comp_level 9;", "gzip_buffers 4 16k;", "gzip_http_version 1.0;", "gzip_types text/plain;",
        "proxy_connect_timeout 1s;", "proxy_read_timeout 1800s;", "proxy_buffering off;",
        "chunked_transfer_encoding off;", "proxy_set_header Host \"$host:$server_port\";",
        "proxy_set_header X-Real-IP \"\";", "proxy_set_header X-Own \"a \\\"b\\\"\";",
        "add_header X-Frame-Options \"DENY\" always;", "proxy_cache off;"}) {
    EXPECT_THAT(config, HasSubstr(line));
  }
}

TEST(NginxConfig, UpgradesWebSockets) {
  const std::string config =
      ConfigOf(R"({"listen": 8080, "routes": [{"path": "/", "to": "app", "websocket": true}]})");
  EXPECT_THAT(config, HasSubstr("proxy_set_header Upgrade \"$http_upgrade\";"));
  EXPECT_THAT(config, HasSubstr("proxy_set_header Connection \"$connection_upgrade\";"));
  EXPECT_THAT(config, HasSubstr("proxy_read_timeout 1h;"));
  EXPECT_THAT(config, HasSubstr("worker_shutdown_timeout 600s;"));
  EXPECT_THAT(ConfigOf(R"({"listen": 8080, "routes": [{"path": "/", "to": "app"}]})"),
              HasSubstr("proxy_set_header Connection \"\";"));
}

TEST(NginxConfig, AnswersByItself) {
  const std::string config = ConfigOf(R"({"listen": 8080, "routes": [
      {"path": "/cordova.js", "match": "exact", "status": 404}, {"path": "/private/", "deny": true},
      {"path": "/old", "redirect": {"to": "https://new.example$request_uri", "status": 301}},
      {"path": "\\.php$", "match": "regex", "status": 410},
      {"path": "/in/", "to": "app", "allow_from": ["10.0.0.0/8"]},
      {"path": "/ui/", "static": {"root": "/srv/ui/", "fallback": "index.html"}},
      {"path": "/", "static": {"root": "/srv/www"}}]})");
  EXPECT_THAT(config, HasSubstr("location = \"/cordova.js\" {\n      return 404;"));
  EXPECT_THAT(config, HasSubstr("return 403;"));
  EXPECT_THAT(config, HasSubstr("return 301 \"https://new.example$request_uri\";"));
  EXPECT_THAT(config, HasSubstr("location ~ \"\\\\.php$\" {"));
  EXPECT_THAT(config, HasSubstr("allow 10.0.0.0/8;\n      deny all;"));
  EXPECT_THAT(config, HasSubstr("alias /srv/ui/;"));
  EXPECT_THAT(config, HasSubstr("try_files $uri $uri/ /ui/index.html;"));
  EXPECT_THAT(config, HasSubstr("root /srv/www;"));
}

TEST(NginxConfig, HasSeveralServersTlsAndClientAddresses) {
  Cluster cluster = MakeCluster(R"({"listen": 8080, "real_ip": {"from": "127.0.0.0/8", "recursive": "yes"},
      "servers": [
        {"server_name": ["a.example", "*.a.example"], "routes": [{"path": "/", "to": "app"}]},
        {"listen": [8443, 9443], "server_name": "b.example",
         "tls": {"certificate": "b.crt", "key_secret": "b-key"},
         "routes": [{"path": "/", "static": {"files": {"index.html": "page.html"}}}]}]})");
  cluster.files["b.crt"] = {.sha256 = "c", .text = "CERT"};
  cluster.files["page.html"] = {.sha256 = "abc"};
  const Instance edge = LayOutEdge(cluster);
  const std::string config = FileOf(edge, "conf/nginx.conf");
  EXPECT_THAT(config, HasSubstr("server_name a.example *.a.example;"));
  EXPECT_THAT(config, HasSubstr("listen 10.0.0.1:8443 default_server ssl;"));
  EXPECT_THAT(config, HasSubstr("ssl_certificate {folder}/conf/tls-2.crt;"));
  EXPECT_THAT(config, HasSubstr("set_real_ip_from 127.0.0.0/8;"));
  EXPECT_THAT(config, HasSubstr("real_ip_header X-Forwarded-For;"));
  EXPECT_THAT(config, HasSubstr("real_ip_recursive on;"));
  EXPECT_EQ(FileOf(edge, "conf/tls-2.crt"), "CERT");
  EXPECT_EQ(FileOf(edge, "conf/tls-2.key"), SecretMarker("b-key"));
  EXPECT_EQ(edge.files[2].path, "www/2-9c0a7e31/index.html");
  EXPECT_EQ(edge.files[2].blob, "abc");
  EXPECT_EQ(edge.ports.at("http").first, 8080);
  EXPECT_EQ(edge.ports.at("https").first, 8443);
  EXPECT_EQ(edge.ports.at("tls-9443").first, 9443);
}

TEST(NginxLayout, MarksItsPrivateKeysAsSecret) {
  Cluster cluster = MakeCluster(R"({"listen": 443, "tls": {"certificate": "a.crt", "key": "a.key"},
                                    "routes": [{"path": "/", "to": "app"}]})");
  cluster.files["a.crt"] = {.sha256 = "c", .text = "CERT"};
  cluster.files["a.key"] = {.sha256 = "k", .text = "KEY"};
  const Instance edge = LayOutEdge(cluster);
  for (const InstanceFile& file : edge.files) {
    EXPECT_EQ(file.secret, file.path == "conf/tls-1.key") << file.path;
    EXPECT_TRUE(!file.secret || file.mode == 0600);
  }
  EXPECT_EQ(FileOf(edge, "conf/tls-1.key"), "KEY");

  cluster.files["a.crt"].text = "CERT\n-----BEGIN PRIVATE KEY-----\n";
  for (const InstanceFile& file : LayOutEdge(cluster).files) {
    EXPECT_EQ(file.secret, file.path.starts_with("conf/tls-1."))
        << "of " << file.path << ", which holds both";
  }
}

TEST(NginxCheck, WantsAKeyThatIsText) {
  Cluster cluster = MakeCluster(R"({"listen": 443, "tls": {"certificate": "a.crt", "key": "a.key"},
                                    "routes": [{"path": "/", "to": "app"}]})");
  cluster.files["a.crt"] = {.sha256 = "c", .size = 4};
  cluster.files["a.key"] = {.sha256 = "k", .size = 4};
  const auto findings = NginxLayout().Check(cluster.services[2], cluster, WallTime{});
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].code, "tls-unreadable");
  EXPECT_THAT(findings[0].message, HasSubstr("a.key"));
}

// A certificate for January of 2020, and its key.
constexpr const char* kJanuary = R"(-----BEGIN CERTIFICATE-----
MIIBEDCBtgIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwHhcN
MjAwMTAxMDAwMDAwWhcNMjAwMjAxMDAwMDAwWjAUMRIwEAYDVQQDDAlsb2NhbGhv
c3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAATYaaApvpNh8gI5rdnynx4g98FA
/FAhLb4rAh/dtc8m5ZpKzgCzWPsHTQjaZ/86Nj01Ja26CFyvX1hgKMigmJgaMAoG
CCqGSM49BAMCA0kAMEYCIQD7bfiQx56oy9thRpBSpkJt1VNZoTallpNkHxYAOHD3
vgIhAMe34fxTDhG9tTDC4Qy+8ZDcblGll1/VWu7i4ci/6fne
-----END CERTIFICATE-----
)";
constexpr const char* kItsKey = R"(-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgHe0lgRVUfTF5Jak8
r8VjJd3D3N6gXTuSiuICQGur/wShRANCAATYaaApvpNh8gI5rdnynx4g98FA/FAh
Lb4rAh/dtc8m5ZpKzgCzWPsHTQjaZ/86Nj01Ja26CFyvX1hgKMigmJga
-----END PRIVATE KEY-----
)";

TEST(NginxCheck, JudgesACertificateByTheDayItIsGiven) {
  Cluster cluster = MakeCluster(R"({"listen": 443, "tls": {"certificate": "a.crt", "key": "a.key"},
                                    "routes": [{"path": "/", "to": "app"}]})");
  cluster.files["a.crt"] = {.sha256 = "c", .size = 1, .text = kJanuary};
  cluster.files["a.key"] = {.sha256 = "k", .size = 1, .text = kItsKey};
  const auto codes = [&](std::chrono::sys_days day) {
    std::vector<std::string> told;
    for (const Finding& finding : NginxLayout().Check(cluster.services[2], cluster, WallTime(day))) {
      EXPECT_EQ(finding.severity, Severity::kWarning);
      told.push_back(finding.code);
    }
    return told;
  };
  using std::chrono::January, std::chrono::December;
  EXPECT_THAT(codes(2019y / December / 31), ElementsAre("tls-not-yet-valid"));
  EXPECT_THAT(codes(2020y / January / 2), IsEmpty());
  EXPECT_THAT(codes(2026y / January / 2), ElementsAre("tls-expired"));
}

TEST(NginxCheck, WarnsOfAnAppThatTakesHttps) {
  const auto codes = [](const char* to, const char* health) {
    Cluster cluster =
        MakeCluster(fmt::format(R"({{"listen": 80, "routes": [{{"path": "/", "to": "{}"}}]}})", to));
    cluster.services[0] = MakeService("app", "app",
                                      fmt::format(R"({{"instances": 3, "ports": {{"http": 8101,
                                                                    "admin": 9101}}, "health": {}}})",
                                                  health));
    std::vector<std::string> told;
    for (const Finding& finding : NginxLayout().Check(cluster.services[2], cluster, WallTime{})) {
      EXPECT_EQ(finding.severity, Severity::kWarning);
      told.push_back(finding.code);
    }
    return told;
  };
  EXPECT_THAT(codes("app", R"({"http": "/", "tls": true})"), ElementsAre("route-to-tls"));
  EXPECT_THAT(codes("app:admin", R"({"http": "/", "tls": true, "port": "admin"})"),
              ElementsAre("route-to-tls"));
  EXPECT_THAT(codes("app", R"({"http": "/", "tls": true, "port": "admin"})"), IsEmpty());
  EXPECT_THAT(codes("app", R"({"http": "/", "tls": false})"), IsEmpty());
  EXPECT_THAT(codes("app", R"({"http": "/"})"), IsEmpty());
}

TEST(NginxCheck, FindsAllThatIsWrong) {
  EXPECT_THAT(CodesOf(R"({"listen": 80, "routes": [{"path": "/", "to": "app"}]})"), IsEmpty());
  EXPECT_THAT(CodesOf(R"({"routes": [{"path": "/", "to": "app"}]})"), ElementsAre("listen-missing"));
  EXPECT_THAT(CodesOf(R"({"listen": 80})"), ElementsAre("routes-missing"));
  EXPECT_THAT(CodesOf(R"({"listen": 80, "routes": [{"path": "/", "to": "ap"}, {"path": "/a", "to": "app-4"},
                          {"path": "/b", "to": "app:htp"}, {"path": "/c", "to": "feed"},
                          {"path": "/d", "to": "edge"}, {"path": "/e"}, {"path": "/", "deny": true}]})"),
              ElementsAre("route-unknown-target", "route-unknown-target", "route-no-port", "route-no-port",
                          "route-to-itself", "route-action", "route-twice"));
  EXPECT_THAT(CodesOf(R"({"listen": 80, "routes": [
                 {"path": "x", "to": "app"}, {"path": "/s/", "to": "app", "strip": "/t"},
                 {"path": "/r", "match": "regex", "to": "app", "strip": true},
                 {"path": "/w", "deny": true, "websocket": true},
                 {"path": "/ui", "static": {"root": "/x", "files": {"a": "b"}}},
                 {"path": "/q", "deny": true, "allow_from": "10.0.0.0/8"}]})"),
              ElementsAre("route-path", "route-strip", "route-strip", "route-websocket", "route-static",
                          "route-static", "route-allow-from"));
  EXPECT_THAT(CodesOf(R"({"listen": 80, "routes": [{"path": "/", "to": "app"}], "servers": [
                 {"routes": [{"path": "/", "to": "app"}]}, {"routes": [{"path": "/", "to": "app"}]},
                 {"listen": [443, 443], "tls": {"certificate": "c"}, "routes": [{"path": "/", "to": "app"}]},
                 {"listen": 443, "server_name": "n", "routes": [{"path": "/", "to": "app"}]}]})"),
              ElementsAre("nginx-two-forms", "server-twice", "server-twice", "tls-incomplete", "tls-mixed"));
}

TEST(NginxLayout, CountsWhatAChangeCosts) {
  const NginxLayout layout;
  EXPECT_EQ(layout.ImpactOf("fronts"), Impact::kReload);
  EXPECT_EQ(layout.ImpactOf("extra:upstreams"), Impact::kReload);
  EXPECT_EQ(layout.ImpactOf("ports"), Impact::kReload);
  EXPECT_EQ(layout.ImpactOf("command"), Impact::kRestart);
  EXPECT_EQ(layout.ImpactOf("extra:bind_low_ports"), Impact::kRestart);
}

TEST(NginxLayout, ExportsItsEndpoints) {
  const Cluster cluster = MakeCluster(R"({"listen": [8080, 8081], "routes": [{"path": "/", "to": "app"}]})");
  const NginxLayout layout;
  const auto places = layout.PlaceMembers(cluster.services[2], cluster, {});
  ASSERT_TRUE(places.ok());
  EXPECT_EQ(layout.Export("endpoints", cluster.services[2], cluster, *places), "10.0.0.1:8080");
  EXPECT_EQ(layout.Export("endpoints.http-8081", cluster.services[2], cluster, *places), "10.0.0.1:8081");
  EXPECT_EQ(layout.Export("leader", cluster.services[2], cluster, *places), std::nullopt);
}

TEST(NginxTries, ComeBackAsTheyWere) {
  const Settings settings = ReadSettings(ToValue(nlohmann::ordered_json::parse(
      R"({"listen": 80, "gzip": true, "body_limit": "2m", "real_ip": {"from": "127.0.0.1"},
          "routes": [{"path": "/a/", "to": "app", "strip": true, "websocket": true, "try": "/a/b"},
                     {"path": "/c", "redirect": "/d"}, {"path": "^/x", "match": "regex", "deny": true}]})")));
  const Cluster cluster = MakeCluster(R"({})");
  const auto upstreams = ResolveUpstreams(settings, cluster, MakePlacement());
  ASSERT_TRUE(upstreams.ok());
  const std::vector<Try> tries = TriesOf(settings, *upstreams);
  EXPECT_EQ(ParseTries(FormatTries(tries)), tries);
  EXPECT_EQ(tries[0].arrives, "/b");
  EXPECT_EQ(tries[0].body_limit, 2 << 20);
  EXPECT_EQ(tries[1].location, "/d");
  EXPECT_EQ(tries[2].path, "");
  EXPECT_THAT(ParseTries("nonsense"), IsEmpty());
}

TEST(NginxTries, NameEveryWayToAServer) {
  const Settings settings = ReadSettings(ToValue(nlohmann::ordered_json::parse(R"({"servers": [
      {"listen": [80, 81], "server_name": ["_", "a_b.example", "*.c.example", "~^d"],
       "response_headers": {"X-A": "1", "X-B": "$host"}, "real_ip": {"from": "10.0.0.0/8"},
       "routes": [{"path": "/s", "response_headers": {"x-a": "2"}, "static": {"files": {"a b": "f", "c": "g"}}},
                  {"path": "/one", "match": "exact", "static": {"files": {"x": "f"}}}]},
      {"listen": [81, 82], "routes": [{"path": "/", "status": 404}]},
      {"listen": 80, "server_name": "~^e", "routes": [{"path": "/", "status": 404}]}]})")));
  const std::vector<Try> tries = TriesOf(settings, {});
  ASSERT_EQ(tries.size(), 4u);
  EXPECT_EQ(ParseTries(FormatTries(tries)), tries);
  EXPECT_EQ(tries[0].host, "a_b.example");
  EXPECT_EQ(tries[0].names, (std::vector<std::string>{"muster-verify.c.example"}));
  EXPECT_EQ(tries[0].patterns, (std::vector<std::string>{"~^d"}));
  EXPECT_EQ(tries[0].ports, (std::vector<int>{81}));
  EXPECT_EQ(tries[0].headers, (Pairs{{"x-a", "2"}}));
  EXPECT_EQ(tries[0].path, "/s/a%20b");
  EXPECT_EQ(tries[0].file, StaticFolder(0, {.path = "/s"}) + "/a b");
  EXPECT_EQ(tries[0].files_at, "/s/");
  EXPECT_EQ(tries[1].file, StaticFolder(0, {.path = "/one", .match = Match::kExact}) + "/x");
  EXPECT_EQ(tries[1].files_at, "");
  // Without a name it gets what comes to a port that it has for itself; else nobody gets there.
  EXPECT_EQ(tries[2].port, 82);
  EXPECT_EQ(tries[2].untried, "");
  EXPECT_EQ(tries[3].path, "");
  EXPECT_THAT(tries[3].untried, ::testing::HasSubstr("another server"));
}

TEST(NginxFiles, StayWhereTheyAreWhenAnotherRouteGoes) {
  const auto files_of = [](std::string_view first) {
    Cluster cluster = MakeCluster(fmt::format(R"({{"listen": 80, "routes": [{}
        {{"path": "/docs/", "static": {{"files": {{"index.html": "page.html"}}}}}},
        {{"path": "/docs/", "match": "exact", "static": {{"files": {{"index.html": "page.html"}}}}}}]}})",
                                              first));
    cluster.files["page.html"] = {.sha256 = "abc"};
    std::vector<std::string> paths;
    for (const InstanceFile& file : LayOutEdge(cluster).files) {
      if (file.path.starts_with("www/")) paths.push_back(file.path);
    }
    return paths;
  };
  const std::vector<std::string> alone = files_of("");
  ASSERT_EQ(alone.size(), 2u);
  EXPECT_NE(alone[0], alone[1]);
  EXPECT_EQ(files_of(R"({"path": "/", "to": "app"},)"), alone);
}

TEST(NginxGuests, StandWhereAllMembersOfTheirServiceDo) {
  const Cluster cluster = MakeCluster(R"({"listen": 80, "routes": [
      {"path": "/", "to": "app"}, {"path": "/admin", "to": "app:admin", "balance": "ip_hash"},
      {"path": "/upload", "to": "app-1"}]})");
  Instance guest;
  guest.name = "app-x1";
  guest.service = "app";
  guest.address = "10.0.0.2";
  guest.ports = {{"http", {.first = 8104}}, {"admin", {.first = 9104}}};
  const NginxLayout layout;
  const auto admission = layout.AdmissionOf(cluster.services[2], cluster, guest);
  EXPECT_EQ(
      admission,
      (std::map<std::string, std::string>{{"at", "app.admin.ip_hash=10.0.0.2:9104,app=10.0.0.2:8104"}}));
  const std::vector<Upstream> upstreams = ParseUpstreams(LayOutEdge(cluster).extra.at("upstreams"));
  const auto with = WithGuests(upstreams, {{"app-x1", admission.at("at")}});
  ASSERT_EQ(with.size(), 3u);
  EXPECT_EQ(with[0].members.back(), (Member{.instance = "app-x1", .address = "10.0.0.2:8104"}));
  EXPECT_EQ(with[1].members.back(), (Member{.instance = "app-x1", .address = "10.0.0.2:9104"}));
  EXPECT_EQ(with[2], upstreams[2]);  // that route means app-1
  guest.service = "feed";
  EXPECT_TRUE(layout.AdmissionOf(cluster.services[2], cluster, guest).empty());
}

TEST(NginxMembers, ThatMovedStandWhereTheyCameBack) {
  const Cluster cluster = MakeCluster(R"({"listen": 80, "routes": [
      {"path": "/", "to": "app"}, {"path": "/upload", "to": "app-1"}, {"path": "/two", "to": "app-2"}]})");
  Instance member;
  member.name = "app-1";
  member.service = "app";
  member.ordinal = 1;
  member.address = "10.0.0.1";
  member.ports = {{"http", {.first = 8201}}, {"admin", {.first = 9104}}};
  const std::string at = NginxLayout().AdmissionOf(cluster.services[2], cluster, member).at("at");
  EXPECT_EQ(at, "app-1=10.0.0.1:8201,app=10.0.0.1:8201");
  const std::vector<Upstream> before = {
      {.name = "app", .members = {{"app-1", "10.0.0.1:8101"}, {"app-2", "10.0.0.1:8201"}}},
      {.name = "app-1", .members = {{"app-1", "10.0.0.1:8101"}}},
      {.name = "feed", .members = {{"feed-1", "10.0.0.1:8201"}, {"feed-2", "10.0.0.1:8101"}}}};
  const auto now = WithMoved(before, {{"app-1", at}});
  // Nobody else is where it is now.
  EXPECT_EQ(now[0].members, (std::vector<Member>{{"app-1", "10.0.0.1:8201"}}));
  EXPECT_EQ(now[1].members, (std::vector<Member>{{"app-1", "10.0.0.1:8201"}}));
  EXPECT_EQ(now[2].members, (std::vector<Member>{{"feed-2", "10.0.0.1:8101"}}));
  EXPECT_EQ(WithMoved(before, {{"app-1", "other=10.0.0.1:9"}}), before);
}

}  // namespace
}  // namespace muster::nginx
