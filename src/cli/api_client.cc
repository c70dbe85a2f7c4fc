#include "cli/api_client.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "api/json.h"
#include "cli/answer.h"

namespace muster::cli {
namespace {

// The server answers `up` and `plan` once it has looked at every host: that may take a while.
constexpr Duration kAnswerWithin = 180s;
// Streams are silent for as long as nothing happens; a server that dies closes the socket.
constexpr Duration kSilentMost = 24h;

Result<Json> ReadAnswer(const net::Response& response) {
  const bool good = response.status >= 200 && response.status < 300;
  if (good && response.body.empty()) return Json(Json::object());
  auto json = api::ParseJson(response.body);
  if (!json.ok() || !json->is_object()) {
    return Error::Internal("bad-answer", "the server answered with status {} and no JSON", response.status)
        .Hint("muster server logs");
  }
  if (good) return json;
  Error error = api::ErrorFrom(*json);
  // The findings of a bad file stand beside the error.
  const auto findings = json->find("findings");
  if (findings != json->end() && findings->is_array() && error.evidence().empty()) {
    std::vector<std::string> lines;
    for (const Json& finding : *findings) {
      if (!finding.is_object()) continue;
      std::string place = Text(finding, "file");
      if (Number(finding, "line") > 0)
        place += fmt::format(":{}:{}", Number(finding, "line"), Number(finding, "column"));
      if (!place.empty()) place += ": ";
      lines.push_back(fmt::format("{}{} [{}]", place, Text(finding, "message"), Text(finding, "code")));
      if (const std::string fix = Text(finding, "fix"); !fix.empty()) lines.push_back("fix: " + fix);
    }
    return std::move(error).Evidence(std::move(lines));
  }
  return error;
}

Error Gone(const Error& error) {
  if (error.code() != "connect-failed") return error;
  return Error::Unavailable("server-gone", "the server doesn't answer").Hint("muster server start");
}

}  // namespace

ApiClient::ApiClient(std::filesystem::path socket_path, std::string user)
    : socket_path_(std::move(socket_path)), user_(std::move(user)) {}
ApiClient::~ApiClient() = default;

net::Endpoint ApiClient::endpoint() const {
  net::Endpoint endpoint;
  endpoint.socket_path = socket_path_.string();
  return endpoint;
}

net::Request ApiClient::MakeRequest(std::string method, std::string target, std::string body) const {
  net::Request request;
  request.method = std::move(method);
  request.target = std::move(target);
  request.headers["host"] = "muster";
  request.headers["x-muster-user"] = user_;
  if (!body.empty()) request.headers["content-type"] = "application/json";
  request.body = std::move(body);
  return request;
}

net::Task<Result<Json>> ApiClient::AskTask(std::string method, std::string target, std::string body) {
  net::Request request = MakeRequest(std::move(method), std::move(target), std::move(body));
  net::Endpoint server = endpoint();
  auto response = co_await net::Fetch(loop_, std::move(server), std::move(request), kAnswerWithin);
  if (!response.ok()) co_return Gone(response.error());
  co_return ReadAnswer(*response);
}

net::Task<Result<Json>> ApiClient::PostBytesTask(std::string target, std::string bytes) {
  net::Request request = MakeRequest("POST", std::move(target), std::move(bytes));
  request.headers["content-type"] = "application/octet-stream";
  net::Endpoint server = endpoint();
  auto response = co_await net::Fetch(loop_, std::move(server), std::move(request), kSilentMost);
  if (!response.ok()) co_return Gone(response.error());
  co_return ReadAnswer(*response);
}

Result<Json> ApiClient::Ask(std::string method, std::string target) {
  return loop_.RunTask(AskTask(std::move(method), std::move(target), ""));
}

Result<Json> ApiClient::Ask(std::string method, std::string target, const Json& body) {
  return loop_.RunTask(AskTask(std::move(method), std::move(target), DumpJson(body)));
}

Result<Json> ApiClient::SendBytes(std::string target, std::string bytes) {
  return loop_.RunTask(AskTask("PUT", std::move(target), std::move(bytes)));
}

net::Task<Status> ApiClient::StreamTask(std::string method, std::string target, std::string body,
                                        OnEvent on_event) {
  net::Request request = MakeRequest(std::move(method), std::move(target), std::move(body));
  request.headers["accept"] = "text/event-stream";
  net::Endpoint server = endpoint();
  auto parser = std::make_shared<net::SseParser>();
  std::function<bool(std::string_view)> on_chunk = [parser, on_event](std::string_view chunk) {
    for (const net::SseParser::Event& event : parser->Feed(chunk)) {
      const auto data = api::ParseJson(event.data);
      if (data.ok() && !on_event(event.name, *data)) return false;
    }
    return true;
  };
  auto response = co_await net::FetchStream(loop_, std::move(server), std::move(request), std::move(on_chunk),
                                            kSilentMost);
  if (!response.ok()) co_return Gone(response.error());
  if (response->status >= 300) {
    auto answer = ReadAnswer(*response);
    if (!answer.ok()) co_return std::move(answer).error();
  }
  co_return Done();
}

std::string DumpJson(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

std::string ClusterTarget(const std::string& key, const std::string& rest) {
  return "/v1/clusters/" + net::UrlEncode(key) + rest;
}

}  // namespace muster::cli
