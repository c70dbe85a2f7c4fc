// A program that writes as fast as it can: neither the disk nor the loop is its own.
#include "agent/log_care.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/digest.h"

namespace muster::agent {
namespace {

using ::testing::HasSubstr;

class LogCareTest : public ::testing::Test {
 protected:
  LogCareTest() : folder("/var/tmp/muster-care-" + RandomHex(6)) { fs::create_directories(folder); }
  ~LogCareTest() override {
    if (writer > 0) {
      ::kill(writer, SIGKILL);
      ::waitpid(writer, nullptr, 0);
    }
    fs::remove_all(folder);
  }
  void StartYes() {
    const Fd log(::open(Log().c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640));
    ASSERT_TRUE(log.valid());
    writer = ::fork();
    if (writer != 0) return;
    ::dup2(log.get(), STDOUT_FILENO);
    ::execlp("yes", "yes", "it writes and writes", nullptr);
    ::_exit(127);
  }
  std::string Log() const { return folder + "/current.log"; }
  int64_t FolderBytes() const {
    int64_t bytes = 0;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(folder, error)) {
      const auto size = entry.file_size(error);
      if (!error) bytes += static_cast<int64_t>(size);
    }
    return bytes;
  }

  const std::string folder;
  pid_t writer = 0;
};

TEST_F(LogCareTest, HoldsWhatWritesWithoutEnd) {
  constexpr int64_t kRotate = 1 << 20;
  // (keep + 3) times would be 6; this machine is busy with other tests. Unhindered it writes a gigabyte.
  constexpr int64_t kMost = 256 * kRotate;
  net::Loop loop;
  const auto waker = std::make_shared<LogWaker>(loop);
  const auto care =
      std::make_shared<LogCare>(loop, waker, folder, LogPolicy{.rotate_bytes = kRotate, .keep = 3});
  StartYes();
  care->Look(WallNow(), true);
  // What a neighbour's probe is: something that wants the loop every few milliseconds.
  int64_t largest = 0;
  std::vector<int64_t> sizes;
  Duration longest = 0ms;
  Time last = Now();
  const Time end = last + 2s;
  std::function<void()> look = [&] {
    longest = std::max(longest, Now() - last);
    last = Now();
    sizes.push_back(FolderBytes());
    if (Now() >= end) return loop.Stop();
    loop.After(5ms, look);
  };
  loop.After(5ms, look);
  loop.Run();
  std::sort(sizes.begin(), sizes.end());
  largest = sizes.back();
  RecordProperty("largest", std::to_string(largest));
  RecordProperty("median", std::to_string(sizes[sizes.size() / 2]));
  RecordProperty("longest_ms", std::to_string(longest.count()));
  EXPECT_LT(largest, kMost);
  EXPECT_LT(sizes[sizes.size() / 2], kMost / 4);
  EXPECT_LT(longest, 1s);
  ::kill(writer, SIGKILL);
  ::waitpid(std::exchange(writer, 0), nullptr, 0);
  loop.EndTasks();  // a rotation under way comes to its end
  std::string said;
  const LogReadOptions all{};
  const Result<int64_t> read = ForEachLogLine(folder, all, [&](LogLine line) {
    if (line.text.find("dropped") != std::string::npos) said = line.text;
    return said.empty();
  });
  ASSERT_TRUE(read.ok());
  EXPECT_THAT(said, HasSubstr("bytes were dropped: it writes faster than its log is rotated"));
}

TEST_F(LogCareTest, KeepsTheEndOfABurstAndSaysWhatIsMissing) {
  LogKeeper keeper(folder, {.rotate_bytes = 8 << 10, .keep = 1});
  {
    const Fd log(::open(Log().c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640));
    for (int i = 0; i < 100; ++i) {
      const std::string line = std::string(1000, 'x') + " " + std::to_string(i) + "\n";
      ASSERT_EQ(::write(log.get(), line.data(), line.size()), static_cast<ssize_t>(line.size()));
    }
  }
  const int64_t written = static_cast<int64_t>(fs::file_size(Log()));
  EXPECT_TRUE(keeper.WantsRotation());
  ASSERT_TRUE(keeper.Note(WallNow()).ok());
  EXPECT_EQ(static_cast<int64_t>(fs::file_size(Log())), written);  // noting only
  ASSERT_TRUE(keeper.Look(WallNow()).ok());
  EXPECT_EQ(fs::file_size(Log()), 0u);
  const LogRead read = ReadLines(folder, -1, {}).value();
  ASSERT_EQ(read.lines.size(), 9u);
  EXPECT_THAT(read.lines.front().text, HasSubstr("bytes were dropped"));
  EXPECT_TRUE(read.lines[1].text.ends_with("x 92"));
  EXPECT_TRUE(read.lines.back().text.ends_with("x 99"));
  EXPECT_EQ(read.end, written);  // positions stay what they were
}

}  // namespace
}  // namespace muster::agent
