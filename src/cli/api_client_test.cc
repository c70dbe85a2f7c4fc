#include "cli/api_client.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "api/json.h"
#include "base/files.h"

namespace muster::cli {
namespace {

using testing::ElementsAre;

// A server on the client's own loop: both take turns on one thread.
class ApiClientTest : public testing::Test {
 protected:
  ApiClientTest()
      : folder_(fs::temp_directory_path() / ("muster-api-test-" + std::to_string(getpid()))),
        api_(folder_ / "api.sock", "anna") {
    fs::create_directories(folder_);
  }
  ~ApiClientTest() override {
    server_.reset();
    fs::remove_all(folder_);
  }

  void Serve(net::HttpServer::Handler handler) {
    net::Endpoint endpoint;
    endpoint.socket_path = (folder_ / "api.sock").string();
    auto server = net::HttpServer::Listen(api_.loop(), endpoint, std::move(handler));
    ASSERT_TRUE(server.ok()) << server.error().Text();
    server_ = std::move(server).value();
  }

  fs::path folder_;
  ApiClient api_;
  std::unique_ptr<net::HttpServer> server_;
};

net::Task<void> Echo(net::Exchange& exchange) {
  net::Response response;
  const net::Request& request = exchange.request();
  const auto user = request.headers.find("x-muster-user");
  response.body = Json({{"method", request.method},
                        {"target", request.target},
                        {"body", request.body},
                        {"user", user == request.headers.end() ? "" : user->second}})
                      .dump();
  Status sent = co_await exchange.Send(std::move(response));
}

TEST_F(ApiClientTest, SendsJsonAndSaysWhoAsks) {
  Serve(Echo);
  const auto answer = api_.Ask("POST", ClusterTarget("mall@rehearsal", "/stop"), {{"names", {"a"}}});
  ASSERT_TRUE(answer.ok()) << answer.error().Text();
  EXPECT_EQ((*answer)["method"], "POST");
  EXPECT_EQ((*answer)["target"], "/v1/clusters/mall%40rehearsal/stop");
  EXPECT_EQ((*answer)["body"], R"({"names":["a"]})");
  EXPECT_EQ((*answer)["user"], "anna");
}

net::Task<void> Refuse(net::Exchange& exchange) {
  net::Response response;
  response.status = 412;
  const Error error = Error::Refused("plan-moved", "things have moved").Hint("plan again");
  response.body = api::ToJson(error).dump();
  Status sent = co_await exchange.Send(std::move(response));
}

TEST_F(ApiClientTest, GivesTheServersErrorAsItsOwn) {
  Serve(Refuse);
  const auto answer = api_.Ask("GET", "/v1/clusters");
  ASSERT_FALSE(answer.ok());
  EXPECT_EQ(answer.error(), Error::Refused("plan-moved", "things have moved").Hint("plan again"));
}

net::Task<void> Babble(net::Exchange& exchange) {
  net::Response response;
  response.body = "<html>";
  Status sent = co_await exchange.Send(std::move(response));
}

TEST_F(ApiClientTest, SaysSoWhereTheAnswerIsNoJson) {
  Serve(Babble);
  EXPECT_EQ(api_.Ask("GET", "/v1/clusters").error().code(), "bad-answer");
}

TEST_F(ApiClientTest, SaysSoWhereNobodyAnswers) {
  EXPECT_EQ(api_.Ask("GET", "/v1/clusters").error().code(), "server-gone");
}

net::Task<void> StreamThree(net::Exchange& exchange) {
  net::Response head;
  head.headers["content-type"] = "text/event-stream";
  Status status = co_await exchange.Start(std::move(head));
  for (int i = 1; i <= 3 && status.ok(); ++i) {
    std::string chunk = net::FormatSse("step", Json({{"number", i}}).dump());
    status = co_await exchange.Write(std::move(chunk));
  }
  status = co_await exchange.Finish();
}

TEST_F(ApiClientTest, HandsOnTheEventsOfAStream) {
  Serve(StreamThree);
  std::vector<int> numbers;
  OnEvent on_event = [&](const std::string& name, const Json& data) {
    EXPECT_EQ(name, "step");
    numbers.push_back(data.value("number", 0));
    return true;
  };
  const Status status = api_.loop().RunTask(api_.StreamTask("GET", "/v1/runs/r/events", "", on_event));
  EXPECT_TRUE(status.ok());
  EXPECT_THAT(numbers, ElementsAre(1, 2, 3));
}

TEST_F(ApiClientTest, GivesTheErrorThatComesInsteadOfAStream) {
  Serve(Refuse);
  OnEvent on_event = [](const std::string&, const Json&) { return true; };
  const Status status = api_.loop().RunTask(api_.StreamTask("GET", "/v1/runs/r/events", "", on_event));
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code(), "plan-moved");
}

}  // namespace
}  // namespace muster::cli
