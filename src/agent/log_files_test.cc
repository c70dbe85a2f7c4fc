// Logs rotated under a real writer, by a keeper that is killed now and then: no line lost, none twice.
#include "agent/log_files.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "base/digest.h"
#include "base/text.h"

namespace muster::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

WallTime At(int64_t seconds) { return WallTime(std::chrono::seconds(seconds)); }

class LogFiles : public ::testing::Test {
 protected:
  LogFiles() : LogFiles("/var/tmp") {}
  explicit LogFiles(const std::string& parent) : folder(parent + "/muster-logs-" + RandomHex(6)) {
    fs::create_directories(folder);
  }
  ~LogFiles() override { fs::remove_all(folder); }

  void Append(std::string_view text, std::optional<WallTime> at = {}) const {
    const Fd fd(open((folder + "/current.log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640));
    ASSERT_EQ(write(fd.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
    if (!at) return;
    const int64_t ms = at->time_since_epoch().count();
    const timespec times[2] = {{ms / 1000, ms % 1000 * 1'000'000}, {ms / 1000, ms % 1000 * 1'000'000}};
    futimens(fd.get(), times);
  }
  std::vector<std::string> Texts(int tail = -1, std::optional<WallTime> since = {},
                                 bool partial = true) const {
    std::vector<std::string> texts;
    const LogRead read = ReadLines(folder, tail, since, partial).value();
    for (const LogLine& line : read.lines) texts.push_back(line.text);
    return texts;
  }
  bool Has(const std::string& name) const { return fs::exists(folder + "/" + name); }
  // The numbers of "N padding" lines, of which each must be whole.
  static int64_t NumberIn(const std::string& text) {
    const size_t space = text.find(' ');
    return space == std::string::npos || text.substr(space) != Padding() ? -1 : std::atoll(text.c_str());
  }
  static std::string Padding() { return " " + std::string(60, 'x') + " end"; }
  // A process that writes `count` numbered lines to the log, as an instance does.
  pid_t StartWriter(int count) const {
    const pid_t pid = fork();
    if (pid != 0) return pid;
    const int fd = open((folder + "/current.log").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0640);
    for (int i = 0; i < count; ++i) {
      const std::string line = std::to_string(i) + Padding() + "\n";
      if (write(fd, line.data(), line.size()) != static_cast<ssize_t>(line.size())) _exit(1);
      if (i % 2000 == 1999) poll(nullptr, 0, 1);
    }
    _exit(0);
  }
  void ExpectAllOf(int count) const {
    int64_t next = 0, wrong = 0;
    const Result<int64_t> read = ForEachLogLine(folder, {}, [&](LogLine line) {
      wrong += NumberIn(line.text) != next;
      ++next;
      return true;
    });
    ASSERT_TRUE(read.ok());
    EXPECT_EQ(next, count);
    EXPECT_EQ(wrong, 0);
  }

  const std::string folder;
};

TEST_F(LogFiles, AreRotatedUnderTheirWriterWithoutLosingALine) {
  constexpr int kLines = 60'000;
  LogKeeper keeper(folder, {.rotate_bytes = 200 << 10, .keep = 1000});
  const pid_t writer = StartWriter(kLines);
  while (waitpid(writer, nullptr, WNOHANG) == 0) ASSERT_TRUE(keeper.Look(WallNow()).ok());
  ASSERT_TRUE(keeper.Look(WallNow()).ok());
  EXPECT_TRUE(Has("2.log"));
  EXPECT_LT(fs::file_size(folder + "/current.log"), 1u << 20);
  ExpectAllOf(kLines);
}

TEST_F(LogFiles, SurviveAKeeperThatIsKilledAtAnyMoment) {
  constexpr int kLines = 60'000;
  const pid_t writer = StartWriter(kLines);
  int kills = 0;
  for (bool running = true; running; ++kills) {
    const pid_t agent = fork();
    ASSERT_GE(agent, 0);
    if (agent == 0) {
      LogKeeper keeper(folder, {.rotate_bytes = 100 << 10, .keep = 1000});
      while (true) {
        if (!keeper.Look(WallNow()).ok()) _exit(1);
      }
    }
    poll(nullptr, 0, 3 + kills % 5);
    kill(agent, SIGKILL);
    int status = 0;
    ASSERT_EQ(waitpid(agent, &status, 0), agent);
    EXPECT_TRUE(WIFSIGNALED(status));
    running = waitpid(writer, nullptr, WNOHANG) == 0;
  }
  LogKeeper keeper(folder, {.rotate_bytes = 100 << 10, .keep = 1000});
  ASSERT_TRUE(keeper.Look(WallNow()).ok());
  EXPECT_TRUE(Has("1.log"));
  EXPECT_FALSE(Has("rotating.log"));
  ExpectAllOf(kLines);
}

TEST_F(LogFiles, AreFollowedAcrossRotations) {
  constexpr int kLines = 60'000;
  const pid_t writer = StartWriter(kLines);
  LogKeeper keeper(folder, {.rotate_bytes = 100 << 10, .keep = 1000});
  LogFollower follower(folder, 0);
  int64_t next = 0, wrong = 0;
  const Time most = Now() + 30s;
  for (int round = 0; next < kLines && Now() < most; ++round) {
    ASSERT_TRUE(keeper.Look(WallNow()).ok());
    if (round % 7 != 0) continue;  // Sometimes whole files go by between two looks.
    const std::vector<LogLine> lines = follower.Next(WallNow()).value();
    for (const LogLine& line : lines) wrong += NumberIn(line.text) != next++;
  }
  EXPECT_EQ(next, kLines);
  EXPECT_EQ(wrong, 0);
  EXPECT_TRUE(Has("2.log"));
  EXPECT_THAT(follower.Next(WallNow()).value(), IsEmpty());
  EXPECT_EQ(waitpid(writer, nullptr, 0), writer);
}

TEST_F(LogFiles, GiveTheirFollowerWholeLines) {
  LogFollower follower(folder);
  EXPECT_THAT(follower.Next(WallNow()).value(), IsEmpty());
  Append("fir");  // the log may come into being later
  EXPECT_THAT(follower.Next(WallNow()).value(), IsEmpty()) << "only whole lines";
  Append("st\nsecond\n");
  const std::vector<LogLine> lines = follower.Next(WallNow()).value();
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0].text, "first");
  EXPECT_EQ(lines[1].text, "second");
  EXPECT_LT(WallNow() - lines[1].at, 10s);
}

TEST_F(LogFiles, AreFollowedFromWhereReadingEnded) {
  Append("one\ntwo\nthr");
  const LogRead read = ReadLines(folder, 1, {}, false).value();
  ASSERT_EQ(read.lines.size(), 1u);
  EXPECT_EQ(read.lines[0].text, "two");
  LogFollower follower(folder, read.end);
  Append("ee\nfour\n");
  const std::vector<LogLine> lines = follower.Next(WallNow()).value();
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0].text, "three");
}

TEST_F(LogFiles, KnowWhenALineWasWritten) {
  LogKeeper keeper(folder, {});
  Append("at ten\n", At(10));
  ASSERT_TRUE(keeper.Look(At(11)).ok());
  Append("at twenty\nand half a", At(20));
  ASSERT_TRUE(keeper.Look(At(21)).ok());
  Append(" line\nat thirty\n", At(30));
  const LogRead read = ReadLines(folder, -1, {}).value();
  EXPECT_THAT(read.lines, ElementsAre(LogLine{At(10), "at ten"}, LogLine{At(20), "at twenty"},
                                      LogLine{At(20), "and half a line"}, LogLine{At(30), "at thirty"}));
  EXPECT_THAT(Texts(-1, At(10)), ElementsAre("at ten", "at twenty", "and half a line", "at thirty"));
  EXPECT_THAT(Texts(-1, At(15)), ElementsAre("at twenty", "and half a line", "at thirty"));
  EXPECT_THAT(Texts(-1, At(25)), ElementsAre("at thirty"));
  EXPECT_THAT(Texts(1, At(15)), ElementsAre("at thirty"));
  EXPECT_THAT(Texts(-1, At(35)), IsEmpty());
}

TEST_F(LogFiles, KeepTheirTimesWhenRotated) {
  LogKeeper keeper(folder, {.rotate_bytes = 10 << 10, .keep = 20});
  for (int i = 0; i < 200; ++i) {
    Append(std::to_string(i) + std::string(300, '.') + "\n", At(1000 + i));
    ASSERT_TRUE(keeper.Look(At(1000 + i)).ok());
  }
  ASSERT_TRUE(Has("3.log"));
  const LogRead read = ReadLines(folder, -1, {}).value();
  ASSERT_EQ(read.lines.size(), 200u);
  for (int i = 0; i < 200; ++i) {
    EXPECT_EQ(std::atoi(read.lines[static_cast<size_t>(i)].text.c_str()), i);
    EXPECT_EQ(read.lines[static_cast<size_t>(i)].at, At(1000 + i)) << i;
  }
  for (const int since : {1, 37, 100, 199}) {
    EXPECT_EQ(Texts(-1, At(1000 + since)).size(), static_cast<size_t>(200 - since)) << since;
  }
  for (const int tail : {0, 1, 30, 150, 200, 999}) {
    const std::vector<std::string> texts = Texts(tail);
    ASSERT_EQ(texts.size(), static_cast<size_t>(std::min(tail, 200)));
    EXPECT_EQ(tail == 0 ? 200 : std::atoi(texts[0].c_str()), std::max(0, 200 - tail));
  }
}

TEST_F(LogFiles, KeepNoMoreThanThePolicySays) {
  LogKeeper keeper(folder, {.rotate_bytes = 8 << 10, .keep = 2});
  for (int i = 0; i < 400; ++i) {
    Append(std::to_string(i) + std::string(200, '.') + "\n");
    ASSERT_TRUE(keeper.Look(WallNow()).ok());
  }
  EXPECT_TRUE(Has("2.log"));
  EXPECT_TRUE(Has("2.times"));
  EXPECT_FALSE(Has("3.log"));
  EXPECT_FALSE(Has("3.times"));
  EXPECT_EQ(Texts(1)[0].substr(0, 4), "399.");
  LogFollower late(folder, 0);
  EXPECT_GT(late.Next(WallNow()).value().size(), 50u) << "what is gone is skipped";
  keeper.set_policy({.rotate_bytes = 8 << 10, .keep = 0});
  Append(std::string(20 << 10, '.') + "\n");
  ASSERT_TRUE(keeper.Look(WallNow()).ok());
  EXPECT_FALSE(Has("1.log"));
}

TEST_F(LogFiles, MayBeEmptiedByHand) {
  LogKeeper keeper(folder, {});
  Append("old one\nold two\n", At(10));
  ASSERT_TRUE(keeper.Look(At(10)).ok());
  LogFollower follower(folder);
  ASSERT_EQ(truncate((folder + "/current.log").c_str(), 0), 0);
  Append("new\n", At(20));
  ASSERT_TRUE(keeper.Look(At(20)).ok());
  EXPECT_EQ(ReadLines(folder, -1, {}).value().lines, (std::vector<LogLine>{{At(20), "new"}}));
  const std::vector<LogLine> lines = follower.Next(WallNow()).value();
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0].text, "new");
}

TEST_F(LogFiles, TakeAnyBytes) {
  using namespace std::string_literals;
  Append("dos\r\n\r\n\xff\xfe\0bin\xc3\xa4ry\xe2\x82\n\xed\xa0\x80\nlast without end"s);
  EXPECT_THAT(Texts(), ElementsAre("dos", "", "\uFFFD\uFFFD\uFFFDbin\u00E4ry\uFFFD\uFFFD",
                                   "\uFFFD\uFFFD\uFFFD", "last without end"));
  EXPECT_THAT(Texts(-1, {}, false).size(), 4u);
  EXPECT_THAT(LastLogLines(folder, 1), ElementsAre("last without end"));
}

#if defined(__SANITIZE_ADDRESS__)
#define MUSTER_SANITIZED_MEMORY 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define MUSTER_SANITIZED_MEMORY 1
#endif
#endif

TEST_F(LogFiles, WithoutLineEndsNeedLittleMemory) {
#ifdef MUSTER_SANITIZED_MEMORY
  GTEST_SKIP() << "a sanitizer's own memory is measured with it";
#endif
  std::string block;
  while (block.size() < 1 << 20) block += "0123456789ä";
  for (int i = 0; i < 16; ++i) Append(block);
  rusage before{}, after{};
  getrusage(RUSAGE_SELF, &before);
  int64_t bytes = 0, pieces = 0;
  ForEachLogLine(folder, {}, [&](LogLine line) {
    bytes += static_cast<int64_t>(line.text.size());
    ++pieces;
    return true;
  }).value();
  getrusage(RUSAGE_SELF, &after);
  EXPECT_EQ(bytes, static_cast<int64_t>(16 * block.size())) << "no character was cut in two";
  EXPECT_GT(pieces, 200);
  EXPECT_LT(after.ru_maxrss - before.ru_maxrss, 4 << 10);  // KiB
  EXPECT_EQ(Texts(10).size(), 10u);
  EXPECT_LE(ReadLines(folder, -1, {}).value().lines.size(), 64u) << "as a value, bounded";
  EXPECT_LE(LastLogLines(folder, 3).at(0).size(), 1010u);
  LogFollower follower(folder, 0);
  EXPECT_LE(follower.Next(WallNow()).value().size(), 20u);
}

TEST_F(LogFiles, AreReadInBatchesAsSlowlyAsOneLikes) {
  for (int i = 0; i < 5000; ++i) Append(std::to_string(i) + Padding() + "\n");
  LogReader reader(folder, {});
  int64_t next = 0;
  size_t batches = 0;
  const auto take = [&](const std::vector<LogLine>& lines) {
    for (const LogLine& line : lines) EXPECT_EQ(NumberIn(line.text), next++);
    ++batches;
  };
  take(reader.Next(10'000).value());
  EXPECT_LT(next, 150);
  // Nobody holds the log meanwhile: it is rotated, and what is written now isn't read.
  LogKeeper keeper(folder, {.rotate_bytes = 200'000, .keep = 5});
  ASSERT_TRUE(keeper.Look(At(10)).ok());
  EXPECT_TRUE(Has("1.log"));
  Append("5000" + Padding() + "\n");
  for (auto lines = reader.Next(10'000).value(); !lines.empty(); lines = reader.Next(10'000).value())
    take(lines);
  EXPECT_EQ(next, 5000);
  EXPECT_GT(batches, 20u);
  EXPECT_EQ(reader.missed(), 0);
  // A follower goes on from there.
  LogFollower follower(folder, reader.position());
  const auto after = follower.Next(WallNow()).value();
  ASSERT_EQ(after.size(), 1u);
  EXPECT_EQ(NumberIn(after[0].text), 5000);
}

TEST_F(LogFiles, TellHowMuchWasRotatedAwayUnread) {
  const auto rotate = [this](int round) {
    LogKeeper keeper(folder, {.rotate_bytes = 60'000, .keep = 1});
    ASSERT_TRUE(keeper.Look(At(round)).ok());
  };
  for (int i = 0; i < 1000; ++i) Append(std::to_string(i) + Padding() + "\n");
  LogReader reader(folder, {});
  ASSERT_FALSE(reader.Next(1000).value().empty());
  const int64_t read = reader.position();
  LogFollower follower(folder, read);
  rotate(1);
  for (int i = 1000; i < 2000; ++i) Append(std::to_string(i) + Padding() + "\n");
  rotate(2);  // the first file is gone for good
  (void)reader.Next(1000).value();
  EXPECT_GT(reader.missed(), 10'000);
  (void)follower.Next(WallNow()).value();
  EXPECT_EQ(follower.missed(), reader.missed());
}

TEST_F(LogFiles, AreEvidenceFromOneLifeOn) {
  Append("of an earlier life\nhalf");
  const int64_t from = LogEnd(folder);
  EXPECT_EQ(from, 23);
  EXPECT_THAT(LastLogLines(folder, 10, from), IsEmpty());
  Append("no database\nno database\nno database\n");
  EXPECT_THAT(LastLogLines(folder, 10, from), ElementsAre("no database (3 times)"));
  EXPECT_THAT(LastLogLines(folder, 1, 0), ElementsAre("no database (2 times)"));
  LogKeeper keeper(folder, {.rotate_bytes = 1, .keep = 3});
  Append(std::string(9000, 'x') + "\n");
  ASSERT_TRUE(keeper.Look(At(1)).ok());
  ASSERT_TRUE(Has("1.log"));
  EXPECT_EQ(LastLogLines(folder, 10, from).size(), 2u);  // positions outlive a rotation
  fs::remove_all(folder);
  fs::create_directories(folder);
  Append("anew\n");
  EXPECT_THAT(LastLogLines(folder, 10, from), ElementsAre("anew"));
}

TEST(FoldRepeats, SaysHowOftenInsteadOfSayingItAgain) {
  EXPECT_THAT(FoldRepeats({}), IsEmpty());
  EXPECT_THAT(FoldRepeats({"a", "b", "a"}), ElementsAre("a", "b", "a"));
  EXPECT_THAT(FoldRepeats({"a", "a", "a", "a", "b", "b"}), ElementsAre("a (4 times)", "b (2 times)"));
  EXPECT_THAT(FoldRepeats({"start", "no db", "start", "no db", "start", "no db"}),
              ElementsAre("start", "no db", "(these 2 lines 3 times)"));
  EXPECT_THAT(FoldRepeats({"x", "a", "a", "b", "a", "a", "b", "a"}),
              ElementsAre("x", "a (2 times)", "b", "(these 2 lines 2 times)", "a"));
}

TEST_F(LogFiles, ThatAreAbsentHaveNoLines) {
  EXPECT_THAT(ReadLines(folder + "/none", 10, {}).value().lines, IsEmpty());
  EXPECT_THAT(Texts(), IsEmpty());
  EXPECT_THAT(LastLogLines(folder), IsEmpty());
  EXPECT_TRUE(LogKeeper(folder, {}).Look(WallNow()).ok());
  EXPECT_THAT(LogFollower(folder + "/none").Next(WallNow()).value(), IsEmpty());
}

TEST_F(LogFiles, DoNotLeadElsewhere) {
  const std::string secret = folder + "-secret";
  ASSERT_TRUE(WriteFile(secret, std::string(100 << 10, 's') + "\n").ok());
  fs::create_symlink(secret, folder + "/current.log");
  EXPECT_THAT(Texts(), IsEmpty());
  EXPECT_TRUE(LogKeeper(folder, {.rotate_bytes = 10 << 10}).Look(WallNow()).ok());
  EXPECT_EQ(fs::file_size(secret), (100u << 10) + 1);
  fs::remove(secret);
}

// tmpfs can't collapse a range.
class LogFilesOnTmpfs : public LogFiles {
 protected:
  LogFilesOnTmpfs() : LogFiles("/dev/shm") {}
};
TEST_F(LogFilesOnTmpfs, AreCopiedAndEmptied) {
  LogKeeper keeper(folder, {.rotate_bytes = 10 << 10, .keep = 100});
  LogFollower follower(folder);
  int followed = 0;
  for (int i = 0; i < 2000; ++i) {
    Append(std::to_string(i) + Padding() + "\n", At(1000 + i));
    ASSERT_TRUE(keeper.Look(At(1000 + i)).ok());
    if (i % 300 == 299) {
      const std::vector<LogLine> lines = follower.Next(WallNow()).value();
      for (const LogLine& line : lines) EXPECT_EQ(NumberIn(line.text), followed++);
    }
  }
  EXPECT_TRUE(Has("5.log"));
  EXPECT_EQ(followed, 1800);
  ExpectAllOf(2000);
  EXPECT_EQ(Texts(-1, At(1500)).size(), 1500u);
}

}  // namespace
}  // namespace muster::agent
