#include "cli/input.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/files.h"

namespace muster::cli {
namespace {

class InputTest : public testing::Test {
 protected:
  InputTest() {
    int ends[2];
    EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
    out = Fd(ends[0]);
    in = Fd(ends[1]);
  }
  std::string Next(InputReader& reader, size_t most = 100) { return loop.RunTask(reader.Next(most)); }

  net::Loop loop;
  Fd out, in;
};

TEST_F(InputTest, EndsWhereNothingCanBeRead) {
  InputReader closed(loop, 1000);  // such as standard input of a program that was started without one
  EXPECT_EQ(Next(closed), "");
  const Fd folder(open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  InputReader reader(loop, folder.get());
  EXPECT_EQ(Next(reader), "");
}

net::Task<std::string> StopWhileItWaits(net::Loop& loop, InputReader& reader) {
  loop.After(1ms, [&reader] { reader.Stop(); });
  co_return co_await reader.Next(100);
}

TEST_F(InputTest, CanBeStoppedWhileItWaits) {
  InputReader reader(loop, out.get());
  EXPECT_EQ(loop.RunTask(StopWhileItWaits(loop, reader)), "");
  // What comes later is left to others.
  ASSERT_EQ(write(in.get(), "later", 5), 5);
  EXPECT_EQ(Next(reader), "");
  char rest[10];
  EXPECT_EQ(read(out.get(), rest, sizeof rest), 5);
}

TEST_F(InputTest, ReadsNoMoreThanIsAskedForUntilTheEnd) {
  ASSERT_EQ(write(in.get(), "abcdef", 6), 6);
  InputReader reader(loop, out.get());
  EXPECT_EQ(Next(reader, 4), "abcd");
  EXPECT_EQ(Next(reader, 4), "ef");
  in.Reset();
  EXPECT_EQ(Next(reader), "");
  EXPECT_EQ(Next(reader), "");
}

TEST_F(InputTest, ReadsFilesWhichCannotBeWatched) {
  const std::string path = "/tmp/muster-input-" + RandomHex(6);
  ASSERT_TRUE(WriteFile(path, "content").ok());
  const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  unlink(path.c_str());
  InputReader reader(loop, file.get());
  EXPECT_EQ(Next(reader), "content");
  EXPECT_EQ(Next(reader), "");
}

}  // namespace
}  // namespace muster::cli
