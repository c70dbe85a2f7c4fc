// An instance's files on a real disk: written, replaced, compared and taken away. What its own user may do
// to them meanwhile is in install_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "agent/install.h"
#include "base/digest.h"
#include "base/files.h"
#include "base/text.h"

namespace muster::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

class Install : public ::testing::Test {
 protected:
  Install() : root("/tmp/mi-" + RandomHex(4)), paths(PathsOf(root + "/host", "web-1")) {
    fs::create_directories(root);
  }
  ~Install() override { fs::remove_all(root); }

  static Instance Web(std::vector<InstanceFile> files) {
    Instance instance;
    instance.name = "web-1";
    instance.files = std::move(files);
    return instance;
  }
  Status Write(const Instance& instance, const Instance* before = nullptr) const {
    return WriteInstance(paths, instance, before, {});
  }
  // Written and remembered: as it is after an install.
  void Put(const Instance& instance) const {
    const Status written = Write(instance);
    ASSERT_TRUE(written.ok()) << written.error().Text();
    ASSERT_TRUE(RememberFiles(paths, instance).ok());
  }
  // Takes `bytes` into artifacts/ and returns their digest.
  std::string Blob(const std::string& bytes) const {
    EXPECT_TRUE(WriteFile(root + "/arriving", bytes).ok());
    const std::string sha256 = Sha256Hex(bytes);
    const Status taken = TakeBlob(paths, sha256, root + "/arriving");
    EXPECT_TRUE(taken.ok()) << taken.error().Text();
    return sha256;
  }
  std::string Of(const std::string& path) const { return paths.folder + "/" + path; }
  std::string Text(const std::string& path) const {
    const auto text = ReadFile(Of(path));
    return text.ok() ? *text : "(" + text.error().code() + ")";
  }
  static int Mode(const std::string& path) {
    struct stat status {};
    return ::lstat(path.c_str(), &status) == 0 ? static_cast<int>(status.st_mode & 07777) : -1;
  }
  // Everything below the instance's folder, without the folders that each instance has.
  std::vector<std::string> Files() const {
    std::vector<std::string> files;
    for (const auto& entry : fs::recursive_directory_iterator(paths.folder)) {
      if (!entry.is_directory()) files.push_back(fs::relative(entry.path(), paths.folder));
    }
    return files;
  }
  std::vector<std::string> Look(DriftWatch& watch, const Instance& instance) const {
    std::vector<std::string> seen;
    for (const Drift& drift : watch.Look(paths, instance)) seen.push_back(drift.path + " " + drift.what);
    return seen;
  }

  const std::string root;
  const Paths paths;
};

// --- Failures first.

TEST_F(Install, RefusesPathsThatLeadOutAndWritesNothing) {
  for (const char* path :
       {"../outside", "conf/../../outside", "/etc/outside", "", "conf//x", "./x", "conf/", "..", "conf/.."}) {
    const Status written = Write(Web({{.path = "good", .content = "x"}, {.path = path, .content = "x"}}));
    ASSERT_FALSE(written.ok()) << path;
    EXPECT_EQ(written.error().code(), "bad-path") << path;
    EXPECT_FALSE(fs::exists(paths.folder)) << path;
  }
  EXPECT_FALSE(fs::exists(root + "/host/outside"));
  EXPECT_FALSE(fs::exists(root + "/host/instances/outside"));
}

TEST_F(Install, RefusesDataFoldersThatLeadOut) {
  for (const char* folder : {"../../outside", "/outside", "."}) {
    Instance instance = Web({});
    instance.data_folders = {folder};
    const Status written = Write(instance);
    ASSERT_FALSE(written.ok()) << folder;
    EXPECT_EQ(written.error().code(), "bad-path") << folder;
  }
  EXPECT_FALSE(fs::exists(root + "/host/instances/outside"));
}

TEST_F(Install, LeavesOldFilesAloneWhereTheBlobOfANewOneIsMissing) {
  const Instance before = Web({{.path = "a.conf", .content = "old"}});
  Put(before);
  const Instance after =
      Web({{.path = "a.conf", .content = "new"}, {.path = "b.bin", .blob = Sha256Hex("absent")}});
  const Status written = Write(after, &before);
  ASSERT_FALSE(written.ok());
  EXPECT_EQ(written.error().code(), "file-missing");
  EXPECT_EQ(Text("a.conf"), "old");
  EXPECT_THAT(Files(), ElementsAre("a.conf"));
}

TEST_F(Install, SaysWhichFileItCouldNotWrite) {
  Put(Web({}));
  fs::create_directories(Of("conf/taken"));
  const Status written = Write(Web({{.path = "conf/taken", .content = "x"}}));
  ASSERT_FALSE(written.ok());
  EXPECT_THAT(written.error().message(), ::testing::StartsWith("writing conf/taken: "));
  EXPECT_THAT(Files(), IsEmpty()) << "a temporary was left";
}

TEST_F(Install, RefusesABlobWithAnotherDigest) {
  ASSERT_TRUE(WriteFile(root + "/arriving", "what came").ok());
  const std::string wanted = Sha256Hex("what was asked for");
  const Status taken = TakeBlob(paths, wanted, root + "/arriving");
  ASSERT_FALSE(taken.ok());
  EXPECT_EQ(taken.error().code(), "digest-differs");
  EXPECT_FALSE(fs::exists(ArtifactPath(paths, wanted, "blob")));
}

// --- Writing.

TEST_F(Install, WritesFilesWithTheirModesInFoldersOfTheirOwn) {
  const mode_t umask_before = ::umask(0077);
  const Status written = Write(Web({{.path = "a.conf", .content = "a\n", .mode = 0640},
                                    {.path = "conf/deep/b.conf", .content = "b\n", .mode = 0600},
                                    {.path = "bin/run", .content = "#!/bin/sh\n", .mode = 0755}}));
  ::umask(umask_before);
  ASSERT_TRUE(written.ok()) << written.error().Text();
  EXPECT_EQ(Text("a.conf"), "a\n");
  EXPECT_EQ(Text("conf/deep/b.conf"), "b\n");
  EXPECT_EQ(Mode(Of("a.conf")), 0640);
  EXPECT_EQ(Mode(Of("conf/deep/b.conf")), 0600);
  EXPECT_EQ(Mode(Of("bin/run")), 0755);
  EXPECT_EQ(Mode(Of("conf/deep")), 0700);
  EXPECT_EQ(Mode(paths.folder), 0700);
  EXPECT_EQ(Mode(paths.records), 0700);
  EXPECT_EQ(Mode(paths.logs), 0700);
  EXPECT_EQ(Mode(paths.data), 0700);
  EXPECT_EQ(Mode(paths.host + "/instances"), 0711);
}

TEST_F(Install, PutsAbsolutePathsInPlaceOfWords) {
  Instance instance =
      Web({{.path = "x", .content = "{folder}|{data}/d|{logs}|{artifact}|{other}|{ {data}{data}"}});
  instance.artifact = {.name = "app.jar", .sha256 = Blob("jar")};
  Put(instance);
  EXPECT_EQ(Text("x"), paths.folder + "|" + paths.data + "/d|" + paths.logs + "|" + paths.artifacts + "/" +
                           Sha256Hex("jar") + "/app.jar|{other}|{ " + paths.data + paths.data);
}

TEST_F(Install, LeavesTheWordArtifactAloneWhereThereIsNone) {
  Put(Web({{.path = "x", .content = "{artifact}"}}));
  EXPECT_EQ(Text("x"), "{artifact}");
}

TEST_F(Install, DoesNotTouchTheBytesOfABlob) {
  const std::string bytes = std::string("{folder}\0\xff", 10) + std::string(200'000, 'x');
  Put(Web({{.path = "page.html", .blob = Blob(bytes), .mode = 0644}}));
  EXPECT_EQ(Text("page.html"), bytes);
  EXPECT_EQ(Mode(Of("page.html")), 0644);
}

TEST_F(Install, MakesDataFoldersAndKeepsWhatIsInThem) {
  Instance instance = Web({});
  instance.data_folders = {"wal", "tables/1"};
  Put(instance);
  EXPECT_TRUE(fs::is_directory(paths.data + "/tables/1"));
  ASSERT_TRUE(WriteFile(paths.data + "/wal/000", "rows").ok());
  Put(instance);
  EXPECT_EQ(Text("data/wal/000"), "rows");
}

TEST_F(Install, TakesAwayFilesThatItHasNoMore) {
  const Instance before = Web({{.path = "a.conf", .content = "a"}, {.path = "conf/b.conf", .content = "b"}});
  Put(before);
  ASSERT_TRUE(WriteFile(Of("conf/by-hand"), "kept").ok());
  ASSERT_TRUE(Write(Web({{.path = "a.conf", .content = "A"}}), &before).ok());
  EXPECT_THAT(Files(), UnorderedElementsAre("a.conf", "conf/by-hand"));
  EXPECT_EQ(Text("a.conf"), "A");
}

TEST_F(Install, TakesAwayNothingOutsideHoweverTheOldRecordReads) {
  ASSERT_TRUE(MakeFolder(root + "/host/instances").ok());
  ASSERT_TRUE(WriteFile(root + "/host/instances/precious", "x").ok());
  const Instance before = Web({{.path = "../precious", .content = ""}});
  ASSERT_TRUE(Write(Web({}), &before).ok());
  EXPECT_TRUE(fs::exists(root + "/host/instances/precious"));
}

TEST_F(Install, ReplacesALinkByTheFileAndLeavesItsTargetAlone) {
  const Instance instance = Web({{.path = "a.conf", .content = "ours"}});
  Put(instance);
  ASSERT_TRUE(WriteFile(root + "/target", "theirs").ok());
  fs::remove(Of("a.conf"));
  fs::create_symlink(root + "/target", Of("a.conf"));
  ASSERT_TRUE(Write(instance).ok());
  EXPECT_FALSE(fs::is_symlink(Of("a.conf")));
  EXPECT_EQ(Text("a.conf"), "ours");
  EXPECT_EQ(ReadFile(root + "/target").value(), "theirs");
}

// --- Blobs and artifacts.

TEST_F(Install, AsksForEachMissingBlobOnce) {
  Instance instance = Web({{.path = "a", .blob = "bb"}, {.path = "b", .blob = "bb"}, {.path = "c"}});
  instance.artifact = {.name = "app.jar", .sha256 = "aa"};
  EXPECT_THAT(MissingBlobs(paths, instance), ElementsAre("aa", "bb"));
  instance.artifact.sha256 = Blob("jar");
  EXPECT_THAT(MissingBlobs(paths, instance), ElementsAre("bb"));
  EXPECT_THAT(MissingBlobs(paths, Web({})), IsEmpty());
}

TEST_F(Install, TakesABlobInWhereEachUserMayReadIt) {
  const std::string sha256 = Blob("program");
  EXPECT_EQ(ReadFile(ArtifactPath(paths, sha256, "blob")).value(), "program");
  EXPECT_EQ(Mode(ArtifactPath(paths, sha256, "blob")), 0755);
  EXPECT_EQ(Mode(paths.artifacts + "/" + sha256), 0755);
  EXPECT_EQ(Mode(paths.artifacts), 0711);
  EXPECT_FALSE(fs::exists(root + "/arriving"));
  EXPECT_EQ(Blob("program"), sha256);  // a second time is fine
}

TEST_F(Install, GivesAnArtifactItsNameWithoutACopy) {
  Instance instance = Web({});
  instance.artifact = {.name = "app.jar", .sha256 = Blob("jar")};
  Put(instance);
  Put(instance);
  const std::string named = ArtifactPath(paths, instance.artifact.sha256, "app.jar");
  EXPECT_TRUE(fs::equivalent(named, ArtifactPath(paths, instance.artifact.sha256, "blob")));
}

TEST_F(Install, KeepsOnlyTheArtifactsThatSomebodyUses) {
  Instance one = Web({{.path = "a", .blob = Blob("page")}});
  Instance other = Web({});
  other.artifact = {.name = "app.jar", .sha256 = Blob("jar")};
  const std::string unused = Blob("old jar");
  RemoveUnusedArtifacts(paths.host, {&one, &other});
  EXPECT_FALSE(fs::exists(paths.artifacts + "/" + unused));
  EXPECT_THAT(MissingBlobs(paths, one), IsEmpty());
  EXPECT_THAT(MissingBlobs(paths, other), IsEmpty());
  RemoveUnusedArtifacts(paths.host, {});
  EXPECT_TRUE(fs::is_empty(paths.artifacts));
  RemoveUnusedArtifacts(root + "/nowhere", {});
}

// --- Removal.

TEST_F(Install, RemovesEverythingButTheData) {
  const Instance instance = Web({{.path = "conf/a", .content = "a"}});
  Put(instance);
  ASSERT_TRUE(WriteFile(paths.data + "/rows", "rows").ok());
  ASSERT_TRUE(WriteFile(paths.logs + "/current.log", "line\n").ok());
  ASSERT_TRUE(RemoveInstance(paths, false).ok());
  EXPECT_THAT(Files(), ElementsAre("data/rows"));
  EXPECT_FALSE(fs::exists(paths.logs));
  EXPECT_FALSE(fs::exists(paths.records));
  Put(instance);  // it comes back to its data
  EXPECT_EQ(Text("data/rows"), "rows");
}

TEST_F(Install, RemovesTheDataToo) {
  Put(Web({}));
  ASSERT_TRUE(WriteFile(paths.data + "/rows", "rows").ok());
  ASSERT_TRUE(RemoveInstance(paths, true).ok());
  EXPECT_FALSE(fs::exists(paths.folder));
}

TEST_F(Install, LeavesNoFolderWhereThereAreNoData) {
  Put(Web({{.path = "a", .content = "a"}}));
  ASSERT_TRUE(RemoveInstance(paths, false).ok());
  EXPECT_FALSE(fs::exists(paths.folder));
}

TEST_F(Install, FindsNothingToRemoveTwice) {
  EXPECT_TRUE(RemoveInstance(paths, false).ok());
  EXPECT_TRUE(RemoveInstance(paths, true).ok());
}

// --- Drift.

TEST_F(Install, SeesNoDriftInWhatItWrote) {
  Instance instance = Web({{.path = "a", .content = "{folder}\n"},
                           {.path = "conf/b", .blob = Blob("page")},
                           {.path = "s", .content = "hidden", .mode = 0600, .secret = true}});
  Put(instance);
  DriftWatch watch;
  EXPECT_THAT(Look(watch, instance), IsEmpty());
  EXPECT_THAT(Look(watch, instance), IsEmpty());
}

TEST_F(Install, ShowsWhatWasChangedAndForgetsItOnceItIsPutBack) {
  const Instance instance = Web({{.path = "a", .content = "one\ntwo\nthree\n"}});
  Put(instance);
  DriftWatch watch;
  ASSERT_THAT(Look(watch, instance), IsEmpty());
  ASSERT_TRUE(WriteFile(Of("a"), "one\n2\nthree\n", {.mode = 0640}).ok());
  for (int look = 0; look < 2; ++look) {  // it is told as long as it stands
    const std::vector<Drift> drifts = watch.Look(paths, instance);
    ASSERT_THAT(drifts, SizeIs(1));
    EXPECT_EQ(drifts[0].what, "changed");
    EXPECT_THAT(drifts[0].difference, ElementsAre("@@ line 2 @@", " one", "-two", "+2"));
  }
  ASSERT_TRUE(Write(instance).ok());
  EXPECT_THAT(Look(watch, instance), IsEmpty());
}

TEST_F(Install, SeesAChangeWithinTheSameSize) {
  const Instance instance = Web({{.path = "a", .content = "aaaa"}});
  Put(instance);
  DriftWatch watch;
  ASSERT_THAT(Look(watch, instance), IsEmpty());
  ASSERT_TRUE(WriteFile(Of("a"), "aaab", {.mode = 0640}).ok());
  EXPECT_THAT(Look(watch, instance), ElementsAre("a changed"));
}

TEST_F(Install, ComparesWithTheWordsFilledIn) {
  const Instance instance = Web({{.path = "a", .content = "root {data};\n"}});
  Put(instance);
  ASSERT_TRUE(WriteFile(Of("a"), "root /srv;\n", {.mode = 0640}).ok());
  DriftWatch watch;
  const std::vector<Drift> drifts = watch.Look(paths, instance);
  ASSERT_THAT(drifts, SizeIs(1));
  EXPECT_THAT(drifts[0].difference, ElementsAre("@@ line 1 @@", "-root " + paths.data + ";", "+root /srv;"));
}

TEST_F(Install, NeverShowsAFileThatHoldsASecret) {
  const Instance instance = Web({{.path = "s", .content = "hunter2", .mode = 0600, .secret = true}});
  Put(instance);
  ASSERT_TRUE(WriteFile(Of("s"), "hunter3", {.mode = 0600}).ok());
  DriftWatch watch;
  const std::vector<Drift> drifts = watch.Look(paths, instance);
  ASSERT_THAT(drifts, SizeIs(1));
  EXPECT_EQ(drifts[0].what, "changed");
  EXPECT_THAT(drifts[0].difference, ElementsAre("(not shown: the file holds a secret)"));
}

TEST_F(Install, NeverShowsWhatIsForItsOwnerOnly) {
  const Instance instance = Web({{.path = "key", .content = "hunter2", .mode = 0600}});
  Put(instance);
  ASSERT_TRUE(WriteFile(Of("key"), "hunter3", {.mode = 0600}).ok());
  DriftWatch watch;
  const std::vector<Drift> drifts = watch.Look(paths, instance);
  ASSERT_THAT(drifts, SizeIs(1));
  EXPECT_THAT(drifts[0].difference, ElementsAre("(not shown: the file holds a secret)"));
}

TEST_F(Install, TellsAChangedModeAsMode) {
  const Instance instance = Web({{.path = "s", .content = "hunter2", .mode = 0600, .secret = true}});
  Put(instance);
  DriftWatch watch;
  ASSERT_THAT(Look(watch, instance), IsEmpty());
  ASSERT_EQ(::chmod(Of("s").c_str(), 0644), 0);
  const std::vector<Drift> drifts = watch.Look(paths, instance);
  ASSERT_THAT(drifts, SizeIs(1));
  EXPECT_EQ(drifts[0].what, "mode");
  EXPECT_THAT(drifts[0].difference, ElementsAre("-mode 600", "+mode 644"));
  ASSERT_EQ(::chmod(Of("s").c_str(), 0600), 0);
  EXPECT_THAT(Look(watch, instance), IsEmpty());
}

TEST_F(Install, MissesWhatIsGone) {
  const Instance instance = Web({{.path = "a", .content = "a"}, {.path = "b", .content = "b"}});
  Put(instance);
  fs::remove(Of("a"));
  DriftWatch watch;
  EXPECT_THAT(Look(watch, instance), ElementsAre("a missing"));
}

TEST_F(Install, SeesALinkInPlaceOfAFileThoughItsTargetReadsTheSame) {
  const Instance instance = Web({{.path = "a", .content = "same"}});
  Put(instance);
  ASSERT_TRUE(WriteFile(root + "/elsewhere", "same").ok());
  fs::remove(Of("a"));
  fs::create_symlink(root + "/elsewhere", Of("a"));
  DriftWatch watch;
  EXPECT_THAT(Look(watch, instance), ElementsAre("a changed"));
}

TEST_F(Install, SeesAFolderInPlaceOfAFile) {
  const Instance instance = Web({{.path = "a", .content = "a"}});
  Put(instance);
  fs::remove(Of("a"));
  fs::create_directory(Of("a"));
  DriftWatch watch;
  EXPECT_THAT(Look(watch, instance), ElementsAre("a changed"));
}

TEST_F(Install, RemembersFilesForTheAgentAlone) {
  const Instance before = Web({{.path = "old", .content = "x"}});
  Put(before);
  Put(Web({{.path = "conf/a", .content = "{folder}", .mode = 0644}, {.path = "b", .blob = Blob("page")}}));
  EXPECT_EQ(ReadFile(paths.pristine + "/conf/a").value(), paths.folder);
  EXPECT_EQ(Mode(paths.pristine + "/conf/a"), 0600);
  EXPECT_EQ(Mode(paths.pristine), 0700);
  EXPECT_FALSE(fs::exists(paths.pristine + "/old"));
  EXPECT_FALSE(fs::exists(paths.pristine + "/b"));
}

TEST_F(Install, ShowsNoMoreOfADifferenceThanFitsAScreen) {
  std::string text;
  for (int line = 0; line < 300; ++line) text += fmt::format("line {}\n", line);
  const Instance instance = Web({{.path = "a", .content = text}});
  Put(instance);
  ASSERT_TRUE(WriteFile(Of("a"), "", {.mode = 0640}).ok());
  DriftWatch watch;
  const std::vector<Drift> drifts = watch.Look(paths, instance);
  ASSERT_THAT(drifts, SizeIs(1));
  EXPECT_THAT(drifts[0].difference, SizeIs(40));
  EXPECT_EQ(drifts[0].difference.back(), "(… 262 more lines)");
}

// --- Differences.

TEST(UnifiedDifference, ShowsAChangedLineBelowTheTwoBeforeIt) {
  EXPECT_THAT(UnifiedDifference("a\nb\nc\nd\ne\n", "a\nb\nc\nD\ne\n", 40),
              ElementsAre("@@ line 4 @@", " b", " c", "-d", "+D"));
}

TEST(UnifiedDifference, ShowsWhatWasAddedAndTakenAwayAtBothEnds) {
  EXPECT_THAT(UnifiedDifference("b\n", "a\nb\n", 40), ElementsAre("@@ line 1 @@", "+a"));
  EXPECT_THAT(UnifiedDifference("a\nb\n", "b\n", 40), ElementsAre("@@ line 1 @@", "-a"));
  EXPECT_THAT(UnifiedDifference("a\n", "a\nb\n", 40), ElementsAre("@@ line 2 @@", " a", "+b"));
}

TEST(UnifiedDifference, KeepsWhatIsEqualBetweenTwoChanges) {
  EXPECT_THAT(UnifiedDifference("1\nsame\n2\n", "one\nsame\ntwo\n", 40),
              ElementsAre("@@ line 1 @@", "-1", "+one", " same", "-2", "+two"));
}

TEST(UnifiedDifference, ShowsAMissingLineEnd) {
  EXPECT_THAT(UnifiedDifference("a\n", "a", 40), ElementsAre("@@ line 2 @@", " a", "-"));
}

TEST(UnifiedDifference, SaysHowManyLinesItLeavesOut) {
  EXPECT_THAT(UnifiedDifference("a\nb\nc\n", "", 3), ElementsAre("@@ line 1 @@", "-a", "(… 2 more lines)"));
}

TEST(UnifiedDifference, DoesNotCompareWhatIsTooLong) {
  const std::string large(5000, '\n');
  EXPECT_THAT(UnifiedDifference(large, "a\n", 40), ElementsAre("(too long to compare: 5001 and 2 lines)"));
}

// Whatever the two texts are, the difference leads from one to the other.
TEST(UnifiedDifference, LeadsFromOneTextToTheOther) {
  uint64_t random = 7;
  const auto dice = [&](uint64_t sides) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    return (random >> 33) % sides;
  };
  for (int round = 0; round < 2000; ++round) {
    std::string texts[2];
    for (std::string& text : texts) {
      for (uint64_t lines = dice(8); lines > 0; --lines) text += std::string(1, "abc"[dice(3)]) + "\n";
    }
    const std::vector<std::string> lines = UnifiedDifference(texts[0], texts[1], 1000);
    const size_t from = static_cast<size_t>(std::atoi(lines[0].c_str() + 8)) - 1;
    const size_t context = std::min<size_t>(from, 2);
    const std::vector<std::string> old_lines = Split(texts[0], '\n'), new_lines = Split(texts[1], '\n');
    size_t old_at = from - context, new_at = from - context;
    for (size_t i = 1; i < lines.size(); ++i) {
      const std::string line = lines[i].substr(1);
      if (lines[i][0] != '+') {
        ASSERT_EQ(line, old_lines.at(old_at++));
      }
      if (lines[i][0] != '-') {
        ASSERT_EQ(line, new_lines.at(new_at++));
      }
    }
    // What follows is equal.
    ASSERT_EQ(std::vector<std::string>(old_lines.begin() + static_cast<ptrdiff_t>(old_at), old_lines.end()),
              std::vector<std::string>(new_lines.begin() + static_cast<ptrdiff_t>(new_at), new_lines.end()))
        << texts[0] << "->\n"
        << texts[1];
  }
}

// Half a gigabyte may be in a blob: neither writing it nor looking whether it has changed holds it.
TEST_F(Install, CopiesALargeBlobInPieces) {
  constexpr off_t kSize = 128 << 20;
  const auto peak_kb = [] {
    const std::string status = ReadFile("/proc/self/status").value();
    return std::atoll(status.c_str() + status.find("VmHWM:") + 6);
  };
  const Instance instance = Web({{.path = "model.bin", .blob = std::string(64, 'a')}});
  const std::string blob = ArtifactPath(paths, instance.files[0].blob, "blob");
  ASSERT_TRUE(MakeFolder(fs::path(blob).parent_path().string()).ok());
  ASSERT_TRUE(WriteFile(blob, "").ok());
  ASSERT_EQ(::truncate(blob.c_str(), kSize), 0);
  std::ofstream("/proc/self/clear_refs") << 5;  // the peak is counted anew
  const int64_t before = peak_kb();
  ASSERT_TRUE(WriteInstance(paths, instance, nullptr, {}).ok());
  EXPECT_EQ(fs::file_size(paths.folder + "/model.bin"), static_cast<uintmax_t>(kSize));
  DriftWatch watch;
  EXPECT_TRUE(watch.Look(paths, instance).empty());
  EXPECT_LT(peak_kb() - before, 32 << 10);
  // Its last byte counts as the first does.
  ASSERT_EQ(::truncate((paths.folder + "/model.bin").c_str(), kSize - 1), 0);
  EXPECT_EQ(watch.Look(paths, instance).size(), 1u);
}

}  // namespace
}  // namespace muster::agent
