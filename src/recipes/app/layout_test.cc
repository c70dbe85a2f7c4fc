#include "recipes/app/layout.h"

#include <gtest/gtest.h>

#include "model/testing_values.h"

namespace muster::app {
namespace {

Cluster OneHost() {
  Cluster cluster;
  cluster.name = "c";
  cluster.hosts = {{.name = "a", .address = "10.0.0.1", .mark = {}}};
  return cluster;
}

Service App(std::vector<std::pair<std::string, Value>> more) {
  Service service;
  service.name = "web";
  service.kind = "app";
  std::vector<std::pair<std::string, Value>> settings{
      {"command", Scalar("run")}, {"instances", Scalar("2")}, {"ports", Map({{"http", Scalar("8101")}})}};
  for (auto& entry : more) settings.push_back(std::move(entry));
  service.settings = Map(std::move(settings));
  return service;
}

std::vector<Instance> LayOut(const Service& service, const Cluster& cluster) {
  const AppLayout layout;
  const auto placement = layout.PlaceMembers(service, cluster, {});
  EXPECT_TRUE(placement.ok());
  auto instances = layout.LayOut(service, cluster, *placement);
  EXPECT_TRUE(instances.ok());
  return std::move(*instances);
}

std::vector<std::string> Codes(const Service& service, const Cluster& cluster) {
  std::vector<std::string> codes;
  for (const Finding& finding : AppLayout().Check(service, cluster, WallTime{}))
    codes.push_back(finding.code);
  return codes;
}

TEST(AppLayout, FillsInEachFileForEachInstance) {
  Cluster cluster = OneHost();
  cluster.files["app.yaml"] = {.sha256 = "f", .size = 20, .text = "id: {{id}}, port: {{ports.http}}"};
  const auto instances =
      LayOut(App({{"id", Scalar("gw-{{ordinal}}")}, {"files", Map({{"conf/app.yaml", Scalar("app.yaml")}})}}),
             cluster);
  ASSERT_EQ(instances.size(), 2u);
  EXPECT_EQ(instances[0].files[0].path, "conf/app.yaml");
  EXPECT_EQ(instances[0].files[0].content, "id: gw-1, port: 8101");
  EXPECT_EQ(instances[1].files[0].content, "id: gw-2, port: 8102");
}

TEST(AppLayout, PrefersEnvToTheEnvironmentFile) {
  Cluster cluster = OneHost();
  cluster.files[".env"] = {
      .sha256 = "f", .size = 20, .text = "# both\nexport A=\"one\"\nB={{instance}}\nnonsense\n"};
  const auto instances =
      LayOut(App({{"env_file", Scalar(".env")}, {"env", Map({{"A", Scalar("two")}})}}), cluster);
  EXPECT_EQ(instances[1].env, (std::map<std::string, std::string>{{"A", "two"}, {"B", "web-2"}}));
}

TEST(AppLayout, SendsWhatIsNoTextByItsContent) {
  Cluster cluster = OneHost();
  cluster.files["x.jar"] = {.sha256 = "abc", .size = 1 << 24, .executable = false, .text = ""};
  const auto instances =
      LayOut(App({{"artifact", Scalar("x.jar")}, {"files", Map({{"lib/x.jar", Scalar("x.jar")}})}}), cluster);
  EXPECT_EQ(instances[0].artifact.sha256, "abc");
  EXPECT_EQ(instances[0].files[0].blob, "abc");
}

TEST(AppLayout, LetsTheAgentTakeANewProbeWithoutARestart) {
  EXPECT_EQ(AppLayout().ImpactOf("probe"), Impact::kLive);
  EXPECT_EQ(AppLayout().ImpactOf("command"), Impact::kRestart);
}

Cluster ThreeHosts() {
  Cluster cluster = OneHost();
  cluster.hosts.push_back({.name = "b", .address = "10.0.0.2", .mark = {}});
  cluster.hosts.push_back({.name = "c", .address = "10.0.0.3", .mark = {}});
  return cluster;
}

// An app once on each host.
Service Everywhere(std::vector<std::pair<std::string, Value>> more) {
  Service service = App(std::move(more));
  service.settings.entries[1].value.text = "1 per host";
  return service;
}

TEST(AppCheck, IdsAreEqualWhereTheyComeOutEqual) {
  const auto with = [](const std::string& id) { return Everywhere({{"id", Scalar(id)}}); };
  EXPECT_TRUE(Codes(with("{{host}}"), ThreeHosts()).empty());
  EXPECT_TRUE(Codes(with("node-{{address}}"), ThreeHosts()).empty());
  const auto findings = AppLayout().Check(with("node-{{ports.http}}"), ThreeHosts(), WallTime{});
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].code, "id-not-unique");
  EXPECT_EQ(findings[0].message, "web-1 and web-2 would both have the id \"node-8101\"");
  // On one host the ports differ and the hosts don't.
  EXPECT_TRUE(Codes(App({{"id", Scalar("node-{{ports.http}}")}}), OneHost()).empty());
  EXPECT_EQ(Codes(App({{"id", Scalar("{{host}}")}}), OneHost()), std::vector<std::string>{"id-not-unique"});
}

TEST(AppCheck, LooksAtTheHealthCommandToo) {
  EXPECT_EQ(Codes(App({{"health", Map({{"command", Scalar("ask {{ports.htp}}")}})}}), OneHost()),
            std::vector<std::string>{"unknown-variable"});
  EXPECT_EQ(Codes(App({{"health", Map({{"command", Scalar("ask {{secret.token}}")}})}}), OneHost()),
            std::vector<std::string>{"secret-in-command"});
}

TEST(AppCheck, TellsAPortThatHealthNamesInVain) {
  EXPECT_EQ(Codes(App({{"health", Map({{"http", Scalar("/")}, {"port", Scalar("admin")}})}}), OneHost()),
            std::vector<std::string>{"unknown-port"});
}

// Settings with these paths in `files:`, and these folders in `data:`.
std::vector<std::string> PathCodes(const std::vector<std::string>& files,
                                   const std::vector<std::string>& data = {}) {
  std::vector<std::pair<std::string, Value>> entries;
  for (const std::string& file : files) entries.emplace_back(file, Map({{"content", Scalar("x")}}));
  Value folders;
  folders.type = Value::Type::kList;
  for (const std::string& folder : data) folders.items.push_back(Scalar(folder));
  return Codes(App({{"files", Map(std::move(entries))}, {"data", folders}}), OneHost());
}

using Names = std::vector<std::string>;

TEST(AppCheck, AFileCantLieInAFile) {
  EXPECT_EQ(PathCodes({"a", "a/b"}), Names{"path-clash"});
  EXPECT_EQ(PathCodes({"a/b/c/d", "a/b"}), Names{"path-clash"});
  EXPECT_EQ(PathCodes({"a", "ab", "b/a", "b/ab"}), Names{});
}

TEST(AppCheck, WhereMusterItselfWritesNoFileCanBe) {
  EXPECT_EQ(PathCodes({"logs"}), Names{"path-reserved"});
  EXPECT_EQ(PathCodes({"logs/current.log"}), Names{"path-reserved"});
  EXPECT_EQ(PathCodes({"data"}), Names{"path-reserved"});
  EXPECT_EQ(PathCodes({"data/up"}, {"up"}), Names{"path-reserved"});
  EXPECT_EQ(PathCodes({"data/up"}, {"up/loads"}), Names{"path-reserved"});
  EXPECT_EQ(PathCodes({"data/up/loads"}, {"up"}),
            Names{});  // what is in a folder of data is a file as others
  EXPECT_EQ(PathCodes({"catalogs/x", "conf/logs", "database", "data/seed"}, {"up"}), Names{});
}

TEST(AppCheck, APathMustBeOneThatCanBeMade) {
  EXPECT_EQ(PathCodes({std::string(240, 'n')}), Names{});
  EXPECT_EQ(PathCodes({std::string(241, 'n')}), Names{"bad-path"});
  EXPECT_EQ(PathCodes({std::string("a\0b", 3)}), Names{"bad-path"});
  EXPECT_EQ(PathCodes({}, {"up\nloads"}), Names{"bad-path"});
  std::string deep = "a";
  while (deep.size() <= 1000) deep += "/a";
  EXPECT_EQ(PathCodes({deep}), Names{"bad-path"});
}

}  // namespace
}  // namespace muster::app
