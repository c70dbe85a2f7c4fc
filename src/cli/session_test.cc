#include "cli/session.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "base/files.h"
#include "cli/events.h"
#include "cli/home.h"
#include "cli/machine.h"
#include "cli/server_start.h"

namespace muster::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

fs::path TestFolder() {
  const fs::path folder = fs::temp_directory_path() / ("muster-cli-test-" + std::to_string(getpid()));
  fs::create_directories(folder);
  return folder;
}

TEST(Home, IsTheVariableThenTheRootsThenTheUsers) {
  const auto environment = [](std::map<std::string, std::string> values) {
    auto kept = std::make_shared<std::map<std::string, std::string>>(std::move(values));
    return [kept](const char* name) -> const char* {
      const auto found = kept->find(name);
      return found == kept->end() ? nullptr : found->second.c_str();
    };
  };
  EXPECT_EQ(ChooseHome(environment({{"MUSTER_HOME", "/x"}, {"HOME", "/h"}}), true, "/w"), "/x");
  EXPECT_EQ(ChooseHome(environment({{"MUSTER_HOME", "x/../y"}}), true, "/w"), "/w/y");
  EXPECT_EQ(ChooseHome(environment({{"HOME", "/h"}}), true, "/w"), "/var/lib/muster");
  EXPECT_EQ(ChooseHome(environment({{"HOME", "/h"}}), false, "/w"), "/h/.local/state/muster");
  EXPECT_EQ(ChooseHome(environment({{"HOME", "/h"}, {"XDG_STATE_HOME", "/s"}}), false, "/w"), "/s/muster");
}

TEST(ChooseCluster, TakesTheNamedOneOrTheOnlyOne) {
  const std::vector<KnownCluster> both = {{"demo", "demo"}, {"demo@rehearsal", "demo"}};
  const std::vector<KnownCluster> rehearsal = {{"demo@rehearsal", "demo"}};
  EXPECT_EQ(*ChooseCluster(both, "demo", "", false), "demo");
  EXPECT_EQ(*ChooseCluster(both, "demo", "", true), "demo@rehearsal");
  EXPECT_EQ(*ChooseCluster(rehearsal, "demo", "", false), "demo@rehearsal");
  EXPECT_EQ(*ChooseCluster(rehearsal, "", "", false), "demo@rehearsal");
  EXPECT_EQ(*ChooseCluster(both, "", "demo", false), "demo");
  EXPECT_EQ(*ChooseCluster(both, "", "", true), "demo@rehearsal");
  EXPECT_EQ(ChooseCluster(both, "", "", false).error().code(), "which-cluster");
  EXPECT_EQ(ChooseCluster({}, "", "", false).error().code(), "no-cluster");
  EXPECT_THAT(ChooseCluster(both, "dmeo", "", false).error().hint(), HasSubstr("demo"));
  EXPECT_EQ(ChooseCluster(both, "dmeo", "", true).error().hint(), "did you mean demo@rehearsal");
  EXPECT_EQ(ChooseCluster(rehearsal, "cache@rehearsal", "", false).error().hint(), "there is demo@rehearsal")
      << "two rehearsals aren't alike for that";
}

TEST(ChooseCluster, RefusesToActOnAnotherThanTheFolderNames) {
  const std::vector<KnownCluster> other = {{"corner", "corner"}};
  const auto refused = ChooseByFolder(other, "fr", false, true);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), "no-cluster");
  EXPECT_THAT(refused.error().hint(), HasSubstr("-c corner"));
  EXPECT_EQ(*ChooseByFolder(other, "fr", false, false), "corner");
  EXPECT_EQ(*ChooseByFolder(other, "", false, true), "corner");
  EXPECT_EQ(*ChooseByFolder({{"fr@rehearsal", "fr"}}, "fr", false, true), "fr@rehearsal");
  EXPECT_EQ(ChooseByFolder({{"a", "a"}, {"b", "b"}}, "", false, true).error().code(), "which-cluster");
}

TEST(ClusterOption, IsThereWhereAnotherCouldBeMeant) {
  const KnownCluster one{"one", "one"}, two{"two", "two"}, gone{"gone", "gone", true};
  EXPECT_EQ(ClusterOption({}, "one"), "");
  EXPECT_EQ(ClusterOption({one}, "one"), "");
  EXPECT_EQ(ClusterOption({one, two}, "one"), " -c one");
  EXPECT_EQ(ClusterOption({one, gone}, "one"), "");  // only one is up
  EXPECT_EQ(ClusterOption({one, gone}, "gone"), " -c gone");
  EXPECT_EQ(ClusterOption({gone}, "gone"), "");
  EXPECT_EQ(ClusterOption({one}, "new"), " -c new");
}

TEST(ChooseCluster, PrefersOneThatIsUp) {
  const std::vector<KnownCluster> known = {{"old", "old", true}, {"new", "new", false}};
  EXPECT_EQ(*ChooseCluster(known, "", "", false), "new");
  EXPECT_EQ(*ChooseCluster({{"old", "old", true}}, "", "", false), "old");
}

TEST(Events, AreReadWithoutTrust) {
  const auto step =
      EventFrom("step", {{"id", "a.start"},
                         {"instance", "a"},
                         {"verb", "start"},
                         {"state", "failed"},
                         {"error", {{"kind", "conflict"}, {"code", "port-taken"}, {"message", "no"}}}});
  ASSERT_TRUE(step.ok());
  EXPECT_EQ(std::get<StepEvent>(*step).error->code(), "port-taken");
  EXPECT_FALSE(EventFrom("step", {{"id", 3}}).ok());
  EXPECT_FALSE(EventFrom("step", nullptr).ok());
  EXPECT_EQ(EventFrom("of-tomorrow", Json::object()).error().code(), "unknown-event");
  const auto run = EventFrom(
      "finished", {{"run", "r"}, {"state", "failed"}, {"rolled_back_by", "r2"}, {"error", nullptr}});
  ASSERT_TRUE(run.ok());
  EXPECT_EQ(std::get<RunEvent>(*run).rolled_back_by, "r2");
  EXPECT_FALSE(std::get<RunEvent>(*run).no_way_back);
}

TEST(StartServer, ShowsTheEndOfTheLogWhereItDies) {
  const fs::path folder = TestFolder();
  const fs::path program = folder / "dies";
  WriteOptions executable;
  executable.mode = 0755;
  ASSERT_TRUE(WriteFile(program, "#!/bin/sh\necho \"$1 $2: no room\" >&2\nexit 3\n", executable).ok());
  const Status status = StartServer(program, folder / "home");
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code(), "server-failed");
  EXPECT_THAT(status.error().evidence(), ElementsAre("server run: no room"));
  fs::remove_all(folder);
}

Cluster HereAndThere() {
  Cluster cluster;
  cluster.name = "shop";
  cluster.hosts = {{"here", "127.0.0.1", {}}, {"there", "10.9.9.9", {}}};
  Service service;
  service.name = "web";
  service.mark = {4, 3};
  cluster.services = {service};
  return cluster;
}

Instance InstanceOn(const std::string& host, const std::string& program, int port) {
  Instance instance;
  instance.name = "web-1";
  instance.service = "web";
  instance.host = host;
  instance.argv = {program};
  instance.ports["http"] = {port, 1, false};
  return instance;
}

Machine MachineWith(std::vector<Listener> listeners, bool programs) {
  Machine machine;
  machine.listeners = std::move(listeners);
  machine.find = [programs](const std::string& name) {
    return programs ? "/usr/bin/" + name : std::string();
  };
  machine.is_file = machine.is_executable = [programs](const std::string&) { return programs; };
  return machine;
}

TEST(CheckMachine, NamesMissingProgramsWithTheirPackage) {
  const Machine bare = MachineWith({}, false);
  const auto findings =
      CheckMachine(HereAndThere(), {InstanceOn("here", "nginx", 80), InstanceOn("here", "nginx", 81)}, bare);
  ASSERT_THAT(findings, SizeIs(1));
  EXPECT_EQ(findings[0].code, "program-missing");
  EXPECT_THAT(findings[0].fix, HasSubstr("nginx"));
  EXPECT_EQ(findings[0].mark.line, 4);
  EXPECT_THAT(CheckMachine(HereAndThere(), {InstanceOn("there", "nginx", 80)}, bare), IsEmpty());
  EXPECT_THAT(CheckMachine(HereAndThere(), {InstanceOn("here", "{artifact}", 80)}, bare), IsEmpty());
}

TEST(CheckMachine, TellsWhatIsThereAndCannotBeExecuted) {
  Machine machine = MachineWith({}, true);
  machine.is_executable = [](const std::string&) { return false; };
  Cluster cluster = HereAndThere();
  Value artifact;
  artifact.type = Value::Type::kString;
  artifact.text = "./web.sh";
  cluster.services[0].settings.type = Value::Type::kMap;
  cluster.services[0].settings.entries.push_back({.key = "artifact", .key_mark = {}, .value = artifact});
  Instance sent = InstanceOn("here", "{artifact}", 80);
  sent.artifact = {.name = "web.sh", .sha256 = "1", .executable = false};
  Instance rendered = InstanceOn("here", "bin/run", 81);
  rendered.files = {{.path = "bin/run", .content = "x", .blob = ""}};
  const auto findings = CheckMachine(cluster, {sent, rendered, InstanceOn("here", "/opt/web", 82)}, machine);
  ASSERT_THAT(findings, SizeIs(3));
  for (const Finding& finding : findings) EXPECT_EQ(finding.code, "not-executable");
  EXPECT_THAT(findings[0].fix, HasSubstr("chmod +x ./web.sh"));
  EXPECT_THAT(findings[1].fix, HasSubstr("0750"));
  EXPECT_THAT(findings[2].message, HasSubstr("/opt/web"));
}

TEST(CheckMachine, LooksForTheProgramOfAHealthCheckAndTheUser) {
  Machine machine = MachineWith({}, false);
  machine.has_user = [](const std::string&) { return false; };
  Cluster cluster = HereAndThere();
  Service& service = cluster.services[0];
  service.user = "nobody-here";
  Value command;
  command.type = Value::Type::kString;
  command.mark = {6, 20};
  Value health;
  health.type = service.settings.type = Value::Type::kMap;
  health.entries.push_back({.key = "command", .key_mark = {}, .value = command});
  service.settings.entries.push_back({.key = "health", .key_mark = {}, .value = health});
  Instance instance = InstanceOn("here", "{artifact}", 80);
  instance.artifact.executable = true;
  instance.probe.kind = Probe::Kind::kCommand;
  instance.probe.target = "pg_isready -p 80";
  const auto findings = CheckMachine(cluster, {instance}, machine);
  ASSERT_THAT(findings, SizeIs(2));
  EXPECT_EQ(findings[0].code, "program-missing");
  EXPECT_EQ(findings[0].mark, (Mark{6, 20}));
  EXPECT_EQ(findings[1].code, "unknown-user");
}

TEST(CheckMachine, TellsPortsThatOnlyRootMayHave) {
  Machine machine = MachineWith({}, true);
  const std::vector<Instance> one = {InstanceOn("here", "nginx", 80)};
  EXPECT_THAT(CheckMachine(HereAndThere(), one, machine), IsEmpty());
  machine.first_free_port = 1024;
  const auto findings = CheckMachine(HereAndThere(), one, machine);
  ASSERT_THAT(findings, SizeIs(1));
  EXPECT_EQ(findings[0].code, "port-needs-root");
  EXPECT_THAT(findings[0].fix, HasSubstr("ip_unprivileged_port_start=80"));
  EXPECT_THAT(CheckMachine(HereAndThere(), {InstanceOn("here", "nginx", 1024)}, machine), IsEmpty());
  EXPECT_THAT(CheckMachine(HereAndThere(), one, machine, {"web-1"}), IsEmpty());
  machine.first_free_port = 80;
  EXPECT_THAT(CheckMachine(HereAndThere(), one, machine), IsEmpty());
}

TEST(CheckMachine, TellsOnceThatABusMayFindItsPortTaken) {
  Machine machine = MachineWith({}, true);
  machine.local_ports = {.first = 32768, .last = 60999, .reserved = {}};
  Instance first = InstanceOn("here", "redis-server", 27001), second = first;
  first.ports["bus"] = {.first = 37001};
  second.name = "web-2";
  second.ports["bus"] = {.first = 37002};
  const auto findings = CheckMachine(HereAndThere(), {first, second}, machine);
  ASSERT_THAT(findings, SizeIs(1));
  EXPECT_EQ(findings[0].code, "bus-port-local");
  EXPECT_EQ(findings[0].severity, Severity::kWarning);
  EXPECT_THAT(findings[0].message, HasSubstr("37001"));
  EXPECT_THAT(findings[0].fix, HasSubstr("ip_local_reserved_ports=37001"));
  machine.local_ports.reserved = {{.first = 37001, .count = 2}};
  EXPECT_THAT(CheckMachine(HereAndThere(), {first, second}, machine), IsEmpty());
  first.ports["bus"] = {.first = 17001};
  EXPECT_THAT(CheckMachine(HereAndThere(), {first}, machine), IsEmpty());
}

TEST(CheckMachine, TellsARelativeProgramThatNothingBrings) {
  const Machine machine = MachineWith({}, true);
  Instance instance = InstanceOn("here", "./site/run.sh", 8080);
  const auto findings = CheckMachine(HereAndThere(), {instance}, machine);
  ASSERT_THAT(findings, SizeIs(1));
  EXPECT_EQ(findings[0].code, "program-missing");
  EXPECT_THAT(findings[0].fix, HasSubstr("artifact: ./site/run.sh"));
  instance.files.push_back({.path = "site/run.sh", .content = "x", .blob = "", .mode = 0750});
  EXPECT_THAT(CheckMachine(HereAndThere(), {instance}, machine), IsEmpty());
  EXPECT_THAT(CheckMachine(HereAndThere(), {InstanceOn("here", "data/tool", 8080)}, machine), IsEmpty());
}

TEST(CheckMachine, WarnsOfAWorkingFolderThatIsNotThere) {
  Machine machine = MachineWith({}, true);
  machine.is_file = [](const std::string& path) { return path != "/nope"; };
  Instance instance = InstanceOn("here", "nginx", 8080);
  instance.working_folder = "/nope";
  const auto findings = CheckMachine(HereAndThere(), {instance, instance}, machine);
  ASSERT_THAT(findings, SizeIs(1));
  EXPECT_EQ(findings[0].code, "folder-missing");
  EXPECT_EQ(findings[0].severity, Severity::kWarning);
  instance.working_folder = "{data}";
  EXPECT_THAT(CheckMachine(HereAndThere(), {instance}, machine), IsEmpty());
}

TEST(CheckMachine, TellsAUserWhoIsRootByAnotherName) {
  Machine machine = MachineWith({}, true);
  machine.has_user = [](const std::string&) { return true; };
  machine.is_root = [](const std::string& user) { return user == "toor"; };
  Cluster cluster = HereAndThere();
  cluster.services[0].user = "toor";
  const std::vector<Instance> web = {InstanceOn("here", "web", 80)};
  const auto findings = CheckMachine(cluster, web, machine);
  ASSERT_THAT(findings, SizeIs(1));
  EXPECT_EQ(findings[0].code, "user-root");
  cluster.services[0].user = "daemon";
  EXPECT_THAT(CheckMachine(cluster, web, machine), IsEmpty());
}

TEST(CheckMachine, TellsHostsThatAreElsewhere) {
  Cluster cluster = HereAndThere();
  const auto findings = CheckHosts(cluster);
  ASSERT_THAT(findings, SizeIs(1));
  EXPECT_EQ(findings[0].code, "host-elsewhere");
  EXPECT_THAT(findings[0].message, HasSubstr("10.9.9.9"));
  cluster.rehearsal = true;
  EXPECT_THAT(CheckHosts(cluster), IsEmpty());
}

TEST(CheckMachine, FindsPortsThatSomebodyElseHas) {
  Listener listener{.port = 80, .address = "0.0.0.0", .pid = 7, .program = "apache2"};
  const std::vector<Instance> web = {InstanceOn("here", "web", 80)};
  const auto findings = CheckMachine(HereAndThere(), web, MachineWith({listener}, true));
  ASSERT_THAT(findings, SizeIs(1));
  EXPECT_EQ(findings[0].message, "port 80 of web-1 on here is taken by pid 7 (apache2)");
  EXPECT_THAT(CheckMachine(HereAndThere(), web, MachineWith({listener}, true), {"web-1"}), IsEmpty());
  listener.cluster = "shop";
  EXPECT_THAT(CheckMachine(HereAndThere(), web, MachineWith({listener}, true)), IsEmpty());
  listener.cluster = "other";
  listener.instance = "edge-1";
  const auto ours = CheckMachine(HereAndThere(), web, MachineWith({listener}, true));
  ASSERT_THAT(ours, SizeIs(1));
  EXPECT_EQ(ours[0].message,
            "port 80 of web-1 on here is taken by edge-1 of the cluster other, pid 7 (apache2)");
  EXPECT_THAT(ours[0].fix, HasSubstr("muster down -c other"));
  listener.address = "127.77.1.2";
  EXPECT_THAT(CheckMachine(HereAndThere(), web, MachineWith({listener}, true)), IsEmpty());
}

TEST(CheckMachine, WarnsOfLimitsAndNetworksThatItCannotGive) {
  Machine machine = MachineWith({}, true);
  machine.limits = {.memory = false, .cpus = true, .why = "the reason", .fix = "the way"};
  machine.namespaces = false;
  Cluster cluster = HereAndThere();
  cluster.rehearsal = true;
  Instance limited = InstanceOn("here", "web", 80);
  limited.limits.cpus = 1;
  EXPECT_THAT(CheckMachine(cluster, {limited}, machine), SizeIs(1));
  limited.limits.memory_bytes = 1 << 20;
  const auto findings = CheckMachine(cluster, {limited, limited}, machine);
  ASSERT_THAT(findings, SizeIs(2));
  EXPECT_EQ(findings[0].code, "rehearsal-plain");
  EXPECT_EQ(findings[1].code, "limits-unset");
  EXPECT_EQ(findings[1].message, "limits of web can't be set (memory): the reason");
  EXPECT_FALSE(HasErrors(findings));
}

TEST(Listeners, KnowThePortOfThisVeryTest) {
  const Fd server(socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(bind(server.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(listen(server.get(), 1), 0);
  socklen_t size = sizeof address;
  ASSERT_EQ(getsockname(server.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  const int port = ntohs(address.sin_port);
  bool found = false;
  for (const Listener& listener : ListenersHere("/nowhere")) {
    if (listener.port != port) continue;
    found = true;
    EXPECT_EQ(listener.pid, getpid());
    EXPECT_EQ(listener.address, "127.0.0.1");
    EXPECT_EQ(listener.cluster, "");
  }
  EXPECT_TRUE(found);
}

}  // namespace
}  // namespace muster::cli
