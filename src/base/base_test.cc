// Text, time, files, digests and subprocesses: what each promises in its header.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <thread>

#include "base/digest.h"
#include "base/files.h"
#include "base/subprocess.h"
#include "base/text.h"
#include "base/time.h"

namespace muster {
namespace {

using ::testing::ElementsAre;

class Folder : public ::testing::Test {
 protected:
  Folder() : path(fs::temp_directory_path() / ("muster-base-" + RandomHex(6))) {
    fs::create_directories(path);
  }
  ~Folder() override { fs::remove_all(path); }
  const fs::path path;
};
using Files = Folder;

TEST(Durations, NeedAUnitAndComeInFallingOrder) {
  EXPECT_EQ(ParseDuration("1h30m").value(), 90min);
  EXPECT_EQ(ParseDuration("250ms").value(), 250ms);
  EXPECT_EQ(ParseDuration("1m1ms").value(), 60'001ms);
  for (const char* bad : {"", "5", "s", "1s1m", "1x", "-1s", "1.5s", "99999999999999d"}) {
    EXPECT_FALSE(ParseDuration(bad).ok()) << bad;
  }
}

TEST(Durations, AreWrittenAsTheyAreRead) {
  for (const int64_t ms : {1, 999, 1000, 61'001, 3'600'000, 90'061'001}) {
    EXPECT_EQ(ParseDuration(FormatDuration(Duration(ms))).value(), Duration(ms));
  }
}

TEST(WallTimes, AreWrittenAsTheyAreRead) {
  const WallTime time(Duration(1'795'236'280'123));
  EXPECT_EQ(ParseWallTime(FormatWallTime(time)).value(), time);
  EXPECT_EQ(FormatWallTime(WallTime{}), "1970-01-01T00:00:00.000Z");
  EXPECT_FALSE(ParseWallTime("yesterday").ok());
  EXPECT_FALSE(ParseWallTime("2026-11-21T04:38:00").ok());
}

TEST(Commands, AreSplitAsAShellWould) {
  EXPECT_THAT(SplitCommand(R"(java -jar 'a b.jar' "x \"y\"" z\ z '')").value(),
              ElementsAre("java", "-jar", "a b.jar", "x \"y\"", "z z", ""));
  EXPECT_EQ(SplitCommand("echo 'open").error().code(), "bad-quoting");
}

TEST(Commands, AreJoinedToWhatAShellTakesApartAgain) {
  const std::vector<std::string> words = {"java",      "-jar", "a b.jar", "it's", "",
                                          "--port=80", "~/x",  "!",       "$HOME"};
  EXPECT_EQ(ShellLine(words), "java -jar 'a b.jar' 'it'\\''s' '' --port=80 '~/x' '!' '$HOME'");
  EXPECT_EQ(SplitCommand(ShellLine(words)).value(), words);
}

TEST(Names, NearestIsWhatWasMeantOrNothing) {
  EXPECT_EQ(Nearest("isntances", {"instances", "artifact"}), "instances");
  EXPECT_EQ(Nearest("prot", {"port", "path"}), "port");
  EXPECT_EQ(Nearest("zebra", {"port", "path"}), std::nullopt);
}

TEST(Sizes, AreBinaryAndDoNotOverflow) {
  EXPECT_EQ(ParseSize("64m").value(), 64 << 20);
  EXPECT_EQ(ParseSize("7").value(), 7);
  for (const char* bad : {"", "m", "1t", "-1k", "99999999999999g"}) EXPECT_FALSE(ParseSize(bad).ok()) << bad;
}

TEST(HostPorts, HaveBracketsAroundColons) {
  EXPECT_EQ(HostPort("10.0.0.1", 80), "10.0.0.1:80");
  EXPECT_EQ(HostPort("db.example", 5432), "db.example:5432");
  EXPECT_EQ(HostPort("::1", 443), "[::1]:443");
}

TEST(Lines, TheLastOnesAreKept) {
  EXPECT_THAT(LastLines("a\nb\nc\n", 2), ElementsAre("…(1 more before)", "b", "c"));
  EXPECT_THAT(LastLines("", 2), ElementsAre());
}

TEST(Digests, AreSha256AndFramed) {
  EXPECT_EQ(Sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_NE(Digest().Add("a").Add("bc").Hex(), Digest().Add("ab").Add("c").Hex());
  // RFC 4231, test case 2.
  EXPECT_EQ(KeyedDigestHex("Jefe", "what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_NE(RandomHex(8), RandomHex(8));
}

TEST_F(Files, AreReplacedWholeWithTheirModeAndNothingElseStays) {
  const fs::path file = path / "x.conf";
  ASSERT_TRUE(WriteFile(file, "one", {.mode = 0600, .durable = true}).ok());
  ASSERT_TRUE(WriteFile(file, "two", {.mode = 0640}).ok());
  EXPECT_EQ(ReadFile(file).value(), "two");
  struct stat info {};
  stat(file.c_str(), &info);
  EXPECT_EQ(info.st_mode & 0777, 0640u);
  EXPECT_EQ(std::distance(fs::directory_iterator(path), fs::directory_iterator()), 1);
  EXPECT_EQ(FileSha256(file).value(), Sha256Hex("two"));
}

TEST_F(Files, SayWhatIsWrong) {
  EXPECT_EQ(ReadFile(path / "none").error().code(), "file-missing");
  ASSERT_TRUE(WriteFile(path / "big", "12345").ok());
  EXPECT_EQ(ReadFile(path / "big", 4).error().code(), "file-too-large");
  EXPECT_EQ(WriteFile("/dev/full/x", "1").error().code(), "file-missing");
}

TEST_F(Files, ALockIsHeldByOne) {
  {
    const auto first = FileLock::TryTake(path / "lock");
    ASSERT_TRUE(first.ok());
    EXPECT_EQ(FileLock::TryTake(path / "lock").error().code(), "locked");
  }
  EXPECT_TRUE(FileLock::TryTake(path / "lock").ok());
}

TEST(Subprocess, GivesOutputAndStatus) {
  const Exec exec{.argv = {"sh", "-c", "cat; echo $X >&2; exit 3"}, .env = {{"X", "y"}}, .input = "in"};
  const auto output = RunCommand(exec, 10s);
  ASSERT_TRUE(output.ok());
  EXPECT_EQ(output->status, 3);
  EXPECT_EQ(output->out, "in");
  EXPECT_EQ(output->err, "y\n");
}

TEST(Subprocess, TakesMoreInputAndOutputThanAPipeHolds) {
  const Exec exec{.argv = {"cat"}, .input = std::string(300'000, 'x')};
  EXPECT_EQ(RunCommand(exec, 10s)->out.size(), 300'000u);
}

TEST(Subprocess, IsKilledWithItsChildrenWhenLate) {
  const Exec exec{.argv = {"sh", "-c", "sleep 1000 & echo $!; wait"}};
  const auto output = RunCommand(exec, 200ms);
  ASSERT_EQ(output.error().code(), "timeout");
  ASSERT_FALSE(output.error().evidence().empty());
  // A signal is under way for a moment.
  const auto dead = [path = "/proc/" + output.error().evidence()[0] + "/stat"] {
    const auto stat_line = ReadFile(path);
    return !stat_line.ok() || stat_line->find(") Z ") != std::string::npos;
  };
  const Time end = Now() + 20s;
  while (!dead() && Now() < end) std::this_thread::yield();
  EXPECT_TRUE(dead());
}

TEST(Subprocess, NamesThePackageOfAMissingProgram) {
  EXPECT_EQ(PackageOf("/usr/sbin/nginx"), "nginx-light");
  EXPECT_EQ(RunCommand(Exec{.argv = {"no-such-program"}}, 1s).error().code(), "program-missing");
}

}  // namespace
}  // namespace muster
