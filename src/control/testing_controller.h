// A server with one cluster, mall, for tests: a real store and the real protocol, over agents that only model
// what they are told.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "base/digest.h"
#include "base/files.h"
#include "control/controller.h"
#include "control/testing_agent.h"

namespace muster::control {

inline Value Scalar(const std::string& text) {
  Value value;
  value.type = !text.empty() && text.find_first_not_of("0123456789") == std::string::npos
                   ? Value::Type::kInteger
                   : Value::Type::kString;
  value.text = text;
  return value;
}

inline Value Map(std::vector<std::pair<std::string, Value>> entries) {
  Value value;
  value.type = Value::Type::kMap;
  for (auto& [key, entry] : entries)
    value.entries.push_back({.key = key, .key_mark = {}, .value = std::move(entry)});
  return value;
}

inline Service Web(const std::string& command, const std::string& token = "") {
  Service service;
  service.name = "web";
  service.kind = "app";
  std::vector<std::pair<std::string, Value>> settings{{"kind", Scalar("app")},
                                                      {"command", Scalar(command)},
                                                      {"instances", Scalar("2")},
                                                      {"ports", Map({{"http", Scalar("8101")}})}};
  if (!token.empty()) settings.emplace_back("env", Map({{"TOKEN", Scalar(token)}}));
  service.settings = Map(std::move(settings));
  return service;
}

inline Service Edge() {
  Service service;
  service.name = "edge";
  service.kind = "nginx";
  service.hosts = {"a"};
  Value routes;
  routes.type = Value::Type::kList;
  routes.items.push_back(Map({{"path", Scalar("/")}, {"to", Scalar("web")}}));
  service.settings = Map({{"kind", Scalar("nginx")}, {"listen", Scalar("8080")}, {"routes", routes}});
  return service;
}

inline Cluster Mall(std::vector<Service> services) {
  Cluster cluster;
  cluster.name = "mall";
  cluster.hosts = {{.name = "a", .address = "10.0.0.1", .mark = {}},
                   {.name = "b", .address = "10.0.0.2", .mark = {}}};
  cluster.services = std::move(services);
  return cluster;
}

// One life of a server with one cluster.
struct Server {
  net::Loop loop;
  std::string socket;
  std::map<std::string, std::shared_ptr<FakeAgent>> fakes;
  std::vector<RunProgress> finished;
  std::vector<std::pair<std::string, std::string>> events;
  Lines removed_hosts;
  std::optional<Error> stuck;       // why folders of hosts can't be removed
  std::set<std::string> links_cut;  // hosts
  std::optional<Error> link_stuck;  // why links can't be set
  std::function<bool()> until;
  std::unique_ptr<Agents> agents;
  std::shared_ptr<Controller> controller;

  // Whatever happened: is it what the test waits for?
  void Look() {
    loop.Post([this] {
      if (until && until()) loop.Stop();
    });
  }
};

class ControllerTest : public testing::Test {
 protected:
  ControllerTest() : folder_(fs::temp_directory_path() / ("muster-control-" + RandomHex(6))) {
    auto store = store::Store::Open(folder_.string());
    EXPECT_TRUE(store.ok());
    store_ = std::move(store).value();
    StartServer({.key = "mall", .name = "mall", .epoch = 1});
  }
  ~ControllerTest() override {
    server_.reset();
    store_.reset();
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }

  void StartServer(store::ClusterRow row) {
    server_ = std::make_unique<Server>();
    Server& server = *server_;
    server.socket = (folder_ / fmt::format("agents-{}.sock", ++servers_)).string();
    world_.changed = [&server] { server.Look(); };
    Agents::Callbacks callbacks;
    callbacks.start = [this, &server](const Agents::Wanted& wanted) {
      auto& fake = server.fakes[wanted.host];
      fake = std::make_shared<FakeAgent>(world_, wanted.cluster, wanted.host);
      net::Spawn(FakeAgent::Connect(fake, server.loop, server.socket));
      return Done();
    };
    callbacks.changed = [&server](const std::string&, const Observed& observed) {
      server.controller->OnChanged(observed);
    };
    callbacks.connected = [&server](const std::string&, const std::string& host, bool connected) {
      server.controller->OnConnected(host, connected);
    };
    callbacks.blob_path = [](const std::string&) { return ""; };
    callbacks.released = [](const std::string&, const std::string&, int64_t) { return false; };
    auto agents = Agents::Listen(server.loop, server.socket, std::move(callbacks));
    ASSERT_TRUE(agents.ok()) << agents.error().Text();
    server.agents = std::move(agents).value();
    Dependencies dependencies{.loop = &server.loop, .store = store_.get(), .agents = server.agents.get()};
    dependencies.settle_within = settle_within_;
    dependencies.read_revision = [this](const store::RevisionRow& revision,
                                        const store::ClusterRow&) -> Result<Cluster> {
      return files_.at(revision.text);
    };
    dependencies.publish = [&server](const std::string&, const std::string& name, const std::string& data) {
      server.events.emplace_back(name, data);
      server.Look();
    };
    dependencies.finished = [&server](const std::string&, const RunProgress& progress) {
      server.finished.push_back(progress);
      server.Look();
    };
    dependencies.remove_hosts = [&server](std::string cluster) {
      return RemoveHosts(server, std::move(cluster));
    };
    dependencies.cut_link = [&server](Agents::Wanted host, bool cut) {
      return CutLink(server, std::move(host.host), cut);
    };
    dependencies.forget = [](const std::string&) {};
    dependencies.reach_within = reach_within_;
    dependencies.observe_within = reach_within_;
    dependencies.down_again = 10ms;
    dependencies.silent_after = silent_after_;
    dependencies.proves_itself = 20ms;
    server.controller = std::make_shared<Controller>(std::move(dependencies), std::move(row));
  }

  static net::Task<Status> RemoveHosts(Server& server, std::string cluster) {
    if (server.stuck) co_return *server.stuck;
    server.removed_hosts.push_back(cluster);
    co_return Done();
  }

  static net::Task<Status> CutLink(Server& server, std::string host, bool cut) {
    if (server.link_stuck) co_return *server.link_stuck;
    if (cut) server.links_cut.insert(host);
    if (!cut) server.links_cut.erase(host);
    server.Look();
    co_return Done();
  }

  // The server dies where it stands: nothing of it runs any more. What it held in memory is left where it is,
  // as whoever was waiting in it can't be told.
  void KillServer() {
    static auto* dead = new std::vector<std::unique_ptr<Server>>;
    world_.changed = [] {};
    dead->push_back(std::move(server_));
    world_.orders.clear();
    for (auto& [name, host] : world_.hosts) host.held.clear();
  }

  // Runs the loop until `condition` holds, at most ten seconds.
  void RunUntil(std::function<bool()> condition) {
    if (condition()) return;
    server_->until = condition;
    const auto guard = server_->loop.After(10s, [this] { server_->loop.Stop(); });
    server_->loop.Run();
    server_->loop.Cancel(guard);
    server_->until = nullptr;
    EXPECT_TRUE(condition());
  }
  void RunUntilFinished(size_t runs) {
    RunUntil([this, runs] { return server_->finished.size() >= runs && server_->controller->idle(); });
  }
  // The next server takes the cluster over.
  void StartNextServer() {
    StartServer(StoredCluster());
    const Status taken = server_->controller->TakeOver();
    EXPECT_TRUE(taken.ok()) << taken.error().Text();
  }
  // Brings a second revision up as far as this step, which is held; returns the run.
  std::string UpHeldAt(const std::string& step, const std::string& host = "a") {
    world_.hold.insert(step);
    const auto started = Up(File("v2", Mall({Web("run new"), Edge()})));
    EXPECT_TRUE(started.ok()) << started.error().Text();
    RunUntilHeld(host);
    return started.ok() ? started->run : "";
  }
  // … and a health check that its first instance is to pass while it serves; that takes for ever.
  std::string UpHeldAtItsProof() {
    Service web = Web("run");
    BringUp("v1", Mall({web, Edge()}));
    world_.orders.clear();
    web.settings.entries.push_back(
        {.key = "health", .key_mark = {}, .value = Map({{"http", Scalar("/health")}})});
    world_.hold.insert("web-1.install");
    const auto started = Up(File("v2", Mall({web, Edge()})));
    EXPECT_TRUE(started.ok()) << started.error().Text();
    RunUntilHeld("a");
    EXPECT_TRUE(world_.orders.back().second.step.args.contains("prove"));
    return started.ok() ? started->run : "";
  }
  void RunUntilHeld(const std::string& host) {
    RunUntil([this, host] { return !world_.hosts[host].held.empty(); });
  }

  Bundle File(const std::string& text, Cluster cluster, const std::string& author = "ann") {
    files_[text] = cluster;
    return {.cluster = std::move(cluster),
            .text = text,
            .file_name = "mall.yaml",
            .files = R"({"files":{}})",
            .author = author,
            .note = ""};
  }

  Result<StartedRun> Up(Bundle bundle, PlanOptions options = {}, const std::string& plan_id = "") {
    return server_->loop.RunTask(server_->controller->Up(std::move(bundle), plan_id, std::move(options)));
  }
  Result<StartedRun> Act(const std::string& action, Lines names = {}, PlanOptions options = {}) {
    return server_->loop.RunTask(
        server_->controller->Act(action, std::move(names), std::move(options), "ann"));
  }

  // Brings `text` up and waits for the run's end.
  void BringUp(const std::string& text, Cluster cluster) {
    const size_t before = server_->finished.size();
    const auto started = Up(File(text, std::move(cluster)));
    ASSERT_TRUE(started.ok()) << started.error().Text();
    ASSERT_NE(started->run, "");
    RunUntilFinished(before + 1);
    ASSERT_EQ(server_->finished.back().row.state, "done") << server_->finished.back().row.error;
  }
  // The same with the orders so far forgotten afterwards.
  void BringUpFirst() {
    BringUp("v1", Mall({Web("run old"), Edge()}));
    world_.orders.clear();
  }

  store::ClusterRow StoredCluster() {
    const auto row = store_->FindCluster("mall");
    return row.ok() && *row ? **row : store::ClusterRow{};
  }
  store::RunRow StoredRun(const std::string& id) {
    const auto row = store_->FindRun(id);
    return row.ok() && *row ? **row : store::RunRow{};
  }
  size_t Revisions() {
    const auto rows = store_->Revisions("mall");
    return rows.ok() ? rows->size() : 0;
  }
  // Steps without an outcome and put-backs that are still to be done.
  Lines OpenSteps(const std::string& run) {
    Lines open;
    const auto steps = store_->Steps(run);
    const auto put_backs = store_->PutBacks(run);
    if (!steps.ok() || !put_backs.ok()) return {"the store can't be read"};
    for (const store::StepRow& step : *steps) {
      if (step.settled == WallTime{}) open.push_back(step.step);
    }
    for (const store::PutBackRow& one : *put_backs) open.push_back(one.step);
    return open;
  }
  std::string EverythingOnDisk() {
    std::string all;
    for (const auto& entry : fs::recursive_directory_iterator(folder_)) {
      if (!entry.is_regular_file()) continue;
      const auto text = ReadFile(entry.path().string());
      if (text.ok()) all += *text;
    }
    return all;
  }

  const fs::path folder_;
  World world_;
  Duration settle_within_ = 30s;
  Duration reach_within_ = 10s;
  Duration silent_after_ = 20ms;
  std::unique_ptr<store::Store> store_;
  std::unique_ptr<Server> server_;
  std::map<std::string, Cluster> files_;  // by text
  int servers_ = 0;
};

}  // namespace muster::control
