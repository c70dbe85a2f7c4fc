#include "agent/testing_agent.h"

namespace muster::agent {
namespace {

TEST_F(WholeAgentTest, IsTheOnlyOneOfItsHost) {
  Begin();
  const pid_t first = agent;
  StartAgent();
  EXPECT_EQ(AgentsEnd(), 40);
  agent = first;
}

TEST_F(WholeAgentTest, RefusesOrdersOfAnOlderEpoch) {
  Begin(5);
  EXPECT_EQ(Do("1", "install", Sleeper(), 4), "epoch-old");
  EXPECT_THAT(ObserveAll(), IsEmpty());
  EXPECT_EQ(Do("2", "install", Sleeper(), 5), "");
  EXPECT_EQ(Do("3", "start", {}, 7), "");  // a newer one raises it
  EXPECT_EQ(Do("4", "stop", {}, 6), "epoch-old");
  Send(api::ExecMessage{.id = "5", .epoch = 6, .instance = "web-1", .argv = {"true"}});
  const auto end = Answer<api::End>("5");
  ASSERT_TRUE(end && end->error);
  EXPECT_EQ(end->error->code(), "epoch-old");
}

TEST_F(WholeAgentTest, StaysWhenAnOldServerWantsItToLeave) {
  Begin(5);
  ASSERT_EQ(Do("1", "install", Sleeper(), 5), "");
  Send(api::Leave{.epoch = 4});
  EXPECT_THAT(ObserveAll(), SizeIs(1));
}

TEST_F(WholeAgentTest, DialsAgainAfterNonsense) {
  Begin();
  channel->Send({'J', "{\"v\":1,\"type\":\"order\",\"id\":"});
  EXPECT_TRUE(Next<api::Hello>().has_value());
  Send(api::Welcome{.epoch = 1});
  EXPECT_EQ(Do("1", "install", Sleeper()), "");
}

TEST_F(WholeAgentTest, TellsOfAnOrderThatFailedWithItsEvidence) {
  Begin();
  Instance instance = Shell("web-1", "echo no config here; exit 1");
  instance.restart = {.backoff_first = 1ms, .backoff_most = 1ms, .crashes_most = 2};
  Send(Order("1", "start", instance));
  const auto outcome = Answer<api::Outcome>("1");
  ASSERT_TRUE(outcome && outcome->error);
  EXPECT_EQ(outcome->error->code(), "crash-loop");
  EXPECT_THAT(outcome->error->evidence(), Contains(HasSubstr("no config here")));
}

// --- Hello.

TEST_F(WholeAgentTest, SaysWhoItIs) {
  StartAgent();
  Listen();
  const auto hello = Next<api::Hello>();
  ASSERT_TRUE(hello.has_value());
  EXPECT_EQ(hello->cluster, cluster);
  EXPECT_EQ(hello->host, "one");
  EXPECT_EQ(hello->pid, agent);
  EXPECT_EQ(hello->version, MUSTER_VERSION);
  EXPECT_EQ(hello->epoch_seen, 0);
}

TEST_F(WholeAgentTest, ComesBackWithTheEpochItHasSeen) {
  Begin(9);
  ASSERT_THAT(ObserveAll(), IsEmpty());
  channel->Close();
  const auto hello = Next<api::Hello>();
  ASSERT_TRUE(hello.has_value());
  EXPECT_EQ(hello->epoch_seen, 9);
}

// --- Orders.

TEST_F(WholeAgentTest, BringsAnInstanceFromNothingToNothing) {
  Begin();
  EXPECT_EQ(Do("1", "install", Sleeper()), "");
  EXPECT_EQ(Do("2", "start"), "");
  const std::vector<Observed> observed = ObserveAll();
  ASSERT_THAT(observed, SizeIs(1));
  EXPECT_EQ(observed[0].name, "web-1");
  EXPECT_EQ(observed[0].service, "web");
  EXPECT_EQ(observed[0].state, InstanceState::kReady);
  EXPECT_EQ(observed[0].hash, "h1");
  EXPECT_EQ(observed[0].running_hash, "h1");
  EXPECT_TRUE(Lives(observed[0].pid));
  EXPECT_EQ(Do("3", "stop"), "");
  EXPECT_FALSE(Lives(observed[0].pid));
  EXPECT_EQ(Do("4", "remove"), "");
  EXPECT_THAT(ObserveAll(), IsEmpty());
  EXPECT_THAT(states, ElementsAre("stopped", "starting", "ready", "stopping", "stopped", "absent"));
}

TEST_F(WholeAgentTest, AnswersARepeatedOrderOnceWhileItIsUnderWay) {
  Begin();
  Send(Order("1", "start", Sleeper()));
  Send(Order("1", "start", Sleeper()));
  ASSERT_TRUE(Answer<api::Outcome>("1").has_value());
  ASSERT_THAT(ObserveAll(), SizeIs(1));  // whatever was sent before this has arrived
  EXPECT_EQ(OutcomesLeft(), 0u);
}

TEST_F(WholeAgentTest, AnswersARepeatedOrderFromMemoryAndDoesNothing) {
  Begin();
  ASSERT_EQ(Do("1", "start", Sleeper()), "");
  ASSERT_EQ(Do("2", "stop"), "");
  EXPECT_EQ(Do("1", "start", Sleeper()), "");
  const std::vector<Observed> observed = ObserveAll();
  ASSERT_THAT(observed, SizeIs(1));
  EXPECT_EQ(observed[0].state, InstanceState::kStopped);
}

TEST_F(WholeAgentTest, KeepsTheOutcomeForAServerThatComesBack) {
  Begin();
  Send(Order("1", "start", Sleeper()));
  ASSERT_TRUE(Until([&] { return !states.empty() && states.back() == "starting"; }));
  channel->Close();
  ASSERT_TRUE(Next<api::Hello>().has_value());
  Send(api::Welcome{.epoch = 1});
  EXPECT_EQ(Do("1", "start", Sleeper()), "");
  ASSERT_THAT(ObserveAll(), SizeIs(1));
  EXPECT_LE(OutcomesLeft(), 1u);  // one by itself; and one more where it had come before the order did again
}

TEST_F(WholeAgentTest, GivesUpAStartThatIsCancelled) {
  Begin();
  Send(Order("1", "start", Shell("web-1", "exec sleep 1000")));
  ASSERT_TRUE(Until([&] { return !states.empty() && states.back() == "starting"; }));
  Send(api::CancelMessage{.id = "1"});
  const auto outcome = Answer<api::Outcome>("1");
  ASSERT_TRUE(outcome && outcome->error);
  EXPECT_EQ(outcome->error->code(), "cancelled");
  EXPECT_EQ(Do("2", "stop"), "");
}

TEST_F(WholeAgentTest, WorksOnTwoInstancesAtOnce) {
  Begin();
  Send(Order("1", "start",
             Shell("slow-1", "while ! test -e {data}/go; do sleep 0.01; done; echo up; exec sleep 1000")));
  ASSERT_TRUE(Until([&] { return !states.empty() && states.back() == "starting"; }));
  EXPECT_EQ(Do("2", "start", Sleeper()), "");
  EXPECT_EQ(OutcomesLeft(), 0u);
  ASSERT_TRUE(WriteFile(folder + "/instances/slow-1/data/go", "").ok());
  const auto slow = Answer<api::Outcome>("1");
  ASSERT_TRUE(slow.has_value());
  EXPECT_FALSE(slow->error.has_value());
}

TEST_F(WholeAgentTest, ReportsWhatDiesAndComesBackAtOnce) {
  Begin();
  ASSERT_EQ(Do("1", "start", Sleeper()), "");
  const int pid = ObserveAll().at(0).pid;
  states.clear();
  ::kill(pid, SIGKILL);
  ASSERT_TRUE(Until([&] { return !states.empty() && states.back() == "ready"; }));
  EXPECT_THAT(states, ElementsAre("backoff", "starting", "ready"));
}

TEST_F(WholeAgentTest, ReportsDriftOnlyWhenAsked) {
  Begin();
  Instance instance = Sleeper();
  instance.files = {{.path = "a.conf", .content = "ours\n"}};
  ASSERT_EQ(Do("1", "install", instance), "");
  ASSERT_TRUE(WriteFile(folder + "/instances/web-1/a.conf", "theirs\n").ok());
  EXPECT_THAT(ObserveAll(false).at(0).drift, IsEmpty());
  const std::vector<Drift> drift = ObserveAll(true).at(0).drift;
  ASSERT_THAT(drift, SizeIs(1));
  EXPECT_EQ(drift[0].what, "changed");
}

// --- Blobs.

}  // namespace
}  // namespace muster::agent
