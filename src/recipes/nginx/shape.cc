// The keys of an nginx service.
#include "recipes/common/shapes.h"
#include "recipes/nginx/settings.h"

namespace muster::nginx {
namespace {

using common::Either;
using common::Integer;
using common::ListOf;
using common::Make;
using common::MapOf;
using common::Object;
using common::SecretFile;
using common::Words;
using Type = Shape::Type;

Shape Matching(std::string pattern, std::string help) {
  Shape shape = Make(Type::kText, std::move(help));
  shape.pattern = std::move(pattern);
  return shape;
}

// What a header's value may be; it is written between quotes.
constexpr const char* kHeader = "[^\\x00-\\x1f\\x7f]*";
// A word of a directive: nothing that could end it early and begin another.
constexpr const char* kToken = "[^\\s\"'\\\\;{}]+";
constexpr const char* kSecretName = "[A-Za-z0-9_-]{1,64}";  // as the server takes them
constexpr const char* kAddresses = "[0-9a-fA-F.:]+(/[0-9]{1,3})?";

Shape GzipShape() {
  return Either(
      {Make(Type::kBool),
       Object({{"types", ListOf(Matching("[A-Za-z0-9.+*-]+(/[A-Za-z0-9.+*-]+)?", "a MIME type"))},
               {"min_length", Make(Type::kSize)},
               {"level", Integer(1, 9)},
               {"buffers", Object({{"count", Integer(1, 1024), true}, {"size", Make(Type::kSize), true}})},
               {"http_version", Matching("1\\.[01]", "1.0 or 1.1")}})},
      "compress answers");
}

std::vector<Shape::Field> TuningFields() {
  return {
      {"body_limit", Make(Type::kSize, "the largest request body; 0 for no limit")},
      {"timeout",
       Either({Make(Type::kDuration, "for reading and sending"), Object({{"connect", Make(Type::kDuration)},
                                                                         {"read", Make(Type::kDuration)},
                                                                         {"send", Make(Type::kDuration)}})},
              "how long an upstream may take")},
      {"buffering", Make(Type::kBool, "whether answers of upstreams are buffered")},
      {"request_buffering",
       Make(Type::kBool, "whether request bodies are read whole before they are sent on")},
      {"chunked", Make(Type::kBool, "whether answers may be sent in chunks")},
      {"buffers",
       Object({{"header", Make(Type::kSize)},
               {"count", Integer(2, 4096)},
               {"size", Make(Type::kSize)},
               {"temp_file", Make(Type::kSize)}},
              "header: proxy_buffer_size; count and size: proxy_buffers; temp_file: the most on disk")},
      {"headers",
       MapOf(
           Matching(kHeader, "a header's value, without control characters; nginx's $variables can be used"),
           "headers of the request to the upstream; empty: not sent", "[A-Za-z0-9_-]+")},
      {"response_headers",
       MapOf(
           Matching(kHeader, "a header's value, without control characters; nginx's $variables can be used"),
           "headers added to answers", "[A-Za-z0-9_-]+")},
      {"access_log", Make(Type::kBool, "whether each request is written to the instance's log")},
      {"gzip", GzipShape()},
      {"raw", ListOf(Matching("[^{}\\n\\r]+[^;{}\\n\\r]", "one directive of nginx without its semicolon"),
                     "directives of nginx as they are")},
  };
}

Shape RouteShape() {
  std::vector<Shape::Field> fields = {
      {"path", Matching("[^\\s;\"]+", "the path, such as /api/, or a regular expression"), true},
      {"match", Words({"prefix", "prefix-final", "exact", "regex", "regex-nocase"},
                      "prefix-final: no regular expression is looked at afterwards")},
      {"to", ListOf(Matching("[A-Za-z0-9_-]+(:[A-Za-z0-9_-]+)?",
                             "a service or an instance, with :PORT where it has several"))},
      {"balance", Words({"round_robin", "least_conn", "ip_hash"})},
      {"strip", Make(Type::kScalar, "true: the path itself is taken off; or the first part of it")},
      {"websocket", Make(Type::kBool)},
      {"static", Object({{"root", Matching("/[^\\s\"'\\\\;{}]*", "a folder on the host")},
                         {"files", MapOf(Make(Type::kFile), "name below the path: file sent along",
                                         "[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")},
                         {"index", Matching("[A-Za-z0-9_.-]+", "a file name")},
                         {"fallback", Matching("[A-Za-z0-9_./-]+", "a file name")}})},
      {"redirect",
       Either({Matching(kToken, "a URL or path; nginx's $variables can be used"),
               Object({{"to", Matching(kToken, "a URL or path"), true}, {"status", Integer(301, 308)}})})},
      {"deny", Make(Type::kBool, "answer 403")},
      {"status", Integer(200, 599, "answer with nothing but this status")},
      {"allow_from", ListOf(Matching(kAddresses, "an address or network"), "all others get 403")},
      {"try", Matching("/[^\\s\"]*", "the path that `verify` asks for, where the route's own won't do")},
  };
  for (Shape::Field& field : TuningFields()) fields.push_back(std::move(field));
  return Object(std::move(fields));
}

Shape ServerShape() {
  std::vector<Shape::Field> fields = {
      {"listen", ListOf(Make(Type::kPort))},
      {"server_name", ListOf(Matching("[A-Za-z0-9_.*~^$-]+", "a host name, or *.example.org"))},
      // A file may hold both.
      {"tls", Object({{"certificate", SecretFile()},
                      {"key", SecretFile()},
                      {"certificate_secret", Matching(kSecretName, "the name of a secret")},
                      {"key_secret", Matching(kSecretName, "the name of a secret")}})},
      {"routes", ListOf(RouteShape())},
  };
  for (Shape::Field& field : TuningFields()) fields.push_back(std::move(field));
  return Object(std::move(fields));
}

}  // namespace

Shape SettingsShape() {
  Shape shape = ServerShape();  // The short form: one server, said at the top.
  const std::vector<Shape::Field> more = {
      {"servers", ListOf(ServerShape())},
      {"instances", Make(Type::kCount, "default: one on each host")},
      {"limits", common::LimitsShape()},
      {"stop", common::StopShape()},
      {"restart", common::RestartShape()},
      {"log", common::LogShape()},
      {"workers", Integer(1, 256, "worker processes; default: one a processor")},
      {"worker_connections", Integer(16, 1 << 20)},
      {"keepalive", Integer(0, 65536, "idle connections a worker keeps to each upstream")},
      {"shutdown_timeout",
       Make(Type::kDuration,
            "how long old workers may finish after a reload; default 30s, 10m with WebSocket")},
      {"real_ip",
       Object({{"from", ListOf(Matching(kAddresses, "an address or network that is trusted")), true},
               {"header", Matching("[A-Za-z0-9_-]+", "a header's name")},
               {"recursive", Make(Type::kBool)}})},
  };
  for (const Shape::Field& field : more) shape.fields.push_back(field);
  return shape;
}

}  // namespace muster::nginx
