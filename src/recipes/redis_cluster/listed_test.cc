// Members that the file lists: where they stand, what they are called, and how they are taken over.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "recipes/redis_cluster/change.h"
#include "recipes/redis_cluster/testing_cluster.h"

namespace muster::redis_cluster {
namespace {

using testing::Cache;
using ::testing::Contains;
using ::testing::HasSubstr;
using testing::Hosts;
using ::testing::IsEmpty;
using testing::LayOut;
using ::testing::Not;

Value At(const std::string& host, int port, const std::string& data = "") {
  Value member = Map({{"host", Scalar(host)}, {"port", Scalar(std::to_string(port))}});
  if (!data.empty()) member.entries.push_back({"data", {}, Scalar(data)});
  return member;
}

Service CacheAt(std::vector<Value> members) {
  Value list;
  list.type = Value::Type::kList;
  list.items = std::move(members);
  return Cache({{"members", list}});
}

Service SixAt(int first = 7101) {
  std::vector<Value> members;
  for (int i = 0; i < 6; ++i) members.push_back(At("h1", first + 10 * i, "/srv/" + std::to_string(i + 1)));
  return CacheAt(std::move(members));
}

std::vector<std::string> Codes(const Service& service, const Cluster& cluster) {
  std::vector<std::string> codes;
  for (const Finding& finding : RedisClusterLayout().Check(service, cluster, {})) {
    if (finding.severity == Severity::kError) codes.push_back(finding.code);
  }
  return codes;
}

TEST(ListedMembers, StandWhereTheFileSaysInItsOrder) {
  const auto members = LayOut(SixAt(), Hosts(2));

  ASSERT_EQ(members.size(), 6u);
  for (size_t i = 0; i < 6; ++i) {
    const Instance& member = members[i];
    EXPECT_EQ(member.name, "cache-" + std::to_string(i + 1));
    EXPECT_EQ(member.host, "h1");
    EXPECT_EQ(member.ports.at(kMainPort).first, 7101 + 10 * static_cast<int>(i));
    EXPECT_EQ(member.ports.at(kBusPort).first, 17101 + 10 * static_cast<int>(i));
    EXPECT_EQ(member.extra.at(kDataElsewhere), "/srv/" + std::to_string(i + 1));
  }
  EXPECT_THAT(Codes(SixAt(), Hosts(2)), IsEmpty());
}

TEST(ListedMembers, MayStandBelowThePortOfTheService) {
  const auto members = LayOut(SixAt(6000), Hosts(1));

  ASSERT_EQ(members.size(), 6u);
  EXPECT_EQ(members[0].ports.at(kMainPort).first, 6000);
}

TEST(ListedMembers, KeepTheirNamesWhenOneBeforeThemIsGoneFromTheList) {
  const RedisClusterLayout layout;
  const auto before = layout.PlaceMembers(SixAt(), Hosts(1), {});
  Service fewer = SixAt();
  auto& list = fewer.settings.entries[0].value.items;
  list.erase(list.begin());

  const auto after = layout.PlaceMembers(fewer, Hosts(1), *before);

  EXPECT_EQ(after->at("cache-2").ports, before->at("cache-2").ports);
  EXPECT_EQ(after->at("cache-6").ports, before->at("cache-6").ports);
  EXPECT_EQ(after->size(), 6u);
}

TEST(ListedMembers, AreJoinedByThoseThatAreMissing) {
  Service five = SixAt();
  five.settings.entries[0].value.items.pop_back();

  const auto members = LayOut(five, Hosts(2));

  ASSERT_EQ(members.size(), 6u);
  EXPECT_EQ(members[5].name, "cache-6");
  EXPECT_EQ(members[5].host, "h2");
  EXPECT_FALSE(members[5].extra.contains(kDataElsewhere));
}

TEST(ListedMembers, AreAllWantedThoughTheyAreMoreThanTheNumbersSay) {
  std::vector<Value> members;
  for (int i = 0; i < 7; ++i) members.push_back(At("h1", 7001 + i));
  EXPECT_EQ(LayOut(CacheAt(std::move(members)), Hosts(1)).size(), 7u);
}

TEST(ListedMembers, HaveTheirFilesUnderTheNamesThatTheyHave) {
  Service service = SixAt();
  Value& first = service.settings.entries[0].value.items[0];
  first.entries.push_back(
      {"files",
       {},
       Map({{"cluster-config-file", Scalar("nodes-7101.conf")}, {"dbfilename", Scalar("a.rdb")}})});

  const auto members = LayOut(service, Hosts(1));

  EXPECT_THAT(members[0].files[0].content, HasSubstr("cluster-config-file nodes-7101.conf\n"));
  EXPECT_THAT(members[0].files[0].content, HasSubstr("dbfilename a.rdb\n"));
  EXPECT_THAT(members[0].files[0].content, Not(HasSubstr("nodes.conf")));
  EXPECT_THAT(members[0].files[0].content, HasSubstr("dir \"{data}\""));
  EXPECT_THAT(members[1].files[0].content, HasSubstr("cluster-config-file nodes.conf\n"));
}

TEST(ListedMembers, HaveDataOfTheirOwnInARehearsal) {
  Cluster cluster = Hosts(1);
  cluster.rehearsal = true;
  for (const Instance& member : LayOut(SixAt(), cluster)) EXPECT_FALSE(member.extra.contains(kDataElsewhere));
}

TEST(ListedMembers, AreRefusedOnUnknownHostsTwiceAndWithoutRoomForTheBus) {
  EXPECT_THAT(Codes(CacheAt({At("h9", 7001)}), Hosts(1)), Contains("unknown-host"));
  EXPECT_THAT(Codes(CacheAt({At("h1", 7001), At("h1", 7001)}), Hosts(1)), Contains("member-twice"));
  EXPECT_THAT(Codes(CacheAt({At("h1", 7001, "/a"), At("h1", 7002, "/a")}), Hosts(1)),
              Contains("member-twice"));
  EXPECT_THAT(Codes(CacheAt({At("h1", 60000)}), Hosts(1)), Contains("out-of-range"));
}

TEST(ListedMembers, AreTakenOverAsThePlanSays) {
  const RedisClusterLayout layout;
  const Service service = SixAt();
  const Cluster cluster = Hosts(1);
  const auto desired = LayOut(service, cluster);
  const std::map<std::string, Observed> observed;

  const auto output = RedisClusterChange(&layout).StepsFor(
      {.service = &service, .cluster = &cluster, .desired = &desired, .observed = &observed});

  ASSERT_EQ(output.notes.size(), 1u);
  EXPECT_THAT(output.notes[0],
              HasSubstr("cache-1, cache-2, cache-3, cache-4, cache-5, cache-6 are taken over as "
                        "they run, with the data where it is"));
  EXPECT_EQ(output.steps[1].reason, "taken over as it runs in /srv/1");
  EXPECT_EQ(output.steps.back().reason, "all are seen in their roles");
  EXPECT_THAT(output.outages, IsEmpty());
}

}  // namespace
}  // namespace muster::redis_cluster
