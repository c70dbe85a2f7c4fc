#include "recipes/redis_cluster/adopt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "recipes/redis/settings.h"
#include "recipes/redis_cluster/layout.h"

namespace muster::redis_cluster {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

std::string Id(int number) { return std::string(39, 'a') + std::to_string(number); }

// Three masters on ports 7001 to 7003 and a replica of each behind them, as redis-cli forms them.
FoundCluster Three(const std::vector<std::string>& addresses = {"127.0.0.1"}) {
  const auto at = [&](int number) { return addresses[static_cast<size_t>(number - 1) % addresses.size()]; };
  const auto slots = redis::EvenSlots(3);
  redis::ClusterView view;
  for (int number = 1; number <= 6; ++number) {
    redis::ClusterNode node;
    node.id = Id(number);
    node.address = at(number);
    node.port = 7000 + number;
    node.bus_port = node.port + 10000;
    node.master = number <= 3;
    node.replica = !node.master;
    node.connected = true;
    if (node.master) node.slots = slots[static_cast<size_t>(number - 1)];
    // On three hosts 4 is beside 1, so it follows 2.
    if (node.replica) node.master_id = Id((number - 3) % 3 + 1);
    view.nodes.push_back(node);
  }
  FoundCluster found;
  for (int number = 1; number <= 6; ++number) {
    FoundMember member;
    member.address = at(number);
    member.port = 7000 + number;
    member.info.pid = 1000 + number;
    member.info.version = "7.0.15";
    member.view = view;
    member.view.nodes[static_cast<size_t>(number - 1)].myself = true;
    for (const redis::Setting& setting : redis::AllSettings()) {
      if (setting.cost != redis::Cost::kOwned)
        member.settings[std::string(setting.name)] = std::string(setting.standard);
    }
    member.settings["dir"] = "/srv/" + std::to_string(7000 + number);
    member.settings["cluster-config-file"] = "nodes.conf";
    member.settings["dbfilename"] = "dump.rdb";
    member.settings["bind"] = "127.0.0.1";
    member.settings["appendonly"] = "yes";
    member.here = member.seen = true;
    member.user = "redis";
    found.members.push_back(std::move(member));
  }
  return found;
}

const AdoptRequest kRequest{
    .host = "127.0.0.1", .port = 7001, .password = "", .cluster = "shop", .service = "cache"};

Adoption Adopted(const FoundCluster& found) { return AdoptionOf(found, kRequest); }

std::vector<std::string> CodesOf(const Adoption& adoption) {
  std::vector<std::string> codes;
  for (const Finding& finding : adoption.findings) codes.push_back(finding.code);
  return codes;
}

std::string MessageOf(const Adoption& adoption, const std::string& code) {
  for (const Finding& finding : adoption.findings) {
    if (finding.code == code) return finding.message + "; " + finding.fix;
  }
  return "";
}

TEST(Adopt, WritesEachMemberWithItsPortAndItsData) {
  FoundCluster found = Three();
  found.members[1].settings["cluster-config-file"] = "nodes-7002.conf";

  const Adoption adoption = Adopted(found);

  EXPECT_THAT(adoption.file, HasSubstr("cluster: shop\nservices:\n  cache:\n    kind: redis-cluster\n"
                                       "    masters: 3\n    replicas: 1\n    port: 7001\n"));
  EXPECT_THAT(adoption.file, HasSubstr("    members:\n      - { port: 7001, data: /srv/7001 }\n"
                                       "      - { port: 7002, data: /srv/7002, files: { cluster-config-file: "
                                       "nodes-7002.conf } }\n"));
  EXPECT_THAT(adoption.file, HasSubstr("slots: kept"));
  EXPECT_THAT(adoption.file, Not(HasSubstr("hosts:")));
  ASSERT_EQ(adoption.members.size(), 6u);
  EXPECT_EQ(adoption.members[0].name, "cache-1");
  EXPECT_EQ(adoption.members[0].role, "primary of 0-5460");
  EXPECT_EQ(adoption.members[0].pid, 1001);
  EXPECT_EQ(adoption.members[3].role, "replica of cache-2");
}

TEST(Adopt, NamesTheHostsWhereThereAreSeveral) {
  FoundCluster found = Three({"10.0.0.2", "10.0.0.1", "10.0.0.3"});
  for (FoundMember& member : found.members) member.here = member.seen = false;

  const Adoption adoption = Adopted(found);

  EXPECT_THAT(adoption.file,
              HasSubstr("hosts:\n  h1: { address: 10.0.0.1 }\n  h2: { address: 10.0.0.2 }\n  h3: "));
  EXPECT_THAT(adoption.file, HasSubstr("- { host: h2, port: 7001, data: /srv/7001 }"));
  EXPECT_THAT(CodesOf(adoption), Contains("host-elsewhere"));
  EXPECT_THAT(CodesOf(adoption), Contains("no-password"));
  EXPECT_THAT(CodesOf(adoption), Not(Contains("replica-beside-master")));
  EXPECT_FALSE(HasErrors(adoption.findings));
}

TEST(Adopt, KeepsTheSettingsThatAreOtherThanMustersOwn) {
  FoundCluster found = Three();
  for (FoundMember& member : found.members) {
    member.settings["maxmemory"] = "104857600";
    member.settings["maxmemory-policy"] = "allkeys-lru";
    member.settings["appendonly"] = "no";
    member.settings["cluster-node-timeout"] = "5000";
  }

  const Adoption adoption = Adopted(found);

  EXPECT_THAT(adoption.file, HasSubstr("      appendonly: no\n"));
  EXPECT_THAT(adoption.file, HasSubstr("      maxmemory: 104857600\n      maxmemory-policy: allkeys-lru\n"));
  EXPECT_THAT(adoption.file, HasSubstr("      save: \"3600 1 300 100 60 10000\"\n"));
  EXPECT_THAT(adoption.file, Not(HasSubstr("node_timeout")));
  EXPECT_THAT(adoption.file, Not(HasSubstr("timeout: 0")));
  EXPECT_THAT(CodesOf(adoption), Contains("no-appendonly"));
  EXPECT_THAT(MessageOf(adoption, "defaults-kept"), HasSubstr("save \"3600 1 300 100 60 10000\" for \"\""));
}

TEST(Adopt, NamesTheTimeoutAsTheFileDoes) {
  const Adoption adoption = Adopted(Three());
  EXPECT_THAT(adoption.file, HasSubstr("    node_timeout: 15s\n"));
  EXPECT_THAT(MessageOf(adoption, "defaults-kept"), HasSubstr("node_timeout 15s for 5s"));
  EXPECT_THAT(MessageOf(adoption, "defaults-kept"), Not(HasSubstr("cluster-node-timeout")));
}

TEST(Adopt, SaysWhatTheDelayBeforeAReplicaIsFilledCosts) {
  const auto fix = [](const char* delay) {
    FoundCluster found = Three();
    for (FoundMember& member : found.members) member.settings["repl-diskless-sync-delay"] = delay;
    for (const Finding& finding : Adopted(found).findings) {
      if (finding.code == "defaults-kept") return finding.fix;
    }
    return std::string();
  };
  EXPECT_THAT(fix("5"), HasSubstr("has to wait 5 s first"));
  EXPECT_THAT(fix("0"), Not(HasSubstr("wait")));
}

TEST(Adopt, TakesTheSettingOfMostAndNamesTheOthers) {
  FoundCluster found = Three();
  for (FoundMember& member : found.members) member.settings["maxmemory"] = "100";
  found.members[4].settings["maxmemory"] = "200";
  found.members[4].settings["databases"] = "4";

  const Adoption adoption = Adopted(found);

  EXPECT_THAT(adoption.file, HasSubstr("maxmemory: 100\n"));
  EXPECT_THAT(MessageOf(adoption, "settings-differ"), HasSubstr("on cache-5"));
  EXPECT_THAT(MessageOf(adoption, "settings-differ"), HasSubstr("takes a restart"));
}

TEST(Adopt, WritesNoPasswordAndHandsItOnApart) {
  FoundCluster found = Three();
  for (FoundMember& member : found.members)
    member.settings["requirepass"] = member.settings["masterauth"] = "hush-hush";
  found.members[2].settings["masterauth"] = "";

  const Adoption adoption = Adopted(found);

  EXPECT_THAT(adoption.file, HasSubstr("password: \"{{secret.cache}}\""));
  EXPECT_THAT(adoption.file, Not(HasSubstr("hush-hush")));
  EXPECT_EQ(adoption.secrets.at("cache"), "hush-hush");
  EXPECT_THAT(MessageOf(adoption, "passwords-differ"), HasSubstr("cache-3 has"));
  for (const Finding& finding : adoption.findings) EXPECT_THAT(finding.message, Not(HasSubstr("hush-hush")));
}

TEST(Adopt, TellsWhatALostHostWouldTakeWithIt) {
  FoundCluster found = Three({"10.0.0.1", "10.0.0.1", "10.0.0.2"});

  const Adoption adoption = Adopted(found);

  EXPECT_THAT(MessageOf(adoption, "quorum-on-one-host"), HasSubstr("2 of the 3 masters are on h1"));
  EXPECT_THAT(MessageOf(adoption, "replica-beside-master"),
              HasSubstr("cache-4 follows cache-2 on the same host"));
}

TEST(Adopt, TellsOfMembersThatTheMastersLack) {
  FoundCluster found = Three();
  found.members.pop_back();
  for (FoundMember& member : found.members) member.view.nodes.pop_back();

  const Adoption adoption = Adopted(found);

  EXPECT_THAT(adoption.file, HasSubstr("replicas: 1"));
  EXPECT_THAT(MessageOf(adoption, "replicas-missing"), HasSubstr("cache-1 has 0 of 1 replicas"));
  EXPECT_THAT(MessageOf(adoption, "replicas-missing"), HasSubstr("up adds 1 member;"));
}

TEST(Adopt, TellsOfSlotsThatAreUnevenMovingOrNobodys) {
  FoundCluster found = Three();
  for (FoundMember& member : found.members) {
    member.view.nodes[0].slots = redis::SlotSet::Range(0, 99);
    member.view.nodes[1].slots |= redis::SlotSet::Range(100, 5000);
  }
  found.members[0].view.nodes[0].migrating[7] = Id(2);

  const Adoption adoption = Adopted(found);

  EXPECT_THAT(CodesOf(adoption), Contains("slots-uneven"));
  EXPECT_THAT(CodesOf(adoption), Contains("slots-moving"));
  EXPECT_THAT(MessageOf(adoption, "slots-uncovered"), HasSubstr("5001-5460"));
  EXPECT_TRUE(HasErrors(adoption.findings));
  EXPECT_EQ(adoption.findings[0].code, "slots-uncovered");
}

TEST(Adopt, RefusesProcessesThatItCannotTakeOver) {
  FoundCluster found = Three();
  found.members[0].root = true;
  found.members[1].controllable = false;
  found.members[2].seen = false;
  found.members[3].unit = "redis@7004.service";

  const Adoption adoption = Adopted(found);

  EXPECT_THAT(MessageOf(adoption, "user-root"), HasSubstr("cache-1 (pid 1001)"));
  EXPECT_THAT(MessageOf(adoption, "take-over-denied"), HasSubstr("cache-2"));
  EXPECT_THAT(MessageOf(adoption, "process-unseen"), HasSubstr("cache-3"));
  EXPECT_THAT(MessageOf(adoption, "kept-by-systemd"), HasSubstr("redis@7004.service"));
}

TEST(Adopt, NamesTheUserWhereRootAsks) {
  FoundCluster found = Three();
  found.as_root = true;
  found.members[5].user = "other";

  const Adoption adoption = Adopted(found);

  EXPECT_THAT(adoption.file, HasSubstr("    user: redis\n"));
  EXPECT_THAT(MessageOf(adoption, "take-over-denied"), HasSubstr("cache-6 (pid 1006) belongs to other"));
}

TEST(Adopt, TellsWhatRedisConfByMusterWillNotHave) {
  FoundCluster found = Three();
  found.members[0].settings["bind"] = "* -::*";
  found.members[0].users = {"user default on nopass ~* &* +@all", "user app on #00 ~* +@all"};
  found.members[1].config = {{"rename-command", {"FLUSHALL", ""}}};
  found.members[2].settings["unixsocket"] = "/run/r.sock";
  found.members[3].info.version = "6.2.1";
  found.members[4].settings["tls-port"] = "7443";
  found.members[5].view.nodes[5].bus_port = 9000;

  const Adoption adoption = Adopted(found);

  EXPECT_THAT(MessageOf(adoption, "bind-all"), HasSubstr("cache-1 listens"));
  EXPECT_THAT(MessageOf(adoption, "acl-users"), HasSubstr(": app;"));
  EXPECT_THAT(MessageOf(adoption, "commands-renamed"), HasSubstr("FLUSHALL"));
  EXPECT_THAT(MessageOf(adoption, "setting-not-kept"), HasSubstr("unixsocket is set on cache-3"));
  EXPECT_THAT(MessageOf(adoption, "versions-differ"), HasSubstr("6.2.1 on cache-4"));
  EXPECT_THAT(MessageOf(adoption, "redis-tls"), HasSubstr("cache-5"));
  EXPECT_THAT(MessageOf(adoption, "bus-port-moved"), HasSubstr("cache-6 has its bus on 9000"));
  EXPECT_THAT(adoption.file, Not(HasSubstr("unixsocket")));
}

TEST(Adopt, FindsLittleToSayOfOneThatIsAsMusterWouldHaveIt) {
  FoundCluster found = Three({"10.0.0.1", "10.0.0.2", "10.0.0.3"});
  for (FoundMember& member : found.members) {
    member.settings["requirepass"] = member.settings["masterauth"] = "x";
    for (const auto& [name, value] : std::map<std::string, std::string>{{"save", ""},
                                                                        {"repl-diskless-sync-delay", "0"},
                                                                        {"shutdown-timeout", "0"},
                                                                        {"protected-mode", "no"},
                                                                        {"cluster-node-timeout", "5000"}})
      member.settings[name] = value;
  }

  const Adoption adoption = Adopted(found);

  EXPECT_THAT(CodesOf(adoption), IsEmpty());
  EXPECT_THAT(adoption.file, Not(HasSubstr("settings:")));
}

}  // namespace
}  // namespace muster::redis_cluster
