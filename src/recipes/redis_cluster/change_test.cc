// In which order a Redis Cluster changes.
#include "recipes/redis_cluster/change.h"

#include <gmock/gmock.h>

#include "base/text.h"
#include "recipes/redis_cluster/testing_cluster.h"

namespace muster::redis_cluster {
namespace {

using testing::Cache;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::Hosts;
using ::testing::IsEmpty;
using ::testing::IsSupersetOf;
using testing::LayOut;
using ::testing::UnorderedElementsAre;
using testing::World;

class RedisClusterChangeTest : public ::testing::Test {
 protected:
  void Plan() { Plan(world_.Observe()); }

  void Plan(std::map<std::string, Observed> observed) {
    observed_ = std::move(observed);
    input_.service = &service_;
    input_.cluster = &cluster_;
    input_.desired = &desired_;
    input_.observed = &observed_;
    output_ = RedisClusterChange(&layout_).StepsFor(input_);
    steps_.clear();
    std::set<std::string> before;
    for (const Step& step : output_.steps) {
      EXPECT_TRUE(steps_.emplace(step.id, step).second) << step.id << " stands there twice";
      EXPECT_FALSE(step.reason.empty()) << step.id;
      const bool mender = step.verb == "settle" || step.verb == "step-down" || step.verb == "leave";
      EXPECT_EQ(step.awaited, mender) << step.id;
      for (const std::string& need : step.needs) EXPECT_TRUE(before.contains(need)) << step.id << " " << need;
      before.insert(step.id);
    }
  }

  std::vector<std::string> Ids() const {
    std::vector<std::string> ids;
    for (const Step& step : output_.steps) ids.push_back(step.id);
    return ids;
  }

  // Everything that is over before this step begins.
  std::set<std::string> Before(const std::string& id) const {
    std::set<std::string> all;
    std::vector<std::string> todo{id};
    while (!todo.empty()) {
      const std::string one = todo.back();
      todo.pop_back();
      const auto step = steps_.find(one);
      if (step == steps_.end()) continue;
      for (const std::string& need : step->second.needs) {
        if (all.insert(need).second) todo.push_back(need);
      }
    }
    return all;
  }

  void Want(Service service) {
    service_ = std::move(service);
    Placement so_far;
    for (const auto& [name, node] : world_.nodes) {
      so_far[name] = {.service = "cache",
                      .host = node.instance.host,
                      .ordinal = node.instance.ordinal,
                      .slot = node.instance.ports.at(kMainPort).first - 7001,
                      .ports = node.instance.ports};
    }
    desired_ = LayOut(service_, cluster_, so_far);
  }

  // Four masters with so many slots, each with a replica.
  void Four(const std::vector<int>& counts) {
    desired_ = LayOut(service_ = Cache({{"masters", Scalar("4")}}), cluster_);
    world_ = World(desired_, 4);
    int next = 0;
    for (size_t i = 0; i < counts.size(); ++i) {
      redis::SlotSet slots;
      for (const int end = next + counts[i]; next < end; ++next) slots.Add(next);
      world_.nodes[fmt::format("cache-{}", i + 1)].slots = slots;
    }
    ASSERT_EQ(next, redis::kSlots);
  }

  Value Setting(const std::string& name, const std::string& value) const {
    return Map({{name, Scalar(value)}});
  }

  RedisClusterLayout layout_;
  Cluster cluster_ = Hosts(3);
  Service service_ = Cache();
  std::vector<Instance> desired_ = LayOut(service_, cluster_);
  World world_{desired_, 3};
  std::map<std::string, Observed> observed_;
  Change::Input input_;
  Change::Output output_;
  std::map<std::string, Step> steps_;
};

TEST_F(RedisClusterChangeTest, AStepDownHasTimeForSeveralVotes) {
  for (const auto& [timeout, least] : std::map<std::string, Duration>{{"5s", 60s}, {"60s", 360s}}) {
    Want(Cache({{"node_timeout", Scalar(timeout)}}));
    input_.restart = {"cache-1"};
    Plan();
    const auto step = std::find_if(steps_.begin(), steps_.end(),
                                   [](const auto& item) { return item.second.verb == "step-down"; });
    ASSERT_NE(step, steps_.end());
    EXPECT_GE(step->second.deadline, least) << timeout;
  }
}

TEST_F(RedisClusterChangeTest, NothingIsDoneWhereAllIsAsItShouldBe) {
  Plan();
  EXPECT_THAT(Ids(), IsEmpty());
}

TEST_F(RedisClusterChangeTest, AllAreStartedAtOnceAndSettleTogether) {
  Plan({});
  EXPECT_EQ(output_.steps.size(), 13u);
  for (int i = 1; i <= 6; ++i) {
    EXPECT_THAT(steps_.at(fmt::format("cache-{}.install", i)).needs, IsEmpty());
    EXPECT_THAT(steps_.at(fmt::format("cache-{}.start", i)).needs,
                ElementsAre(fmt::format("cache-{}.install", i)));
  }
  const Step& settle = steps_.at("cache-1.settle");
  EXPECT_EQ(settle.needs.size(), 6u);
  EXPECT_THAT(settle.args, IsEmpty());
  EXPECT_GE(settle.deadline, 120s);
  EXPECT_THAT(output_.outages, IsEmpty());
}

TEST_F(RedisClusterChangeTest, ReplicasGoFirstAndEachWaitsForAll) {
  // By role, not by number.
  std::swap(world_.nodes["cache-1"], world_.nodes["cache-4"]);
  std::swap(world_.nodes["cache-1"].instance, world_.nodes["cache-4"].instance);
  world_.nodes["cache-1"].follows = "cache-4";
  Want(Cache({{"settings", Setting("io-threads", "2")}}));
  Plan();
  std::vector<std::string> stops;
  for (const Step& step : output_.steps) {
    if (step.verb == "stop") stops.push_back(step.instance);
  }
  EXPECT_THAT(stops, ElementsAre("cache-1", "cache-5", "cache-6", "cache-2", "cache-3", "cache-4"));
  EXPECT_THAT(steps_.at("cache-5.step-down").needs, ElementsAre("cache-1.settle"));
  EXPECT_THAT(steps_.at("cache-5.stop").needs, ElementsAre("cache-5.step-down"));
  EXPECT_EQ(steps_.at("cache-5.stop").put_back, "start");
  // What its step-down has brought about must still be so.
  EXPECT_EQ(steps_.at("cache-5.stop").args.at("only"), "handed-over");
  EXPECT_THAT(steps_.at("cache-5.install").needs, ElementsAre("cache-5.stop"));
  EXPECT_THAT(steps_.at("cache-5.start").needs, ElementsAre("cache-5.install"));
  EXPECT_THAT(steps_.at("cache-5.settle").needs, ElementsAre("cache-5.start"));
  EXPECT_EQ(steps_.at("cache-5.stop").reason, "io-threads changed");
  EXPECT_THAT(output_.notes, ElementsAre(HasSubstr("no write is lost")));
  EXPECT_THAT(output_.outages, IsEmpty());
}

TEST_F(RedisClusterChangeTest, WhatCanBeSetLiveCostsNoHandOver) {
  Want(Cache({{"settings", Setting("maxmemory", "100mb")}}));
  Plan();
  EXPECT_EQ(output_.steps.size(), 12u);
  EXPECT_THAT(steps_.at("cache-1.reload").needs, ElementsAre("cache-1.install"));
  EXPECT_THAT(steps_.at("cache-2.install").needs, ElementsAre("cache-1.reload"));
  EXPECT_EQ(steps_.at("cache-2.reload").reason, "maxmemory changed");
  EXPECT_EQ(steps_.at("cache-2.install").impact, Impact::kReload);
  EXPECT_THAT(output_.outages, IsEmpty());
}

TEST_F(RedisClusterChangeTest, ALiveSettingThatIsLeftOutNeedsARestart) {
  desired_ = LayOut(Cache({{"settings", Setting("maxmemory", "100mb")}}), cluster_);
  world_ = World(desired_, 3);
  Want(Cache());
  Plan();
  EXPECT_TRUE(steps_.contains("cache-1.step-down"));
  EXPECT_FALSE(steps_.contains("cache-1.reload"));
}

TEST_F(RedisClusterChangeTest, APasswordIsSetLive) {
  Want(Cache({{"password", Scalar("{{secret.cache}}")}}));
  Plan();
  EXPECT_EQ(steps_.at("cache-3.reload").reason, "password changed");
  EXPECT_FALSE(steps_.contains("cache-3.stop"));
}

TEST_F(RedisClusterChangeTest, ANewProbeIsProvedOneByOne) {
  Want(Cache({{"health", Map({{"every", Scalar("2s")}})}}));
  Plan();
  EXPECT_EQ(output_.steps.size(), 6u);
  EXPECT_EQ(steps_.at("cache-2.install").args.at("prove"), "yes");
  EXPECT_THAT(steps_.at("cache-2.install").needs, ElementsAre("cache-1.install"));
}

TEST_F(RedisClusterChangeTest, WhoServesNothingGoesFirst) {
  world_.nodes["cache-2"].state = InstanceState::kFailed;
  Want(Cache({{"settings", Setting("io-threads", "2")}}));
  Plan();
  EXPECT_THAT(steps_.at("cache-2.install").needs, IsEmpty());
  EXPECT_FALSE(steps_.contains("cache-2.step-down"));
  EXPECT_THAT(Before("cache-4.step-down"), IsSupersetOf({"cache-2.start", "cache-2.settle"}));
}

TEST_F(RedisClusterChangeTest, AnotherMasterGetsItsShareWithItsReplica) {
  Want(Cache({{"masters", Scalar("4")}}));
  Plan();
  EXPECT_THAT(Ids(), UnorderedElementsAre("cache-7.install", "cache-7.start", "cache-8.install",
                                          "cache-8.start", "cache-7.settle"));
  EXPECT_EQ(steps_.at("cache-7.settle").args.at("slots"), "even");
  EXPECT_THAT(steps_.at("cache-7.settle").needs, UnorderedElementsAre("cache-7.start", "cache-8.start"));
  EXPECT_THAT(output_.notes, ElementsAre(HasSubstr("slots move while clients use them")));
  Want(Cache({{"masters", Scalar("4")}, {"slots", Scalar("kept")}}));
  Plan();
  EXPECT_FALSE(steps_.at("cache-7.settle").args.contains("slots"));
  EXPECT_THAT(output_.outages, IsEmpty());
}

TEST_F(RedisClusterChangeTest, MoreReplicasMoveNoSlots) {
  Want(Cache({{"replicas", Scalar("2")}}));
  Plan();
  EXPECT_EQ(output_.steps.size(), 7u);
  EXPECT_FALSE(steps_.at("cache-7.settle").args.contains("slots"));
}

TEST_F(RedisClusterChangeTest, FewerMastersWithMoreReplicasMakeReplicasOfThoseTooMany) {
  Four({4096, 4096, 4096, 4096});
  Want(Cache({{"masters", Scalar("3")}, {"replicas", Scalar("2")}}));
  Plan();
  EXPECT_THAT(Ids(), UnorderedElementsAre("cache-9.install", "cache-9.start", "cache-9.settle"));
  EXPECT_EQ(steps_.at("cache-9.settle").args.at("slots"), "even");
  EXPECT_EQ(steps_.at("cache-9.settle").reason, "4 masters have slots and 3 are wanted: 1 becomes a replica");
  EXPECT_THAT(output_.notes, ElementsAre(HasSubstr("slots move while clients use them")));
}

TEST_F(RedisClusterChangeTest, FewerMastersOfAsManyMembersIsAChange) {
  cluster_ = Hosts(6);
  desired_ = LayOut(service_ = Cache({{"masters", Scalar("6")}}), cluster_);
  world_ = World(desired_, 6);
  Want(Cache({{"masters", Scalar("4")}, {"replicas", Scalar("2")}}));
  Plan();
  ASSERT_THAT(Ids(), ElementsAre("cache-1.settle"));
  EXPECT_EQ(output_.steps[0].args.at("slots"), "even");
  EXPECT_EQ(output_.steps[0].reason, "6 masters have slots and 4 are wanted: 2 become replicas");
  EXPECT_THAT(output_.notes, ElementsAre(HasSubstr("slots move while clients use them")));
}

TEST_F(RedisClusterChangeTest, WhereSlotsAreKeptThePlanSaysThatMastersTooManyStay) {
  cluster_ = Hosts(6);
  desired_ = LayOut(service_ = Cache({{"masters", Scalar("6")}}), cluster_);
  world_ = World(desired_, 6);
  Want(Cache({{"masters", Scalar("4")}, {"replicas", Scalar("2")}, {"slots", Scalar("kept")}}));
  Plan();
  EXPECT_THAT(Ids(), IsEmpty());
  EXPECT_THAT(output_.notes,
              ElementsAre(HasSubstr("6 masters have slots and 4 are wanted; with slots: kept")));
}

TEST_F(RedisClusterChangeTest, WhoLeavesGivesAwayWhatItHasFirst) {
  desired_ = LayOut(Cache({{"masters", Scalar("4")}}), cluster_);
  world_ = World(desired_, 4);
  Want(Cache());
  Plan();
  EXPECT_EQ(steps_.size(), 7u);
  for (const char* name : {"cache-7", "cache-8"}) {
    EXPECT_THAT(steps_.at(std::string(name) + ".leave").needs, IsEmpty());
    EXPECT_THAT(steps_.at(std::string(name) + ".stop").needs, ElementsAre(std::string(name) + ".leave"));
    EXPECT_EQ(steps_.at(std::string(name) + ".remove").args.at("delete_data"), "no");
  }
  const Step& settle = steps_.at("cache-1.settle.left");
  EXPECT_THAT(settle.needs, UnorderedElementsAre("cache-7.remove", "cache-8.remove"));
  EXPECT_EQ(settle.args.at("slots"), "even");
}

TEST_F(RedisClusterChangeTest, NewMembersAreInBeforeTheOldOnesLeave) {
  cluster_.hosts.push_back({.name = "h4", .address = "10.0.0.4", .mark = {}});
  service_ = Cache();
  service_.hosts = {"h1", "h2", "h4"};
  Service elsewhere = service_;
  Want(std::move(elsewhere));
  Plan();
  EXPECT_THAT(Before("cache-3.leave"), IsSupersetOf({"cache-7.start", "cache-8.start", "cache-7.settle"}));
  EXPECT_THAT(Before("cache-1.settle.left"), IsSupersetOf({"cache-3.remove", "cache-6.remove"}));
}

TEST_F(RedisClusterChangeTest, AGoneHostsMembersAreNotWaitedFor) {
  cluster_.hosts.pop_back();
  Want(Cache());
  input_.unreachable = {"h3"};
  Plan();
  EXPECT_FALSE(steps_.contains("cache-3.leave"));
  EXPECT_TRUE(steps_.contains("cache-7.settle"));
}

TEST_F(RedisClusterChangeTest, OneThatIsStoppedByHandHandsOverFirst) {
  input_.held = {{"cache-1", "stopped"}};
  Plan();
  EXPECT_THAT(Ids(), ElementsAre("cache-1.step-down", "cache-1.stop"));
  EXPECT_EQ(steps_.at("cache-1.stop").put_back, "");
  EXPECT_THAT(output_.outages, IsEmpty());
}

TEST_F(RedisClusterChangeTest, StoppingAWholeShardSaysWhatIsOut) {
  input_.held = {{"cache-1", "stopped"}, {"cache-4", "stopped"}};
  Plan();
  EXPECT_THAT(Ids(), ElementsAre("cache-1.stop", "cache-4.stop"));
  ASSERT_EQ(output_.outages.size(), 1u);
  EXPECT_THAT(output_.outages[0], HasSubstr("0-5460 are out"));
}

TEST_F(RedisClusterChangeTest, NobodyHandsOverWhereAllStop) {
  for (const Instance& instance : desired_) input_.held[instance.name] = "stopped";
  Plan();
  EXPECT_EQ(output_.steps.size(), 6u);
  for (const Step& step : output_.steps) {
    EXPECT_EQ(step.verb, "stop");
    EXPECT_THAT(step.needs, IsEmpty());
  }
  EXPECT_THAT(output_.outages, IsEmpty());
}

TEST_F(RedisClusterChangeTest, ARestartByHandIsOneOfTheSameKind) {
  input_.restart = {"cache-1"};
  Plan();
  EXPECT_THAT(Ids(), ElementsAre("cache-1.step-down", "cache-1.stop", "cache-1.start", "cache-1.settle"));
}

TEST_F(RedisClusterChangeTest, WithoutReplicasARestartIsAnOutage) {
  desired_ = LayOut(Cache({{"replicas", Scalar("0")}}), cluster_);
  world_ = World(desired_, 3);
  Want(Cache({{"replicas", Scalar("0")}, {"settings", Setting("io-threads", "2")}}));
  Plan();
  EXPECT_FALSE(steps_.contains("cache-1.step-down"));
  EXPECT_THAT(steps_.at("cache-2.stop").needs, ElementsAre("cache-1.settle"));
  EXPECT_FALSE(steps_.at("cache-2.stop").args.contains("only"));
  ASSERT_EQ(output_.outages.size(), 1u);
  EXPECT_THAT(output_.outages[0], HasSubstr("out while it restarts"));
}

TEST_F(RedisClusterChangeTest, AMasterWithoutSlotsIsLeftToNoLaterRun) {
  desired_ = LayOut(Cache({{"masters", Scalar("4")}}), cluster_);
  world_ = World(desired_, 3);
  world_.nodes["cache-7"].follows = "";
  world_.nodes["cache-8"].follows = "cache-7";
  service_ = Cache({{"masters", Scalar("4")}});
  Plan();
  EXPECT_THAT(Ids(), ElementsAre("cache-1.settle"));
  EXPECT_EQ(output_.steps[0].args.at("slots"), "even");
  EXPECT_EQ(output_.steps[0].reason, "3 of 4 masters have slots");
  input_.held = {{"cache-8", "stopped"}};
  world_.nodes["cache-8"].state = InstanceState::kStopped;
  Plan();
  EXPECT_THAT(Ids(), IsEmpty());
}

// As after the death of the server while the fourth master got its slots.
TEST_F(RedisClusterChangeTest, SlotsThatAreHalfSpreadAreLeftToNoLaterRun) {
  Four({512, 4949, 5461, 5462});
  Plan();
  EXPECT_THAT(Ids(), ElementsAre("cache-1.settle"));
  EXPECT_EQ(output_.steps[0].args.at("slots"), "even");
  EXPECT_EQ(output_.steps[0].reason, "slots are uneven: cache-1 has 512, cache-4 has 5462");
  EXPECT_THAT(output_.notes, ElementsAre(HasSubstr("slots move while clients use them")));
  // What is asked of single members changes nothing else.
  input_.act = true;
  Plan();
  EXPECT_THAT(Ids(), IsEmpty());
  input_.act = false;
  service_ = Cache({{"masters", Scalar("4")}, {"slots", Scalar("kept")}});
  Plan();
  EXPECT_THAT(Ids(), IsEmpty());
}

TEST_F(RedisClusterChangeTest, WhatSomebodyHasEvenedIsEvenUnlessAnUnfinishedRunOfMustersOwnHasLeftItSo) {
  for (const std::vector<int>& counts : std::vector<std::vector<int>>{
           {4096, 4096, 4096, 4096}, {4095, 4096, 4096, 4097}, {4016, 4096, 4096, 4176}}) {
    Four(counts);
    Plan();
    EXPECT_THAT(Ids(), IsEmpty()) << counts[0];
  }
  Four({4000, 4096, 4096, 4192});
  Plan();
  EXPECT_THAT(Ids(), ElementsAre("cache-1.settle"));
  input_.unfinished = true;
  Four({4062, 4096, 4096, 4130});
  Plan();
  EXPECT_THAT(Ids(), ElementsAre("cache-1.settle"));
  Four({4096, 4096, 4096, 4096});
  Plan();
  EXPECT_THAT(Ids(), IsEmpty());
  world_ = World(desired_ = LayOut(service_ = Cache(), cluster_), 3);  // one of them has one more
  Plan();
  EXPECT_THAT(Ids(), IsEmpty());
}

TEST_F(RedisClusterChangeTest, UnevenSlotsAreSpreadAfterWhatElseIsDue) {
  Four({512, 4949, 5461, 5462});
  Want(Cache({{"masters", Scalar("4")}, {"settings", Setting("maxmemory", "100mb")}}));
  Plan();
  EXPECT_EQ(output_.steps.back().id, "cache-1.settle.even");
  EXPECT_EQ(output_.steps.back().args.at("slots"), "even");
  EXPECT_THAT(Before("cache-1.settle.even"), IsSupersetOf({"cache-1.reload", "cache-8.reload"}));
  world_.nodes["cache-6"].state = InstanceState::kStopped;
  Want(Cache({{"masters", Scalar("4")}}));
  Plan();
  EXPECT_THAT(Ids(), ElementsAre("cache-6.start", "cache-6.settle"));
  EXPECT_EQ(steps_.at("cache-6.settle").args.at("slots"), "even");
}

TEST_F(RedisClusterChangeTest, WhetherSlotsAreSpreadIsAskedWhereAgentsHaveNotToldYet) {
  std::map<std::string, Observed> observed = world_.Observe();
  for (auto& [name, one] : observed) one.facts.clear();
  Plan(observed);
  EXPECT_THAT(Ids(), ElementsAre("cache-1.settle"));
  EXPECT_EQ(output_.steps[0].args.at("slots"), "even");
}

// Nobody is there to take what they have.
TEST_F(RedisClusterChangeTest, WhoIsNotWantedStaysWhileAllOthersAreStoppedByHand) {
  Four({4096, 4096, 4096, 4096});
  Want(Cache());
  for (const Instance& instance : desired_) input_.held[instance.name] = "stopped";
  Plan();
  for (const Step& step : output_.steps) EXPECT_NE(step.verb, "remove") << step.id;
  EXPECT_THAT(output_.notes, Contains(HasSubstr("aren't wanted any more, and stay")));
}

TEST_F(RedisClusterChangeTest, NeighboursHandTheirPortsOn) {
  cluster_ = Hosts(1);
  desired_ = LayOut(service_, cluster_);
  world_ = World(desired_, 3);
  auto observed = world_.Observe();
  for (auto& [name, seen] : observed) {
    const Instance& instance = world_.nodes[name].instance;
    seen.facts["listens"] = fmt::format("{} {} {}", instance.address, instance.ports.at(kMainPort).first,
                                        instance.ports.at(kBusPort).first);
  }
  service_.settings.entries.back().value = Scalar("7002");
  desired_ = LayOut(service_, cluster_);
  Plan(std::move(observed));
  std::vector<std::string> stops;
  for (const Step& step : output_.steps) {
    if (step.verb == "stop") stops.push_back(step.instance);
  }
  EXPECT_THAT(stops, ElementsAre("cache-6", "cache-5", "cache-4", "cache-3", "cache-2", "cache-1"));
}

}  // namespace
}  // namespace muster::redis_cluster
