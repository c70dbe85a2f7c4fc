#include <pwd.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "api/json.h"
#include "base/text.h"
#include "server/api.h"

namespace muster::server {
namespace {

int HttpStatus(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kInvalid:
      return 400;
    case ErrorKind::kNotFound:
      return 404;
    case ErrorKind::kConflict:
      return 409;
    case ErrorKind::kRefused:
      return 412;
    case ErrorKind::kDenied:
      return 403;
    case ErrorKind::kUnavailable:
      return 503;
    case ErrorKind::kTimeout:
      return 504;
    case ErrorKind::kInternal:
      return 500;
  }
  return 500;
}

std::vector<std::string> Segments(std::string_view target) {
  std::vector<std::string> segments;
  for (const std::string& part : Split(target.substr(0, target.find('?')), '/')) {
    if (!part.empty()) segments.push_back(part);
  }
  return segments;
}

// "getClustersClusterLogs": what generated clients call a request. Follows from method and path, so it is as
// stable.
std::string OperationId(const std::string& method, const std::string& path) {
  std::string id = method;
  bool word_begins = true;
  for (const char c : path.substr(std::string_view("/v1").size())) {
    if (!std::isalnum(static_cast<unsigned char>(c))) {
      word_begins = true;
    } else {
      id += word_begins ? static_cast<char>(std::toupper(static_cast<unsigned char>(c))) : c;
      word_begins = false;
    }
  }
  return id;
}

}  // namespace

Answer Good(Json body) { return {.status = 200, .body = std::make_shared<Json>(std::move(body))}; }

Answer Bad(const Error& error) {
  return {.status = HttpStatus(error.kind()), .body = std::make_shared<Json>(api::ToJson(error))};
}

Answer Bad(const Error& error, const std::vector<Finding>& findings) {
  Answer answer = Bad(error);
  (*answer.body)["findings"] = Json::array();
  for (const Finding& finding : findings) (*answer.body)["findings"].push_back(api::ToJson(finding));
  return answer;
}

std::vector<Api::Route> Api::Routes() {
  const std::vector<std::string> bundle{"file_name:string", "text:string", "rehearse:boolean", "files:object",
                                        "note:string"};
  const auto with = [](std::vector<std::string> fields, std::vector<std::string> more) {
    fields.insert(fields.end(), more.begin(), more.end());
    return fields;
  };
  const std::string cluster = "/v1/clusters/{cluster}";
  return {
      {"POST", "/v1/check", &Api::Check, nullptr, "Findings of a cluster file", bundle},
      {"POST", "/v1/plan", &Api::MakePlan, nullptr, "What up would do. Writes nothing",
       with(bundle, {"options:object"})},
      {"POST",
       "/v1/blobs/missing",
       &Api::BlobsMissing,
       nullptr,
       "Which blobs the server doesn't have",
       {"sha256:array"}},
      {"PUT", "/v1/blobs/{sha256}", &Api::PutBlob, nullptr, "Store a blob; the body is its bytes", {}, true},
      {"POST", "/v1/up", &Api::Up, nullptr, "Accept a revision and start its run",
       with(bundle, {"options:object", "plan_id:string"})},
      {"GET", "/v1/clusters", &Api::ListClusters, nullptr, "All clusters", {}},
      {"GET", cluster, &Api::ClusterStatus, nullptr, "Services, hosts and instances of a cluster", {}},
      {"GET", cluster + "/instances", &Api::Instances, nullptr, "Its instances", {}},
      {"POST",
       cluster + "/restart",
       &Api::Restart,
       nullptr,
       "Restart instances or services, rolling",
       {"names:array", "plan_only:boolean"}},
      {"POST", cluster + "/stop", &Api::Stop, nullptr, "Stop and hold", {"names:array", "plan_only:boolean"}},
      {"POST",
       cluster + "/start",
       &Api::Start,
       nullptr,
       "Start what was held",
       {"names:array", "plan_only:boolean"}},
      {"POST",
       cluster + "/down",
       &Api::Down,
       nullptr,
       "Stop and remove everything; keeps data by default",
       {"delete_data:boolean", "confirm:string", "plan_only:boolean"}},
      {"POST",
       cluster + "/scale",
       &Api::Scale,
       nullptr,
       "Another number of instances; of a redis-cluster of masters, of a redis of replicas",
       {"service:string", "instances:string", "plan_only:boolean"}},
      {"POST",
       cluster + "/switchover",
       &Api::Switchover,
       nullptr,
       "Another primary for a service, planned: no write is lost. Answers when it is so",
       {"service:string", "to:string"}},
      {"POST",
       cluster + "/failover",
       &Api::Failover,
       nullptr,
       "A primary in place of one that is gone. Answers when it is so",
       {"service:string", "to:string", "force:boolean", "accept_loss:boolean", "confirm:string"}},
      {"POST",
       cluster + "/rollback",
       &Api::Rollback,
       nullptr,
       "Back to a kept revision",
       {"revision:integer", "plan_only:boolean"}},
      {"POST", cluster + "/resume", &Api::Resume, nullptr, "Go on with the current revision", {}},
      {"POST",
       cluster + "/rule",
       &Api::Rule,
       nullptr,
       "Have agents obey this server though they have seen a newer one",
       {"confirm:string"}},
      {"POST",
       cluster + "/verify",
       &Api::Verify,
       nullptr,
       "Try what the services promise",
       {"service:string"}},
      {"POST",
       cluster + "/drill",
       nullptr,
       &Api::Drill,
       "Break a member while a client writes, and tell what it came to (events)",
       {"service:string", "how:string", "instance:string", "most_ms:integer", "confirm:string"}},
      {"POST",
       cluster + "/hosts/{host}/cut",
       &Api::CutHost,
       nullptr,
       "Cut a rehearsed host off, or heal it",
       {"cut:boolean"}},
      {"POST",
       cluster + "/exec",
       nullptr,
       &Api::Exec,
       "Run a command in an instance's environment (events)",
       {"instance:string", "argv:array", "input:string", "input_open:boolean", "base64:boolean"}},
      {"POST",
       cluster + "/exec/{exec}/input",
       &Api::ExecInput,
       nullptr,
       "Standard input of a running command; the body is its bytes, and ?end=1 says that they are the last",
       {},
       true},
      {"GET",
       cluster + "/logs",
       nullptr,
       &Api::Logs,
       "Log lines of instances (events)",
       {"names:string", "tail:integer", "since_ms:integer", "follow:integer", "from:string"}},
      {"GET", cluster + "/events", nullptr, &Api::ClusterEvents, "What happens, live (events)", {}},
      {"GET", cluster + "/history", &Api::History, nullptr, "Revisions, newest first", {"most:integer"}},
      {"GET", cluster + "/revisions/{revision}", &Api::Revision, nullptr, "One revision with its text", {}},
      {"GET", cluster + "/runs", &Api::Runs, nullptr, "Runs, newest first", {"most:integer"}},
      {"GET", cluster + "/audit", &Api::Audit, nullptr, "Who did what", {"most:integer"}},
      {"GET", "/v1/audit", &Api::Audit, nullptr, "Who did what, all clusters", {"most:integer"}},
      {"GET", cluster + "/secrets", &Api::Secrets, nullptr, "Names of secrets", {}},
      {"PUT", cluster + "/secrets/{name}", &Api::PutSecret, nullptr, "Set a secret", {"value:string"}},
      {"DELETE", cluster + "/secrets/{name}", &Api::DeleteSecret, nullptr, "Forget a secret", {}},
      {"POST", "/v1/secrets/rotate", &Api::RotateSecrets, nullptr, "Seal all secrets with a new key", {}},
      {"GET", "/v1/runs/{run}", &Api::Run, nullptr, "One run with its plan", {}},
      {"POST",
       "/v1/runs/{run}/cancel",
       &Api::CancelRun,
       nullptr,
       "Stop a run and put back what it took away",
       {}},
      {"GET",
       "/v1/runs/{run}/events",
       nullptr,
       &Api::RunEvents,
       "A run from its start to its end (events)",
       {}},
      {"GET", "/v1/version", &Api::Version, nullptr, "Version, pid and home of the server", {}},
      {"GET", "/v1/doctor", &Api::Doctor, nullptr, "How the server itself is", {}},
      {"POST", "/v1/stop", &Api::StopServer, nullptr, "End the server; instances go on", {}},
      {"GET", "/v1/openapi.json", &Api::OpenApiAnswer, nullptr, "This description", {}},
  };
}

const Api::Route* Api::Match(const net::Request& request, std::map<std::string, std::string>& parts,
                             bool& path_known) {
  static const std::vector<Route> routes = Routes();
  const std::vector<std::string> wanted = Segments(request.target);
  for (const Route& route : routes) {
    const std::vector<std::string> segments = Segments(route.path);
    if (segments.size() != wanted.size()) continue;
    std::map<std::string, std::string> found;
    bool same = true;
    for (size_t i = 0; i < segments.size() && same; ++i) {
      if (segments[i].front() == '{') {
        found[segments[i].substr(1, segments[i].size() - 2)] = net::UrlDecode(wanted[i]);
      } else {
        same = segments[i] == wanted[i];
      }
    }
    if (!same) continue;
    path_known = true;
    if (route.method != request.method) continue;
    parts = std::move(found);
    return &route;
  }
  return nullptr;
}

namespace {

net::Task<void> SendAnswer(net::Exchange& exchange, Answer answer) {
  net::Response response;
  response.status = answer.status;
  response.headers["content-type"] = "application/json";
  // Texts of the cluster's programs may hold anything; what is no UTF-8 is replaced rather than refused.
  response.body = answer.body->dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  const Status sent = co_await exchange.Send(std::move(response));
  (void)sent;
}

// The user's name; the number where there is none.
std::string NameOfUser(uid_t uid) {
  static std::map<uid_t, std::string> known;  // loop thread only
  const auto found = known.find(uid);
  if (found != known.end()) return found->second;
  passwd room{};
  passwd* entry = nullptr;
  std::vector<char> strings(16u << 10);
  (void)::getpwuid_r(uid, &room, strings.data(), strings.size(), &entry);
  return known[uid] = entry ? entry->pw_name : std::to_string(uid);
}

// Whoever is at the socket's other end, as the kernel tells. Root may say for whom it acts, as sudo does.
std::string WhoAsks(const net::Request& request) {
  const auto header = [&](const char* name) {
    const auto found = request.headers.find(name);
    return found == request.headers.end() ? "" : found->second.substr(0, 64);
  };
  const std::string peer = header("x-muster-peer"), said = header("x-muster-user");
  if (peer.empty()) return said.empty() ? "someone" : said;  // no Unix socket
  const auto uid = static_cast<uid_t>(std::strtoul(peer.c_str(), nullptr, 10));
  const std::string name = NameOfUser(uid);
  return uid == 0 && !said.empty() && said != name ? name + " as " + said : name;
}

}  // namespace

net::Task<void> Api::Handle(net::Exchange& exchange) {
  Call call{.request = &exchange.request(), .parts = {}, .body = nullptr, .who = "someone"};
  bool path_known = false;
  const Route* route = Match(*call.request, call.parts, path_known);
  if (!route) {
    Error error = path_known ? Error::Invalid("method-unknown", "{} can't be done with {}",
                                              call.request->target, call.request->method)
                             : Error::NotFound("path-unknown", "there is no {}", call.request->target);
    Answer answer = Bad(std::move(error).Hint("GET /v1/openapi.json lists all requests"));
    co_await SendAnswer(exchange, std::move(answer));
    co_return;
  }
  call.who = WhoAsks(*call.request);
  auto body = std::make_shared<Json>(Json::object());
  if (!call.request->body.empty() && !route->bytes) {
    auto parsed = api::ParseJson(call.request->body);
    std::optional<Error> error;
    if (!parsed.ok()) {
      error = parsed.error();
    } else if (!parsed->is_object()) {
      error = Error::Invalid("bad-json", "the body is not an object");
    } else {
      *body = std::move(*parsed);
    }
    if (error) {
      Answer answer = Bad(*error);
      co_await SendAnswer(exchange, std::move(answer));
      co_return;
    }
  }
  call.body = body;
  if (route->streamer) {
    co_await (this->*route->streamer)(exchange, std::move(call));
    co_return;
  }
  Answer answer = co_await (this->*route->handler)(std::move(call));
  co_await SendAnswer(exchange, std::move(answer));
}

Json Api::OpenApi() const {
  Json paths = Json::object();
  for (const Route& route : Routes()) {
    Json operation{{"summary", route.summary}};
    Json parameters = Json::array();
    for (const std::string& segment : Segments(route.path)) {
      if (segment.front() != '{') continue;
      parameters.push_back({{"name", segment.substr(1, segment.size() - 2)},
                            {"in", "path"},
                            {"required", true},
                            {"schema", {{"type", "string"}}}});
    }
    Json properties = Json::object();
    for (const std::string& field : route.fields) {
      const size_t colon = field.find(':');
      Json schema{{"type", field.substr(colon + 1)}};
      if (field.substr(colon + 1) == "array") schema["items"] = {{"type", "string"}};
      if (route.method == "GET") {
        parameters.push_back({{"name", field.substr(0, colon)}, {"in", "query"}, {"schema", schema}});
      } else {
        properties[field.substr(0, colon)] = schema;
      }
    }
    if (!parameters.empty()) operation["parameters"] = parameters;
    if (route.bytes) {
      operation["requestBody"] = {{"content", {{"application/octet-stream", Json::object()}}}};
    } else if (!properties.empty()) {
      operation["requestBody"] = {
          {"content",
           {{"application/json", {{"schema", {{"type", "object"}, {"properties", properties}}}}}}}};
    }
    const char* type = route.streamer ? "text/event-stream" : "application/json";
    const Json schema = route.streamer ? Json{{"type", "string"}} : Json{{"type", "object"}};
    operation["responses"] = {
        {"200", {{"description", "done"}, {"content", {{type, {{"schema", schema}}}}}}},
        {"default",
         {{"description", "an error, with the HTTP status of its kind"},
          {"content", {{"application/json", {{"schema", {{"$ref", "#/components/schemas/Error"}}}}}}}}}};
    std::string method = route.method;
    for (char& c : method) c = static_cast<char>(std::tolower(c));
    operation["operationId"] = OperationId(method, route.path);
    paths[route.path][method] = operation;
  }
  const Json text{{"type", "string"}};
  const Json error{{"type", "object"},
                   {"required", {"kind", "code", "message"}},
                   {"properties",
                    {{"kind", text},
                     {"code", text},
                     {"message", text},
                     {"hint", text},
                     {"evidence", {{"type", "array"}, {"items", text}}}}}};
  return {{"openapi", "3.1.0"},
          {"info",
           {{"title", "muster"},
            {"version", MUSTER_VERSION},
            {"description", "Served on a Unix socket. See docs/api.md for the meaning of each field."}}},
          {"paths", paths},
          {"components", {{"schemas", {{"Error", error}}}}}};
}

}  // namespace muster::server
