// Nobody waits any more for an order's outcome: it comes at once, and what runs goes on as it can.
#include <gtest/gtest.h>

#include "agent/member.h"
#include "base/digest.h"
#include "base/files.h"

namespace muster::agent {
namespace {

class MemberCancel : public ::testing::Test {
 protected:
  MemberCancel() : root("/tmp/mc-" + RandomHex(4)) {
    fs::create_directories(root);
    host.loop = &loop;
    host.cluster = "t" + RandomHex(4);
    host.host = "h1";
    host.folder = root + "/host";
    host.changed = [this](const Observed&) { loop.Stop(); };
    host.clean_artifacts = [] {};
    member = std::make_shared<Member>(&host, "web-1");
  }
  ~MemberCancel() override {
    (void)Wait(Begin("remove"));
    member.reset();
    loop.EndTasks();
    fs::remove_all(root);
  }

  static Instance Asked(const std::string& command) {
    Instance instance;
    instance.name = "web-1";
    instance.service = "web";
    instance.kind = "app";
    instance.host = "one";
    instance.user = "daemon";  // root is refused
    instance.argv = {"/bin/sleep", "1000"};
    instance.probe = {
        .kind = Probe::Kind::kCommand, .target = command, .every = 10ms, .timeout = 600s, .fail_after = 3};
    instance.ready_within = 600s;
    instance.hash = command;
    return instance;
  }

  using Outcome = std::shared_ptr<std::optional<Result<Values>>>;
  Outcome Begin(const std::string& verb, std::optional<Instance> instance = {}, Values args = {},
                std::shared_ptr<const bool> given_up = nullptr) {
    const auto outcome = std::make_shared<std::optional<Result<Values>>>();
    const Step step{.id = "web-1." + verb, .instance = "web-1", .verb = verb, .args = std::move(args)};
    net::SpawnThen(member->Perform(step, std::move(instance), std::move(given_up)),
                   [this, outcome](Result<Values> done) {
                     outcome->emplace(std::move(done));
                     loop.Stop();
                   });
    return outcome;
  }
  // Runs the loop until `condition`, which can change only by what stops the loop.
  bool Until(const std::function<bool()>& condition) {
    bool late = false;
    const auto deadline = loop.After(20s, [&] {
      late = true;
      loop.Stop();
    });
    while (!condition() && !late) loop.Run();
    loop.Cancel(deadline);
    return !late;
  }
  // "" or the error's code.
  std::string Wait(const Outcome& outcome) {
    if (!Until([&] { return outcome->has_value(); })) return "nothing came within 20 s";
    return (*outcome)->ok() ? "" : (*outcome)->error().code();
  }
  bool UntilReady() {
    return Until([this] { return member->Observe(false).state == InstanceState::kReady; });
  }

  const std::string root;
  net::Loop loop;
  HostContext host;
  std::shared_ptr<Member> member;
  const Values a_while{{"min_ready_ms", "600000"}};
};

TEST_F(MemberCancel, AStartThatIsToStayReadyIsGivenUp) {
  const Outcome start = Begin("start", Asked("true"), a_while);
  ASSERT_TRUE(UntilReady());
  member->GiveUpStart();
  EXPECT_EQ(Wait(start), "cancelled");
  EXPECT_EQ(member->Observe(false).state, InstanceState::kReady);
}

TEST_F(MemberCancel, AStartThatIsToStayReadyGivesWayToTheOrderAfterIt) {
  const Outcome start = Begin("start", Asked("true"), a_while);
  ASSERT_TRUE(UntilReady());
  const Outcome stop = Begin("stop");
  EXPECT_EQ(Wait(start), "cancelled");
  EXPECT_EQ(Wait(stop), "");
}

TEST_F(MemberCancel, AProofIsGivenUp) {
  ASSERT_EQ(Wait(Begin("start", Asked("true"))), "");
  // It never answers.
  const Outcome proof = Begin("install", Asked("sleep 1000"), {{"prove", "yes"}});
  ASSERT_TRUE(Until([this] { return member->Observe(false).hash == "sleep 1000"; }));
  EXPECT_FALSE(proof->has_value());
  member->GiveUpStart();
  EXPECT_EQ(Wait(proof), "cancelled");
  EXPECT_GT(member->Observe(false).pid, 0);
}

TEST_F(MemberCancel, AProofThatWasGivenUpBeforeItsTurnIsNotWaitedFor) {
  ASSERT_EQ(Wait(Begin("start", Asked("true"))), "");
  const auto given_up = std::make_shared<bool>(true);
  EXPECT_EQ(Wait(Begin("install", Asked("sleep 1000"), {{"prove", "yes"}}, given_up)), "cancelled");
  EXPECT_EQ(member->Observe(false).hash, "sleep 1000");
}

TEST_F(MemberCancel, AProofThatOthersWaitBehindGivesWay) {
  ASSERT_EQ(Wait(Begin("start", Asked("true"))), "");
  const Outcome files = Begin("install", Asked("true"));
  const Outcome proof = Begin("install", Asked("sleep 1000"), {{"prove", "yes"}});
  const Outcome stop = Begin("stop");
  EXPECT_EQ(Wait(files), "");
  EXPECT_EQ(Wait(proof), "cancelled");
  EXPECT_EQ(Wait(stop), "");
}

TEST_F(MemberCancel, AProvenOneThatIsToStayReadyIsGivenUp) {
  ASSERT_EQ(Wait(Begin("start", Asked("true"))), "");
  Values args = a_while;
  args["prove"] = "yes";
  const Outcome proof = Begin("install", Asked("test 1"), args);
  ASSERT_TRUE(Until([this] { return member->Observe(false).hash == "test 1"; }));
  member->GiveUpStart();
  EXPECT_EQ(Wait(proof), "cancelled");
  EXPECT_EQ(member->Observe(false).state, InstanceState::kReady);
}

}  // namespace
}  // namespace muster::agent
