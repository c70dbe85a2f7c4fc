#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/digest.h"
#include "base/files.h"
#include "control/testing_agent.h"
#include "server/api.h"
#include "server/clusters.h"
#include "server/events.h"

namespace muster::server {
namespace {

using control::FakeAgent;
using control::Lines;
using control::World;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kMall = R"(cluster: mall
services:
  web:
    kind: app
    command: run --port={{ports.http}}
    instances: 2
    ports: { http: 8101 }
)";

net::Task<Status> HostsAreRemoved() { co_return Done(); }

// A client that takes whatever it is sent; of streams without an end it leaves at once.
class FakeExchange : public net::Exchange {
 public:
  explicit FakeExchange(net::Request request, bool leaves = false)
      : request_(std::move(request)), leaves_(leaves) {}

  const net::Request& request() const override { return request_; }
  net::Task<Status> Send(net::Response response) override {
    ++answers;
    head = std::move(response);
    co_return Done();
  }
  net::Task<Status> Start(net::Response response) override {
    ++answers;
    head = std::move(response);
    co_return Done();
  }
  net::Task<Status> Write(std::string chunk) override {
    head.body += chunk;
    co_return Done();
  }
  net::Task<Status> Finish() override {
    finished = true;
    co_return Done();
  }
  bool peer_gone() const override { return gone_; }
  void OnGone(std::function<void()> act) override {
    if (!leaves_) return;
    gone_ = true;
    act();
  }

  net::Response head;  // with all chunks as its body
  int answers = 0;
  bool finished = false;

 private:
  const net::Request request_;
  const bool leaves_;
  bool gone_ = false;
};

// A server without its sockets for people: Api, clusters, store and agents' hub are real, the agents behind
// it are not.
class ServerTest : public testing::Test {
 protected:
  ServerTest() : folder_(fs::temp_directory_path() / ("muster-server-" + RandomHex(6))) {
    auto store = store::Store::Open(folder_.string());
    EXPECT_TRUE(store.ok());
    store_ = std::move(store).value();
    const std::string socket = (folder_ / "agents.sock").string();
    control::Agents::Callbacks callbacks;
    callbacks.start = [this, socket](const control::Agents::Wanted& wanted) {
      auto& fake = fakes_[wanted.host];
      fake = std::make_shared<FakeAgent>(world_, wanted.cluster, wanted.host);
      net::Spawn(FakeAgent::Connect(fake, loop_, socket));
      return Done();
    };
    callbacks.changed = [this](const std::string& cluster, const Observed& observed) {
      if (const auto controller = clusters_->Find(cluster)) controller->OnChanged(observed);
    };
    callbacks.connected = [this](const std::string& cluster, const std::string& host, bool connected) {
      if (const auto controller = clusters_->Find(cluster)) controller->OnConnected(host, connected);
    };
    callbacks.blob_path = [this](const std::string& sha256) { return store_->BlobPath(sha256); };
    callbacks.released = [](const std::string&, const std::string&, int64_t) { return false; };
    auto agents = control::Agents::Listen(loop_, socket, std::move(callbacks));
    EXPECT_TRUE(agents.ok());
    agents_ = std::move(agents).value();

    control::Dependencies dependencies{.loop = &loop_, .store = store_.get(), .agents = agents_.get()};
    dependencies.publish = [this](const std::string& cluster, const std::string& name,
                                  const std::string& data) {
      if (name == "started") events_.BeginRun(cluster, Json::parse(data).value("run", ""));
      events_.Publish(cluster, name, data);
    };
    dependencies.finished = [this](const std::string& cluster, const control::RunProgress& progress) {
      events_.EndRun(cluster, progress.row.id, RunJson(progress).dump());
    };
    dependencies.remove_hosts = [](std::string) { return HostsAreRemoved(); };
    dependencies.forget = [this](const std::string& cluster) {
      loop_.Post([this, cluster] { clusters_->Forget(cluster); });
    };
    clusters_ = std::make_unique<Clusters>(dependencies, folder_.string());
    api_ = std::make_unique<Api>(Api::Dependencies{.loop = &loop_,
                                                   .store = store_.get(),
                                                   .agents = agents_.get(),
                                                   .clusters = clusters_.get(),
                                                   .events = &events_,
                                                   .home = folder_.string(),
                                                   .started = WallNow(),
                                                   .stop = [] {}});
  }
  ~ServerTest() override {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }

  struct Told {
    int status = 0;
    std::string text;
    Json body;  // null where the answer is a stream
    std::string code() const { return body.is_object() ? body.value("code", "") : ""; }
  };

  net::Task<bool> Handle(FakeExchange& exchange) {
    co_await api_->Handle(exchange);
    co_return true;
  }

  Told AskText(const std::string& method, const std::string& target, const std::string& body,
               bool leaves = false) {
    net::Request request{.method = method, .target = target, .headers = {}, .body = body};
    request.headers["x-muster-user"] = "ann";
    FakeExchange exchange(std::move(request), leaves);
    const auto guard = loop_.After(10s, [] { FAIL() << "no answer in ten seconds"; });
    loop_.RunTask(Handle(exchange));
    loop_.Cancel(guard);
    EXPECT_EQ(exchange.answers, 1) << method << " " << target;
    Told told{.status = exchange.head.status, .text = exchange.head.body, .body = {}};
    if (exchange.head.headers["content-type"] == "application/json") {
      told.body = Json::parse(exchange.head.body);
    } else {
      EXPECT_TRUE(exchange.finished);
    }
    return told;
  }
  Told Ask(const std::string& method, const std::string& target, const Json& body = nullptr,
           bool leaves = false) {
    return AskText(method, target, body.is_null() ? "" : body.dump(), leaves);
  }

  static Json File(const std::string& text) {
    return {{"file_name", "mall.yaml"}, {"text", text}, {"files", Json::object()}};
  }
  // With another command, thus another revision.
  static std::string Mall(const std::string& command) {
    std::string text = kMall;
    return text.replace(text.find("run "), 4, command + " ");
  }

  // Brings `text` up and follows the run to its end; returns its id.
  std::string BringUp(const std::string& text) { return BringUpFile(File(text)); }
  std::string BringUpFile(const Json& file) {
    const Told started = Ask("POST", "/v1/up", file);
    EXPECT_EQ(started.status, 200) << started.text;
    const std::string run = started.body.value("run", "");
    const Told events = Ask("GET", "/v1/runs/" + run + "/events");
    EXPECT_THAT(events.text, HasSubstr("event: finished"));
    EXPECT_THAT(events.text, HasSubstr("\"state\":\"done\""));
    return run;
  }

  // By table.
  std::map<std::string, int> RowCounts() {
    sqlite3* database = nullptr;
    EXPECT_EQ(sqlite3_open_v2((folder_ / "muster.db").c_str(), &database, SQLITE_OPEN_READONLY, nullptr),
              SQLITE_OK);
    const auto query = [&](const std::string& sql, const std::function<void(sqlite3_stmt*)>& on_row) {
      sqlite3_stmt* statement = nullptr;
      EXPECT_EQ(sqlite3_prepare_v2(database, sql.c_str(), -1, &statement, nullptr), SQLITE_OK) << sql;
      while (sqlite3_step(statement) == SQLITE_ROW) on_row(statement);
      sqlite3_finalize(statement);
    };
    std::map<std::string, int> counts;
    query("SELECT name FROM sqlite_master WHERE type = 'table'",
          [&](sqlite3_stmt* row) { counts[reinterpret_cast<const char*>(sqlite3_column_text(row, 0))] = 0; });
    for (auto& [table, count] : counts) {
      query("SELECT COUNT(*) FROM \"" + table + "\"",
            [&count = count](sqlite3_stmt* row) { count = sqlite3_column_int(row, 0); });
    }
    sqlite3_close(database);
    return counts;
  }

  const fs::path folder_;
  net::Loop loop_;
  World world_;
  Events events_;
  std::unique_ptr<store::Store> store_;
  std::map<std::string, std::shared_ptr<FakeAgent>> fakes_;
  std::unique_ptr<control::Agents> agents_;
  std::unique_ptr<Clusters> clusters_;
  std::unique_ptr<Api> api_;
};

TEST_F(ServerTest, SaysWhatItDoesNotKnow) {
  const Told path = Ask("GET", "/v1/nothing");
  EXPECT_EQ(path.status, 404);
  EXPECT_EQ(path.code(), "path-unknown");
  EXPECT_THAT(path.body.value("hint", ""), HasSubstr("openapi"));
  const Told method = Ask("DELETE", "/v1/plan");
  EXPECT_EQ(method.status, 400);
  EXPECT_EQ(method.code(), "method-unknown");
  for (const char* target : {"", "/", "//", "/v1", "/v1/clusters/a/b/c/d", "/v2/plan", "/v1/plan/"}) {
    const Told told = Ask("PATCH", target);
    EXPECT_TRUE(told.code() == "path-unknown" || told.code() == "method-unknown") << target;
  }
  const Told cluster = Ask("GET", "/v1/clusters/mall%40rehearsal");
  EXPECT_EQ(cluster.status, 404);
  EXPECT_EQ(cluster.code(), "unknown-cluster");
  EXPECT_THAT(cluster.body.value("message", ""), HasSubstr("mall@rehearsal"));
  EXPECT_EQ(Ask("GET", "/v1/runs/none").code(), "unknown-run");
  EXPECT_EQ(Ask("POST", "/v1/runs/none/cancel", Json::object()).code(), "run-not-active");
}

TEST_F(ServerTest, RefusesBodiesThatAreNoJsonObject) {
  for (const char* body : {"{", "[1]", "5", "null", "{\"text\":5}", "{\"files\":[]}",
                           "{\"rehearse\":\"yes\"}", "{\"text\":\"\xff\"}", "{\"files\":{\"a\":5}}"}) {
    for (const char* target : {"/v1/check", "/v1/plan", "/v1/up"}) {
      const Told told = AskText("POST", target, body);
      EXPECT_EQ(told.status, 400) << target << " " << body << ": " << told.text;
      EXPECT_NE(told.code(), "") << body;
    }
  }
  EXPECT_EQ(Ask("POST", "/v1/plan", Json{{"text", kMall}, {"options", 5}}).status, 400);
  EXPECT_EQ(Ask("POST", "/v1/plan", Json{{"text", kMall}, {"options", {{"restart", "web"}}}}).status, 400);
  EXPECT_EQ(AskText("POST", "/v1/check", std::string(100'000, '[')).status, 400);
}

TEST_F(ServerTest, CheckTellsWhatIsWrongWithAFile) {
  const Told good = Ask("POST", "/v1/check", File(kMall));
  EXPECT_EQ(good.status, 200);
  EXPECT_THAT(good.body["findings"], IsEmpty()) << good.text;
  const std::string bad_file = "cluster: mall\nservices:\n  web: { kind: app, comand: x }\n";
  const Told bad = Ask("POST", "/v1/check", File(bad_file));
  EXPECT_EQ(bad.status, 200);
  Lines codes;
  for (const Json& finding : bad.body["findings"]) codes.push_back(finding.value("code", ""));
  EXPECT_THAT(codes, ElementsAre("missing-key", "unknown-key"));
  // Who wants to act on it is refused, with the same findings.
  for (const char* target : {"/v1/plan", "/v1/up"}) {
    const Told refused = Ask("POST", target, File(bad_file));
    EXPECT_EQ(refused.status, 400);
    EXPECT_EQ(refused.code(), "bad-cluster-file");
    EXPECT_EQ(refused.body["findings"].size(), 2u);
  }
}

TEST_F(ServerTest, APlanWritesNothing) {
  const auto empty = RowCounts();
  const Told first = Ask("POST", "/v1/plan", File(kMall));
  ASSERT_EQ(first.status, 200) << first.text;
  EXPECT_FALSE(first.body["plan"]["steps"].empty());
  EXPECT_EQ(RowCounts(), empty);
  EXPECT_THAT(Ask("GET", "/v1/clusters").body["clusters"], IsEmpty());
  EXPECT_THAT(world_.orders, IsEmpty());

  BringUp(kMall);
  const size_t orders = world_.orders.size();
  const auto before = RowCounts();
  const auto row = store_->FindCluster("mall");
  EXPECT_FALSE(Ask("POST", "/v1/plan", File(Mall("other"))).body["plan"]["steps"].empty());
  EXPECT_EQ(Ask("POST", "/v1/check", File(Mall("other"))).status, 200);
  const Json only{{"plan_only", true}};
  for (const char* action : {"restart", "stop", "start", "down"}) {
    const Told told = Ask("POST", std::string("/v1/clusters/mall/") + action, only);
    EXPECT_EQ(told.status, 200) << told.text;
    EXPECT_EQ(told.body["run"], "");
  }
  const Json scale{{"service", "web"}, {"instances", "3"}, {"plan_only", true}};
  EXPECT_FALSE(Ask("POST", "/v1/clusters/mall/scale", scale).body["plan"]["steps"].empty());
  EXPECT_EQ(RowCounts(), before);
  EXPECT_EQ((*store_->FindCluster("mall").value()).placement, (*row.value()).placement);
  EXPECT_EQ(world_.orders.size(), orders);
}

TEST_F(ServerTest, AScaleChangesTheKeyThatSaysHowManyThereAre) {
  const Told up = Ask("POST", "/v1/up", File(R"(cluster: mall
services:
  cache: { kind: redis-cluster, masters: 3, replicas: 1, port: 7001, settings: { maxmemory: 1gb } }
)"));
  ASSERT_EQ(up.status, 200) << up.text;
  const std::string run = up.body.value("run", "");  // nobody here can form it
  ASSERT_EQ(Ask("POST", "/v1/runs/" + run + "/cancel", Json::object()).status, 200);
  Ask("GET", "/v1/runs/" + run + "/events");
  const auto scale = [this](const char* number) {
    const Json body{{"service", "cache"}, {"instances", number}, {"plan_only", true}};
    return Ask("POST", "/v1/clusters/mall/scale", body);
  };
  const Told more = scale("4");
  ASSERT_EQ(more.status, 200) << more.text;
  std::set<std::string> instances;
  for (const Json& step : more.body["plan"]["steps"]) instances.insert(step.value("instance", ""));
  EXPECT_TRUE(instances.contains("cache-7") && instances.contains("cache-8")) << more.text;
  EXPECT_FALSE(instances.contains("cache-9")) << more.text;
  EXPECT_EQ(scale("2 per host").code(), "bad-argument");
  EXPECT_EQ(scale("0").code(), "bad-argument");
  const Told few = scale("2");
  EXPECT_EQ(few.code(), "too-few-masters");
  EXPECT_THAT(few.text, HasSubstr("cache can't be scaled to 2: "));
  EXPECT_THAT(few.text, HasSubstr("muster scale cache 3"));
  EXPECT_THAT(few.text, testing::Not(HasSubstr("mall.yaml")));
}

TEST_F(ServerTest, UpRunsAndIsRememberedWithWhoAsked) {
  const std::string run = BringUp(kMall);
  const Told told = Ask("GET", "/v1/runs/" + run);
  EXPECT_EQ(told.body["state"], "done");
  EXPECT_EQ(told.body["author"], "ann");
  EXPECT_EQ(told.body["steps_done"], told.body["steps_total"]);
  const Told status = Ask("GET", "/v1/clusters/mall");
  EXPECT_EQ(status.body["health"], "green");
  EXPECT_EQ(status.body["instances"].size(), 2u);
  EXPECT_EQ(Ask("POST", "/v1/up", File(kMall)).body["run"], "");
  EXPECT_EQ(Ask("GET", "/v1/audit").body["entries"][0]["who"], "ann");
  EXPECT_EQ(Ask("GET", "/v1/clusters/mall/history").body["revisions"].size(), 1u);
}

TEST_F(ServerTest, WritesDownWhoTheKernelSaysAsks) {
  const auto who = [this](const std::string& uid, const std::string& says) {
    net::Request request{.method = "POST", .target = "/v1/secrets/rotate", .headers = {}, .body = "{}"};
    request.headers["x-muster-peer"] = uid;
    request.headers["x-muster-user"] = says;
    FakeExchange exchange(std::move(request), false);
    loop_.RunTask(Handle(exchange));
    return Ask("GET", "/v1/audit").body["entries"][0].value("who", "");
  };
  EXPECT_EQ(who("1", "root"), "daemon") << "a header is quickly made up";
  EXPECT_EQ(who("0", "root"), "root");
  EXPECT_EQ(who("0", "ann"), "root as ann") << "as sudo tells it";
  EXPECT_EQ(who("4123456", "ann"), "4123456");
}

TEST_F(ServerTest, UpWithoutTheContentOfAFileNamesIt) {
  Json file = File(std::string(kMall) + "    artifact: ./app.jar\n");
  const std::string sha256(64, 'a');
  file["files"]["./app.jar"] = {{"sha256", sha256}, {"size", 5}, {"executable", false}};
  EXPECT_EQ(Ask("POST", "/v1/plan", file).status, 200);
  const Told told = Ask("POST", "/v1/up", file);
  EXPECT_EQ(told.status, 400);
  EXPECT_EQ(told.code(), "blob-missing");
  EXPECT_EQ(Ask("POST", "/v1/blobs/missing", Json{{"sha256", {sha256}}}).body["missing"], Json{sha256});
  EXPECT_EQ(AskText("PUT", "/v1/blobs/" + sha256, "other").code(), "digest-differs");
  EXPECT_EQ(AskText("PUT", "/v1/blobs/..%2f..%2fx", "other").code(), "bad-digest");
  EXPECT_THAT(Ask("GET", "/v1/clusters").body["clusters"], IsEmpty());
}

TEST_F(ServerTest, DataGoesOnlyWithTheNameTyped) {
  BringUp(kMall);
  const Told refused = Ask("POST", "/v1/clusters/mall/down", Json{{"delete_data", true}, {"confirm", "mal"}});
  EXPECT_EQ(refused.status, 412);
  EXPECT_EQ(refused.code(), "confirm-name");
  const Told down = Ask("POST", "/v1/clusters/mall/down", Json{{"delete_data", true}, {"confirm", "mall"}});
  EXPECT_EQ(down.status, 200);
  (void)Ask("GET", "/v1/runs/" + down.body.value("run", "") + "/events");
  loop_.Post([this] { loop_.Stop(); });  // after what the run's end has posted
  loop_.Run();
  EXPECT_EQ(Ask("GET", "/v1/clusters/mall").code(), "unknown-cluster");
}

TEST_F(ServerTest, SecretsAreSetAndNamedButNeverShown) {
  EXPECT_EQ(Ask("PUT", "/v1/clusters/mall/secrets/token", Json{{"value", "hunter2"}}).status, 200);
  EXPECT_EQ(Ask("PUT", "/v1/clusters/mall/secrets/a%2fb", Json{{"value", "x"}}).code(), "bad-secret-name");
  const Told secrets = Ask("GET", "/v1/clusters/mall/secrets");
  EXPECT_EQ(secrets.body["secrets"][0]["name"], "token");
  BringUp(std::string(kMall) + "    env: { TOKEN: \"{{secret.token}}\" }\n");
  EXPECT_EQ(world_.orders[0].second.instance->env.at("TOKEN"), "hunter2");
  for (const char* target : {"/v1/clusters/mall/secrets", "/v1/clusters/mall", "/v1/clusters/mall/runs",
                             "/v1/audit", "/v1/clusters/mall/revisions/1", "/v1/clusters/mall/instances"}) {
    EXPECT_THAT(Ask("GET", target).text, testing::Not(HasSubstr("hunter2"))) << target;
  }
  EXPECT_EQ(Ask("POST", "/v1/secrets/rotate", Json::object()).status, 200);
  EXPECT_EQ(Ask("DELETE", "/v1/clusters/mall/secrets/token").status, 200);
  EXPECT_EQ(Ask("DELETE", "/v1/clusters/mall/secrets/token").code(), "unknown-secret");
}

TEST_F(ServerTest, WhatStandsInSecretFilesIsNeverShown) {
  Json file = File(std::string(kMall) + "    env_file: ./web.env\n    files: { conf/plain: ./plain }\n");
  const auto add = [&](const char* path, const std::string& text) {
    file["files"][path] = {{"sha256", Sha256Hex(text)}, {"size", text.size()}, {"text", text}};
  };
  add("./web.env", "TOKEN=hunter2\n");
  add("./plain", "words\n");
  BringUpFile(file);
  EXPECT_EQ(world_.orders[0].second.instance->env.at("TOKEN"), "hunter2");
  const Told revision = Ask("GET", "/v1/clusters/mall/revisions/1");
  EXPECT_EQ(revision.body["bundle"]["files"]["./web.env"]["secret"], true);
  EXPECT_EQ(revision.body["bundle"]["files"]["./plain"]["text"], "words\n");
  EXPECT_EQ(Ask("POST", "/v1/up", file).body["run"], "") << "it is as it was";
  for (const char* target : {"/v1/clusters/mall", "/v1/clusters/mall/runs", "/v1/audit",
                             "/v1/clusters/mall/revisions/1", "/v1/clusters/mall/instances"}) {
    EXPECT_THAT(Ask("GET", target).text, testing::Not(HasSubstr("hunter2"))) << target;
  }
}

TEST_F(ServerTest, ExecAndLogsArePassedOn) {
  BringUp(kMall);
  const Told exec = Ask("POST", "/v1/clusters/mall/exec", Json{{"instance", "web-1"}, {"argv", {"true"}}});
  EXPECT_THAT(exec.text, HasSubstr("\"data\":\"done\""));
  EXPECT_THAT(exec.text, HasSubstr("\"status\":3"));
  Json with_input{{"instance", "web-1"}, {"argv", {"cat"}}, {"input", std::string(1'000'000, 'x')}};
  const Told fed = Ask("POST", "/v1/clusters/mall/exec", with_input);
  EXPECT_EQ(std::count(fed.text.begin(), fed.text.end(), 'x'), 1'000'000);
  EXPECT_THAT(fed.text, HasSubstr("\"status\":4"));
  EXPECT_EQ(AskText("POST", "/v1/clusters/mall/exec/none/input", "not JSON").code(), "exec-over");
  const Told logs = Ask("GET", "/v1/clusters/mall/logs?names=web-2");
  EXPECT_THAT(logs.text, HasSubstr("\"instance\":\"web-2\""));
  EXPECT_THAT(logs.text, HasSubstr("event: end"));
  EXPECT_EQ(Ask("GET", "/v1/clusters/mall/logs?names=web-9").code(), "unknown-instance");
  EXPECT_EQ(Ask("POST", "/v1/clusters/mall/exec", Json{{"instance", "web-1"}}).code(), "no-command");
}

TEST_F(ServerTest, ItsDescriptionListsEachRequestAndEachIsAnswered) {
  const Json document = Ask("GET", "/v1/openapi.json").body;
  EXPECT_EQ(document["openapi"], "3.1.0");
  Lines listed;
  for (const auto& [path, methods] : document["paths"].items()) {
    for (const auto& [method, operation] : methods.items()) {
      listed.push_back(method + " " + path);
      EXPECT_NE(operation.value("summary", ""), "") << path;
      EXPECT_TRUE(operation["responses"].contains("200"));
    }
  }
  // docs/api.md.
  const std::string cluster = "/v1/clusters/{cluster}";
  Lines documented{"post /v1/check",
                   "post /v1/plan",
                   "post /v1/blobs/missing",
                   "put /v1/blobs/{sha256}",
                   "post /v1/up",
                   "get /v1/clusters",
                   "get /v1/audit",
                   "post /v1/secrets/rotate",
                   "get /v1/runs/{run}",
                   "post /v1/runs/{run}/cancel",
                   "get /v1/runs/{run}/events",
                   "get /v1/version",
                   "post /v1/stop",
                   "get /v1/openapi.json",
                   "get /v1/doctor",
                   "get " + cluster};
  for (const char* what :
       {"instances", "logs", "history", "revisions/{revision}", "runs", "audit", "secrets", "events"}) {
    documented.push_back("get " + cluster + "/" + what);
  }
  for (const char* what : {"restart", "stop", "start", "down", "scale", "rollback", "resume", "verify",
                           "exec", "drill", "switchover", "failover", "rule"}) {
    documented.push_back("post " + cluster + "/" + what);
  }
  documented.push_back("post " + cluster + "/exec/{exec}/input");
  documented.push_back("post " + cluster + "/hosts/{host}/cut");
  documented.push_back("put " + cluster + "/secrets/{name}");
  documented.push_back("delete " + cluster + "/secrets/{name}");
  EXPECT_THAT(listed, testing::UnorderedElementsAreArray(documented));

  // Everything that a path can name is there.
  (void)BringUp(kMall);
  const std::string run = BringUp(Mall("other"));
  ASSERT_EQ(Ask("PUT", "/v1/clusters/mall/secrets/token", Json{{"value", "x"}}).status, 200);
  const std::map<std::string, std::string> parts{{"{cluster}", "mall"}, {"{run}", run},
                                                 {"{revision}", "1"},   {"{name}", "token"},
                                                 {"{host}", "a"},       {"{sha256}", std::string(64, '0')}};
  for (const std::string& one : listed) {
    std::string method = one.substr(0, one.find(' ')), path = one.substr(one.find(' ') + 1);
    Json body = File(Mall("other"));  // fields that a request doesn't know are not read
    body["plan_only"] = true;
    body["service"] = path.ends_with("/drill") ? "" : "web";
    body["instances"] = "2";
    body["instance"] = "web-1";
    body["argv"] = {"true"};
    body["value"] = "y";
    body["sha256"] = Json::array();
    std::string active;
    if (path.ends_with("/cancel")) {
      world_.hold.insert("web-1.start");
      active = Ask("POST", "/v1/clusters/mall/restart", Json{{"names", {"web-1"}}}).body["run"];
      path.replace(path.find("{run}"), 5, active);
    }
    for (const auto& [name, value] : parts) {
      if (const size_t at = path.find(name); at != std::string::npos) path.replace(at, name.size(), value);
    }
    for (char& c : method) c = static_cast<char>(std::toupper(c));
    const Told told =
        Ask(method, path, method == "GET" ? Json(nullptr) : body, path.ends_with("/mall/events"));
    if (path.ends_with("/input")) {  // none reads any at this moment
      EXPECT_EQ(told.body["code"], "exec-over") << told.text;
      continue;
    }
    // None of these is a rehearsal, nor has anything a primary.
    const std::map<std::string, std::string> refused{{"/drill", "confirm-name"},
                                                     {"/rule", "confirm-name"},
                                                     {"/cut", "not-a-rehearsal"},
                                                     {"/switchover", "no-primary"},
                                                     {"/failover", "no-primary"}};
    const auto refusal = refused.find(path.substr(path.rfind('/')));
    if (refusal != refused.end()) {
      EXPECT_EQ(told.body["code"], refusal->second) << one << ": " << told.text;
      continue;
    }
    EXPECT_NE(told.status, 404) << one << ": " << told.text;
    EXPECT_NE(told.status, 500) << one << ": " << told.text;
    if (path.starts_with("/v1/blobs/0")) continue;  // these bytes have another digest
    EXPECT_EQ(told.status, 200) << one << ": " << told.text;
    if (!active.empty()) (void)Ask("GET", "/v1/runs/" + active + "/events");
  }
}

}  // namespace
}  // namespace muster::server
