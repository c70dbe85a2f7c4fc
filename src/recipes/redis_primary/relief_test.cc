// A primary whose disk is full, against a small model of Redis; and the room that is kept for its record.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/files.h"
#include "recipes/redis_primary/facts.h"
#include "recipes/redis_primary/record.h"
#include "recipes/redis_primary/testing_model.h"

namespace muster::redis_primary {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr const char* kFull = "MISCONF Errors writing to the AOF file: No space left on device";

std::vector<Order> HandOversIn(const Mending& mending) {
  std::vector<Order> found;
  for (const Order& order : mending.orders) {
    if (order.verb == "hand-over") found.push_back(order);
  }
  return found;
}

TEST(RedisPrimaryRelief, APrimaryWhoseDiskIsFullHandsOverAndDoesNotGetItBack) {
  Model model(3);
  BeginWithAWrite(model);
  model[1].write = kFull;
  const auto handed = HandOversIn(model.Think());
  ASSERT_EQ(handed.size(), 1u);
  EXPECT_EQ(handed[0].instance, "cache-1");
  EXPECT_TRUE(handed[0].notable);
  EXPECT_THAT(handed[0].reason, HasSubstr("No space left on device"));
  model.Settle();
  const std::string heir = model.primary();
  EXPECT_NE(heir, "cache-1");
  model.Write(2);
  model.Pass(0ms);
  model[1].write = "ok";
  for (int i = 0; i < 100; ++i) {
    EXPECT_THAT(model.Think().orders, IsEmpty());
    model.Pass(500ms);
  }
  EXPECT_EQ(model.primary(), heir);
  for (size_t i = 1; i <= model.size(); ++i)
    EXPECT_EQ(model[static_cast<int>(i)].writes, model.acknowledged());
}

TEST(RedisPrimaryRelief, OneDiskAfterTheOtherIsFullAndNothingGoesBackAndForth) {
  Model model(3);
  BeginWithAWrite(model);
  model[1].write = kFull;
  model.Settle();
  const std::string second = model.primary();
  model[second == "cache-2" ? 2 : 3].write = kFull;
  model.Settle();
  const std::string third = model.primary();
  EXPECT_NE(third, "cache-1");
  EXPECT_NE(third, second);
  model[second == "cache-2" ? 3 : 2].write = kFull;
  for (int i = 0; i < 100; ++i) {
    EXPECT_THAT(HandOversIn(model.Think()), IsEmpty());
    model.Pass(500ms);
  }
  EXPECT_EQ(model.primary(), third);
}

TEST(RedisPrimaryRelief, AReplicaWhoseDiskIsFullTooOrThatIsNotLinkedIsNoHeirAndThatIsSaid) {
  Model model(3);
  BeginWithAWrite(model);
  model[2].write = "its append-only file can't be written";
  model.Kill(3);
  model.Pass(0ms);
  model[1].write = kFull;
  for (int i = 0; i < 100; ++i) {
    const Mending mending = model.Think();
    EXPECT_THAT(HandOversIn(mending), IsEmpty());
    ASSERT_EQ(mending.says.size(), 1u);
    EXPECT_THAT(mending.says[0], HasSubstr("could take over from cache-1"));
    model.Pass(500ms);
  }
  EXPECT_EQ(model.primary(), "cache-1");
  model.Restart(3);
  model.Settle();
  EXPECT_EQ(model.primary(), "cache-3");
}

TEST(RedisPrimaryRelief, AHandOverThatFailsIsTriedAgainOnlyAfterAWhile) {
  Model model(2);
  BeginWithAWrite(model);
  model[1].write = kFull;
  int tries = 0;
  for (int i = 0; i < 60; ++i) {  // 30 s in which no order is carried out
    tries += static_cast<int>(HandOversIn(model.Think()).size());
    model.Pass(500ms);
  }
  EXPECT_EQ(tries, 3);
  EXPECT_EQ(model.primary(), "cache-1");
}

TEST(RedisPrimaryRelief, AnAgentThatDiesAnywhereInItLosesNothing) {
  for (int acts = 0; acts < 12; ++acts) {
    Model model(3);
    BeginWithAWrite(model);
    model[1].write = kFull;
    model.DieAfter(acts);
    model.Settle({}, 300);
    ASSERT_NE(model.primary(), "") << "after " << acts;
    model[1].write = "ok";
    model.Settle();
    for (const Redis* one : {&model[1], &model[2], &model[3]})
      EXPECT_EQ(one->writes, model.acknowledged()) << one->name << " after " << acts;
  }
}

TEST(RedisPrimaryFacts, ADiskThatTakesNoWritesIsToldInRedisOwnWords) {
  redis::ServerInfo info;
  info.master = info.aof = true;
  info.last_write_ok = false;
  EXPECT_EQ(Tell(info, {}, 1, 3s, kFull).facts.at("write"), kFull);
  EXPECT_THAT(Tell(info, {}, 1, 3s).facts.at("write"), HasSubstr("append-only file"));
}

// Of the append-only file, of a save that failed, and of one that failed though writes are taken all the
// same.
TEST(RedisPrimaryFacts, AReplicaWhoseSavesFailIsNoHeirThoughItAnswersAsEver) {
  redis::ServerInfo info;
  info.replica = info.link_up = true;
  info.last_save_ok = false;
  const std::string write = Tell(info, {}, 1, 3s).facts.at("write");
  EXPECT_EQ(write, "its last save failed");
  Model model(2);
  BeginWithAWrite(model);
  model[2].write = write;
  model[1].write = "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to";
  for (int i = 0; i < 100; ++i) {
    EXPECT_THAT(HandOversIn(model.Think()), IsEmpty());
    model.Pass(500ms);
  }
  EXPECT_EQ(model.primary(), "cache-1");
}

// A disk of its own, small enough to be filled. Needs root or user namespaces.
bool MountSmallDisk(const std::string& folder) {
  if (unshare(getuid() == 0 ? CLONE_NEWNS : CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
  if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return false;
  return mount("tmpfs", folder.c_str(), "tmpfs", 0, "size=256k,mode=0700") == 0;
}

void FillDisk(const std::string& folder) {
  for (int i = 0; WriteFile(fmt::format("{}/filler.{}", folder, i), std::string(4096, 'x')).ok(); ++i) {
  }
}

void RecordOnAFullDisk(const std::string& folder) {
  Record record{.term = 5, .aim = "primary", .follows = "", .pid = 7, .copy = 5, .was = "primary"};
  ASSERT_TRUE(WriteRecord(folder, record, true).ok());
  FillDisk(folder);
  ASSERT_EQ(WriteFile(folder + "/another", "x").error().code(), "disk-full");
  for (int64_t term = 6; term < 12; ++term) {
    record.term = term;
    record.aim = "fenced";
    ASSERT_TRUE(WriteRecord(folder, record, term % 2 == 0).ok()) << term;
    EXPECT_EQ(ReadRecord(folder, folder), record);
  }
  ASSERT_EQ(WriteFile(folder + "/another", "x").error().code(), "disk-full") << "it was never full";
  // Without what is kept it fails, and what it said stands.
  fs::remove(folder + "/redis-term.reserve");
  FillDisk(folder);
  Record next = record;
  next.term = 20;
  EXPECT_EQ(WriteRecord(folder, next, true).error().code(), "disk-full");
  EXPECT_EQ(ReadRecord(folder, folder), record);
}

TEST(RedisPrimaryRecord, IsWrittenOnAFullDiskIntoTheRoomThatIsKeptForIt) {
  std::string folder = "/tmp/muster-record.XXXXXX";
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  const pid_t child = fork();
  if (child == 0) {
    if (!MountSmallDisk(folder)) _exit(77);
    RecordOnAFullDisk(folder);
    _exit(::testing::Test::HasFailure() ? 1 : 0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  fs::remove_all(folder);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "no namespace to mount a small disk in";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace muster::redis_primary
