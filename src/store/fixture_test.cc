// A store as version 1 left it, with a run half done. Every later version must be able to take it over: this
// test may be added to, and the fixture is never made anew. It was made by
//   MUSTER_FIXTURE_OUT=tests/fixtures/store-v1 store_test --gtest_also_run_disabled_tests
//       --gtest_filter=Fixture.DISABLED_IsMade
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "store/testing_store.h"

namespace muster::store {
namespace {

using nlohmann::json;
using Fixture = StoreFolder;

constexpr const char* kArtifact = "#!/bin/sh\nexec sleep 1000\n";
constexpr WallTime kBegin{Duration(1'795'236'000'000)};  // 2026-11-21T04:40:00Z

fs::path FixtureFolder() { return fs::path(MUSTER_TESTS) / "fixtures" / "store-v1"; }

json StepJson(const std::string& instance, const std::string& verb, const std::string& host, json needs) {
  const bool balancer = instance == "edge-1";
  return {{"id", instance + "." + verb + (balancer ? ".web-1" : "")},
          {"instance", instance},
          {"service", balancer ? "edge" : "web"},
          {"host", host},
          {"verb", verb},
          {"args", balancer ? json{{"by", "run"}, {"member", "web-1"}} : json::object()},
          {"reason", "command changed"},
          {"impact", "restart"},
          {"before", ""},
          {"after", verb == "start" ? "ready" : ""},
          {"put_back", verb == "drain" ? "restore" : ""},
          {"needs", std::move(needs)},
          {"deadline_ms", 60000}};
}

std::string TextOf(int64_t revision) {
  return "cluster: mall\n"
         "hosts:\n"
         "  node1: { address: 127.0.0.1 }\n"
         "  node2: { address: 127.0.0.2 }\n"
         "services:\n"
         "  edge: { kind: nginx, listen: 18080, hosts: [node1], routes: [{ path: /, to: web }] }\n"
         "  web:\n"
         "    kind: app\n"
         "    artifact: ./sleep.sh\n"
         "    command: \"{{artifact}} --revision=" +
         std::to_string(revision) +
         "\"\n"
         "    instances: 1 per host\n"
         "    ports: { http: 18101 }\n"
         "    env: { PASSWORD: \"{{secret.password}}\" }\n";
}

TEST_F(Fixture, DISABLED_IsMade) {
  const char* out = std::getenv("MUSTER_FIXTURE_OUT");
  ASSERT_NE(out, nullptr) << "set MUSTER_FIXTURE_OUT to a new folder";
  ASSERT_FALSE(fs::exists(fs::path(out) / "muster.db")) << "a fixture is never overwritten";
  auto store = Store::Open(out).value();
  const std::string blob = Sha256Hex(kArtifact);
  ASSERT_TRUE(store->PutBlob(blob, kArtifact).ok());
  const json bundle = {
      {"files",
       {{"./sleep.sh", {{"sha256", blob}, {"size", std::string(kArtifact).size()}, {"executable", true}}}}},
      {"overrides", json::object()}};
  json placement;
  for (const auto& [name, host] : {std::pair("web-1", "node1"), {"web-2", "node2"}}) {
    placement[name] = {{"service", "web"},
                       {"host", host},
                       {"ordinal", std::string(name).back() - '0'},
                       {"ports", {{"http", {{"first", 18101}, {"count", 1}, {"udp", false}}}}}};
  }
  placement["edge-1"] = {{"service", "edge"},
                         {"host", "node1"},
                         {"ordinal", 1},
                         {"ports", {{"listen", {{"first", 18080}, {"count", 1}, {"udp", false}}}}}};
  const json steps = {StepJson("edge-1", "drain", "node1", json::array()),
                      StepJson("web-1", "stop", "node1", {"edge-1.drain.web-1"}),
                      StepJson("web-1", "install", "node1", {"web-1.stop"}),
                      StepJson("web-1", "start", "node1", {"web-1.install"}),
                      StepJson("edge-1", "restore", "node1", {"web-1.start"})};
  const json plan = {{"id", "plan-3"},
                     {"cluster", "mall"},
                     {"revision", 3},
                     {"steps", steps},
                     {"notes", json::array()},
                     {"outages", json::array()},
                     {"unreachable", json::array()},
                     {"renderer_only", 0},
                     {"drift", json::array()}};
  const json put_back = [] {
    json step = StepJson("edge-1", "restore", "node1", json::array());
    step["id"] = "edge-1.drain.web-1.put-back";
    return step;
  }();
  const Status written = store->Transaction([&]() -> Status {
    MUSTER_DO(store->PutCluster({.key = "mall",
                                 .name = "mall",
                                 .rehearsal = false,
                                 .block = 0,
                                 .epoch = 5,
                                 .revision = 3,
                                 .placement = placement.dump(),
                                 .held = R"(["web-2"])",
                                 .extra = "{}"}));
    for (int64_t number = 1; number <= 3; ++number) {
      MUSTER_DO(store->AddRevision({.cluster = "mall",
                                    .number = number,
                                    .created = kBegin + number * 60s,
                                    .author = "ann",
                                    .text = TextOf(number),
                                    .file_name = "mall.yaml",
                                    .bundle = bundle.dump(),
                                    .renderer = 1,
                                    .note = number == 3 ? "rollback to 1" : ""}));
    }
    RunRow first = SampleRun("0000aaaa", "mall", 1, "done");
    first.started = kBegin;
    first.ended = kBegin + 2s;
    MUSTER_DO(store->PutRun(first));
    RunRow half = SampleRun("0000bbbb", "mall", 3, "running");
    half.started = kBegin + 180s;
    half.plan = plan.dump();
    MUSTER_DO(store->PutRun(half));
    MUSTER_DO(store->PutStep({.run = half.id,
                              .step = "edge-1.drain.web-1",
                              .intent = kBegin + 180s,
                              .settled = kBegin + 181s,
                              .error = ""}));
    MUSTER_DO(store->PutStep(
        {.run = half.id, .step = "web-1.stop", .intent = kBegin + 181s, .settled = {}, .error = ""}));
    MUSTER_TRY(const int64_t id, store->AddPutBack({.run = half.id, .step = put_back.dump()}));
    (void)id;
    MUSTER_DO(store->PutSecret("mall", "password", "the fixture's value"));
    return store->AddAudit(
        {.at = kBegin, .who = "ann", .cluster = "mall", .action = "up", .detail = "run 0000aaaa"});
  });
  ASSERT_TRUE(written.ok()) << written.error().Text();
  store.reset();
  fs::remove(fs::path(out) / "lock");
}

TEST_F(Fixture, OfVersion1IsTakenOverWithEverything) {
  ASSERT_TRUE(fs::exists(FixtureFolder() / "muster.db")) << FixtureFolder();
  fs::copy(FixtureFolder(), folder, fs::copy_options::recursive);
  auto store = Open();
  ASSERT_TRUE(store);

  const auto cluster = store->FindCluster("mall");
  ASSERT_TRUE(cluster.ok() && cluster->has_value());
  EXPECT_EQ((*cluster)->epoch, 5);
  EXPECT_EQ((*cluster)->revision, 3);
  EXPECT_EQ((*cluster)->held, R"(["web-2"])");
  EXPECT_EQ(json::parse((*cluster)->placement).at("web-2").at("ports").at("http").at("first"), 18101);

  const auto revisions = store->Revisions("mall");
  ASSERT_EQ(revisions->size(), 3u);
  for (int64_t number = 1; number <= 3; ++number) {
    const RevisionRow& row = (*revisions)[static_cast<size_t>(number) - 1];
    EXPECT_EQ(row.number, number);
    EXPECT_EQ(row.created, kBegin + number * 60s);
    EXPECT_EQ(row.text, TextOf(number));
    EXPECT_EQ(row.file_name, "mall.yaml");
    EXPECT_EQ(row.renderer, 1);
    const std::string blob = json::parse(row.bundle).at("files").at("./sleep.sh").at("sha256");
    ASSERT_TRUE(store->HasBlob(blob));
    EXPECT_EQ(ReadFile(store->BlobPath(blob)).value(), kArtifact);
  }
  EXPECT_EQ(revisions->back().note, "rollback to 1");

  const auto runs = store->Runs("mall", 10);
  ASSERT_EQ(runs->size(), 2u);
  EXPECT_EQ((*runs)[1].state, "done");
  const RunRow& half = (*runs)[0];
  EXPECT_EQ(half.state, "running");
  EXPECT_EQ(half.ended, WallTime{});
  EXPECT_EQ(json::parse(half.plan).at("steps").size(), 5u);
  const auto steps = store->Steps(half.id);
  ASSERT_EQ(steps->size(), 2u);
  EXPECT_EQ((*steps)[0].step, "edge-1.drain.web-1");
  EXPECT_NE((*steps)[0].settled, WallTime{});
  EXPECT_EQ((*steps)[1].step, "web-1.stop");
  EXPECT_EQ((*steps)[1].settled, WallTime{}) << "open";
  const auto put_backs = store->PutBacks(half.id);
  ASSERT_EQ(put_backs->size(), 1u);
  EXPECT_EQ(json::parse((*put_backs)[0].step).at("verb"), "restore");

  EXPECT_EQ(store->Secret("mall", "password")->value(), "the fixture's value");
  const std::string digest = store->Secrets("mall")->at(0).digest;
  EXPECT_EQ(store->Audit("mall", 10)->at(0).detail, "run 0000aaaa");

  // The same value has the same digest as then: taking a store over restarts nothing.
  ASSERT_TRUE(store->PutSecret("mall", "password", "the fixture's value").ok());
  EXPECT_EQ(store->Secrets("mall")->at(0).digest, digest);
  ASSERT_TRUE(store->RotateKey().ok());
  EXPECT_EQ(store->Secret("mall", "password")->value(), "the fixture's value");
  EXPECT_TRUE(store->AddRevision(SampleRevision("mall", 4)).ok());
}

}  // namespace
}  // namespace muster::store
