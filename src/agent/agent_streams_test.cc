#include "agent/testing_agent.h"
#include "api/window.h"

namespace muster::agent {
namespace {

TEST_F(WholeAgentTest, AsksForABlobOnceAndTakesItInPieces) {
  Begin();
  const std::string bytes = std::string(1'500'000, 'x') + "end";
  Instance instance = Sleeper();
  instance.artifact = {.name = "app.jar", .sha256 = Sha256Hex(bytes)};
  Instance other = instance;
  other.name = "web-2";
  Send(Order("1", "install", instance));
  Send(Order("2", "install", other));
  const auto wanted = Next<api::WantBlob>();
  ASSERT_TRUE(wanted.has_value());
  EXPECT_EQ(wanted->sha256, instance.artifact.sha256);
  Send(api::Blob{.sha256 = wanted->sha256, .size = static_cast<int64_t>(bytes.size())});
  channel->Send({'B', bytes.substr(0, 1 << 20)});
  channel->Send({'B', bytes.substr(1 << 20)});
  for (const char* id : {"1", "2"}) {
    const auto outcome = Answer<api::Outcome>(id);
    ASSERT_TRUE(outcome.has_value());
    EXPECT_FALSE(outcome->error) << outcome->error->Text();
  }
  for (const auto& message : received) EXPECT_FALSE(std::holds_alternative<api::WantBlob>(message));
  EXPECT_EQ(ReadFile(folder + "/artifacts/" + wanted->sha256 + "/app.jar").value(), bytes);

  // Nobody else has it: it goes with the last that uses it.
  ASSERT_EQ(Do("3", "remove"), "");
  EXPECT_TRUE(fs::exists(folder + "/artifacts/" + wanted->sha256));
  Send(Order("4", "remove", other));
  ASSERT_TRUE(Answer<api::Outcome>("4").has_value());
  EXPECT_FALSE(fs::exists(folder + "/artifacts/" + wanted->sha256));
}

TEST_F(WholeAgentTest, TakesAnEmptyBlob) {
  Begin();
  Instance instance = Sleeper();
  instance.files = {{.path = "empty", .blob = Sha256Hex("")}};
  Send(Order("1", "install", instance));
  ASSERT_TRUE(Next<api::WantBlob>().has_value());
  Send(api::Blob{.sha256 = Sha256Hex(""), .size = 0});
  const auto outcome = Answer<api::Outcome>("1");
  ASSERT_TRUE(outcome.has_value());
  EXPECT_FALSE(outcome->error.has_value());
  EXPECT_EQ(ReadFile(folder + "/instances/web-1/empty").value(), "");
}

TEST_F(WholeAgentTest, RefusesABlobThatIsNotWhatItAskedFor) {
  Begin();
  Instance instance = Sleeper();
  instance.artifact = {.name = "app.jar", .sha256 = Sha256Hex("jar")};
  Send(Order("1", "install", instance));
  ASSERT_TRUE(Next<api::WantBlob>().has_value());
  Send(api::Blob{.sha256 = Sha256Hex("jar"), .size = 3});
  channel->Send({'B', "rat"});
  const auto outcome = Answer<api::Outcome>("1");
  ASSERT_TRUE(outcome && outcome->error);
  EXPECT_EQ(outcome->error->code(), "digest-differs");
  EXPECT_THAT(ObserveAll(), IsEmpty());
}

TEST_F(WholeAgentTest, HandsOnWhyTheServerHasNoBlob) {
  Begin();
  Instance instance = Sleeper();
  instance.artifact = {.name = "app.jar", .sha256 = Sha256Hex("jar")};
  Send(Order("1", "install", instance));
  ASSERT_TRUE(Next<api::WantBlob>().has_value());
  Send(api::Blob{.sha256 = Sha256Hex("jar"), .error = Error::NotFound("blob-missing", "it is gone")});
  const auto outcome = Answer<api::Outcome>("1");
  ASSERT_TRUE(outcome && outcome->error);
  EXPECT_EQ(outcome->error->code(), "blob-missing");
}

TEST_F(WholeAgentTest, EndsTheInstallOfAServerThatLeftAmidABlob) {
  Begin();
  Instance instance = Sleeper();
  instance.artifact = {.name = "app.jar", .sha256 = Sha256Hex("jar")};
  Send(Order("1", "install", instance));
  ASSERT_TRUE(Next<api::WantBlob>().has_value());
  Send(api::Blob{.sha256 = Sha256Hex("jar"), .size = 3});
  channel->Send({'B', "j"});
  channel->Close();
  ASSERT_TRUE(Next<api::Hello>().has_value());
  Send(api::Welcome{.epoch = 1});
  // A new order starts over, with what is there of the blob forgotten.
  Send(Order("2", "install", instance));
  ASSERT_TRUE(Next<api::WantBlob>().has_value());
  Send(api::Blob{.sha256 = Sha256Hex("jar"), .size = 3});
  channel->Send({'B', "jar"});
  const auto outcome = Answer<api::Outcome>("2");
  ASSERT_TRUE(outcome.has_value());
  EXPECT_FALSE(outcome->error.has_value());
}

// --- Logs and commands.

TEST_F(WholeAgentTest, SendsTheLogsOfSeveralInstances) {
  Begin();
  ASSERT_EQ(Do("1", "start", Shell("web-1", "echo one; echo two; echo up; exec sleep 1000")), "");
  ASSERT_EQ(Do("2", "start", Shell("web-2", "echo three; echo up; exec sleep 1000")), "");
  Send(api::Logs{.id = "3", .instances = {"web-1", "web-2", "never-1"}});
  std::optional<api::End> end;
  EXPECT_EQ(Stream("3", &end), "one\ntwo\nup\nthree\nup\n");
  EXPECT_FALSE(end->error.has_value());
  Send(api::Logs{.id = "4", .instances = {"web-1"}, .tail = 2});
  EXPECT_EQ(Stream("4"), "two\nup\n");
}

TEST_F(WholeAgentTest, FollowsALogUntilCancelled) {
  Begin();
  ASSERT_EQ(Do("1", "start", Sleeper()), "");
  Send(api::Logs{.id = "2", .instances = {"web-1"}, .follow = true});
  const auto first = Answer<api::Chunk>("2");
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(first->data, "up");
  EXPECT_EQ(first->instance, "web-1");
  EXPECT_GT(first->at_ms, 0);
  const auto append = [&](const std::string& text) {
    const Fd log(
        ::open((folder + "/instances/web-1/logs/current.log").c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
    ASSERT_EQ(::write(log.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  };
  append("later\n");
  const auto later = Answer<api::Chunk>("2");
  ASSERT_TRUE(later.has_value());
  EXPECT_EQ(later->data, "later");
  Send(api::CancelMessage{.id = "2"});
  ObserveAll();
  append("unheard\n");
  ObserveAll();
  for (const auto& message : received) EXPECT_FALSE(std::holds_alternative<api::Chunk>(message));
}

TEST_F(WholeAgentTest, ManyReadersFollowManyLogsWithOneDescriptor) {
  Begin();
  const std::vector<std::string> names{"web-1", "web-2", "web-3"};
  for (const std::string& name : names) {
    ASSERT_EQ(Do(name, "start", Shell(name, "echo up; exec sleep 1000")), "");
  }
  std::vector<std::string> streams;
  for (int reader = 0; reader < 5; ++reader) {
    for (const std::string& name : names) {
      streams.push_back(fmt::format("{}-{}", name, reader));
      Send(api::Logs{.id = streams.back(), .instances = {name}, .follow = true});
    }
  }
  for (const std::string& id : streams) ASSERT_TRUE(Answer<api::Chunk>(id).has_value());
  for (const std::string& name : names) {
    const Fd log(::open((folder + "/instances/" + name + "/logs/current.log").c_str(),
                        O_WRONLY | O_APPEND | O_CLOEXEC));
    ASSERT_EQ(::write(log.get(), "later\n", 6), 6);
  }
  for (const std::string& id : streams) {
    const auto later = Answer<api::Chunk>(id);
    ASSERT_TRUE(later.has_value());
    EXPECT_EQ(later->data, "later");
  }
  int descriptors = 0;
  for (const auto& entry : fs::directory_iterator(fmt::format("/proc/{}/fd", agent))) {
    std::error_code error;
    descriptors += fs::read_symlink(entry.path(), error).string().find("inotify") != std::string::npos;
  }
  EXPECT_EQ(descriptors, 1);
}

TEST_F(WholeAgentTest, TellsTheReaderOfALogThatItCannotFollow) {
  Begin();
  ASSERT_EQ(Do("1", "install", Sleeper()), "");
  const std::string logs = folder + "/instances/web-1/logs";
  fs::remove_all(logs);
  ASSERT_TRUE(WriteFile(logs, "no folder").ok());
  Send(api::Logs{.id = "2", .instances = {"web-1"}, .follow = true});
  const auto end = Answer<api::End>("2");
  ASSERT_TRUE(end && end->error);
  EXPECT_THAT(end->error->message(), HasSubstr("follow " + logs));
}

TEST_F(WholeAgentTest, RunsACommandInTheInstancesPlace) {
  Begin();
  Instance instance = Sleeper();
  instance.env = {{"WHERE", "{data}"}};
  ASSERT_EQ(Do("1", "install", instance), "");
  Send(api::ExecMessage{
      .id = "2", .epoch = 1, .instance = "web-1", .argv = {"sh", "-c", "pwd; echo $WHERE; exit 7"}});
  std::optional<api::End> end;
  EXPECT_EQ(Stream("2", &end), folder + "/instances/web-1\n" + folder + "/instances/web-1/data\n");
  EXPECT_EQ(end->status, 7);
  EXPECT_FALSE(end->error.has_value());
}

TEST_F(WholeAgentTest, SaysWhyItRunsNoCommand) {
  Begin();
  ASSERT_EQ(Do("1", "install", Sleeper()), "");
  const auto code = [&](const std::string& id, const std::string& instance, std::vector<std::string> argv) {
    Send(api::ExecMessage{.id = id, .epoch = 1, .instance = instance, .argv = std::move(argv)});
    const auto end = Answer<api::End>(id);
    return end && end->error ? end->error->code() : "";
  };
  EXPECT_EQ(code("2", "web-9", {"true"}), "unknown-instance");
  EXPECT_EQ(code("3", "web-1", {}), "no-command");
  EXPECT_EQ(code("4", "web-1", {"no-such-program-here"}), "program-missing");
}

TEST_F(WholeAgentTest, KillsACommandThatIsCancelledOrWhoseServerLeaves) {
  Begin();
  ASSERT_EQ(Do("1", "install", Sleeper()), "");
  const auto begin = [&](const std::string& id) {
    Send(api::ExecMessage{
        .id = id, .epoch = 1, .instance = "web-1", .argv = {"sh", "-c", "echo $$; exec sleep 1000"}});
    const auto chunk = Answer<api::Chunk>(id);
    return chunk ? std::atoi(chunk->data.c_str()) : 0;
  };
  const int cancelled = begin("2");
  ASSERT_GT(cancelled, 1);
  EXPECT_TRUE(Lives(cancelled));
  Send(api::CancelMessage{.id = "2"});
  ObserveAll();
  EXPECT_FALSE(Lives(cancelled));
  const int left = begin("3");
  ASSERT_GT(left, 1);
  channel->Close();
  ASSERT_TRUE(Next<api::Hello>().has_value());
  EXPECT_FALSE(Lives(left));
}

TEST_F(WholeAgentTest, SendsNoMoreOfACommandThanItsWindow) {
  Begin();
  ASSERT_EQ(Do("1", "install", Sleeper()), "");
  Send(api::ExecMessage{.id = "2",
                        .epoch = 1,
                        .instance = "web-1",
                        .argv = {"sh", "-c", "yes | head -c 2000000; exit 3"},
                        .window = 100'000});
  std::string text;
  int64_t weight = 0;
  std::optional<api::End> end;
  const auto take = [&] {
    for (const auto& message : std::exchange(received, {})) {
      if (const auto* chunk = std::get_if<api::Chunk>(&message)) {
        text += chunk->data;
        weight += api::Weight(chunk->data);
      }
      if (const auto* one = std::get_if<api::End>(&message)) end = *one;
    }
  };
  int64_t more = 0;
  while (!end && more < 1000) {
    ASSERT_TRUE(Until([&] {
      take();
      return end || weight >= (more + 1) * 100'000;
    }));
    ObserveAll();  // whatever it would still send has come then
    take();
    ASSERT_LT(weight, (more + 1) * 100'000 + (65 << 10));
    Send(api::More{.id = "2", .bytes = 100'000});
    ++more;
  }
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->status, 3);
  EXPECT_EQ(text.size(), 2'000'000u);
}

TEST_F(WholeAgentTest, SendsNoMoreOfALogThanItsWindow) {
  Begin();
  ASSERT_EQ(Do("1", "install", Sleeper()), "");
  std::string log;
  for (int i = 0; i < 20000; ++i) log += std::to_string(i) + " " + std::string(90, '.') + "\n";
  ASSERT_TRUE(WriteFile(folder + "/instances/web-1/logs/current.log", log).ok());
  Send(api::Logs{.id = "2", .instances = {"web-1"}, .window = 300'000});
  ASSERT_TRUE(Answer<api::Chunk>("2").has_value());
  ObserveAll();
  ObserveAll();
  size_t bytes = 0;
  for (const auto& message : received) {
    EXPECT_FALSE(std::holds_alternative<api::End>(message));
    if (const auto* chunk = std::get_if<api::Chunk>(&message)) bytes += chunk->data.size();
  }
  EXPECT_LT(bytes, 900'000u);  // a window and what is read at once
  Send(api::More{.id = "2", .bytes = 10'000'000});
  ASSERT_TRUE(Answer<api::End>("2").has_value());
  int lines = 1;
  for (const auto& message : received) {
    const auto* chunk = std::get_if<api::Chunk>(&message);
    if (!chunk) continue;
    EXPECT_EQ(std::atoi(chunk->data.c_str()), lines);
    ++lines;
  }
  EXPECT_EQ(lines, 20000);
}

TEST_F(WholeAgentTest, HandsInputToACommandAndTellsWhatItHasTaken) {
  Begin();
  ASSERT_EQ(Do("1", "install", Sleeper()), "");
  Send(api::ExecMessage{
      .id = "2", .epoch = 1, .instance = "web-1", .argv = {"cat"}, .window = 1000, .input = true});
  Send(api::Input{.id = "2", .data = "a\xff"});
  const auto taken = Answer<api::Taken>("2");
  ASSERT_TRUE(taken.has_value());
  EXPECT_EQ(taken->bytes, 2);
  EXPECT_FALSE(taken->closed);
  const auto chunk = Answer<api::Chunk>("2");
  ASSERT_TRUE(chunk.has_value());
  EXPECT_EQ(chunk->data, "a\xff");
  Send(api::Input{.id = "2", .data = "", .end = true});
  const auto end = Answer<api::End>("2");
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->status, 0);
  Send(api::Input{.id = "2", .data = "late"});  // harmless
  ObserveAll();
}

TEST_F(WholeAgentTest, VerifiesItsInstances) {
  Begin();
  Instance instance = Sleeper();
  instance.probe = {};
  ASSERT_EQ(Do("1", "start", instance), "");
  Send(api::VerifyMessage{.id = "2", .instance = "web-1"});
  const auto verified = Answer<api::Verified>("2");
  ASSERT_TRUE(verified.has_value());
  ASSERT_THAT(verified->checks, SizeIs(1));
  EXPECT_TRUE(verified->checks[0].passed);
  Send(api::VerifyMessage{.id = "3", .instance = "web-9"});
  const auto unknown = Answer<api::Verified>("3");
  ASSERT_TRUE(unknown && unknown->error);
  EXPECT_EQ(unknown->error->code(), "unknown-instance");
}

// --- Its end, and what outlives it.

TEST_F(WholeAgentTest, AdoptsWhatRunsAfterItsOwnDeath) {
  Begin(3);
  ASSERT_EQ(Do("1", "start", Sleeper(), 3), "");
  const int pid = ObserveAll().at(0).pid;
  KillAgent();
  channel.reset();
  EXPECT_TRUE(Lives(pid));
  StartAgent();
  const auto hello = Next<api::Hello>();
  ASSERT_TRUE(hello.has_value());
  EXPECT_EQ(hello->epoch_seen, 3);
  const std::vector<Observed> observed = ObserveAll();
  ASSERT_THAT(observed, SizeIs(1));
  EXPECT_EQ(observed[0].pid, pid);
  EXPECT_EQ(observed[0].state, InstanceState::kReady);
  EXPECT_EQ(Do("2", "stop", {}, 3), "");
  EXPECT_FALSE(Lives(pid));
}

TEST_F(WholeAgentTest, LeavesItsInstancesRunningWhenToldToEnd) {
  Begin();
  ASSERT_EQ(Do("1", "start", Sleeper()), "");
  const int pid = ObserveAll().at(0).pid;
  ::kill(agent, SIGTERM);
  EXPECT_EQ(AgentsEnd(), 0);
  EXPECT_TRUE(Lives(pid));
  EXPECT_TRUE(fs::exists(folder + "/records/web-1/desired.json"));
}

TEST_F(WholeAgentTest, RemovesEverythingWhenItLeaves) {
  Begin();
  ASSERT_EQ(Do("1", "start", Sleeper()), "");
  ASSERT_EQ(Do("2", "install", Shell("web-2", "true")), "");
  const int pid = ObserveAll().at(0).pid;
  Send(api::Leave{.epoch = 1});
  EXPECT_EQ(AgentsEnd(), 0);
  EXPECT_FALSE(Lives(pid));
  EXPECT_FALSE(fs::exists(root + "/hosts/" + cluster));
}

TEST_F(WholeAgentTest, KeepsDataWhenItLeaves) {
  Begin();
  ASSERT_EQ(Do("1", "start", Shell("web-1", "echo rows > {data}/rows; echo up; exec sleep 1000")), "");
  Send(api::Leave{.epoch = 1});
  EXPECT_EQ(AgentsEnd(), 0);
  EXPECT_EQ(ReadFile(folder + "/instances/web-1/data/rows").value(), "rows\n");
  EXPECT_FALSE(fs::exists(folder + "/records"));
  EXPECT_FALSE(fs::exists(folder + "/agent.json"));
}

}  // namespace
}  // namespace muster::agent
