// The server's API (docs/api.md) as seen by a command. One loop, which it owns, and one thread; `Ask` blocks
// until the answer.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/result.h"
#include "net/http.h"
#include "net/loop.h"

namespace muster::cli {

using Json = nlohmann::json;

// An event of a stream: its name and its data.
using OnEvent = std::function<bool(const std::string& name, const Json& data)>;

class ApiClient {
 public:
  // `user` is told to the server as the one who asks.
  ApiClient(std::filesystem::path socket_path, std::string user);
  ~ApiClient();

  // Where ClusterFor leaves what a hint needs to name the cluster (Console::cluster_option); may be null.
  std::string* cluster_option = nullptr;

  net::Loop& loop() { return loop_; }
  const std::filesystem::path& socket_path() const { return socket_path_; }

  // The body of a 2xx answer; anything else is the error that the body describes. Code "server-gone" where
  // nobody answers.
  Result<Json> Ask(std::string method, std::string target);
  Result<Json> Ask(std::string method, std::string target, const Json& body);
  // The same with bytes that aren't JSON.
  Result<Json> SendBytes(std::string target, std::string bytes);

  net::Task<Result<Json>> AskTask(std::string method, std::string target, std::string body);
  // POSTs bytes that aren't JSON, however long the server takes to take them.
  net::Task<Result<Json>> PostBytesTask(std::string target, std::string bytes);
  // Hands on each server-sent event until `on_event` returns false, the server ends the stream, or it breaks.
  net::Task<Status> StreamTask(std::string method, std::string target, std::string body, OnEvent on_event);

 private:
  net::Request MakeRequest(std::string method, std::string target, std::string body) const;
  net::Endpoint endpoint() const;

  net::Loop loop_;
  std::filesystem::path socket_path_;
  std::string user_;
};

// JSON on one line; bytes that are no UTF-8 are replaced, since what people write may hold any.
std::string DumpJson(const Json& json);

// "/v1/clusters/mall%40rehearsal/logs"
std::string ClusterTarget(const std::string& key, const std::string& rest = "");

}  // namespace muster::cli
