#include <gtest/gtest.h>

#include <csignal>

#include "recipes/common/member_change.h"
#include "recipes/common/placement.h"
#include "recipes/common/shapes.h"
#include "recipes/common/values.h"
#include "recipes/recipe.h"

namespace muster::common {
namespace {

using Names = std::vector<std::string>;

Cluster TwoHosts() {
  Cluster cluster;
  cluster.name = "c";
  cluster.hosts = {{.name = "a", .address = "10.0.0.1", .mark = {}},
                   {.name = "b", .address = "10.0.0.2", .mark = {}}};
  return cluster;
}

Service Web() {
  Service service;
  service.name = "web";
  service.kind = "app";
  return service;
}

std::string Show(const Placement& placement) {
  std::string text;
  for (const auto& [name, place] : MembersOf(placement, "web")) {
    text += fmt::format("{}@{}:{} ", name, place->host, place->ports.at("http").first);
  }
  return text;
}

const std::map<std::string, PortRange> kHttp{{"http", {.first = 80, .count = 1}}};

TEST(Placement, PlacesSoManyOnEachHostOnFollowingPorts) {
  const Placement placement = PlaceMembers(Web(), TwoHosts(), {}, {.number = 2, .per_host = true}, kHttp);
  EXPECT_EQ(Show(placement), "web-1@a:80 web-2@a:81 web-3@b:80 web-4@b:81 ");
}

TEST(Placement, SpreadsAndNeverMovesWhatStands) {
  const Placement three = PlaceMembers(Web(), TwoHosts(), {}, {.number = 3}, kHttp);
  EXPECT_EQ(Show(three), "web-1@a:80 web-2@b:80 web-3@a:81 ");
  const Placement one = PlaceMembers(Web(), TwoHosts(), three, {.number = 1}, kHttp);
  EXPECT_EQ(Show(one), "web-1@a:80 ");
  const Placement four = PlaceMembers(Web(), TwoHosts(), three, {.number = 4}, kHttp);
  EXPECT_EQ(Show(four), "web-1@a:80 web-2@b:80 web-3@a:81 web-4@b:81 ");
}

TEST(Placement, KeepsTheSlotWhenPortsChangeAndLeavesAHostThatIsGone) {
  const Placement three = PlaceMembers(Web(), TwoHosts(), {}, {.number = 3}, kHttp);
  const Placement moved =
      PlaceMembers(Web(), TwoHosts(), three, {.number = 3}, {{"http", {.first = 9000, .count = 10}}});
  EXPECT_EQ(Show(moved), "web-1@a:9000 web-2@b:9000 web-3@a:9010 ");
  Service only_b = Web();
  only_b.hosts = {"b"};
  // web-1 and web-3 go; their names aren't used again while they stand.
  EXPECT_EQ(Show(PlaceMembers(only_b, TwoHosts(), three, {.number = 3}, kHttp)),
            "web-2@b:80 web-4@b:81 web-5@b:82 ");
}

TEST(Placement, AFormerMemberGetsItsPlaceBackAndOneThatMayStillStandKeepsItFromOthers) {
  const Placement four = PlaceMembers(Web(), TwoHosts(), {}, {.number = 4}, kHttp);
  Placement former = PlaceMembers(Web(), TwoHosts(), four, {.number = 1}, kHttp);
  for (const auto& [name, place] : four) {
    if (former.emplace(name, place).second) former[name].claim = Claim::kFormer;
  }
  EXPECT_EQ(PlaceMembers(Web(), TwoHosts(), former, {.number = 4}, kHttp), four);
  EXPECT_EQ(Show(PlaceMembers(Web(), TwoHosts(), former, {.number = 1}, kHttp)), "web-1@a:80 ");

  Placement away = former;
  away["web-2"].claim = away["web-4"].claim = Claim::kReserved;
  EXPECT_EQ(Show(PlaceMembers(Web(), TwoHosts(), away, {.number = 4}, kHttp)),
            "web-1@a:80 web-3@a:81 web-5@b:82 web-6@b:83 ");
}

std::string CodeForUser(const std::string& name) {
  Service service = Web();
  Value user;
  user.type = Value::Type::kString;
  user.text = name;
  service.settings.type = Value::Type::kMap;
  service.settings.entries.push_back({.key = "user", .key_mark = {}, .value = user});
  std::vector<Finding> findings;
  CheckCommonValues(service, TwoHosts(), findings);
  return findings.empty() ? "" : findings[0].code;
}

TEST(Values, NothingRunsAsRoot) {
  EXPECT_EQ(CodeForUser("root"), "user-root");
  EXPECT_EQ(CodeForUser("0"), "user-root");
  EXPECT_EQ(CodeForUser("no body"), "bad-value");
  EXPECT_EQ(CodeForUser("rooty"), "");
}

TEST(Shapes, ReadPortsKnowsRangesAndUdp) {
  EXPECT_EQ(ReadPorts("8100-8110/udp"), (PortRange{.first = 8100, .count = 11, .udp = true}));
  EXPECT_EQ(ReadPorts("80"), (PortRange{.first = 80, .count = 1, .udp = false}));
}

class TestLayout : public Layout {
 public:
  std::string_view kind() const override { return "test"; }
  Shape SettingsShape() const override { return {}; }
  std::vector<Finding> Check(const Service&, const Cluster&, WallTime) const override { return {}; }
  Result<Placement> PlaceMembers(const Service&, const Cluster&, const Placement&) const override {
    return Placement{};
  }
  Result<std::vector<Instance>> LayOut(const Service&, const Cluster&, const Placement&) const override {
    return std::vector<Instance>{};
  }
  std::optional<std::string> Export(std::string_view, const Service&, const Cluster&,
                                    const Placement&) const override {
    return std::nullopt;
  }
  Impact ImpactOf(std::string_view part) const override {
    return part == "probe" ? Impact::kLive : Impact::kRestart;
  }
};

struct World {
  explicit World(int members) {
    service = Web();
    cluster = TwoHosts();
    for (int i = 1; i <= members; ++i) {
      Instance instance;
      instance.name = "web-" + std::to_string(i);
      instance.service = "web";
      instance.host = i % 2 ? "a" : "b";
      instance.hash = "new";
      instance.parts = {{"command", "1"}, {"probe", "1"}};
      desired.push_back(instance);
    }
  }
  void Stands(InstanceState state, const std::string& hash = "new",
              std::map<std::string, std::string> parts = {}) {
    for (const Instance& instance : desired) {
      Observed one{.name = instance.name, .service = "web", .host = instance.host, .state = state};
      one.hash = one.running_hash = hash;
      one.parts = parts.empty() ? instance.parts : parts;
      observed[instance.name] = one;
    }
  }
  Change::Output Steps() {
    const TestLayout layout;
    const MemberChange change(&layout, rolls_reloads);
    input.service = &service;
    input.cluster = &cluster;
    input.desired = &desired;
    input.observed = &observed;
    return change.StepsFor(input);
  }
  bool rolls_reloads = true;
  Names Ids() {
    Names ids;
    for (const Step& step : Steps().steps) {
      std::string id = step.id;
      for (const std::string& need : step.needs) id += " <" + need;
      ids.push_back(id);
    }
    return ids;
  }
  Service service;
  Cluster cluster;
  std::vector<Instance> desired;
  std::map<std::string, Observed> observed;
  Change::Input input;
};

TEST(MemberChange, InstallsAndStartsNewMembersSideBySide) {
  World world(2);
  EXPECT_EQ(world.Ids(), (Names{"web-1.install", "web-1.start <web-1.install", "web-2.install",
                                "web-2.start <web-2.install"}));
}

TEST(MemberChange, HasNothingToDoWhereAllIsAsItShouldBe) {
  World world(3);
  world.Stands(InstanceState::kReady);
  EXPECT_EQ(world.Ids(), Names{});
}

TEST(MemberChange, RollsInAWindowAndTakesWhatIsAwayFirst) {
  World world(4);
  world.service.update.max_unavailable = {2, false};
  world.Stands(InstanceState::kReady, "old", {{"command", "0"}, {"probe", "1"}});
  world.observed["web-4"].state = InstanceState::kFailed;
  EXPECT_EQ(world.Ids(),
            (Names{"web-4.install", "web-4.start <web-4.install",                                         //
                   "web-1.stop <web-4.start", "web-1.install <web-1.stop", "web-1.start <web-1.install",  //
                   "web-2.stop <web-4.start", "web-2.install <web-2.stop", "web-2.start <web-2.install",  //
                   "web-3.stop <web-1.start", "web-3.install <web-3.stop", "web-3.start <web-3.install"}));
  EXPECT_EQ(world.Steps().steps[0].reason, "command changed");
}

TEST(MemberChange, CountsThoseThatStayAwayAsUnavailable) {
  World world(4);
  world.service.update.max_unavailable = {2, false};
  world.Stands(InstanceState::kReady, "old", {{"command", "0"}, {"probe", "1"}});
  world.input.held["web-4"] = "stopped";
  world.observed["web-4"].state = InstanceState::kStopped;
  EXPECT_EQ(world.Ids()[3], "web-2.stop <web-1.start");  // one of the two is away already
  EXPECT_EQ(world.Steps().outages, Names{});
  world.service.update.max_unavailable = {1, false};
  EXPECT_EQ(world.Steps().outages, Names{"web has 2 of 4 instances while each restarts in turn: 1 is away"});
}

TEST(MemberChange, RoundsUnavailableDownButNeverToNothing) {
  World world(3);
  world.service.update.max_unavailable = {25, true};
  world.Stands(InstanceState::kReady, "old", {{"command", "0"}, {"probe", "1"}});
  EXPECT_EQ(world.Ids()[3], "web-2.stop <web-1.start");
  World single(1);
  single.Stands(InstanceState::kReady, "old", {{"command", "0"}});
  EXPECT_EQ(single.Steps().outages.size(), 1u);
}

TEST(MemberChange, ChangesWhatIsLiveWithoutARestart) {
  World world(1);
  world.Stands(InstanceState::kReady, "old", {{"command", "1"}, {"probe", "0"}});
  EXPECT_EQ(world.Ids(), Names{"web-1.install"});
  EXPECT_EQ(world.Steps().steps[0].impact, Impact::kLive);
}

TEST(MemberChange, GoesByTheWindowWhereAProbeChangesAndAsksForItToPass) {
  World world(3);
  world.service.update.max_unavailable = {1, false};
  world.service.update.min_ready = 5s;
  world.Stands(InstanceState::kReady, "old", {{"command", "1"}, {"probe", "0"}});
  EXPECT_EQ(world.Ids(),
            (Names{"web-1.install", "web-2.install <web-1.install", "web-3.install <web-2.install"}));
  const Step install = world.Steps().steps[0];
  EXPECT_EQ(install.args, (std::map<std::string, std::string>{{"min_ready_ms", "5000"}, {"prove", "yes"}}));
  EXPECT_GT(install.deadline, world.desired[0].ready_within + 5s);
  EXPECT_EQ(world.Steps().outages, Names{});
  world.observed["web-2"].state = InstanceState::kUnhealthy;
  EXPECT_EQ(world.Ids(),
            (Names{"web-2.install", "web-1.install <web-2.install", "web-3.install <web-1.install"}));
  EXPECT_TRUE(world.Steps().steps[0].args.contains("prove"));
}

TEST(MemberChange, WaitsForWhoIsNotReadyThoughNothingButWhatIsLiveChanges) {
  World world(2);
  for (Instance& instance : world.desired) instance.parts["extra"] = "1";
  world.Stands(InstanceState::kReady, "old", {{"command", "1"}, {"probe", "0"}, {"extra", "1"}});
  world.observed["web-1"].state = InstanceState::kBackoff;
  EXPECT_EQ(world.Ids(),
            (Names{"web-1.install", "web-1.start <web-1.install", "web-2.install <web-1.start"}));
  EXPECT_FALSE(world.Steps().steps[0].args.contains("prove")) << "the start tells";
}

TEST(MemberChange, LeavesHeldMembersAlone) {
  World world(2);
  world.Stands(InstanceState::kReady);
  world.input.held = {{"web-1", "stopped"}};
  EXPECT_EQ(world.Ids(), Names{"web-1.stop"});
  world.observed["web-1"].state = InstanceState::kStopped;
  EXPECT_EQ(world.Ids(), Names{});
  EXPECT_EQ(world.Steps().notes.size(), 1u);
}

TEST(MemberChange, TakesSurplusMembersAway) {
  World world(2);
  world.Stands(InstanceState::kReady);
  world.desired.pop_back();
  EXPECT_EQ(world.Ids(), (Names{"web-2.stop", "web-2.remove <web-2.stop"}));
}

TEST(MemberChange, RestartsOnRequestAndWhereTheOldStillRuns) {
  World world(2);
  world.Stands(InstanceState::kReady);
  world.input.restart = {"web-2"};
  EXPECT_EQ(world.Ids(), (Names{"web-2.stop", "web-2.start <web-2.stop"}));
  world.input.restart = {};
  world.observed["web-1"].running_hash = "before";
  EXPECT_EQ(world.Ids(), (Names{"web-1.stop", "web-1.start <web-1.stop"}));
}

TEST(MemberChange, TouchesNothingWhereOnlyTheRendererDiffers) {
  World world(2);
  world.Stands(InstanceState::kReady, "old", {{"command", "0"}});
  for (Instance& instance : world.desired) instance.renderer = 2;
  world.input.same_file = true;
  EXPECT_EQ(world.Ids(), Names{});
  EXPECT_EQ(world.Steps().renderer_only, 2);
  world.input.restart = {"web-2"};  // asked for: then it may as well be written anew
  EXPECT_EQ(world.Ids(), (Names{"web-2.stop", "web-2.install <web-2.stop", "web-2.start <web-2.install"}));
  world.input.restart = {};
  world.input.refresh = true;
  EXPECT_EQ(world.Ids().size(), 6u);
}

TEST(MemberChange, PutsRightWhatWasChangedByHand) {
  World world(1);
  world.Stands(InstanceState::kReady);
  world.desired[0].files = {
      {.path = "conf/x", .content = "", .blob = "", .mode = 0640, .impact = Impact::kReload}};
  world.observed["web-1"].drift = {{.path = "conf/x", .what = "changed", .difference = {}}};
  EXPECT_EQ(world.Ids(), (Names{"web-1.install", "web-1.reload <web-1.install"}));
}

// --- Reloads.

World WithAFile(int members) {
  World world(members);
  world.service.update.max_unavailable = {1, false};
  for (Instance& instance : world.desired) {
    instance.parts["file:x"] = "new";
    instance.files = {{.path = "x", .content = "", .blob = "", .mode = 0640, .impact = Impact::kReload}};
  }
  world.Stands(InstanceState::kReady, "old", {{"command", "1"}, {"probe", "1"}, {"file:x", "old"}});
  return world;
}

TEST(MemberChange, RollsReloadsThatMayCostTheMember) {
  World world = WithAFile(2);
  EXPECT_EQ(world.Ids(), (Names{"web-1.install", "web-1.reload <web-1.install",  //
                                "web-2.install <web-1.reload", "web-2.reload <web-2.install"}));
  EXPECT_EQ(world.Steps().outages, Names{});
  world.service.update.max_unavailable = {2, false};
  EXPECT_EQ(world.Ids()[2], "web-2.install");
  world.service.update.max_unavailable = {1, false};
  world.rolls_reloads = false;
  EXPECT_EQ(world.Ids()[2], "web-2.install") << "one that proves its reloads does them all at once";
}

TEST(MemberChange, RestartsInPlaceOfAReloadWhoWouldDieOfIt) {
  World world = WithAFile(3);
  world.observed["web-1"].last_exit = fmt::format("signal {}", SIGHUP);
  world.observed["web-2"].state = InstanceState::kBackoff;
  EXPECT_EQ(world.Ids(),
            (Names{"web-2.stop", "web-2.install <web-2.stop", "web-2.start <web-2.install",
                   "web-1.stop <web-2.start", "web-1.install <web-1.stop", "web-1.start <web-1.install",
                   "web-3.install <web-1.start", "web-3.reload <web-3.install"}));
  for (Instance& instance : world.desired) instance.extra["reload"] = "USR1";
  EXPECT_EQ(world.Ids()[3], "web-1.install <web-2.start") << "it died of another signal";
}

Instance Guest(const std::string& name, const std::string& host) {
  Instance guest;
  guest.name = name;
  guest.service = "web";
  guest.host = host;
  guest.hash = "new";
  return guest;
}

TEST(MemberChange, BringsGuestsBeforeItTouchesWhatServesAndRemovesThemLast) {
  World world(3);
  world.service.update.max_unavailable = {0, false};
  world.service.update.max_surge = {1, false};
  world.input.guests = {Guest("web-x1", "a"), Guest("web-x2", "b")};
  world.Stands(InstanceState::kReady, "old", {{"command", "0"}, {"probe", "1"}});
  EXPECT_EQ(world.Ids(),
            (Names{"web-x1.install", "web-x1.start <web-x1.install",                                       //
                   "web-1.stop <web-x1.start", "web-1.install <web-1.stop", "web-1.start <web-1.install",  //
                   "web-2.stop <web-1.start", "web-2.install <web-2.stop", "web-2.start <web-2.install",   //
                   "web-3.stop <web-2.start", "web-3.install <web-3.stop", "web-3.start <web-3.install",   //
                   "web-x1.stop <web-3.start", "web-x1.remove <web-x1.stop"}));
  const Step install = world.Steps().steps[0];
  EXPECT_EQ(install.put_back, "remove");
  EXPECT_EQ(install.args.at("delete_data"), "yes");
  EXPECT_EQ(world.Steps().outages, Names{});
}

TEST(MemberChange, TheWindowIsWiderByItsGuestsWhichRoundUp) {
  World world(5);
  world.service.update.max_unavailable = {25, true};  // 1
  world.service.update.max_surge = {25, true};        // 2
  world.input.guests = {Guest("web-x1", "a"), Guest("web-x2", "b"), Guest("web-x3", "a")};
  world.Stands(InstanceState::kReady, "old", {{"command", "0"}, {"probe", "1"}});
  const Names ids = world.Ids();
  EXPECT_EQ(ids[4], "web-1.stop <web-x1.start <web-x2.start");
  EXPECT_EQ(ids[10], "web-3.stop <web-x1.start <web-x2.start");
  EXPECT_EQ(ids[13], "web-4.stop <web-1.start");
  EXPECT_EQ(ids[19], "web-x1.stop <web-3.start <web-4.start <web-5.start");
}

TEST(MemberChange, AGuestStandsInForAnOnlyInstance) {
  World world(1);
  world.service.update.max_surge = {100, true};
  world.input.guests = {Guest("web-x1", "a")};
  world.Stands(InstanceState::kReady, "old", {{"command", "0"}, {"probe", "1"}});
  EXPECT_EQ(world.Ids()[2], "web-1.stop <web-x1.start");
  EXPECT_EQ(world.Steps().outages, Names{});
}

TEST(MemberChange, BringsNoGuestsWhereNothingThatServesIsReplaced) {
  World world(2);
  world.service.update.max_surge = {1, false};
  world.input.guests = {Guest("web-x1", "a")};
  EXPECT_EQ(world.Ids(), (Names{"web-1.install", "web-1.start <web-1.install", "web-2.install",
                                "web-2.start <web-2.install"}));
}

TEST(MemberChange, OneAtATimeWhereNeitherIsAllowedAndThePlanSaysSo) {
  World world(3);
  world.service.update.max_unavailable = {0, false};
  world.Stands(InstanceState::kReady, "old", {{"command", "0"}, {"probe", "1"}});
  EXPECT_EQ(world.Ids()[3], "web-2.stop <web-1.start");
  EXPECT_EQ(world.Steps().outages,
            Names{"web has 2 of 3 instances while each restarts in turn (max_unavailable comes to 0)"});
  world.service.update.max_surge = {1, false};  // and nowhere to stand
  world.input.guests = {Guest("web-x1", "b")};
  world.input.unreachable = {"b"};
  world.observed.erase("web-2");
  world.desired.erase(world.desired.begin() + 1);
  EXPECT_EQ(world.Steps().notes, Names{"web: there is no place for an extra member (max_surge)"});
  EXPECT_EQ(world.Steps().outages.size(), 1u);
}

TEST(MemberChange, GuestsThatWereLeftBehindGoAndTheirNamesAreNotUsed) {
  World world(2);
  world.service.update.max_unavailable = {0, false};
  world.service.update.max_surge = {1, false};
  world.input.guests = {Guest("web-x1", "a"), Guest("web-x2", "b")};
  world.Stands(InstanceState::kReady, "old", {{"command", "0"}, {"probe", "1"}});
  world.observed["web-x1"] = {
      .name = "web-x1", .service = "web", .host = "a", .state = InstanceState::kReady};
  world.observed.erase("web-2");
  const auto output = world.Steps();
  EXPECT_EQ(world.Ids()[0], "web-x1.stop");
  EXPECT_EQ(output.steps[1].args.at("delete_data"), "yes");
  EXPECT_EQ(world.Ids()[2], "web-2.install <web-x1.remove");  // it may get the port of that guest
  EXPECT_EQ(world.Ids()[4], "web-x2.install <web-2.start");
}

TEST(Placement, GuestsStandOnTheEmptiestHostOnPortsThatNobodyUses) {
  const Cluster cluster = TwoHosts();
  const Placement web = PlaceMembers(Web(), cluster, {}, {.number = 3}, kHttp);
  UsedPorts used = {{cluster.hosts[1].address, false, 81}};
  for (const auto& [name, place] : web) {
    used.emplace(cluster.FindHost(place.host)->address, false, place.ports.at("http").first);
  }
  EXPECT_EQ(Show(PlaceGuests(Web(), cluster, web, used, 3, kHttp)), "web-x1@b:82 web-x2@a:82 web-x3@b:83 ");
  const std::map<std::string, PortRange> high{{"http", {.first = 65535}}};
  used.emplace(cluster.hosts[0].address, false, 65535);
  EXPECT_EQ(Show(PlaceGuests(Web(), cluster, web, used, 3, high)), "web-x1@b:65535 ");
}

TEST(Placement, NoMemberHasTheNameOfAGuest) {
  EXPECT_TRUE(IsGuestName("web", GuestName("web", 12)));
  for (const char* name : {"web-1", "web-x", "web-x1-1", "web-xa", "we-x1", "webb-x1"}) {
    EXPECT_FALSE(IsGuestName("web", name)) << name;
  }
}

TEST(MemberHealth, IsYellowWhileSomeAreAwayAndRedWhereAllAre) {
  World world(2);
  world.Stands(InstanceState::kReady);
  EXPECT_EQ(MemberHealth(world.desired, world.observed).health, Health::kGreen);
  world.observed["web-1"].state = InstanceState::kBackoff;
  EXPECT_EQ(MemberHealth(world.desired, world.observed).health, Health::kYellow);
  world.observed["web-2"].state = InstanceState::kUnknown;
  EXPECT_EQ(MemberHealth(world.desired, world.observed).health, Health::kYellow);
  world.observed.clear();
  EXPECT_EQ(MemberHealth(world.desired, world.observed).health, Health::kRed);
}

TEST(MemberHealth, TellsWhatTheLastProbeMet) {
  World world(3);
  world.Stands(InstanceState::kStarting);
  world.observed["web-1"].facts[kProbeFact] = "GET /health: 503";
  world.observed["web-1"].last_exit = "exit 1";
  world.observed["web-2"].last_exit = "exit 1";
  world.observed["web-3"].state = InstanceState::kBackoff;
  world.observed["web-3"].last_exit = "exit 1";
  const std::vector<std::string> reasons{"web-1 is starting (GET /health: 503)", "web-2 is starting",
                                         "web-3 is backoff (exit 1)"};
  EXPECT_EQ(MemberHealth(world.desired, world.observed).reasons, reasons);
}

TEST(ReadHealth, AsksOnlyTcpPorts) {
  const std::map<std::string, PortRange> both{{"dns", {.first = 5353, .udp = true}}, {"web", {.first = 80}}};
  const Probe probe = ReadHealth(nullptr, both);
  EXPECT_EQ(probe.kind, Probe::Kind::kTcp);
  EXPECT_EQ(probe.port, 80);
  EXPECT_EQ(ReadHealth(nullptr, {{"dns", {.first = 5353, .udp = true}}}).kind, Probe::Kind::kNone);
}

}  // namespace
}  // namespace muster::common
