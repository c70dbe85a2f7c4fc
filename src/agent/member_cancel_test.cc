// Nobody waits any more for an order's outcome: it comes at once, and what runs goes on as it can.
#include <gtest/gtest.h>

#include "agent/testing_member.h"

namespace muster::agent {
namespace {

class MemberCancel : public MemberTest {
 protected:
  // What it is asked by may run on: it ends with the instance.
  ~MemberCancel() override {
    (void)Do("remove");
    member.reset();
    loop.EndTasks();
  }

  static Instance Asked(const std::string& command) {
    Instance instance = Shell("");
    instance.argv = {"/bin/sleep", "1000"};
    instance.probe = {
        .kind = Probe::Kind::kCommand, .target = command, .every = 10ms, .timeout = 600s, .fail_after = 3};
    instance.ready_within = 600s;
    instance.hash = command;
    return instance;
  }
  // "" or the error's code.
  std::string Ended(const Outcome& outcome) { return CodeOf(Wait(outcome)); }
  bool UntilReady() { return UntilState(InstanceState::kReady); }

  const Values a_while{{"min_ready_ms", "600000"}};
};

TEST_F(MemberCancel, AStartThatIsToStayReadyIsGivenUp) {
  const Outcome start = Begin("start", Asked("true"), a_while);
  ASSERT_TRUE(UntilReady());
  member->GiveUpStart();
  EXPECT_EQ(Ended(start), "cancelled");
  EXPECT_EQ(member->Observe(false).state, InstanceState::kReady);
}

TEST_F(MemberCancel, AStartThatIsToStayReadyGivesWayToTheOrderAfterIt) {
  const Outcome start = Begin("start", Asked("true"), a_while);
  ASSERT_TRUE(UntilReady());
  const Outcome stop = Begin("stop");
  EXPECT_EQ(Ended(start), "cancelled");
  EXPECT_EQ(Ended(stop), "");
}

TEST_F(MemberCancel, AProofIsGivenUp) {
  ASSERT_EQ(Ended(Begin("start", Asked("true"))), "");
  // It never answers.
  const Outcome proof = Begin("install", Asked("sleep 1000"), {{"prove", "yes"}});
  ASSERT_TRUE(Until([this] { return member->Observe(false).hash == "sleep 1000"; }));
  EXPECT_FALSE(proof->has_value());
  member->GiveUpStart();
  EXPECT_EQ(Ended(proof), "cancelled");
  EXPECT_GT(member->Observe(false).pid, 0);
}

TEST_F(MemberCancel, AProofThatWasGivenUpBeforeItsTurnIsNotWaitedFor) {
  ASSERT_EQ(Ended(Begin("start", Asked("true"))), "");
  const auto given_up = std::make_shared<bool>(true);
  EXPECT_EQ(Ended(Begin("install", Asked("sleep 1000"), {{"prove", "yes"}}, given_up)), "cancelled");
  EXPECT_EQ(member->Observe(false).hash, "sleep 1000");
}

TEST_F(MemberCancel, AProofThatOthersWaitBehindGivesWay) {
  ASSERT_EQ(Ended(Begin("start", Asked("true"))), "");
  const Outcome files = Begin("install", Asked("true"));
  const Outcome proof = Begin("install", Asked("sleep 1000"), {{"prove", "yes"}});
  const Outcome stop = Begin("stop");
  EXPECT_EQ(Ended(files), "");
  EXPECT_EQ(Ended(proof), "cancelled");
  EXPECT_EQ(Ended(stop), "");
}

TEST_F(MemberCancel, AProvenOneThatIsToStayReadyIsGivenUp) {
  ASSERT_EQ(Ended(Begin("start", Asked("true"))), "");
  Values args = a_while;
  args["prove"] = "yes";
  const Outcome proof = Begin("install", Asked("test 1"), args);
  ASSERT_TRUE(Until([this] { return member->Observe(false).hash == "test 1"; }));
  member->GiveUpStart();
  EXPECT_EQ(Ended(proof), "cancelled");
  EXPECT_EQ(member->Observe(false).state, InstanceState::kReady);
}

}  // namespace
}  // namespace muster::agent
