#include "cli/follow.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <csignal>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "net/http.h"

namespace muster::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// What the server of the test does; its own requests change it.
struct FakeRun {
  std::vector<std::pair<std::string, Json>> events;
  std::vector<std::pair<std::string, Json>> way_back;  // of the run r2
  std::map<std::string, std::vector<Json>> runs;       // answers to GET, one after the other; the last stays
  bool wait_for_cancel = false;                        // before the last event
  int interrupts = 0;                                  // so many Ctrl-C at once, as soon as somebody follows
  std::vector<std::string> asked;
  net::Promised<bool> cancelled;
};

net::Task<void> Serve(net::Exchange& exchange, std::shared_ptr<FakeRun> run) {
  const net::Request request = exchange.request();
  run->asked.push_back(request.method + " " + request.path());
  const bool first = request.path() == "/v1/runs/r1/events";
  if (first || request.path() == "/v1/runs/r2/events") {
    net::Response head;
    head.headers["content-type"] = "text/event-stream";
    Status status = co_await exchange.Start(std::move(head));
    for (int i = 0; i < run->interrupts; ++i) raise(SIGINT);
    const auto& events = first ? run->events : run->way_back;
    for (size_t i = 0; i < events.size(); ++i) {
      if (run->wait_for_cancel && i + 1 == events.size()) {
        const bool asked = co_await run->cancelled;
        EXPECT_TRUE(asked);
      }
      std::string chunk = net::FormatSse(events[i].first, events[i].second.dump());
      status = co_await exchange.Write(std::move(chunk));
    }
    status = co_await exchange.Finish();
    co_return;
  }
  if (request.path() == "/v1/runs/r1/cancel") run->cancelled.Set(true);
  net::Response response;
  response.body = "{}";
  if (const auto told = run->runs.find(request.path()); told != run->runs.end()) {
    response.body = told->second.front().dump();
    if (told->second.size() > 1) told->second.erase(told->second.begin());
  }
  Status sent = co_await exchange.Send(std::move(response));
}

class FollowTest : public testing::Test {
 protected:
  FollowTest()
      : folder_(fs::temp_directory_path() / ("muster-follow-test-" + std::to_string(getpid()))),
        api_(folder_ / "server" / "api.sock", "anna") {
    fs::create_directories(folder_ / "server");
    context_.home = folder_;
    context_.console.out = [this](std::string_view text) { out_ += text; };
    context_.console.err = [this](std::string_view text) { err_ += text; };
    context_.console.size = [] { return Size{60, 10}; };
    net::Endpoint endpoint;
    endpoint.socket_path = api_.socket_path().string();
    net::HttpServer::Handler handler = [run = run_](net::Exchange& exchange) { return Serve(exchange, run); };
    auto server = net::HttpServer::Listen(api_.loop(), endpoint, handler);
    EXPECT_TRUE(server.ok());
    server_ = std::move(server).value();
  }
  ~FollowTest() override {
    server_.reset();
    fs::remove_all(folder_);
  }

  Followed Follow(bool json = false, bool goes_back = false, const std::string& up = "") {
    Json started = {
        {"cluster", "demo"},
        {"run", "r1"},
        {"plan",
         {{"id", "p"},
          {"steps",
           {{{"id", "web-1.start"}, {"instance", "web-1"}, {"host", "local"}, {"verb", "start"}}}}}}};
    if (goes_back) started["goes_back"] = true;
    return FollowRun(context_, api_, started, json, up);
  }

  fs::path folder_;
  Context context_;
  ApiClient api_;
  std::shared_ptr<FakeRun> run_ = std::make_shared<FakeRun>();
  std::unique_ptr<net::HttpServer> server_;
  std::string out_, err_;
};

Json Step(const std::string& state) {
  return {{"id", "web-1.start"},
          {"instance", "web-1"},
          {"verb", "start"},
          {"state", state},
          {"done", state == "done" ? 1 : 0},
          {"total", 1}};
}

TEST_F(FollowTest, PrintsWhatWasDoneAndEndsWithTheRun) {
  run_->events = {
      {"step", Step("sent")}, {"step", Step("done")}, {"finished", {{"run", "r1"}, {"state", "done"}}}};
  const Followed followed = Follow();
  EXPECT_TRUE(followed.done);
  EXPECT_EQ(followed.exit_code, 0);
  EXPECT_EQ(out_, "[1/1] web-1  ready\n");
}

TEST_F(FollowTest, PrintsEventsAsJsonLines) {
  run_->events = {{"step", Step("done")}, {"finished", {{"run", "r1"}, {"state", "done"}}}};
  EXPECT_TRUE(Follow(true).done);
  std::vector<std::string> names;
  std::string rest = out_;
  for (size_t end; (end = rest.find('\n')) != std::string::npos; rest.erase(0, end + 1)) {
    names.push_back(Json::parse(rest.substr(0, end)).value("event", ""));
  }
  EXPECT_THAT(names, ElementsAre("started", "step", "finished"));
}

TEST_F(FollowTest, DrawsOnATerminal) {
  context_.console.out_is_terminal = true;
  run_->events = {{"step", Step("done")}, {"finished", {{"run", "r1"}, {"state", "done"}}}};
  EXPECT_TRUE(Follow().done);
  EXPECT_THAT(out_, HasSubstr("✓ web-1  local  ready"));
  EXPECT_THAT(out_, HasSubstr("\x1b[2A"));
}

TEST_F(FollowTest, TellsWhyARunFailed) {
  const Json error = {{"kind", "conflict"},
                      {"code", "port-taken"},
                      {"message", "port 80 is taken"},
                      {"evidence", {"bind: in use"}}};
  Json failed = Step("failed");
  failed["error"] = error;
  run_->events = {{"step", failed}, {"finished", {{"run", "r1"}, {"state", "failed"}}}};
  const Followed followed = Follow();
  EXPECT_EQ(followed.exit_code, 1);
  EXPECT_THAT(err_, HasSubstr("error: web-1: port 80 is taken [port-taken]"));
  EXPECT_THAT(err_, HasSubstr("  | bind: in use"));
}

TEST_F(FollowTest, SaysTheWaysOnWhereARollbackFailed) {
  run_->events = {
      {"step", Step("failed")},
      {"finished", {{"run", "r1"}, {"action", "rollback"}, {"state", "failed"}, {"revision", 7}}}};
  EXPECT_EQ(Follow().exit_code, 1);
  EXPECT_THAT(err_, HasSubstr("go to the last revision that was good before: muster rollback, or mend"));
}

Json Failed(const Json& more) {
  Json run = {{"run", "r1"},
              {"action", "up"},
              {"state", "failed"},
              {"revision", 2},
              {"error", {{"kind", "timeout"}, {"code", "not-ready"}, {"message", "never"}}}};
  run.update(more);
  return run;
}

TEST_F(FollowTest, FollowsTheWayBackThatTheEndNames) {
  run_->events = {{"finished", Failed({{"rolled_back_by", "r2"}})}};
  run_->way_back = {{"finished", {{"run", "r2"}, {"action", "rollback"}, {"state", "done"}}}};
  EXPECT_EQ(Follow().exit_code, 1);
  EXPECT_EQ(out_, "going back to the last good revision\nwent back: the last good revision runs again\n");
  EXPECT_THAT(err_, testing::Not(HasSubstr("muster rollback")));
}

// Whatever runs next is another's.
TEST_F(FollowTest, FollowsNoOtherRunThanTheWayBack) {
  run_->events = {{"finished", Failed(Json::object())}};
  EXPECT_EQ(Follow(false, true).exit_code, 1);
  EXPECT_EQ(out_, "");
  EXPECT_THAT(err_, HasSubstr("or go back: muster rollback"));
}

TEST_F(FollowTest, SaysWhyThereIsNoWayBack) {
  run_->events = {{"finished", Failed({{"no_way_back",
                                        {{"kind", "conflict"},
                                         {"code", "secret-missing"},
                                         {"message", "a isn't set"},
                                         {"hint", "muster secret set a"}}}})}};
  EXPECT_EQ(Follow(false, true).exit_code, 1);
  EXPECT_THAT(err_, HasSubstr("going back to the last good revision: a isn't set [secret-missing]\n"
                              "  fix: muster secret set a\n"));
  EXPECT_THAT(err_, HasSubstr("or go back: muster rollback"));
}

TEST_F(FollowTest, TellsNoWayBackWhereThereIsNothingToGoBackTo) {
  run_->events = {{"finished", Failed({{"cluster", "demo"}})}};
  run_->runs["/v1/clusters/demo/history"] = {{{"revisions", Json::array()}, {"goes_back_to", 0}}};
  EXPECT_EQ(Follow().exit_code, 1);
  EXPECT_THAT(err_, HasSubstr("there is no earlier good revision to go back to"));
  EXPECT_THAT(err_, testing::Not(HasSubstr("muster rollback")));
}

TEST_F(FollowTest, SaysSoOfTheFirstRevisionToo) {
  run_->events = {{"finished", Failed({{"revision", 1}})}};
  EXPECT_EQ(Follow().exit_code, 1);
  EXPECT_THAT(err_, HasSubstr("there is no earlier good revision to go back to"));
}

TEST_F(FollowTest, AwaitsTheWayBackThatTheNextServerTakes) {
  run_->events = {{"finished", Failed({{"goes_back", true}})}};
  run_->runs["/v1/runs/r1"] = {Failed({{"goes_back", true}}), Failed({{"rolled_back_by", "r2"}})};
  run_->way_back = {{"finished", {{"run", "r2"}, {"action", "rollback"}, {"state", "done"}}}};
  EXPECT_EQ(Follow().exit_code, 1);
  EXPECT_THAT(out_, HasSubstr("went back: the last good revision runs again\n"));
}

TEST_F(FollowTest, SaysTheWaysOnWhereAResumeFailed) {
  run_->events = {{"finished", Failed({{"action", "resume"}})}};
  EXPECT_EQ(Follow().exit_code, 1);
  EXPECT_THAT(err_, HasSubstr("mend it and run muster up FILE again, or go back: muster rollback"));
}

TEST_F(FollowTest, NamesTheFileThatIsToBeMended) {
  run_->events = {{"finished", Failed({{"action", "up"}})}};
  EXPECT_EQ(Follow(false, false, "muster up shop.yaml --rehearse").exit_code, 1);
  EXPECT_THAT(err_, HasSubstr("mend it and run muster up shop.yaml --rehearse again, or go back"));
}

TEST_F(FollowTest, SaysWhoKeepsTheReleaseOfACancelledRun) {
  context_.console.cluster_option = " -c demo";
  run_->events = {{"step", Step("sent")},
                  {"finished", {{"run", "r1"}, {"action", "up"}, {"state", "cancelled"}, {"revision", 2}}}};
  EXPECT_EQ(Follow(false, false, "muster up 'my shop.yaml'").exit_code, 1);
  EXPECT_THAT(err_, HasSubstr("the run was cancelled; who has the new release keeps it\n"
                              "  on the new release, not ready yet: web-1\n"
                              "muster up 'my shop.yaml' goes on with the rest; "
                              "muster rollback -c demo goes back\n"));
  EXPECT_THAT(err_, testing::Not(HasSubstr("put back")));
}

TEST_F(FollowTest, SaysThatAResumeGoesOnWithWhatNoFileWasGivenFor) {
  context_.console.cluster_option = " -c demo";
  run_->events = {
      {"finished", {{"run", "r1"}, {"action", "scale"}, {"state", "cancelled"}, {"revision", 2}}}};
  EXPECT_EQ(Follow().exit_code, 1);
  EXPECT_THAT(err_, HasSubstr("muster resume -c demo goes on with the rest; muster rollback -c demo"));
}

TEST_F(FollowTest, SaysWhoTookTheClusterDown) {
  const Json error = {{"kind", "conflict"},
                      {"code", "cancelled-by-down"},
                      {"message", "bob takes demo down"},
                      {"hint", "muster up FILE brings it up again"}};
  run_->events = {
      {"step", Step("sent")},
      {"finished",
       {{"run", "r1"}, {"action", "up"}, {"state", "cancelled"}, {"revision", 2}, {"error", error}}}};
  EXPECT_EQ(Follow().exit_code, 1);
  EXPECT_THAT(err_, HasSubstr("the run was cancelled: bob takes demo down [cancelled-by-down]\n"
                              "  fix: muster up FILE brings it up again\n"));
  EXPECT_THAT(err_, testing::Not(HasSubstr("rollback")));
}

TEST_F(FollowTest, CancelsTheRunOnCtrlC) {
  run_->events = {{"finished", {{"run", "r1"}, {"state", "cancelled"}}}};
  run_->wait_for_cancel = true;
  run_->interrupts = 1;
  const Followed followed = Follow();
  EXPECT_EQ(followed.exit_code, 130);
  EXPECT_THAT(run_->asked, testing::Contains("POST /v1/runs/r1/cancel"));
  EXPECT_THAT(err_, HasSubstr("cancelling"));
}

TEST_F(FollowTest, TakesTwoInterruptsAtOnceForOne) {
  run_->events = {{"finished", {{"run", "r1"}, {"state", "cancelled"}}}};
  run_->wait_for_cancel = true;
  run_->interrupts = 2;
  EXPECT_EQ(Follow().exit_code, 130);
  EXPECT_THAT(err_, testing::Not(HasSubstr("[left]")));
}

TEST_F(FollowTest, SaysThatAPausedRunCanBeResumed) {
  run_->events = {{"finished", {{"run", "r1"}, {"state", "paused"}}}};
  EXPECT_EQ(Follow().exit_code, 1);
  EXPECT_THAT(err_, HasSubstr("muster resume"));
}

}  // namespace
}  // namespace muster::cli
