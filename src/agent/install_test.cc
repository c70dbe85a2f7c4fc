#include "agent/install.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "base/digest.h"
#include "base/files.h"

namespace muster::agent {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class InstallTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string made = "/tmp/muster-install-XXXXXX";
    ASSERT_NE(::mkdtemp(made.data()), nullptr);
    folder_ = made;
    ::chmod(folder_.c_str(), 0711);
    paths_ = PathsOf(folder_ + "/host", "app-1");
    ASSERT_TRUE(MakeFolder(folder_ + "/host", 0711).ok());
    instance_.name = "app-1";
    instance_.files = {{.path = "conf/app.conf", .content = "log {logs}\ndata {data}\n", .mode = 0640},
                       {.path = "note", .content = "hello", .mode = 0640}};
    if (::geteuid() == 0) {
      const auto nobody = UserFor("nobody", "x");
      if (nobody.ok()) user_ = *nobody;
    }
  }
  void TearDown() override { (void)RemoveTree(folder_); }

  void Install() {
    const Status written = WriteInstance(paths_, instance_, nullptr, user_);
    ASSERT_TRUE(written.ok()) << written.error().Text();
    ASSERT_TRUE(RememberFiles(paths_, instance_).ok());
  }
  std::string InFolder(const std::string& path) const { return paths_.folder + "/" + path; }
  // What the instance's own user may do at any time.
  void Replace(const std::string& path, const std::string& link_to) const {
    fs::remove_all(InFolder(path));
    fs::create_symlink(link_to, InFolder(path));
  }
  std::vector<Drift> Look() { return watch_.Look(paths_, instance_); }

  std::string folder_;
  Paths paths_;
  Instance instance_;
  User user_;
  DriftWatch watch_;
};

struct stat StatOf(const std::string& path) {
  struct stat status {};
  EXPECT_EQ(::lstat(path.c_str(), &status), 0) << path;
  return status;
}

TEST_F(InstallTest, WritesFilesWithItsPathsForTheWords) {
  Install();
  EXPECT_EQ(*ReadFile(InFolder("conf/app.conf")),
            "log " + paths_.folder + "/logs\ndata " + paths_.folder + "/data\n");
  EXPECT_EQ(StatOf(InFolder("conf/app.conf")).st_mode & 07777, 0640u);
  EXPECT_EQ(StatOf(paths_.folder).st_mode & 07777, 0700u);
  EXPECT_EQ(StatOf(paths_.records).st_mode & 07777, 0700u);
  EXPECT_TRUE(fs::is_directory(paths_.data));
  EXPECT_TRUE(fs::is_directory(paths_.logs));
}

TEST_F(InstallTest, AllBelongsToTheInstancesUser) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  Install();
  for (const char* path : {"", "conf", "conf/app.conf", "note", "data", "logs"}) {
    EXPECT_EQ(StatOf(InFolder(path)).st_uid, user_.uid) << path;
  }
  EXPECT_EQ(StatOf(paths_.records).st_uid, 0u);
}

TEST_F(InstallTest, AnotherUserTakesOverEverything) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  Install();
  ASSERT_TRUE(WriteFile(InFolder("data/kept"), "rows", {.owner = user_.uid, .group = user_.gid}).ok());
  const Instance before = instance_;
  const auto daemon = UserFor("daemon", "x");
  ASSERT_TRUE(daemon.ok());
  user_ = *daemon;
  const Status written = WriteInstance(paths_, instance_, &before, user_);
  ASSERT_TRUE(written.ok()) << written.error().Text();
  for (const char* path : {"", "conf/app.conf", "data/kept", "logs"}) {
    EXPECT_EQ(StatOf(InFolder(path)).st_uid, user_.uid) << path;
  }
}

TEST_F(InstallTest, NothingRunsAsRoot) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const auto root = UserFor("root", "x");
  ASSERT_FALSE(root.ok());
  EXPECT_EQ(root.error().code(), "user-root");
}

TEST_F(InstallTest, FilesItHasNoMoreGo) {
  Install();
  const Instance before = instance_;
  instance_.files.pop_back();
  ASSERT_TRUE(WriteInstance(paths_, instance_, &before, user_).ok());
  EXPECT_FALSE(fs::exists(InFolder("note")));
  EXPECT_TRUE(fs::exists(InFolder("conf/app.conf")));
}

TEST_F(InstallTest, PathsThatLeadOutAreRefused) {
  for (const char* path : {"../x", "/etc/x", "a/../../x", "a//b", ""}) {
    instance_.files = {{.path = path, .content = "x"}};
    const Status written = WriteInstance(paths_, instance_, nullptr, user_);
    ASSERT_FALSE(written.ok()) << path;
    EXPECT_EQ(written.error().code(), "bad-path") << path;
  }
}

TEST_F(InstallTest, RootDoesNotWriteThroughALinkOfTheInstancesUser) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  Install();
  const std::string outside = folder_ + "/outside";
  ASSERT_TRUE(MakeFolder(outside, 0755).ok());  // root's, like /etc/cron.d
  Replace("conf", outside);
  (void)WriteInstance(paths_, instance_, nullptr, user_);
  EXPECT_FALSE(fs::exists(outside + "/app.conf"));
  EXPECT_EQ(StatOf(outside).st_uid, 0u);
}

TEST_F(InstallTest, RootDoesNotDeleteThroughALinkOfTheInstancesUser) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  Install();
  const std::string outside = folder_ + "/outside";
  ASSERT_TRUE(MakeFolder(outside, 0755).ok());
  ASSERT_TRUE(WriteFile(outside + "/app.conf", "root's").ok());
  Replace("conf", outside);
  const Instance before = instance_;
  instance_.files.erase(instance_.files.begin());
  (void)WriteInstance(paths_, instance_, &before, user_);
  EXPECT_TRUE(fs::exists(outside + "/app.conf"));
  EXPECT_TRUE(RemoveInstance(paths_, true).ok());
  EXPECT_TRUE(fs::exists(outside + "/app.conf"));
}

TEST_F(InstallTest, AnArtifactIsSharedByContentUnderItsName) {
  const std::string bytes = "#!/bin/sh\n";
  const std::string sha256 = Sha256Hex(bytes);
  instance_.artifact = {.name = "app.sh", .sha256 = sha256, .executable = true};
  instance_.files = {{.path = "run", .content = "{artifact}"}};
  EXPECT_THAT(MissingBlobs(paths_, instance_), ElementsAre(sha256));
  ASSERT_TRUE(WriteFile(folder_ + "/came", bytes).ok());
  ASSERT_TRUE(TakeBlob(paths_, sha256, folder_ + "/came").ok());
  EXPECT_THAT(MissingBlobs(paths_, instance_), IsEmpty());
  Install();
  EXPECT_EQ(*ReadFile(InFolder("run")), ArtifactPath(paths_, sha256, "app.sh"));
  EXPECT_EQ(*ReadFile(ArtifactPath(paths_, sha256, "app.sh")), bytes);
  RemoveUnusedArtifacts(paths_.host, {&instance_});
  EXPECT_TRUE(fs::exists(ArtifactPath(paths_, sha256, "app.sh")));
  RemoveUnusedArtifacts(paths_.host, {});
  EXPECT_FALSE(fs::exists(ArtifactPath(paths_, sha256, "app.sh")));
}

TEST_F(InstallTest, WhatArrivesDamagedIsNotTaken) {
  ASSERT_TRUE(WriteFile(folder_ + "/came", "damaged").ok());
  const Status taken = TakeBlob(paths_, Sha256Hex("whole"), folder_ + "/came");
  ASSERT_FALSE(taken.ok());
  EXPECT_EQ(taken.error().code(), "digest-differs");
}

TEST_F(InstallTest, RemovingKeepsDataUnlessTold) {
  Install();
  ASSERT_TRUE(WriteFile(InFolder("data/rows"), "1").ok());
  ASSERT_TRUE(RemoveInstance(paths_, false).ok());
  EXPECT_EQ(*ReadFile(InFolder("data/rows")), "1");
  EXPECT_FALSE(fs::exists(InFolder("conf")));
  EXPECT_FALSE(fs::exists(paths_.records));
  ASSERT_TRUE(RemoveInstance(paths_, true).ok());
  EXPECT_FALSE(fs::exists(paths_.folder));
  EXPECT_TRUE(RemoveInstance(paths_, true).ok());  // again is fine
}

TEST_F(InstallTest, ARecordIsReadAsItWasWritten) {
  instance_.hash = "h1";
  Install();
  Remembered written{.desired = instance_, .memory = {}, .running_hash = "h0", .since = WallNow()};
  written.memory = {.state = InstanceState::kBackoff,
                    .wanted = true,
                    .crash_count = 2,
                    .restarts = 3,
                    .last_exit = "signal 9"};
  ASSERT_TRUE(WriteDesired(paths_, instance_).ok());
  ASSERT_TRUE(WriteState(paths_, written).ok());
  const auto read = ReadRecord(paths_);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->memory, written.memory);
  EXPECT_EQ(read->running_hash, "h0");
  EXPECT_EQ(read->since, written.since);
  EXPECT_EQ(read->desired.hash, "h1");
  EXPECT_EQ(read->desired.files, instance_.files);
  EXPECT_EQ(StatOf(paths_.records + "/desired.json").st_mode & 07777, 0600u);
  EXPECT_THAT(RecordedInstances(paths_.host), ElementsAre("app-1"));
}

TEST_F(InstallTest, ABrokenRecordIsNoRecordAndABrokenStateNoReasonToStop) {
  Install();
  ASSERT_TRUE(WriteFile(paths_.records + "/desired.json", "{\"name\":").ok());
  EXPECT_FALSE(ReadRecord(paths_));
  ASSERT_TRUE(WriteDesired(paths_, instance_).ok());
  for (const char* state : {"{", "[]", "{\"restarts\":\"many\"}", ""}) {
    ASSERT_TRUE(WriteFile(paths_.records + "/state.json", state).ok());
    EXPECT_TRUE(ReadRecord(paths_)) << state;
  }
}

TEST_F(InstallTest, WhatIsAsWrittenIsNoDrift) {
  Install();
  EXPECT_THAT(Look(), IsEmpty());
  EXPECT_THAT(Look(), IsEmpty());
}

TEST_F(InstallTest, AChangedFileShowsItsDifference) {
  Install();
  EXPECT_THAT(Look(), IsEmpty());
  ASSERT_TRUE(WriteFile(InFolder("note"), "hallo", {.mode = 0640}).ok());
  const auto drift = Look();
  ASSERT_EQ(drift.size(), 1u);
  EXPECT_EQ(drift[0].path, "note");
  EXPECT_EQ(drift[0].what, "changed");
  EXPECT_THAT(drift[0].difference, ElementsAre("@@ line 1 @@", "-hello", "+hallo"));
  ASSERT_TRUE(WriteFile(InFolder("note"), "hello", {.mode = 0640}).ok());
  EXPECT_THAT(Look(), IsEmpty());
}

TEST_F(InstallTest, AMissingFileAndAnotherModeAreDrift) {
  Install();
  ::unlink(InFolder("note").c_str());
  ::chmod(InFolder("conf/app.conf").c_str(), 0666);
  const auto drift = Look();
  ASSERT_EQ(drift.size(), 2u);
  EXPECT_EQ(drift[0].what, "mode");
  EXPECT_EQ(drift[1].what, "missing");
}

TEST_F(InstallTest, ASecretIsNeverShown) {
  instance_.files = {{.path = "env", .content = "PASSWORD=swordfish\nA=1\n", .mode = 0600, .secret = true}};
  Install();
  ASSERT_TRUE(WriteFile(InFolder("env"), "PASSWORD=swordfish\nA=2\n", {.mode = 0600}).ok());
  const auto drift = Look();
  ASSERT_EQ(drift.size(), 1u);
  EXPECT_EQ(drift[0].what, "changed");
  for (const std::string& line : drift[0].difference) EXPECT_THAT(line, Not(HasSubstr("swordfish")));
}

TEST_F(InstallTest, DriftDoesNotShowWhatALinkLeadsTo) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const std::string shadow = folder_ + "/shadow";
  ASSERT_TRUE(WriteFile(shadow, "root:hash", {.mode = 0600}).ok());
  Install();
  Replace("note", shadow);
  auto drift = Look();
  ASSERT_EQ(drift.size(), 1u);
  EXPECT_EQ(drift[0].what, "changed");
  for (const std::string& line : drift[0].difference) EXPECT_THAT(line, Not(HasSubstr("hash")));

  // A folder on the way is no better.
  Install();
  ASSERT_TRUE(MakeFolder(folder_ + "/closed", 0700).ok());
  ASSERT_TRUE(WriteFile(folder_ + "/closed/app.conf", "root:hash", {.mode = 0600}).ok());
  Replace("conf", folder_ + "/closed");
  for (const Drift& one : Look()) {
    for (const std::string& line : one.difference) EXPECT_THAT(line, Not(HasSubstr("hash")));
  }
}

TEST_F(InstallTest, ADriftingFileThatStopsAnswersDoesNotHoldTheAgent) {
  Install();
  ::unlink(InFolder("note").c_str());
  ASSERT_EQ(::mkfifo(InFolder("note").c_str(), 0600), 0);
  const auto drift = Look();  // reading a fifo would wait for a writer
  ASSERT_EQ(drift.size(), 1u);
  EXPECT_EQ(drift[0].what, "changed");
}

TEST(UnifiedDifference, NamesTheLineAndKeepsToItsLimit) {
  EXPECT_THAT(UnifiedDifference("a\nb\nc\nd\n", "a\nb\nX\nd\n", 40),
              ElementsAre("@@ line 3 @@", " a", " b", "-c", "+X"));
  std::string many;
  for (int i = 0; i < 100; ++i) many += std::to_string(i) + "\n";
  EXPECT_EQ(UnifiedDifference(many, "", 40).size(), 40u);
}

}  // namespace
}  // namespace muster::agent
