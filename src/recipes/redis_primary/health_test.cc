// What people are told of a Redis with replicas, from the facts of its members.
#include "recipes/redis_primary/health.h"

#include <gmock/gmock.h>

#include "model/not_asked.h"

namespace muster::redis_primary {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

class RedisPrimaryHealthTest : public ::testing::Test {
 protected:
  RedisPrimaryHealthTest() {
    for (const char* name : {"cache-1", "cache-2"}) {
      Instance instance;
      instance.name = name;
      instance.service = "cache";
      instance.host = std::string("h") + name[6];
      instance.address = std::string("10.0.0.") + name[6];
      instance.ports["port"] = {.first = 6379};
      desired_.push_back(instance);
      Observed& observed = observed_[name];
      observed.name = name;
      observed.service = "cache";
      observed.host = instance.host;
      observed.state = InstanceState::kReady;
      observed.facts = {{"role", "primary"}, {"term", "1"}};
    }
    observed_["cache-2"].facts["term"] = "2";
  }

  std::vector<Instance> desired_;
  std::map<std::string, Observed> observed_;
};

TEST_F(RedisPrimaryHealthTest, APrimaryOfAnEarlierTermIsShownAsStale) {
  EXPECT_THAT(
      RolesOf(desired_, observed_),
      UnorderedElementsAre(Pair("cache-1", "stale primary, beside cache-2"), Pair("cache-2", "primary")));
  EXPECT_THAT(HealthOf(desired_, observed_).reasons, Contains(HasSubstr("cache-1, a stale primary,")));
}

TEST_F(RedisPrimaryHealthTest, APrimaryWhoseHostIsSilentIsStaleOnceThereIsAnother) {
  observed_["cache-1"].state = InstanceState::kUnknown;
  EXPECT_THAT(RolesOf(desired_, observed_), Contains(Pair("cache-1", "stale primary, beside cache-2")));
}

TEST_F(RedisPrimaryHealthTest, APrimaryThatNobodyHasReplacedIsNotStaleThoughALaterTermIsKnown) {
  observed_["cache-2"].facts["role"] = "fenced";
  EXPECT_THAT(RolesOf(desired_, observed_), Contains(Pair("cache-1", "primary")));
}

// Whoever saw green and killed the primary then would wait for that one's return, not for another.
TEST_F(RedisPrimaryHealthTest, AReplicaMayTakeOverOnceThePrimaryHasToldToo) {
  observed_["cache-1"].facts = {{"role", "primary"}, {"term", "2"}, {"write", "ok"}, {"linked", ""}};
  observed_["cache-2"].facts = {
      {"role", "replica"}, {"term", "2"}, {"primary", "10.0.0.1:6379"}, {"link", "up"}, {"write", "ok"}};
  EXPECT_EQ(HealthOf(desired_, observed_).health, Health::kYellow);
  EXPECT_THAT(HealthOf(desired_, observed_).reasons,
              ElementsAre("cache-1, the primary, has not told yet that cache-2 is linked to it"));
  observed_["cache-1"].facts["linked"] = "10.0.0.2:6379";
  EXPECT_EQ(HealthOf(desired_, observed_).health, Health::kGreen);
}

// What an agent that has just started remembers of a primary, and of a replica.
class RedisPrimaryAgentBackTest : public RedisPrimaryHealthTest {
 protected:
  RedisPrimaryAgentBackTest() {
    primary().facts = {{"term", "2"}, {"copy", "2"}, {"was", "primary"}, {"loading", "yes"}};
    replica().facts = {{"role", "replica"}, {"term", "2"}, {"primary", "10.0.0.1:6379"}, {"link", "up"}};
  }
  Observed& primary() { return observed_["cache-1"]; }
  Observed& replica() { return observed_["cache-2"]; }
  ServiceHealth Look() const { return HealthOf(desired_, observed_); }
};

TEST_F(RedisPrimaryAgentBackTest, APrimaryIsNotOutBeforeItIsAskedUnlessItsReplicasMissIt) {
  EXPECT_EQ(Look().health, Health::kYellow);
  EXPECT_THAT(Look().reasons, ElementsAre("cache-1's agent has just come back: whether cache-1, the primary, "
                                          "takes writes is not known yet"));
  replica().facts["link"] = "down";
  EXPECT_EQ(Look().health, Health::kRed);
  EXPECT_THAT(Look().reasons, ElementsAre(HasSubstr("no replica is linked to it")));
}

TEST_F(RedisPrimaryAgentBackTest, APrimaryAloneIsNotOutBeforeItIsAsked) {
  desired_.pop_back();
  observed_.erase("cache-2");
  EXPECT_EQ(Look().health, Health::kYellow);
  primary().facts["role"] = "fenced";  // another process than the one that was primary
  EXPECT_EQ(Look().health, Health::kRed);
}

TEST_F(RedisPrimaryAgentBackTest, APrimaryThatWasReplacedOrHasDiedIsOut) {
  replica().facts = {{"role", "fenced"}, {"term", "3"}};
  EXPECT_EQ(Look().health, Health::kRed);
  replica().facts["term"] = "2";
  EXPECT_EQ(Look().health, Health::kYellow);
  primary().state = InstanceState::kBackoff;
  EXPECT_EQ(Look().health, Health::kRed);
  EXPECT_THAT(Look().reasons, Contains("there is no primary: nobody takes writes"));
}

// Its agent is connected, and what the server has of it is older than that.
TEST_F(RedisPrimaryAgentBackTest, APrimaryWhoseAgentHasYetToTellIsNotSaidToBeOnASilentHost) {
  primary().facts["role"] = "primary";
  primary().facts[kNotAskedFact] = "yes";
  primary().state = InstanceState::kUnknown;
  EXPECT_EQ(Look().health, Health::kYellow);
  EXPECT_THAT(Look().reasons, Contains(HasSubstr("cache-1's agent has just come back")));
}

TEST_F(RedisPrimaryAgentBackTest, AReplicaIsNotSaidToFollowNobodyBeforeItIsAsked) {
  primary().facts["role"] = "primary";
  replica().facts = {{"role", "fenced"}, {"term", "2"}, {"loading", "yes"}, {kNotAskedFact, "yes"}};
  EXPECT_EQ(Look().health, Health::kYellow);
  EXPECT_THAT(Look().reasons, ElementsAre("cache-2's agent has just come back: whether it is linked to "
                                          "cache-1 is not known yet"));
  EXPECT_THAT(RolesOf(desired_, observed_), UnorderedElementsAre(Pair("cache-1", "primary")));
}

}  // namespace
}  // namespace muster::redis_primary
