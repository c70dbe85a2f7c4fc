// What an agent finds on disk after its death: whole, torn, or written by somebody else.
#include "agent/records.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/digest.h"
#include "base/files.h"

namespace muster::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class Records : public ::testing::Test {
 protected:
  Records() : host("/tmp/mr-" + RandomHex(4)), paths(PathsOf(host, "db-1")) {
    fs::create_directories(paths.records);
  }
  ~Records() override { fs::remove_all(host); }

  static Instance Database() {
    Instance instance;
    instance.name = "db-1";
    instance.service = "db";
    instance.kind = "app";
    instance.host = "one";
    instance.address = "127.0.0.1";
    instance.ports = {{"main", {.first = 6379, .count = 2}}};
    instance.argv = {"redis-server", "{folder}/redis.conf", "ünïcode \" \n"};
    instance.env = {{"PASSWORD", "hunter2"}};
    instance.files = {{.path = "redis.conf", .content = "port 6379\n", .mode = 0600, .secret = true}};
    instance.data_folders = {"rows"};
    instance.probe = {.kind = Probe::Kind::kTcp, .port = 6379};
    instance.stop_timeout = 3s;
    instance.hash = "abc";
    instance.parts = {{"command", "def"}};
    return instance;
  }
  static Remembered Full() {
    return {.desired = Database(),
            .memory = {.state = InstanceState::kBackoff,
                       .wanted = true,
                       .crash_count = 2,
                       .restarts = 7,
                       .last_exit = "signal 9"},
            .running_hash = "abc",
            .live_hash = "def",
            .since = WallTime(1'700'000'000'123ms)};
  }
  void Write(const Remembered& remembered) const {
    ASSERT_TRUE(WriteDesired(paths, remembered.desired).ok());
    ASSERT_TRUE(WriteState(paths, remembered).ok());
  }
  void Overwrite(const std::string& name, std::string_view text) const {
    ASSERT_TRUE(WriteFile(paths.records + "/" + name, text).ok());
  }
  std::string Stored(const std::string& name) const { return ReadFile(paths.records + "/" + name).value(); }

  const std::string host;
  const Paths paths;
};

// --- Failures first.

TEST_F(Records, KnowNothingWhereNothingWasWritten) {
  EXPECT_FALSE(ReadRecord(paths).has_value());
  EXPECT_FALSE(ReadRecord(PathsOf(host + "/nowhere", "db-1")).has_value());
}

TEST_F(Records, CountForNothingWithAStateButNothingInstalled) {
  ASSERT_TRUE(WriteState(paths, Full()).ok());
  EXPECT_FALSE(ReadRecord(paths).has_value());
}

TEST_F(Records, NeverMakeAnInstanceOfATornDesiredFile) {
  Write(Full());
  const std::string whole = Stored("desired.json");
  for (size_t cut = 0; cut < whole.size(); cut += 5) {
    Overwrite("desired.json", std::string_view(whole).substr(0, cut));
    EXPECT_FALSE(ReadRecord(paths).has_value()) << whole.substr(0, cut);
  }
}

TEST_F(Records, NeverMakeAnInstanceOfAForeignDesiredFile) {
  for (const char* foreign :
       {"", "null", "[]", "7", "\"db-1\"", "[{\"name\":\"db-1\"}]", "\xff\xfe", "{\"name\":7}",
        "{\"name\":\"db-1\",\"argv\":\"redis-server\"}", "{\"name\":\"db-1\",\"files\":[7]}"}) {
    Overwrite("desired.json", foreign);
    EXPECT_FALSE(ReadRecord(paths).has_value()) << foreign;
  }
}

TEST_F(Records, GoOnWithoutATornState) {
  Write(Full());
  const std::string whole = Stored("state.json");
  for (size_t cut = 0; cut < whole.size(); cut += 5) {
    Overwrite("state.json", std::string_view(whole).substr(0, cut));
    const auto read = ReadRecord(paths);
    ASSERT_TRUE(read.has_value()) << cut;
    EXPECT_EQ(read->desired.name, "db-1");
    EXPECT_EQ(read->memory, Supervisor::Memory{}) << cut;
    EXPECT_EQ(read->running_hash, "");
  }
}

TEST_F(Records, GoOnWithAForeignState) {
  Write(Full());
  for (const char* foreign :
       {"null", "[]", "7", "{}", "{\"state\":7}", "{\"wanted\":\"yes\"}", "{\"crash_count\":\"many\"}",
        "{\"last_exit\":[]}", "{\"since\":\"yesterday\"}", "{\"state\":null,\"restarts\":{}}"}) {
    Overwrite("state.json", foreign);
    const auto read = ReadRecord(paths);
    ASSERT_TRUE(read.has_value()) << foreign;
    EXPECT_EQ(read->desired.argv, Database().argv) << foreign;
    EXPECT_FALSE(read->memory.wanted) << foreign;
  }
}

TEST_F(Records, GoOnWithoutAState) {
  ASSERT_TRUE(WriteDesired(paths, Database()).ok());
  const auto read = ReadRecord(paths);
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->memory, Supervisor::Memory{});
}

TEST_F(Records, SayThatTheyCouldNotBeWritten) {
  fs::remove_all(paths.records);
  EXPECT_FALSE(WriteDesired(paths, Database()).ok());
  EXPECT_FALSE(WriteState(paths, Full()).ok());
}

// --- As it should be.

TEST_F(Records, ReadAsTheyWereWritten) {
  const Remembered written = Full();
  Write(written);
  const auto read = ReadRecord(paths);
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->memory, written.memory);
  EXPECT_EQ(read->running_hash, "abc");
  EXPECT_EQ(read->live_hash, "def");
  EXPECT_EQ(read->since, written.since);
  const Instance expected = Database(), &desired = read->desired;
  EXPECT_EQ(desired.name, expected.name);
  EXPECT_EQ(desired.kind, expected.kind);
  EXPECT_EQ(desired.argv, expected.argv);
  EXPECT_EQ(desired.env, expected.env);
  EXPECT_EQ(desired.files, expected.files);
  EXPECT_EQ(desired.ports, expected.ports);
  EXPECT_EQ(desired.probe, expected.probe);
  EXPECT_EQ(desired.data_folders, expected.data_folders);
  EXPECT_EQ(desired.stop_timeout, expected.stop_timeout);
  EXPECT_EQ(desired.hash, expected.hash);
  EXPECT_EQ(desired.parts, expected.parts);
}

TEST_F(Records, KeepEveryStateASupervisorCanBeIn) {
  ASSERT_TRUE(WriteDesired(paths, Database()).ok());
  for (const InstanceState state :
       {InstanceState::kStopped, InstanceState::kStarting, InstanceState::kReady, InstanceState::kUnhealthy,
        InstanceState::kBackoff, InstanceState::kStopping, InstanceState::kFailed}) {
    Remembered remembered = Full();
    remembered.memory.state = state;
    ASSERT_TRUE(WriteState(paths, remembered).ok());
    EXPECT_EQ(ReadRecord(paths)->memory.state, state) << StateName(state);
  }
}

TEST_F(Records, AreForTheAgentAloneSinceTheyHoldSecrets) {
  Write(Full());
  for (const char* name : {"desired.json", "state.json"}) {
    struct stat status {};
    ASSERT_EQ(::stat((paths.records + "/" + name).c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0600u) << name;
  }
}

TEST_F(Records, AreListedByNameWithoutWhatIsNoFolder) {
  fs::create_directories(host + "/records/web-2");
  fs::create_directories(host + "/records/cache-1");
  Overwrite("../stray", "x");
  EXPECT_THAT(RecordedInstances(host), ElementsAre("cache-1", "db-1", "web-2"));
  EXPECT_THAT(RecordedInstances(host + "/nowhere"), IsEmpty());
}

// --- Where things are.

TEST(Paths, KeepAnInstancesOwnApartFromTheAgents) {
  const Paths paths = PathsOf("/m/hosts/shop/one", "db-1");
  EXPECT_EQ(paths.folder, "/m/hosts/shop/one/instances/db-1");
  EXPECT_EQ(paths.logs, "/m/hosts/shop/one/instances/db-1/logs");
  EXPECT_EQ(paths.data, "/m/hosts/shop/one/instances/db-1/data");
  EXPECT_EQ(paths.records, "/m/hosts/shop/one/records/db-1");
  EXPECT_EQ(paths.pristine, "/m/hosts/shop/one/records/db-1/pristine");
  EXPECT_EQ(ArtifactPath(paths, "abc", "app.jar"), "/m/hosts/shop/one/artifacts/abc/app.jar");
}

TEST(FillIn, DoesNotLookForWordsInWhatItHasPutIn) {
  Instance instance;
  instance.artifact = {.name = "{data}", .sha256 = "abc"};
  const Paths paths = PathsOf("/h", "db-1");
  EXPECT_EQ(FillIn("{artifact} {folder}", paths, instance), "/h/artifacts/abc/{data} /h/instances/db-1");
  EXPECT_EQ(FillIn("{", paths, instance), "{");
  EXPECT_EQ(FillIn("", paths, instance), "");
}

}  // namespace
}  // namespace muster::agent
